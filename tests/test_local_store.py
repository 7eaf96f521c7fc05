"""The local store."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from onetake.errors import StageError
from onetake.storage.local import LocalStore


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
    assert store.put(clip, "a b.mp4", "video/mp4") == "https://pod.example.com/files/a%20b.mp4"


def test_no_half_file_is_left(clip: Path, tmp_path: Path) -> None:
    """A copy that fails leaves nothing, and its error names no path."""
    blocked = tmp_path / "outputs"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(StageError, match=r"^store_failed: the output folder cannot") as raised:
        LocalStore(blocked).put(clip, "job.mp4", "video/mp4")
    assert str(tmp_path) not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == [clip, blocked]
