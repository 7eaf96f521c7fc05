"""The S3 store against real servers, SeaweedFS and rclone, some behind a proxy that spoils."""

import contextlib
import hashlib
import http.client
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests

from onetake.delivery.storage import DIFFERS, open_job_store, open_store
from onetake.delivery.storage.s3.access import without_bucket
from onetake.delivery.storage.s3.bucket import S3Store
from onetake.runtime.errors import JobError, StageError
from onetake.runtime.settings import Settings
from tests.support.servers import free_port, rclone, seaweedfs

KEY, SECRET, BUCKET = "testkey", "testsecret", "clips"
MIB = 1 << 20
PART = 16 * MIB  # a file of this size or more is sent in parts
SIZES = pytest.mark.parametrize("size", [1000, PART + 1000], ids=["one part", "two parts"])


def client(url: str) -> Any:
    """A plain client, to look behind the store."""
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )  # fmt: skip


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SeaweedFS with one bucket."""
    with seaweedfs(tmp_path_factory.mktemp("weed"), KEY, SECRET) as url:
        client(url).create_bucket(Bucket=BUCKET)
        yield url


@pytest.fixture(scope="module")
def rclone_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Rclone with one bucket."""
    served = tmp_path_factory.mktemp("rclone")
    (served / BUCKET).mkdir()
    with rclone(served, KEY, SECRET) as url:
        yield url


@pytest.fixture(params=["endpoint", "rclone_endpoint"], ids=["seaweedfs", "rclone"])
def each(request: pytest.FixtureRequest) -> str:
    """Each server, since their ETags differ."""
    return str(request.getfixturevalue(request.param))


@dataclass
class Answer:
    """A store's answer on its way back through the proxy; header names are in lower case."""

    method: str
    status: int
    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def proxy(
    upstream: str,
    spoil_file: Callable[[bytes], bytes] = bytes,
    spoil_answer: Callable[[Answer], object] = lambda _: None,
) -> Iterator[str]:
    """A real proxy before a store, which spoils what is put, or what is answered, or neither."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # boto awaits 100 Continue

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.command == "PUT":
                body = spoil_file(body)
            dropped = {"content-length", "expect", "connection"}
            headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
            with contextlib.closing(http.client.HTTPConnection(urlsplit(upstream).netloc)) as store:
                store.request(self.command, self.path, body or None, headers)
                response = store.getresponse()
                received = {k.lower(): v for k, v in response.getheaders()}
                answer = Answer(self.command, response.status, received, response.read())
            spoil_answer(answer)
            if self.command != "HEAD":  # whose length is that of an object it does not send
                answer.headers["content-length"] = str(len(answer.body))
            answer.headers.pop("transfer-encoding", None)
            self.send_response_only(answer.status)
            for name, value in {**answer.headers, "connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = relay  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def flip(content: bytes) -> bytes:
    """One bit of the last byte is another."""
    return content[:-1] + bytes([content[-1] ^ 1]) if content else content


def cut(content: bytes) -> bytes:
    """The last byte is lost."""
    return content[:-1]


def noise(size: int) -> bytes:
    """Content of that size which does not compress."""
    return hashlib.shake_128(b"frames").digest(size)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """40 MiB: three parts of a multipart upload."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(noise(40 * MIB))
    return path


def store(url: str, *, key: str = KEY, secret: str = SECRET, bucket: str = BUCKET,
          expiry: int = 600) -> S3Store:  # fmt: skip
    """The store that the environment would give."""
    opened = open_store(
        Settings(
            BUCKET_ENDPOINT_URL=url, BUCKET_ACCESS_KEY_ID=key, BUCKET_SECRET_ACCESS_KEY=secret,
            BUCKET_NAME=bucket, link_expiry=expiry,
        )
    )  # fmt: skip
    assert isinstance(opened, S3Store)
    return opened


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


