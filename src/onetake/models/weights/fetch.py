"""Bring a model's weights to where workers look for them: before they run, never while they do.

From RunPod's cached models, from a folder such as a mounted network volume, or from the Hugging
Face hub at the table's revision. The files go into a hidden folder, are hashed and get a manifest.
Then the folder is renamed in one step, so a folder with the model's name is always whole. If a
fetch is cut off or killed, the same command goes on where it stopped.
"""

import errno
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock

from onetake.models.spec import ModelSpec
from onetake.models.weights.manifest import MANIFEST, UNKNOWN, WeightsManifest, check_weights
from onetake.runtime.errors import SettingsError, StageError
from onetake.runtime.units import GIB

_SPARE = GIB // 4  # room that is left on the disk
_WORKERS = 4
_FULL = {errno.ENOSPC, errno.EDQUOT}
# All that loading reads; pictures and other formats of the same weights stay where they are.
_PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "LICENSE*")

# Called in each step with its name, the bytes done and the bytes in all.
OnProgress = Callable[[str, int, int], object]


def fetch(
    spec: ModelSpec,
    folder: Path,
    *,
    places: list[Path],
    token: str | None,
    on_progress: OnProgress,
) -> tuple[WeightsManifest, str]:
    """Bring ``spec`` to ``folder``; returns its manifest and where it came from.

    ``places`` are folders in diffusers' layout that may hold it; the first that does is copied.
    An 8-bit form can only be copied: the hub has none. If another process fetches to the same
    folder, this one waits, then finds it done.

    Raises:
        StageError: the disk is too small, the hub does not answer, or a file is not what it must
            be; the same command goes on from there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            done = _finished(spec, folder)
            if done:
                return done, "here already"
            return _fetch(spec, folder, places, token, on_progress)
    except OSError as error:
        if error.errno in _FULL:
            _fail(spec, "the disk is full; free some space and try again", error)
        _fail(spec, "its folder cannot be written; name another, or mount it writable", error)


def _finished(spec: ModelSpec, folder: Path) -> WeightsManifest | None:
    """The manifest of a folder that is whole and of the right revision."""
    try:
        manifest = WeightsManifest.read(folder)
        if manifest is None or manifest.commit not in {spec.revision, UNKNOWN}:
            return None
        check_weights(folder)
    except SettingsError:
        return None
    return manifest


def _fetch(
    spec: ModelSpec, folder: Path, places: list[Path], token: str | None, on_progress: OnProgress
) -> tuple[WeightsManifest, str]:
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(exist_ok=True)
    # 1. The files, from the first place that has them.
    place = next((place for place in places if (place / "model_index.json").is_file()), None)
    if place:
        revision, expected = _copy(spec, place, partial, on_progress)
        source = "from a cached model" if place.parent.name == "snapshots" else "from a folder"
    elif folder.name != spec.name:
        problem = f"{folder.name} is in no folder here; `onetake weights quantise` makes it"
        _fail(spec, problem)
    else:
        revision, expected = spec.revision, _download(spec, partial, token)
        source = "from the hub"
    # 2. What they are, against what they must be.
    total, read = _size(partial), 0

    def on_bytes(count: int) -> None:
        nonlocal read
        read += count
        on_progress("checking", read, total)

    about = {"model": spec.name, "repo_id": spec.repo_id, "revision": revision}
    if folder.name != spec.name:
        about["form"] = folder.name.removeprefix(f"{spec.name}-")
    manifest = WeightsManifest.describe(partial, on_bytes, **about)
    _compare(spec, partial, manifest, expected)
    try:
        check_weights(partial)
    except SettingsError as error:
        _fail(spec, error.sentence, error)
    # 3. Its name, at once; what had it before was not whole.
    shutil.rmtree(partial / ".cache", ignore_errors=True)  # the hub's own notes
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return manifest, source


def _copy(
    spec: ModelSpec, place: Path, partial: Path, on_progress: OnProgress
) -> tuple[str, dict[str, str]]:
    """Copy a folder's files; returns its revision and the hashes that they must have."""
    manifest = WeightsManifest.read(place)
    if manifest and manifest.commit not in {spec.revision, UNKNOWN}:
        problem = f"the folder holds revision {manifest.revision[:12]}, not {spec.revision[:12]}"
        _fail(spec, f"{problem}; fetch it there again")
    files = {
        file.relative_to(place): file.stat().st_size
        for pattern in _PATTERNS
        for file in place.rglob(pattern)
        if file.name != MANIFEST and file.is_file()
    }
    total, done = sum(files.values()), 0
    missing = {name: size for name, size in files.items() if _length(partial / name) != size}
    _check_room(spec, partial, sum(missing.values()))

    def copy(name: Path) -> None:
        nonlocal done
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        unfinished = partial / f"{name}.part"
        shutil.copyfile(place / name, unfinished)
        unfinished.rename(partial / name)
        done += files[name]
        on_progress("copying", done + total - sum(missing.values()), total)

    with ThreadPoolExecutor(_WORKERS) as workers:
        list(workers.map(copy, missing))
    if manifest:
        hashes = {name: record.sha256 for name, record in manifest.files.items()}
        return manifest.revision, hashes
    snapshot = place.parent.name == "snapshots"
    # A snapshot's links lead to files that are named by their SHA-256.
    hashes = {str(name): (place / name).resolve().name for name in files} if snapshot else {}
    return place.name if snapshot else UNKNOWN, hashes


