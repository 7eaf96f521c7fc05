"""Weights are fetched whole or not at all, from anywhere, by anyone, after any fault."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onetake.models.catalogue import MODELS
from onetake.models.weights.manifest import WeightsManifest
from onetake.models.weights.places import embedded_weights
from tests.support.hub import Hub

ROOT = Path(__file__).parents[2]
KEY = "hf_key_of_a_test"
SPEC = MODELS["wan2.1-t2v-1.3b"]  # its place in the table, with the embedded model's files
LARGE = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub that has the model."""
    served = Hub(embedded_weights(), SPEC.repo_id, SPEC.revision)
    yield served
    served.go_on.set()
    served.shutdown()
    served.server_close()


def begin(
    hub: Hub | None, to: Path, *more: str, name: str = SPEC.name, **environment: str
) -> subprocess.Popen[str]:
    """`preload_weights.py` as the image build runs it, begun."""
    env = os.environ | {"HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9"} | environment
    command = [sys.executable, "builder/preload_weights.py", name, "--to", str(to), *more]
    return subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and its last line."""
    out, err = process.communicate(timeout=60)
    lines = (err if process.returncode else out).strip().splitlines()
    assert "Traceback" not in err
    return process.returncode, lines[-1] if lines else ""


def fetched(hub: Hub | None, to: Path, *more: str, **environment: str) -> tuple[int, str]:
    """`begin` and `ended`."""
    return ended(begin(hub, to, *more, **environment))


def whole(folder: Path) -> bool:
    """Whether every file is the original's."""
    files = [f for f in embedded_weights().rglob("*") if f.is_file() and f.name != "README.md"]
    return all(
        (folder / f.relative_to(embedded_weights())).read_bytes() == f.read_bytes() for f in files
    )


def test_the_hub_s_files_arrive_once(hub: Hub, tmp_path: Path) -> None:
    """They come with a manifest at the pinned revision; the second time nothing is sent."""
    assert fetched(hub, tmp_path)[0] == 0
    folder = tmp_path / SPEC.name
    assert whole(folder)
    manifest = WeightsManifest.read(folder)
    assert manifest is not None
    assert (manifest.revision, manifest.repo_id) == (SPEC.revision, SPEC.repo_id)
    sent = hub.sent
    code, line = fetched(hub, tmp_path)
    assert (code, hub.sent) == (0, sent)
    assert line.endswith("here already")


def test_a_token_comes_from_the_environment(hub: Hub, tmp_path: Path) -> None:
    """A repository that wants a token says so, and opens with it; the token is not printed."""
    hub.token = KEY
    code, line = fetched(hub, tmp_path)
    assert (code, line) == (
        1, f"fetch_failed: {SPEC.name}: the hub answered 401; check the token and try again",
    )  # fmt: skip
    assert fetched(hub, tmp_path, HF_TOKEN=KEY)[0] == 0


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    """No hub, and one that must not be asked."""
    code, line = fetched(None, tmp_path, HF_HUB_OFFLINE="1")
    assert code == 1
    assert "HF_HUB_OFFLINE" in line
    assert fetched(None, tmp_path)[1].endswith("the hub cannot be reached, or broke off; try again")


