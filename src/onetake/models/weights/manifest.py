"""Whether the files of a model are whole, and of the right revision.

A folder that `fetch` or `quantise` made carries a manifest: every file's size and SHA-256, and the
revision they are of. At boot sizes and headers are compared, in milliseconds; `verify` reads all.
"""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from onetake.runtime.errors import SettingsError
from onetake.runtime.hashing import sha256_of

MANIFEST = "manifest.json"
ORIGINAL, INT8 = "original", "int8"  # forms of a model's weights
UNKNOWN = "unknown"  # the revision of a folder that somebody copied without its manifest
_VARIABLE = "ONETAKE_WEIGHTS_DIR"
_AGAIN = "fetch the model again"
_NOT_FILES = ("scheduler", "tokenizer")  # components without weights
_BLOCK = 1 << 22
_READERS = 4  # a disk and a network volume both serve several readers faster than one
_SHA256_DIGITS = 64


class FileRecord(BaseModel):
    """The size and hash that a file must have."""

    model_config = ConfigDict(frozen=True)

    size: int
    sha256: str


class WeightsManifest(BaseModel):
    """What a folder of weights holds; `files` by their paths in it."""

    model_config = ConfigDict(frozen=True)

    model: str
    repo_id: str
    revision: str
    form: str = ORIGINAL
    files: dict[str, FileRecord]

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The folder's manifest, if it has one.

        Raises:
            SettingsError: it cannot be read.
        """
        file = folder / MANIFEST
        if not file.is_file():
            return None
        try:
            return cls.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            raise SettingsError(_VARIABLE, f"{MANIFEST} is damaged; {_AGAIN}") from None

    @classmethod
    def describe(cls, folder: Path, on_bytes: Callable[[int], object], **about: str) -> Self:
        """Write the manifest of the folder's files; ``on_bytes`` gets each number of bytes read."""
        files = [file for file in _files(folder) if file.name != MANIFEST]
        hashes = sha256_all(files, on_bytes)
        records = {
            file.relative_to(folder).as_posix(): FileRecord(size=file.stat().st_size, sha256=hashed)
            for file, hashed in zip(files, hashes, strict=True)
        }
        manifest = cls(files=records, **about)
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
        return manifest

    @property
    def commit(self) -> str:
        """The hub's revision that it comes from; fused adapters follow a plus in `revision`."""
        return self.revision.partition("+")[0]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(record.size for record in self.files.values())


def check_weights(folder: Path) -> None:
    """Compare sizes and headers with the manifest and with what each file says of itself.

    Raises:
        SettingsError: a file is missing, cut off, of another revision or no safetensors file; it
            is named.
    """
    manifest = WeightsManifest.read(folder)
    if manifest:
        _check_sizes(folder, manifest)
    for file in _weight_files(folder):
        _check_header(file, file.relative_to(folder))


def verify(folder: Path, on_bytes: Callable[[int], object]) -> int:
    """Read every file whose hash is known and compare; returns how many bytes that were.

    A hash is known from the manifest, or in RunPod's and the hub's cache from the name of the file
    that a link leads to.

    Raises:
        SettingsError: `check_weights` fails, or a file's content is not what it was; it is named.
    """
    check_weights(folder)
    manifest = WeightsManifest.read(folder)
    names = (
        {folder / name: record.sha256 for name, record in manifest.files.items()}
        if manifest
        else {file: file.resolve().name for file in _files(folder)}
    )
    expected = {file: name for file, name in names.items() if len(name) == _SHA256_DIGITS}
    for file, digest in zip(expected, sha256_all(expected, on_bytes), strict=True):
        if digest != expected[file]:
            name = file.relative_to(folder)
            raise SettingsError(_VARIABLE, f"{name} was altered; {_AGAIN}")
    return sum(file.stat().st_size for file in expected)


def sha256_all(files: Iterable[Path], on_bytes: Callable[[int], object]) -> list[str]:
    """The hashes of files; several are read at once."""
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(partial(sha256_of, on_bytes=on_bytes), files))


def read_ahead(folder: Path) -> None:
    """Start to read the weights into the host's cache, while the process imports its libraries."""

    def read(file: Path) -> None:
        with suppress(OSError), file.open("rb", buffering=0) as opened:  # loading reports it
            while opened.read(_BLOCK):
                pass

    for file in sorted(folder.rglob("*.safetensors")):
        Thread(target=read, args=(file,), daemon=True).start()  # not waited for at the end


def _files(folder: Path) -> list[Path]:
    """Every file but hidden ones, in order."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(folder).parts)
    )


def _check_sizes(folder: Path, manifest: WeightsManifest) -> None:
    for name, record in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise SettingsError(_VARIABLE, f"{name} is missing; {_AGAIN}")
        size = file.stat().st_size
        if size != record.size:
            problem = f"{name} has {size:,} of {record.size:,} bytes; {_AGAIN}"
            raise SettingsError(_VARIABLE, problem)
    for file in _weight_files(folder):
        name = file.relative_to(folder).as_posix()
        if name not in manifest.files:
            problem = f"{name} is not part of revision {manifest.revision[:12]}; {_AGAIN}"
            raise SettingsError(_VARIABLE, problem)


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that the folder must hold, by its indexes."""
    required: set[Path] = set()
    index = _json(folder / "model_index.json", folder)
    for component, kind in index.items():
        if not isinstance(kind, list) or kind[0] is None or component in _NOT_FILES:
            continue
        files = set((folder / component).glob("*.safetensors"))
        for shards in (folder / component).glob("*.safetensors.index.json"):
            files |= {shards.parent / name for name in _json(shards, folder)["weight_map"].values()}
        if not files:
            raise SettingsError(_VARIABLE, f"{component} has no weights; {_AGAIN}")
        required |= files
    return sorted(required)


def _check_header(file: Path, name: Path) -> None:
    """The header of a safetensors file says how long it must be (8 bytes, JSON, tensors)."""
    if not file.is_file():
        raise SettingsError(_VARIABLE, f"{name} is missing; {_AGAIN}")
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = opened.read(length) if length < size else b""
    try:
        tensors = json.loads(header)
    except ValueError:
        raise SettingsError(_VARIABLE, f"{name} is damaged; {_AGAIN}") from None
    end = max(
        (about["data_offsets"][1] for key, about in tensors.items() if key != "__metadata__"),
        default=0,
    )
    whole = 8 + length + end
    if size != whole:
        raise SettingsError(_VARIABLE, f"{name} has {size:,} of {whole:,} bytes; {_AGAIN}")


def _json(file: Path, folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError):
        name = file.relative_to(folder)
        raise SettingsError(_VARIABLE, f"{name} is damaged; {_AGAIN}") from None
    return content


def is_int8(weights: Path) -> bool:
    """Whether the folder holds the 8-bit form."""
    manifest = WeightsManifest.read(weights)
    return manifest is not None and manifest.form == INT8
