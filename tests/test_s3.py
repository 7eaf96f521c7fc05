"""The S3 store against real servers: SeaweedFS, and rclone for a missing bucket."""

import hashlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests
from servers import free_port, rclone, seaweedfs

from onetake.errors import StageError
from onetake.settings import Settings
from onetake.storage import open_store
from onetake.storage.s3 import S3Store, _endpoint

KEY, SECRET, BUCKET = "testkey", "testsecret", "clips"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SeaweedFS with one bucket."""
    with seaweedfs(tmp_path_factory.mktemp("weed"), KEY, SECRET) as url:
        boto3.client(
            "s3", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
            region_name="us-east-1",
        ).create_bucket(Bucket=BUCKET)  # fmt: skip
        yield url


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """40 MB that do not compress: three parts of a multipart upload."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"".join(hashlib.sha256(bytes([i, j])).digest() * 1250
                              for i in range(100) for j in range(10)))  # fmt: skip
    return path


def store(url: str, *, key: str = KEY, secret: str = SECRET, bucket: str = BUCKET,
          expiry: int = 600) -> S3Store:  # fmt: skip
    """The store that the environment would give."""
    made = open_store(
        Settings(
            BUCKET_ENDPOINT_URL=url, BUCKET_ACCESS_KEY_ID=key, BUCKET_SECRET_ACCESS_KEY=secret,
            BUCKET_NAME=bucket, link_expiry=expiry,
        )
    )  # fmt: skip
    assert isinstance(made, S3Store)
    return made


def test_a_link_gives_the_file_back(endpoint: str, clip: Path) -> None:
    """A file of several parts is stored whole, with its type, behind a presigned link."""
    link = store(endpoint).put(clip, "job-1.mp4", "video/mp4")
    answer = requests.get(link, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "video/mp4"
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(clip.read_bytes()).digest()
    assert urlsplit(link).path == f"/{BUCKET}/onetake/job-1.mp4"


def test_a_link_expires(endpoint: str, clip: Path) -> None:
    """After its life a link answers 403; a changed one does at once."""
    clip.write_bytes(b"short")
    link = store(endpoint, expiry=1).put(clip, "job-2.mp4", "video/mp4")
    changed = link.replace("X-Amz-Expires=1", "X-Amz-Expires=600")
    assert requests.get(changed, timeout=10).status_code == 403
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == ["1"]
    ends = time.monotonic() + 10
    while (status := requests.get(link, timeout=10).status_code) == 200:
        assert time.monotonic() < ends
        time.sleep(0.2)  # the server's clock is the event
    assert status == 403


def test_putting_again_replaces(endpoint: str, clip: Path) -> None:
    """The same key holds the last file."""
    clip.write_bytes(b"first")
    store(endpoint).put(clip, "job-3.mp4", "video/mp4")
    clip.write_bytes(b"second")
    link = store(endpoint).put(clip, "job-3.mp4", "video/mp4")
    assert requests.get(link, timeout=10).content == b"second"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"key": "otherkey"}, "BUCKET_ACCESS_KEY_ID"), ({"secret": "other"}, "BUCKET_SECRET")],
)
def test_a_wrong_key_is_named(
    wrong: dict[str, str], reason: str, endpoint: str, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused key or secret says which variable to check, and shows neither."""
    clip.write_bytes(b"short")
    with caplog.at_level(logging.INFO), pytest.raises(StageError, match=reason) as raised:
        store(endpoint, **wrong).put(clip, "job-4.mp4", "video/mp4")
    assert str(raised.value).startswith("store_failed: ")
    for word in (KEY, SECRET, "otherkey", endpoint.removeprefix("http://")):
        assert word not in str(raised.value)


def test_a_missing_bucket_is_named(tmp_path: Path, clip: Path) -> None:
    """A bucket that is not there is an error, not made."""
    clip.write_bytes(b"short")
    served = tmp_path / "served"
    (served / "other").mkdir(parents=True)
    with rclone(served, KEY, SECRET) as url:
        with pytest.raises(StageError, match=r"does not exist; check BUCKET_NAME"):
            store(url).put(clip, "job-5.mp4", "video/mp4")
        link = store(url, bucket="other").put(clip, "job-5.mp4", "video/mp4")
        assert requests.get(link, timeout=10).content == b"short"


def test_a_store_that_is_down(clip: Path) -> None:
    """An endpoint that nobody answers at is an error of the store, with no host in it."""
    clip.write_bytes(b"short")
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StageError, match=r"^store_failed: the bucket could not be") as raised:
        store(url).put(clip, "job-6.mp4", "video/mp4")
    assert "127.0.0.1" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://clips.nyc3.example.com", "https://nyc3.example.com"),
        ("https://nyc3.example.com/clips/", "https://nyc3.example.com"),
        ("https://s3.example.com/", "https://s3.example.com"),
    ],
)
def test_the_bucket_may_stand_in_the_endpoint(url: str, expected: str) -> None:
    """RunPod's examples put the bucket before the host; it is not doubled."""
    assert _endpoint(url, BUCKET) == expected
