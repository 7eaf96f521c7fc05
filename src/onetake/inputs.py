"""A job's pictures, clips and sounds: URL, data URI, base64 or a volume's file, checked first."""

import base64
import binascii
import io
import ipaddress
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from onetake.errors import JobError
from onetake.media import MediaError, SoundFacts, VideoFacts, probe_sound, probe_video
from onetake.settings import Settings

MAX_BYTES = 32 << 20
MAX_VIDEO_BYTES = 256 << 20
MAX_VIDEO_SIDE = 4096  # pixels
MAX_MEDIA_SECONDS = 600.0
MAX_FPS = 120
MAX_SIDE = 16384  # pixels
MAX_PIXELS = 64_000_000
MIN_SIDE = 16
FORMATS = ("JPEG", "PNG", "WEBP")
DEADLINE = 60.0  # seconds for one input, redirects and all
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 15.0  # seconds
MAX_REDIRECTS = 5
# Global by the registry's letter: IPv4 inside IPv6 (compatible, NAT64, Teredo, 6to4), the old
# site-local range, and the address that Azure gives its metadata host.
_NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in ("::/96", "64:ff9b::/96", "2001::/32", "2002::/16", "fec0::/10", "168.63.129.16/32")
]
# Pillow's own guard warns or raises by configuration; `_check_picture` is stricter.
Image.MAX_IMAGE_PIXELS = None
_PICTURE = "a JPEG, PNG or WebP picture"
_KINDS = {"video": "an MP4, MOV or WebM video", "audio": "a WAV file"}  # of other fields
Facts = TypeVar("Facts", VideoFacts, SoundFacts)
_DATA_URI = re.compile(r"data:[\w/+.-]*(;[\w=.-]+)*;base64,", re.IGNORECASE)


def load_image(source: str, field: str, settings: Settings) -> Image.Image:
    """The picture that ``source`` names, upright, RGB, 8 bits; transparency becomes white.

    Raises:
        JobError: it cannot be had, is no picture of a known kind, or is too large.
    """
    return _decode(_read(source.strip(), field, settings), field)


def load_video(
    source: str, field: str, settings: Settings, folder: Path
) -> tuple[Path, VideoFacts]:
    """The clip that ``source`` names, as a file in ``folder``, and what it holds.

    Raises:
        JobError: it cannot be had, is no video of a known kind, is damaged, or is too large.
    """
    file, facts = _probed(source, field, settings, folder, probe_video)
    side, fps = max(facts.width, facts.height), float(facts.fps)
    if side > MAX_VIDEO_SIDE or min(facts.width, facts.height) < MIN_SIDE:
        problem = f"has {facts.width}x{facts.height} pixels; {MIN_SIDE} to {MAX_VIDEO_SIDE} a side"
        raise JobError(field, f"{problem} are legal")
    if fps > MAX_FPS:
        raise JobError(field, f"has {fps:g} frames a second; at most {MAX_FPS} are legal")
    _check_length(facts.duration, field)
    return file, facts


def load_sound(
    source: str, field: str, settings: Settings, folder: Path
) -> tuple[Path, SoundFacts]:
    """The WAV that ``source`` names, as a file in ``folder``, and what it holds.

    Raises:
        JobError: it cannot be had, is no WAV, is damaged, or is too long.
    """
    file, facts = _probed(source, field, settings, folder, probe_sound)
    _check_length(facts.duration, field)
    return file, facts


def _probed(
    source: str, field: str, settings: Settings, folder: Path, probe: Callable[[Path], Facts]
) -> tuple[Path, Facts]:
    file = folder / field
    file.write_bytes(_read(source.strip(), field, settings))
    try:
        return file, probe(file)
    except MediaError as error:
        raise JobError(field, f"is {error}; give {_kind(field)}") from None


def _check_length(seconds: float, field: str) -> None:
    if seconds > MAX_MEDIA_SECONDS:
        problem = f"lasts {seconds:.0f} s; at most {MAX_MEDIA_SECONDS:g} s are legal"
        raise JobError(field, problem)


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


