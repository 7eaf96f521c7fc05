"""The local store."""

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from onetake.delivery.storage import DIFFERS
from onetake.delivery.storage.local import LocalStore
from onetake.runtime.errors import StageError


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A small file."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"frames")
    return path


def test_a_file_link_opens(clip: Path, tmp_path: Path) -> None:
    """The link is a file URL of an absolute path, spaces and all."""
    link = LocalStore(tmp_path / "my outputs").put(clip, "job 1.mp4", "video/mp4")
    assert link.startswith("file:///")
    assert Path(unquote(urlsplit(link).path)).read_bytes() == b"frames"


def test_a_served_folder_gives_web_links(clip: Path, tmp_path: Path) -> None:
    """Under a public URL the link is that URL and the key."""
    store = LocalStore(tmp_path / "outputs", "https://pod.example.com/files/")
    link = "https://pod.example.com/files/a%20b.mp4"
    assert store.put(clip, "a b.mp4", "video/mp4") == store.link("a b.mp4") == link


def test_no_half_file_is_left(clip: Path, tmp_path: Path) -> None:
    """A copy that fails leaves nothing, and its error names no path."""
    blocked = tmp_path / "outputs"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(StageError, match=r"^store_failed: the output folder cannot") as raised:
        LocalStore(blocked).put(clip, "job.mp4", "video/mp4")
    assert str(tmp_path) not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == [clip, blocked]


@pytest.mark.parametrize(
    "spoil", [lambda content: content[:-1], lambda content: b"F" + content[1:]], ids=["cut", "flip"]
)
def test_a_spoiled_copy_is_refused(
    clip: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that keeps less or something else is found out, and the earlier file stays."""

    def copy(source: Path, target: Path) -> None:
        target.write_bytes(spoil(source.read_bytes()))

    store = LocalStore(tmp_path / "outputs")
    store.put(clip, "job.mp4", "video/mp4")
    monkeypatch.setattr(shutil, "copyfile", copy)
    clip.write_bytes(b"frames, and more")
    with pytest.raises(StageError, match=f"^store_failed: {DIFFERS}$") as raised:
        store.put(clip, "job.mp4", "video/mp4")
    assert raised.value.detail.startswith("sent 16 bytes with SHA-256 ")
    assert [file.name for file in (tmp_path / "outputs").iterdir()] == ["job.mp4"]
    assert store.read("job.mp4") == b"frames"


def test_what_cannot_be_read_is_not_missing(tmp_path: Path) -> None:
    """A name that the disk refuses is an error without a path in it, not a missing object."""
    store = LocalStore(tmp_path)
    for use in (store.read, store.delete):
        with pytest.raises(
            StageError, match=r"folder cannot be \w+ \(File name too long\)"
        ) as raised:
            use("long" * 100)
        assert "longlong" not in str(raised.value)


def test_keys_below_a_prefix_move(clip: Path, tmp_path: Path) -> None:
    """They are listed with their folders, and an object has one key at a time."""
    store = LocalStore(tmp_path / "out")
    for key in ("quarantine/b.mp4", "quarantine/a.mp4", "c.mp4"):
        store.put(clip, key, "video/mp4")
    assert store.keys("quarantine/") == ["quarantine/a.mp4", "quarantine/b.mp4"]
    assert store.keys("nothing/") == []
    store.move("quarantine/a.mp4", "a.mp4")
    assert store.keys("quarantine/") == ["quarantine/b.mp4"]
    assert store.read("a.mp4") == clip.read_bytes()
    with pytest.raises(StageError, match="cannot be written"):
        store.move("quarantine/a.mp4", "a.mp4")