def _download(spec: ModelSpec, partial: Path, token: str | None) -> dict[str, str]:
    """Download the table's revision; returns the hashes that the hub gives of large files."""
    from httpx2 import HTTPError  # noqa: PLC0415 - at build time only
    from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled  # noqa: PLC0415

    try:
        info: Any = HfApi(token=token).model_info(
            spec.repo_id, revision=spec.revision, files_metadata=True
        )
        files = [s for s in info.siblings if any(Path(s.rfilename).match(p) for p in _PATTERNS)]
        missing = [s for s in files if _length(partial / s.rfilename) != s.size]
        _check_room(spec, partial, sum(s.size or 0 for s in missing))
        snapshot_download(
            spec.repo_id,
            revision=spec.revision,
            local_dir=partial,
            allow_patterns=list(_PATTERNS),
            token=token,
            max_workers=_WORKERS,
        )
    except OfflineModeIsEnabled:
        _fail(spec, "it is on no folder here, and HF_HUB_OFFLINE is set")
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        _fail(spec, f"the hub answered {status}; check the token and try again", error)
    except (HTTPError, OSError) as error:
        if getattr(error, "errno", None) in _FULL:
            raise
        _fail(spec, "the hub cannot be reached, or broke off; try again", error)
    return {s.rfilename: s.lfs.sha256 for s in files if s.lfs}


def _compare(
    spec: ModelSpec, partial: Path, manifest: WeightsManifest, expected: dict[str, str]
) -> None:
    """Check the known hashes; a file that differs is removed, so that it is fetched again.

    Raises:
        StageError: a file differs.
    """
    wrong = [
        name
        for name, record in manifest.files.items()
        if len(expected.get(name, "")) == len(record.sha256) and expected[name] != record.sha256
    ]
    for name in wrong:
        (partial / name).unlink()
    if wrong:
        _fail(spec, f"{', '.join(wrong)} came altered; try again")


def _check_room(spec: ModelSpec, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        sizes = f"{needed / GIB:.1f} GiB are needed and {max(0, free - _SPARE) / GIB:.1f} free"
        _fail(spec, f"{sizes}; give it a larger disk")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _length(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


def _fail(spec: ModelSpec, sentence: str, cause: Exception | None = None) -> NoReturn:
    raise StageError("fetch", f"{spec.name}: {sentence}") from cause