class _UrlError(Exception):
    """A URL that is not followed, and why; no ``OSError``, which requests would wrap."""

    def __init__(self, problem: str, *, code: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.code = code


def _check_scheme(url: str) -> None:
    """Refuse what cannot be read as a URL, and a redirect that leaves http."""
    try:
        parts = urlsplit(url)
        scheme, _ = parts.scheme, parts.port  # a broken port shows when it is read
    except ValueError:
        raise _unknown_host() from None
    if scheme not in {"http", "https"}:
        raise _UrlError("its URL redirects away from http; give the last one", code="invalid_input")


def _unknown_host() -> _UrlError:
    return _UrlError("its URL's host is not known; check it", code="input_unreachable")


class _PublicConnection(HTTPConnection):
    """Looks its host up once, and goes to an address of it if all of them are public."""

    # urllib3's own SOCKS connection overrides the same method. One answer serves the check and the
    # connection, so a name server that changes it in between changes nothing.
    def _new_conn(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _unknown_host() from None
        if not all(_is_public(str(address[0])) for *_, address in found):
            problem = "its URL leads to a private address; give a public one"
            raise _UrlError(problem, code="input_forbidden")
        failure = OSError("no address")
        for family, kind, protocol, _, address in found:
            try:
                return _connected(socket.socket(family, kind, protocol), address, self.timeout)
            except OSError as error:  # nobody is there, or this machine has no IPv6
                failure = error
        raise failure


class _PublicTLSConnection(_PublicConnection, HTTPSConnection):
    """The same under TLS, where name and certificate are still the host's."""


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicTLSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTLSConnection


def _public_adapter() -> HTTPAdapter:
    """An adapter that makes no connection but public ones."""
    adapter = HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicTLSPool}
    return adapter


def _connected(
    opened: socket.socket, address: tuple[object, ...], timeout: float | None
) -> socket.socket:
    try:
        opened.settimeout(timeout)
        opened.connect(address)
    except OSError:
        opened.close()
        raise
    return opened


def is_public_host(host: str) -> bool:
    """Whether every address that ``host`` has now is out on the internet."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(_is_public(str(address[0])) for *_, address in found)


def _is_public(address: str) -> bool:
    """Whether ``address`` is out on the internet, and no other address in disguise."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    hidden = any(ip in network for network in _NOT_PUBLIC if network.version == ip.version)
    return ip.is_global and not (ip.is_multicast or hidden)


def _decode(data: bytes, field: str) -> Image.Image:
    if data[:512].lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise JobError(field, f"is a web page; give {_kind(field)}")
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise JobError(field, f"is not {_kind(field)}") from None
    _check_picture(picture, field)
    try:
        return _upright_rgb(picture)
    except (OSError, SyntaxError, ValueError, EOFError):
        raise JobError(field, "is damaged or cut off; send it again") from None


def _check_picture(picture: Image.Image, field: str) -> None:
    """By the header alone: nothing large is decoded."""
    if max(picture.size) > MAX_SIDE or picture.width * picture.height > MAX_PIXELS:
        raise JobError(
            field,
            f"has {picture.width}x{picture.height} pixels; at most {MAX_SIDE} a side and "
            f"{MAX_PIXELS // 10**6} million in all are legal",
        )
    if min(picture.size) < MIN_SIDE:
        problem = f"has {picture.width}x{picture.height} pixels; {MIN_SIDE} a side are the fewest"
        raise JobError(field, problem)
    # A phone's JPEG may carry a second picture (depth, HDR gain): MPO, of which the first counts.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise JobError(field, "is animated; give a still picture")


def _upright_rgb(picture: Image.Image) -> Image.Image:
    picture.load()
    try:
        upright = ImageOps.exif_transpose(picture)
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):  # damaged EXIF is no EXIF
        upright = picture
    upright = _to_srgb(upright)
    if upright.mode.startswith("I"):  # 16 bits a channel, which convert() would clip, not scale
        upright = upright.point(lambda level: level / 256).convert("L")
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")


def _to_srgb(picture: Image.Image) -> Image.Image:
    """A picture with a colour profile of its own (Display P3, a printer's CMYK), in sRGB."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in {"RGB", "CMYK"}:
        return picture
    srgb = ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, srgb, outputMode="RGB")
    except (OSError, ImageCms.PyCMSError):  # a profile that does not fit the picture
        return picture
    return converted or picture