@SIZES
def test_keys_below_a_prefix_move(each: str, clip: Path, size: int) -> None:
    """They are listed without the operator's prefix, and an object has one key at a time."""
    clip.write_bytes(noise(size))
    bucket = store(each)
    for key in (f"quarantine{size}/b.mp4", f"quarantine{size}/a.mp4"):
        bucket.put(clip, key, "video/mp4")
    assert bucket.keys(f"quarantine{size}/") == [
        f"quarantine{size}/a.mp4", f"quarantine{size}/b.mp4",
    ]  # fmt: skip
    bucket.move(f"quarantine{size}/a.mp4", f"moved{size}.mp4")
    assert bucket.keys(f"quarantine{size}/") == [f"quarantine{size}/b.mp4"]
    assert bucket.read(f"moved{size}.mp4") == clip.read_bytes()
    with pytest.raises(StageError):
        bucket.move(f"quarantine{size}/a.mp4", f"moved{size}.mp4")


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


@pytest.mark.parametrize("size", [0, 1000, PART - 1, PART, PART + 1, 2 * PART])
def test_servers_differ_in_their_etags(each: str, clip: Path, size: int) -> None:
    """Whole files are taken, whether an ETag is the MD5 of the whole or of the parts' MD5s."""
    content = noise(size)
    clip.write_bytes(content)
    link = store(each).put(clip, "etag.mp4", "video/mp4")
    parts = [content[start : start + PART] for start in range(0, size, PART)]
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
    answer = requests.get(link, timeout=30)
    if answer.headers["Server"].startswith("SeaweedFS") and size >= PART:
        etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
    assert answer.headers["ETag"] == f'"{etag}"'
    assert answer.content == content


@SIZES
@pytest.mark.parametrize("spoil", [flip, cut])
def test_a_file_spoiled_on_its_way_is_refused(
    each: str, clip: Path, size: int, spoil: Callable[[bytes], bytes]
) -> None:
    """Neither server checks what arrives against the signature; a byte that differs is found."""
    clip.write_bytes(noise(size))
    with proxy(each, spoil_file=spoil) as url:
        with pytest.raises(StageError) as raised:
            store(url).put(clip, "spoiled.mp4", "video/mp4")
        assert str(raised.value) == f"store_failed: {DIFFERS}"
        assert f"sent {size} bytes" in raised.value.detail
        assert store(each).read("spoiled.mp4") is None


@SIZES
def test_a_proxy_that_spoils_nothing_changes_nothing(each: str, clip: Path, size: int) -> None:
    """A whole file is taken by its ETag alone; what other tests refuse is refused for cause."""
    clip.write_bytes(noise(size))
    methods: list[str] = []
    with proxy(each, spoil_answer=lambda answer: methods.append(answer.method)) as url:
        store(url).put(clip, "whole.mp4", "video/mp4")
    assert methods[-1] == "HEAD"
    assert "GET" not in methods
    assert store(each).read("whole.mp4") == noise(size)


def on_head(**changed: str) -> Callable[[Answer], None]:
    """Give a HEAD's answer other headers; ``_`` in their names stands for a dash."""

    def spoil(answer: Answer) -> None:
        if answer.method == "HEAD":
            answer.headers.update({k.replace("_", "-"): v for k, v in changed.items()})

    return spoil


OTHER_MD5 = '"00000000000000000000000000000000"'
OTHER_PARTS = '"00000000000000000000000000000000-1"'


@pytest.mark.parametrize(
    "answered",
    [
        on_head(content_length="999"),
        on_head(content_length="999", etag="", x_amz_server_side_encryption="aws:kms"),
        on_head(etag=OTHER_MD5),
        on_head(etag=OTHER_MD5, x_amz_server_side_encryption="AES256"),
        on_head(etag=f'"{"A" * 32}"'),
    ],
    ids=["size", "size under KMS", "MD5", "MD5 under SSE-S3", "MD5 in capitals"],
)
def test_a_store_that_tells_of_another_file_is_refused(
    endpoint: str, clip: Path, answered: Callable[[Answer], None]
) -> None:
    """A size, or a checksum that can be trusted, which is not the file's is a refusal."""
    clip.write_bytes(noise(1000))
    with (
        proxy(endpoint, spoil_answer=answered) as url,
        pytest.raises(StageError, match=DIFFERS),
    ):
        store(url).put(clip, "other.mp4", "video/mp4")
    assert store(endpoint).read("other.mp4") is None


