"""A job's pictures, clips and sounds: URL, data URI, base64 or a volume's file, checked first."""

import base64
import binascii
import re
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urljoin

import requests
from PIL import Image

from onetake.media.fetch.guard import _check_scheme, _public_adapter, _UrlError
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings

MAX_BYTES = 32 << 20
MAX_VIDEO_BYTES = 256 << 20
MIN_SIDE = 16
DEADLINE = 60.0  # seconds for one input, redirects and all
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 15.0  # seconds
MAX_REDIRECTS = 5
# Pillow's own guard warns or raises by configuration; `_check_picture` is stricter.
Image.MAX_IMAGE_PIXELS = None
_PICTURE = "a JPEG, PNG or WebP picture"
_KINDS = {"video": "an MP4, MOV or WebM video", "audio": "a WAV file"}  # of other fields
_DATA_URI = re.compile(r"data:[\w/+.-]*(;[\w=.-]+)*;base64,", re.IGNORECASE)


def _kind(field: str) -> str:
    return _KINDS.get(field, _PICTURE)


def _most_bytes(field: str) -> int:
    return MAX_VIDEO_BYTES if field == "video" else MAX_BYTES


def _read(source: str, field: str, settings: Settings) -> bytes:
    if re.match(r"https?://", source, re.IGNORECASE):
        return _download(source, field, allow_private=settings.allow_private_inputs)
    if uri := _DATA_URI.match(source):
        return _decode_base64(source[uri.end() :], field)
    if re.match(r"[a-z][a-z0-9+.-]*:", source, re.IGNORECASE):
        raise JobError(
            field, f"has a scheme that is not served; give an https URL of {_kind(field)}"
        )
    if source.startswith("/") and "." in source:  # base64 has no dot, every picture's name has
        return _read_volume(source, field, settings.inputs_dir)
    return _decode_base64(source, field)


def _decode_base64(text: str, field: str) -> bytes:
    try:
        data = base64.b64decode(re.sub(r"\s+", "", text), validate=True)
    except (binascii.Error, ValueError):
        problem = f"is neither a URL, a data URI nor base64; give an https URL of {_kind(field)}"
        raise JobError(field, problem) from None
    return _capped(data, field)


def _read_volume(source: str, field: str, root: Path | None) -> bytes:
    if root is None:
        raise JobError(field, "names a file, and this worker takes none; give an https URL")
    try:
        path = Path(source).resolve()
        inside = path.is_relative_to(root.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # no name at all, or links in a circle
        inside = False
    if not inside:
        raise JobError(field, "is no file of the worker's input folder; check its name")
    with path.open("rb") as opened:
        return _capped(opened.read(_most_bytes(field) + 1), field)


def _capped(data: bytes, field: str) -> bytes:
    most = _most_bytes(field)
    if len(data) > most:
        raise JobError(field, f"is larger than {most >> 20} MiB; send a smaller one")
    return data


def _download(url: str, field: str, *, allow_private: bool) -> bytes:
    """The body at ``url`` before the deadline, whatever the server does.

    A server can send a byte now and then and never time out, so it is read by a thread of its own,
    which is left behind when the deadline passes.
    """
    fetched: Future[bytes] = Future()

    def fetch() -> None:
        try:
            fetched.set_result(_follow(url, field, allow_private=allow_private))
        except BaseException as error:  # noqa: BLE001 - handed over to the one who waits
            fetched.set_exception(error)

    threading.Thread(target=fetch, name="fetch", daemon=True).start()
    try:
        return fetched.result(DEADLINE)
    except TimeoutError:
        raise JobError(
            field,
            f"its URL took over {DEADLINE:g} s; give a faster one",
            code="input_unreachable",
        ) from None


def _follow(url: str, field: str, *, allow_private: bool) -> bytes:
    """The body at ``url``, following redirects, each to a public address only."""
    ends = time.monotonic() + DEADLINE
    with requests.Session() as session:
        session.trust_env = False  # no proxies, and no credentials from a .netrc
        if not allow_private:
            adapter = _public_adapter()
            session.mount("http://", adapter)
            session.mount("https://", adapter)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                if not allow_private:
                    _check_scheme(url)
                with session.get(
                    url,
                    stream=True,
                    allow_redirects=False,
                    timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                ) as answer:
                    if answer.is_redirect:
                        url = urljoin(url, answer.headers["Location"])
                        continue
                    return _body(answer, field, ends)
            except _UrlError as refused:
                raise JobError(field, refused.problem, code=refused.code) from None
            except (requests.RequestException, ValueError):  # a broken address among them
                raise JobError(
                    field, "its URL could not be fetched; check it", code="input_unreachable"
                ) from None
    raise JobError(
        field, f"its URL redirects over {MAX_REDIRECTS} times; give the last one",
        code="input_unreachable",
    )  # fmt: skip


def _body(answer: requests.Response, field: str, ends: float) -> bytes:
    if answer.status_code != requests.codes.ok:
        raise JobError(
            field,
            f"its URL answered {answer.status_code}; give one that answers with {_kind(field)}",
            code="input_unreachable",
        )
    data = bytearray()
    for chunk in answer.iter_content(1 << 16):
        data += chunk
        if len(data) > _most_bytes(field) or time.monotonic() > ends:
            break  # too large, or nobody waits any more
    return _capped(bytes(data), field)
