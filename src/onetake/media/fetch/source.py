"""The bytes of an input: of a URL, a data URI, base64 or a file of the worker's volume."""

import base64
import binascii
import re
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import requests

from onetake.media.fetch.guard import UrlError, check_scheme, public_adapter
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings

DEADLINE = 60.0  # seconds for one input, with all redirects
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 15.0  # seconds
MAX_REDIRECTS = 5
_DATA_URI = re.compile(r"data:[\w/+.-]*(;[\w=.-]+)*;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class Expected:
    """What a request field should hold; refusals say so."""

    field: str
    description: str  # completes "give ..."
    max_bytes: int


def read_source(source: str, expected: Expected, settings: Settings) -> bytes:
    """The bytes that ``source`` names.

    Raises:
        JobError: they cannot be read, or are more than ``expected`` allows.
    """
    source = source.strip()
    if re.match(r"https?://", source, re.IGNORECASE):
        return _download(source, expected, allow_private=settings.allow_private_inputs)
    if uri := _DATA_URI.match(source):
        return _decode_base64(source[uri.end() :], expected)
    if re.match(r"[a-z][a-z0-9+.-]*:", source, re.IGNORECASE):
        problem = "has a scheme that is not served; give an https URL of"
        raise JobError(expected.field, f"{problem} {expected.description}")
    if source.startswith("/") and "." in source:  # base64 has no dot, every picture's name has
        return _read_volume(source, expected, settings.inputs_dir)
    return _decode_base64(source, expected)


def _decode_base64(text: str, expected: Expected) -> bytes:
    try:
        data = base64.b64decode(re.sub(r"\s+", "", text), validate=True)
    except (binascii.Error, ValueError):
        problem = "is neither a URL, a data URI nor base64; give an https URL of"
        raise JobError(expected.field, f"{problem} {expected.description}") from None
    return _checked_size(data, expected)


def _read_volume(source: str, expected: Expected, root: Path | None) -> bytes:
    if root is None:
        raise JobError(
            expected.field, "names a file, and this worker takes none; give an https URL"
        )
    try:
        path = Path(source).resolve()
        inside = path.is_relative_to(root.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # an impossible name, or links in a circle
        inside = False
    if not inside:
        raise JobError(expected.field, "is no file of the worker's input folder; check its name")
    with path.open("rb") as opened:
        return _checked_size(opened.read(expected.max_bytes + 1), expected)


def _checked_size(data: bytes, expected: Expected) -> bytes:
    if len(data) > expected.max_bytes:
        problem = f"is larger than {expected.max_bytes >> 20} MiB; send a smaller one"
        raise JobError(expected.field, problem)
    return data


def _download(url: str, expected: Expected, *, allow_private: bool) -> bytes:
    """The body at ``url`` before the deadline, whatever the server does.

    A server that sends a byte now and then never times out. So a thread of its own reads the body,
    and is left behind when the deadline passes.
    """
    body: Future[bytes] = Future()

    def fetch() -> None:
        try:
            body.set_result(_follow(url, expected, allow_private=allow_private))
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
            body.set_exception(error)

    threading.Thread(target=fetch, name="fetch", daemon=True).start()
    try:
        return body.result(DEADLINE)
    except TimeoutError:
        raise JobError(
            expected.field,
            f"its URL took over {DEADLINE:g} s; give a faster one",
            code="input_unreachable",
        ) from None


def _follow(url: str, expected: Expected, *, allow_private: bool) -> bytes:
    """The body at ``url``. Redirects are followed, each to a public address only."""
    ends = time.monotonic() + DEADLINE
    with requests.Session() as session:
        session.trust_env = False  # no proxies, and no credentials from a .netrc
        if not allow_private:
            adapter = public_adapter()
            session.mount("http://", adapter)
            session.mount("https://", adapter)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                if not allow_private:
                    check_scheme(url)
                with session.get(
                    url,
                    stream=True,
                    allow_redirects=False,
                    timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                ) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers["Location"])
                        continue
                    return _body(response, expected, ends)
            except UrlError as error:
                raise JobError(expected.field, error.problem, code=error.code) from None
            except (requests.RequestException, ValueError):  # a broken address among them
                raise JobError(
                    expected.field,
                    "its URL could not be fetched; check it",
                    code="input_unreachable",
                ) from None
    raise JobError(
        expected.field,
        f"its URL redirects over {MAX_REDIRECTS} times; give the last one",
        code="input_unreachable",
    )


def _body(response: requests.Response, expected: Expected, ends: float) -> bytes:
    if response.status_code != requests.codes.ok:
        problem = f"its URL answered {response.status_code}; give one that answers with"
        raise JobError(
            expected.field, f"{problem} {expected.description}", code="input_unreachable"
        )
    data = bytearray()
    for chunk in response.iter_content(1 << 16):
        data += chunk
        if len(data) > expected.max_bytes or time.monotonic() > ends:
            break  # too large, or nobody waits any more
    return _checked_size(bytes(data), expected)