@pytest.mark.parametrize(
    "answered",
    [
        on_head(etag=""),
        on_head(etag='"CKicn4fknf8CEAE="'),
        on_head(etag=OTHER_MD5, x_amz_server_side_encryption="aws:kms"),
        on_head(etag=OTHER_PARTS, x_amz_server_side_encryption="aws:kms:dsse"),
        lambda answer: answer.headers.update(etag=answer.headers.get("etag", "").upper()),
    ],
    ids=["none", "another form", "KMS", "KMS twice", "capitals"],
)
def test_an_etag_that_says_nothing_is_no_refusal(
    endpoint: str, clip: Path, answered: Callable[[Answer], None]
) -> None:
    """No take is lost for an ETag that is no checksum, or is written in capitals."""
    clip.write_bytes(noise(1000))
    with proxy(endpoint, spoil_answer=answered) as url:
        store(url).put(clip, "silent.mp4", "video/mp4")
    assert store(endpoint).read("silent.mp4") == noise(1000)


def test_parts_counted_otherwise_are_read_back(endpoint: str, clip: Path) -> None:
    """Where the ETag of parts is the server's own, whole content is taken all the same."""
    clip.write_bytes(noise(PART + 1000))
    with proxy(endpoint, spoil_answer=on_head(etag=OTHER_PARTS)) as url:
        store(url).put(clip, "own.mp4", "video/mp4")
    assert store(endpoint).read("own.mp4") == noise(PART + 1000)


def test_spoiled_parts_counted_otherwise_are_refused(endpoint: str, clip: Path) -> None:
    """Where the ETag of parts is the server's own, the content that is read back decides."""
    clip.write_bytes(noise(PART + 1000))
    with (
        proxy(endpoint, flip, on_head(etag=OTHER_PARTS)) as url,
        pytest.raises(StageError, match=DIFFERS),
    ):
        store(url).put(clip, "own.mp4", "video/mp4")
    assert store(endpoint).read("own.mp4") is None


def test_a_spoiled_file_that_cannot_be_deleted(endpoint: str, clip: Path) -> None:
    """The refusal stays the error, and its detail says that the object is still there."""

    def keep(answer: Answer) -> None:
        if answer.method == "DELETE":
            answer.status = 403

    clip.write_bytes(noise(1000))
    with (
        proxy(endpoint, flip, keep) as url,
        pytest.raises(StageError, match=DIFFERS) as raised,
    ):
        store(url).put(clip, "kept.mp4", "video/mp4")
    assert "not deleted: An error occurred (403)" in raised.value.detail


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "the key may not read"), (404, "does not hold what was sent")]
)
def test_a_store_that_does_not_show_what_it_took(
    endpoint: str, clip: Path, status: int, reason: str
) -> None:
    """What cannot be verified is not linked to, and the error says why it could not be."""

    def hide(answer: Answer) -> None:
        if answer.method == "HEAD":
            answer.status = status

    clip.write_bytes(noise(1000))
    with proxy(endpoint, spoil_answer=hide) as url, pytest.raises(StageError, match=reason):
        store(url).put(clip, "hidden.mp4", "video/mp4")


def test_a_missing_bucket_is_no_missing_object(rclone_endpoint: str) -> None:
    """Reading and deleting tell a bucket that is not there from an object that is not there."""
    present, gone = store(rclone_endpoint), store(rclone_endpoint, bucket="gone")
    assert present.read("none.json") is None
    for use in (gone.read, gone.delete):
        with pytest.raises(StageError, match="the bucket does not exist; check BUCKET_NAME"):
            use("none.json")