def test_a_killed_fetch_goes_on(hub: Hub, tmp_path: Path) -> None:
    """After SIGKILL in mid-file the same command fetches only what is missing."""
    hub.stop_after = 2_000_000
    process = begin(hub, tmp_path)
    assert hub.stopped.wait(60)
    while not any(note.stat().st_size for note in tmp_path.rglob("model_index.json.metadata")):
        assert process.poll() is None  # the small file is not only served, but noted as whole
    process.kill()
    process.communicate()
    assert not (tmp_path / SPEC.name).exists()
    hub.stop_after = None
    hub.go_on.set()
    assert fetched(hub, tmp_path)[0] == 0
    assert whole(tmp_path / SPEC.name)
    assert hub.served["model_index.json"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{SPEC.name}.lock", SPEC.name]


def test_a_line_that_is_cut_goes_on(hub: Hub, tmp_path: Path) -> None:
    """A connection that breaks in mid-file ends in one line, and the same command succeeds."""
    hub.stop_after, hub.cut = 1_000_000, True
    code, line = fetched(hub, tmp_path, HF_HUB_DOWNLOAD_TIMEOUT="5")
    assert (code, line.startswith(f"fetch_failed: {SPEC.name}: the hub cannot")) == (1, True)
    hub.stop_after = None
    assert fetched(hub, tmp_path)[0] == 0
    assert whole(tmp_path / SPEC.name)


def test_an_altered_file_is_named_and_fetched_again(hub: Hub, tmp_path: Path) -> None:
    """The hub's hash is held against what arrived."""
    hub.altered = LARGE
    assert fetched(hub, tmp_path) == (
        1, f"fetch_failed: {SPEC.name}: {LARGE} came altered; try again",
    )  # fmt: skip
    hub.altered = ""
    assert fetched(hub, tmp_path)[0] == 0
    assert whole(tmp_path / SPEC.name)


def test_two_at_once_do_not_meet(hub: Hub, tmp_path: Path) -> None:
    """One fetches, the other waits and finds it done."""
    hub.stop_after = 2_000_000
    first = begin(hub, tmp_path)
    assert hub.stopped.wait(60)
    second = begin(hub, tmp_path)
    hub.stop_after = None
    hub.go_on.set()
    lines = [ended(first), ended(second)]
    assert [code for code, _ in lines] == [0, 0]
    assert lines[1][1].endswith("here already")
    assert whole(tmp_path / SPEC.name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_seen_beforehand(hub: Hub, tmp_path: Path) -> None:
    """Nothing is sent to a disk that is too small, and its size is said."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m", "none", disk], check=False
    ).returncode:
        pytest.skip("this machine mounts nothing")
    try:
        (disk / "other").write_bytes(bytes(40 << 20))
        code, line = fetched(hub, disk)
        assert code == 1
        assert "GiB are needed" in line
        assert hub.sent == 0
        (disk / "other").unlink()
        assert fetched(hub, disk)[0] == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_cached_model_comes_first(tmp_path: Path) -> None:
    """RunPod's cache, whose links lead to files named by their hashes, is copied and checked."""
    cache = tmp_path / "volume" / "huggingface-cache" / "hub"
    repository = cache / f"models--{SPEC.repo_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / SPEC.revision
    shutil.copytree(embedded_weights(), snapshot)
    wrong = repository / "blobs" / ("0" * 64)
    wrong.parent.mkdir()
    (snapshot / LARGE).rename(wrong)
    (snapshot / LARGE).symlink_to(wrong)
    code, line = fetched(None, tmp_path, "--from", str(tmp_path / "volume"))
    assert (code, LARGE in line) == (1, True)
    manifest = WeightsManifest.describe(embedded_weights_copy(tmp_path), lambda _: None, **ABOUT)
    right = wrong.with_name(manifest.files[LARGE].sha256)
    wrong.rename(right)
    (snapshot / LARGE).unlink()
    (snapshot / LARGE).symlink_to(right)
    code, line = fetched(None, tmp_path, "--from", str(tmp_path / "volume"))
    assert (code, line.endswith("from a cached model")) == (0, True)
    assert whole(tmp_path / SPEC.name)


def test_a_volume_s_folder_is_copied(tmp_path: Path) -> None:
    """A folder with a manifest is held to it, and to the pinned revision."""
    volume = tmp_path / "volume"
    shutil.copytree(embedded_weights(), volume / SPEC.name)
    for ending in ("from a folder", "here already"):  # whose revision nobody knows
        assert fetched(None, tmp_path / "other", "--from", str(volume))[1].endswith(ending)
    WeightsManifest.describe(volume / SPEC.name, lambda _: None, **ABOUT | {"revision": "f" * 40})
    code, line = fetched(None, tmp_path, "--from", str(volume))
    assert (code, "holds revision ffffffffffff" in line) == (1, True)
    WeightsManifest.describe(volume / SPEC.name, lambda _: None, **ABOUT)
    assert fetched(None, tmp_path, "--from", str(volume))[0] == 0
    assert whole(tmp_path / SPEC.name)


def test_an_8_bit_form_is_copied_only(hub: Hub, tmp_path: Path) -> None:
    """It comes from a volume with what was fused into it, and from nowhere else."""
    name, volume = f"{SPEC.name}-int8", tmp_path / "volume"
    line = fetched(hub, tmp_path, "--from", str(volume), name=name)[1]
    assert line.endswith(f"{name} is in no folder here; `onetake weights quantise` makes it")
    shutil.copytree(embedded_weights(), volume / "models" / name)
    about = ABOUT | {"revision": f"{SPEC.revision}+brand:0.5", "form": "int8"}
    expected = WeightsManifest.describe(volume / "models" / name, lambda _: None, **about)
    assert fetched(hub, tmp_path, "--from", str(volume), name=name)[0] == 0
    got = WeightsManifest.read(tmp_path / name)
    assert got is not None
    assert (got.revision, got.form) == (expected.revision, "int8")


def test_a_damaged_folder_is_replaced(hub: Hub, tmp_path: Path) -> None:
    """A fetch over weights that are not whole mends them."""
    assert fetched(hub, tmp_path)[0] == 0
    (tmp_path / SPEC.name / LARGE).write_bytes(b"cut")
    assert fetched(hub, tmp_path)[0] == 0
    assert whole(tmp_path / SPEC.name)


ABOUT = {"model": SPEC.name, "repo_id": SPEC.repo_id, "revision": SPEC.revision}


def embedded_weights_copy(tmp_path: Path) -> Path:
    """The embedded model's files, where a manifest may be written."""
    return Path(shutil.copytree(embedded_weights(), tmp_path / "copy"))
