"""What every store must keep."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from onetake.delivery.storage import DIFFERS, STORES, Store, open_store
from onetake.runtime.errors import StageError
from onetake.runtime.settings import Settings
from tests.support.servers import free_port, rclone


def bucket(endpoint: str) -> Store:
    """The store of the test server's bucket."""
    return open_store(
        Settings(
            BUCKET_ENDPOINT_URL=endpoint,
            BUCKET_ACCESS_KEY_ID="key",
            BUCKET_SECRET_ACCESS_KEY="secret",  # noqa: S106 - the test server's own
            BUCKET_NAME="clips",
        )
    )


def row(module: str) -> str:
    """The last word of a module of the table, for tests' names."""
    return module.rpartition(".")[2]


@pytest.fixture(params=STORES, ids=row)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each store of the table, empty."""
    if row(request.param) == "local":
        yield open_store(Settings(output_dir=tmp_path / "outputs"))
        return
    served = tmp_path / "served"
    (served / "clips").mkdir(parents=True)
    with rclone(served, "key", "secret") as endpoint:
        yield bucket(endpoint)


@pytest.fixture(params=STORES, ids=row)
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each store of the table, where nothing can be done."""
    if row(request.param) == "s3":
        return bucket(f"http://127.0.0.1:{free_port()}")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    return open_store(Settings(output_dir=tmp_path / "circle"))


def fetched(link: str) -> bytes:
    """What ``link`` gives."""
    with urlopen(link, timeout=10) as answer:  # noqa: S310 - the store's own link
        return bytes(answer.read())


def put(store: Store, tmp_path: Path, content: bytes, key: str = "job.mp4") -> bytes:
    """Store ``content`` and read its link back."""
    file = tmp_path / "clip"
    file.write_bytes(content)
    return fetched(store.put(file, key, "video/mp4"))


def test_a_link_gives_the_file_back(store: Store, tmp_path: Path) -> None:
    """What was put is what the link gives."""
    assert put(store, tmp_path, b"frames") == b"frames"


def test_an_empty_file_is_stored(store: Store, tmp_path: Path) -> None:
    """A file without content is one too, and is no missing one."""
    assert put(store, tmp_path, b"") == b""
    assert store.read("job.mp4") == b""


def test_putting_again_replaces(store: Store, tmp_path: Path) -> None:
    """The same key holds the last file, as a job that is delivered twice needs."""
    put(store, tmp_path, b"first")
    assert put(store, tmp_path, b"second") == b"second"


def test_keys_may_hold_folders_and_spaces(store: Store, tmp_path: Path) -> None:
    """A key is any relative path."""
    key = "spring campaign/42.mp4"
    assert put(store, tmp_path, b"frames", key) == b"frames"
    assert store.read(key) == b"frames"


def test_a_fresh_link_can_be_had_later(store: Store, tmp_path: Path) -> None:
    """An object that is there can be linked to without putting it again."""
    put(store, tmp_path, b"frames", "a b/42.mp4")
    assert fetched(store.link("a b/42.mp4")) == b"frames"


def test_what_was_put_can_be_read(store: Store, tmp_path: Path) -> None:
    """A key's content is its own, and the last that was put."""
    put(store, tmp_path, b"first", "a.json")
    put(store, tmp_path, b"second", "a.json")
    put(store, tmp_path, b"other", "b.json")
    assert (store.read("a.json"), store.read("b.json")) == (b"second", b"other")


@pytest.mark.parametrize("key", ["none.json", "folder", "folder/none.json", "folder/a.json/b"])
def test_what_is_not_there_reads_as_none(store: Store, tmp_path: Path, key: str) -> None:
    """A key without an object is no failure, not even where its folder is."""
    assert store.read(key) is None
    put(store, tmp_path, b"other", "folder/a.json")
    assert store.read(key) is None


def test_deleting_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """A deleted object is gone, its neighbour is not, and its key can be used again."""
    put(store, tmp_path, b"frames", "a/job.mp4")
    put(store, tmp_path, b"other", "a/other.mp4")
    store.delete("a/job.mp4")
    assert (store.read("a/job.mp4"), store.read("a/other.mp4")) == (None, b"other")
    assert put(store, tmp_path, b"again", "a/job.mp4") == b"again"


def test_deleting_what_is_not_there_is_no_error(store: Store, tmp_path: Path) -> None:
    """Deleting twice, or what never was, ends as deleting once does."""
    put(store, tmp_path, b"frames")
    for key in ("job.mp4", "job.mp4", "none/never.mp4"):
        store.delete(key)
        assert store.read(key) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that changes by itself")
def test_what_differs_from_the_file_is_not_kept(store: Store) -> None:
    """A file that changes while it is stored is refused, and nothing is left of it."""
    # The kernel says it is empty, and gives other content with each read.
    changing = Path("/proc/uptime")
    with pytest.raises(StageError) as raised:
        store.put(changing, "job.mp4", "video/mp4")
    assert str(raised.value) == f"store_failed: {DIFFERS}"
    assert "sent 0 bytes" in raised.value.detail
    assert store.read("job.mp4") is None


@pytest.mark.parametrize(
    "use",
    [
        lambda store, file: store.put(file, "job.mp4", "video/mp4"),
        lambda store, _: store.read("job.mp4"),
        lambda store, _: store.delete("job.mp4"),
    ],
    ids=["put", "read", "delete"],
)
def test_a_broken_store_is_an_error(
    broken: Store, use: Callable[[Store, Path], object], tmp_path: Path
) -> None:
    """What cannot be done is an error of the store, not an object that is missing."""
    file = tmp_path / "clip"
    file.write_bytes(b"frames")
    with pytest.raises(StageError, match=r"^store_failed: the \w+ ") as raised:
        use(broken, file)
    for word in (str(tmp_path), "127.0.0.1"):
        assert word not in str(raised.value)