@pytest.mark.parametrize("body", [b"<Error><Code>NoSuchKey</Code></Error>", b""])
def test_a_server_may_miss_what_is_not_there(endpoint: str, body: bytes) -> None:
    """An answer of 404 to a deletion is no failure; without a body it means the same."""

    def miss(answer: Answer) -> None:
        methods.append(answer.method)
        answer.status, answer.body = 404, body

    methods: list[str] = []
    with proxy(endpoint, spoil_answer=miss) as url:
        store(url).delete("never.json")
        assert store(url).read("never.json") is None
    assert methods == ["DELETE", "GET"]


def test_no_error_shows_a_key(endpoint: str, clip: Path) -> None:
    """A server that repeats the key in its answer does not bring it into an error or the log."""

    def tell(answer: Answer) -> None:
        answer.status = 403
        words = f"{KEY} is not known, nor is {SECRET}"
        answer.body = f"<Error><Code>Unknown</Code><Message>{words}</Message></Error>".encode()

    clip.write_bytes(b"short")
    with proxy(endpoint, spoil_answer=tell) as url:
        bucket = store(url)
        for use in (lambda: bucket.put(clip, "a.mp4", "video/mp4"), lambda: bucket.read("a.mp4")):
            with pytest.raises(StageError) as raised:
                use()
            assert "*** is not known, nor is ***" in raised.value.detail
            logged = "".join(traceback.format_exception(raised.value))
            assert KEY not in logged
            assert SECRET not in logged


def test_a_key_with_a_line_break_is_not_shown(endpoint: str) -> None:
    """A key that cannot be sent is quoted by boto, and taken out of its words."""
    with pytest.raises(StageError) as raised:
        store(endpoint, key="otherkey\n").read("a.json")
    assert "Credential=***" in raised.value.detail
    assert "otherkey" not in raised.value.detail


def test_a_store_shows_no_key(endpoint: str) -> None:
    """Neither a store nor what it is made of shows the key or the secret when it is printed."""
    opened = store(endpoint)
    for shown in (repr(opened), str(opened), repr(vars(opened))):
        assert KEY not in shown
        assert SECRET not in shown
    assert "S3Store" in repr(opened)


def s3_config(url: str, **changed: object) -> dict[str, object]:
    """A request's `s3Config` for the test servers."""
    config = {"accessId": KEY, "accessSecret": SECRET, "bucketName": BUCKET, "endpointUrl": url}
    return {**config, **changed}


def test_a_job_may_bring_its_bucket(endpoint: str, clip: Path) -> None:
    """A job's result goes to the bucket of its `s3Config`, below the worker's prefix."""
    clip.write_bytes(b"frames")
    settings = Settings(
        allow_private_inputs=True, link_expiry=600, BUCKET_PREFIX="ours/", BUCKET_NAME="other"
    )
    hosts: list[str] = []
    opened = open_job_store(s3_config(endpoint, region=None), settings, hosts.append)
    link = opened.put(clip, "job.mp4", "video/mp4")
    assert requests.get(link, timeout=10).content == b"frames"
    assert urlsplit(link).path == f"/{BUCKET}/ours/job.mp4"
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == ["600"]
    assert opened.read("job.mp4") == b"frames"
    assert hosts == []


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://s3.example.com", "s3.example.com"),
        ("HTTP://S3.example.com:9000/clips/", "s3.example.com"),
        ("https://clips.nyc3.example.com/", "nyc3.example.com"),
        ("http://clips.127.0.0.1:8000", "127.0.0.1"),
        ("http://clips.localhost", "localhost"),
    ],
)
def test_a_job_reaches_public_hosts_only(url: str, host: str) -> None:
    """The host that is asked about is the one connected to, the bucket's name taken off."""
    hosts: list[str] = []
    opened = open_job_store(s3_config(url), Settings(), lambda name: not hosts.append(name))
    assert hosts == [host]
    assert urlsplit(opened.link("a.mp4")).hostname == host
    with pytest.raises(JobError) as raised:
        open_job_store(s3_config(url), Settings(), lambda _: False)
    assert str(raised.value) == (
        "input_forbidden: s3Config.endpointUrl: "
        "leads to a private address, or to none; give a public one"
    )


