"""What every store must keep."""

from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from servers import rclone

from onetake.settings import Settings
from onetake.storage import STORES, Store, open_store


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each store of the table, empty."""
    if request.param == "local":
        yield open_store(Settings(output_dir=tmp_path / "outputs"))
        return
    served = tmp_path / "served"
    (served / "clips").mkdir(parents=True)
    with rclone(served, "key", "secret") as endpoint:
        yield open_store(
            Settings(
                BUCKET_ENDPOINT_URL=endpoint,
                BUCKET_ACCESS_KEY_ID="key",
                BUCKET_SECRET_ACCESS_KEY="secret",  # noqa: S106 - the test server's own
                BUCKET_NAME="clips",
            )
        )


def put(store: Store, tmp_path: Path, content: bytes, key: str = "job.mp4") -> bytes:
    """Store ``content`` and read its link back."""
    file = tmp_path / "clip"
    file.write_bytes(content)
    with urlopen(store.put(file, key, "video/mp4"), timeout=10) as answer:  # noqa: S310 - its own link
        return bytes(answer.read())


def test_a_link_gives_the_file_back(store: Store, tmp_path: Path) -> None:
    """What was put is what the link gives."""
    assert put(store, tmp_path, b"frames") == b"frames"


def test_putting_again_replaces(store: Store, tmp_path: Path) -> None:
    """The same key holds the last file, as a job that is delivered twice needs."""
    put(store, tmp_path, b"first")
    assert put(store, tmp_path, b"second") == b"second"


def test_keys_may_hold_folders_and_spaces(store: Store, tmp_path: Path) -> None:
    """A key is any relative path."""
    assert put(store, tmp_path, b"frames", "spring campaign/42.mp4") == b"frames"