@pytest.mark.parametrize("field", ["accessId", "accessSecret", "bucketName", "endpointUrl"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "is missing; give accessId, accessSecret, bucketName, endpointUrl"),
        ("", "is no text, or empty; give it as text"),
        (31415926, "is no text, or empty; give it as text"),
        (["private"], "is no text, or empty; give it as text"),
        ("private thing", None),
        ("private\n", None),
        ("privat\u00e9", None),
    ],
)
def test_a_wrong_job_bucket_names_its_field(field: str, value: object, problem: str | None) -> None:
    """A value that cannot be is refused by the field's name and what to do, and not repeated."""
    with pytest.raises(JobError) as raised:
        open_job_store(
            s3_config("https://s3.example.com", **{field: value}), Settings(), lambda _: True
        )
    assert raised.value.field == f"s3Config.{field}"
    assert problem is None or str(raised.value) == f"invalid_input: s3Config.{field}: {problem}"
    for part in ("privat", "31415926", KEY, SECRET):
        assert part not in f"{raised.value} {raised.value.detail}"


@pytest.mark.parametrize(
    "url",
    [
        "s3.example.com", "ftp://private.example.com", "https://", "https://clips.",
        "http://clips.:9000", "https://user:private@example.com", "https://example.com?private",
        "https://example.com#private", "https://example.com:99999", "https://-private.example.com",
        "https://private..example.com", "http://example.com\\@127.0.0.1", "http://[::1]:9000",
        f"https://{'private.' * 40}com",
    ],
)  # fmt: skip
def test_a_job_endpoint_is_a_plain_web_address(url: str) -> None:
    """What is no host with a port and a path, however it is read, is refused before any work."""
    with pytest.raises(JobError, match=r"s3Config\.endpointUrl: is no web address") as raised:
        open_job_store(s3_config(url), Settings(), lambda _: True)
    assert "private" not in str(raised.value)


@pytest.mark.parametrize("name", ["a/b", "..", "arn:aws:s3:us-east-1:1:accesspoint/a", "a" * 256])
def test_a_job_bucket_is_a_plain_name(name: str) -> None:
    """A name that leads out of the bucket, or away from the endpoint, is refused."""
    with pytest.raises(JobError, match=r"s3Config\.bucketName: is no bucket's name; give"):
        open_job_store(s3_config("https://example.com", bucketName=name), Settings(), str.isascii)


@pytest.mark.parametrize("config", ["private", ["private"], 1])
def test_a_job_bucket_is_an_object(config: Any) -> None:
    """Anything but an object is refused, and not repeated."""
    with pytest.raises(JobError, match=r"s3Config: is no object; give accessId") as raised:
        open_job_store(config, Settings(), lambda _: True)
    assert "private" not in str(raised.value)


def test_an_unknown_field_of_a_job_bucket() -> None:
    """A field that is none is refused by its name, in one line, and its value is not repeated."""
    config = s3_config("https://s3.example.com", **{"re\ngion": "private"})
    with pytest.raises(JobError, match=r"is no field of s3Config; give accessId") as raised:
        open_job_store(config, Settings(), lambda _: True)
    assert str(raised.value).startswith("unknown_field: s3Config.re\\ngion: ")
    assert "private" not in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value", "server"),
    [
        ("accessId", "otherkey", "endpoint"),
        ("accessSecret", "other", "endpoint"),
        ("bucketName", "gone", "rclone_endpoint"),
    ],
)
def test_a_refused_job_bucket_names_its_field(
    field: str, value: str, server: str, clip: Path, request: pytest.FixtureRequest
) -> None:
    """What a job's bucket refuses is the job's to check, and its error shows no value."""
    clip.write_bytes(b"short")
    config = s3_config(request.getfixturevalue(server), **{field: value})
    opened = open_job_store(config, Settings(allow_private_inputs=True), lambda _: True)
    with pytest.raises(StageError, match=rf"check s3Config\.{field}$") as raised:
        opened.put(clip, "job.mp4", "video/mp4")
    for word in (str(config["accessId"]), str(config["accessSecret"])):
        assert word not in f"{raised.value} {raised.value.detail}"


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
    assert without_bucket(url, BUCKET) == expected
