"""Pictures as they come: sources, orientation, colour modes."""

import base64
import contextlib
import datetime as dt
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import requests.adapters
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image, ImageCms

from onetake.media import fetch
from onetake.media.fetch import guard
from onetake.media.fetch import picture as pictures
from onetake.media.fetch import source as sources
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings
from tests.support.site import Site

# Stand-ins for public addresses. The first is 127.0.0.1 as no name server writes it, so `site` is
# there; at the second nobody is.
SERVED, SILENT = "127.1", "127.0.0.2"


def load(source: str, settings: Settings) -> Image.Image:
    """The picture of a job's ``image``; a picture needs no folder."""
    picture: Image.Image = fetch.load("picture", source, "image", settings, Path())
    return picture


def test_the_four_sources_give_the_same_picture(
    picture: Image.Image, encoded: Callable[..., bytes], site: Site, settings: Settings
) -> None:
    """URL, data URI, plain base64 and a file of the input folder."""
    data = encoded(picture, "JPEG")
    site.pages["/moved"] = (302, {"Location": "/a.jpg"}, b"")
    site.pages["/a.jpg"] = (200, {}, data)
    assert settings.inputs_dir is not None
    settings.inputs_dir.mkdir()
    (settings.inputs_dir / "a.jpg").write_bytes(data)
    text = base64.b64encode(data).decode()
    named_as = [
        f"{site.url}/moved",
        f"data:image/jpeg;base64,{text}",
        text,
        f"{text[:76]}\n{text[76:]}",
        str(settings.inputs_dir / "a.jpg"),
    ]
    first, *others = [np.asarray(load(source, settings)) for source in named_as]
    assert all(np.array_equal(first, other) for other in others)
    assert first.shape == (300, 400, 3)


def as_sent(image: Image.Image, encoded: Callable[..., bytes], **options: object) -> str:
    """``image`` as base64."""
    return base64.b64encode(encoded(image, **options)).decode()


def test_a_phone_s_orientation_is_honoured(
    picture: Image.Image, encoded: Callable[..., bytes], settings: Settings
) -> None:
    """A picture stored sideways with an EXIF note comes out upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = load(as_sent(picture, encoded, kind="JPEG", exif=exif), settings)
    assert turned.size == (300, 400)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "PNG"), ("P", "PNG"), ("1", "PNG"), ("CMYK", "JPEG"), ("LA", "PNG"), ("RGBA", "WEBP")],
)
def test_every_colour_mode_becomes_rgb(
    mode: str, kind: str, picture: Image.Image, encoded: Callable[..., bytes], settings: Settings
) -> None:
    """Grey, palette, CMYK and alpha pictures look as their makers meant."""
    loaded = load(as_sent(picture.convert(mode), encoded, kind=kind), settings)
    meant = picture.convert(mode).convert("RGB")
    assert loaded.mode == "RGB"
    difference = np.asarray(loaded).astype(int) - np.asarray(meant)
    assert np.abs(difference).mean() < 4


def test_a_phone_s_second_picture_is_no_animation(
    picture: Image.Image, encoded: Callable[..., bytes], settings: Settings
) -> None:
    """A JPEG that carries a depth or gain map (MPO) is a still picture."""
    both = as_sent(picture, encoded, kind="MPO", save_all=True, append_images=[picture])
    assert load(both, settings).size == picture.size


def test_a_colour_profile_is_honoured(encoded: Callable[..., bytes], settings: Settings) -> None:
    """Under a profile whose red primary is sRGB's blue one, a red picture is blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    red = Image.new("RGB", (32, 32), (200, 30, 30))
    plain = load(as_sent(red, encoded), settings)
    profiled = load(as_sent(red, encoded, icc_profile=swapped), settings)
    assert plain.getpixel((0, 0)) == (200, 30, 30)
    assert profiled.getpixel((0, 0)) == pytest.approx((30, 30, 200), abs=8)


def test_transparency_becomes_white(encoded: Callable[..., bytes], settings: Settings) -> None:
    """A cut-out product stands on white, not on the black that hides under its alpha."""
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    loaded = load(as_sent(clear, encoded), settings)
    assert loaded.getpixel((10, 10)) == (255, 255, 255)


def test_sixteen_bits_are_scaled(encoded: Callable[..., bytes], settings: Settings) -> None:
    """A 16-bit grey of one half stays one half."""
    grey = Image.fromarray(np.full((64, 64), 32768, np.uint16))
    loaded = load(as_sent(grey, encoded), settings)
    assert loaded.getpixel((10, 10)) == (128, 128, 128)


class Names:
    """A name server; ``answers`` are a host's in turn, and the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.lookups: list[str] = []


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A name server of the test's own, and stand-ins that count as public."""
    server, look_up, is_public = Names(), socket.getaddrinfo, guard._is_public

    def answer(host: str, port: int, *args: int, **options: int) -> list[tuple[object, ...]]:
        server.lookups.append(host)
        if host not in server.answers:  # an address, or a name that nobody knows
            return look_up(host, port, *args, flags=socket.AI_NUMERICHOST, **options)
        left = server.answers[host]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in (left.pop(0) if len(left) > 1 else left[0])
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(
        guard, "_is_public", lambda address: address in {SERVED, SILENT} or is_public(address)
    )
    return server


@pytest.fixture
def public(settings: Settings) -> Settings:
    """A worker's settings as they are outside development."""
    return settings.model_copy(update={"allow_private_inputs": False})


def named(site: Site, host: str) -> str:
    """The site's URL under another host."""
    return site.url.replace("127.0.0.1", host)


def test_every_hop_asks_for_its_host_once(
    picture: Image.Image, encoded: Callable[..., bytes], site: Site, names: Names, public: Settings
) -> None:
    """A public picture is fetched over a redirect, from the address that answers of several."""
    names.answers = {"a.example": [[SERVED]], "b.example": [[SILENT, SERVED]]}
    site.pages["/a"] = (302, {"Location": f"{named(site, 'b.example')}/b"}, b"")
    site.pages["/b"] = (200, {}, encoded(picture))
    assert load(f"{named(site, 'a.example')}/a", public).size == picture.size
    assert names.lookups == ["a.example", "b.example"]


def test_a_name_server_that_changes_its_answer(site: Site, names: Names, public: Settings) -> None:
    """A public address for the check cannot be swapped for a private one for the connection."""
    names.answers = {"a.example": [[SILENT], ["127.0.0.1"]]}
    with pytest.raises(JobError, match="input_unreachable: image: its URL could not be fetched"):
        load(f"{named(site, 'a.example')}/a", public)
    assert names.lookups == ["a.example"]
    assert site.visited == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("addresses", [[SERVED, "10.0.0.1"], ["10.0.0.1", SERVED]])
def test_one_private_address_spoils_a_name(
    addresses: list[str], scheme: str, site: Site, names: Names, public: Settings
) -> None:
    """A name with a public and a private address is refused, whichever comes first."""
    names.answers = {"a.example": [addresses]}
    url = named(site, "a.example").replace("http", scheme)
    with pytest.raises(JobError, match="input_forbidden: image: its URL leads to a private"):
        load(f"{url}/a", public)
    assert site.visited == []


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "127.0.0.1", "10.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1]",
     "0.0.0.0", "2130706433", "0177.0.0.1", "0x7f.1", "inside.example"],  # noqa: S104
)  # fmt: skip
def test_a_public_host_cannot_redirect_inside(
    host: str, site: Site, names: Names, public: Settings
) -> None:
    """However a private address is written, a redirect to it is refused before it is visited."""
    names.answers = {"a.example": [[SERVED]], "inside.example": [["127.0.0.1"]]}
    site.pages["/a"] = (302, {"Location": f"{named(site, host)}/b"}, b"")
    with pytest.raises(JobError, match="input_forbidden: image: its URL leads to a private"):
        load(f"{named(site, 'a.example')}/a", public)
    assert site.visited == ["/a"]


def test_a_url_that_parsers_read_differently(site: Site, names: Names, public: Settings) -> None:
    """The host that is checked is the one that is visited, not what another parser calls it."""
    names.answers = {"a.example": [[SERVED]]}
    with pytest.raises(JobError, match="input_forbidden: image: its URL leads to a private"):
        load(f"{site.url}\\@a.example/a", public)
    assert site.visited == []


def test_an_unknown_host(names: Names, public: Settings) -> None:
    """A host without an address, and a URL without a host, are the caller's fault."""
    for url in ("http://a.invalid/a", f"http://{'a' * 64}.example/a", "http://[", "http://a:b/"):
        with pytest.raises(JobError, match="input_unreachable: image: its URL's host is not"):
            load(url, public)
    assert len(names.lookups) == 2


def test_a_redirect_away_from_http(site: Site, names: Names, public: Settings) -> None:
    """A public host cannot redirect to another scheme."""
    names.answers = {"a.example": [[SERVED]]}
    site.pages["/a"] = (302, {"Location": "ftp://b.example/b"}, b"")
    with pytest.raises(JobError, match="invalid_input: image: its URL redirects away from http"):
        load(f"{named(site, 'a.example')}/a", public)
    assert names.lookups == ["a.example"]


def test_no_proxy_is_used(
    site: Site, names: Names, public: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment would connect unchecked, so it is passed by."""
    monkeypatch.setenv("http_proxy", site.url)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(JobError, match="input_forbidden: "):
        load("http://10.0.0.1/a", public)
    assert names.lookups == ["10.0.0.1"]
    assert site.visited == []


@pytest.fixture
def secure_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server with a certificate for a.example, which clients here trust."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.DNSName("a.example")
    now = dt.datetime.now(dt.UTC)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name.value)])
    certificate = (
        x509.CertificateBuilder(issuer, issuer, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "a.example.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_certificate_must_be_for_the_host(
    picture: Image.Image,
    secure_host: int,
    names: Names,
    public: Settings,
    tmp_path: Path,
) -> None:
    """TLS goes by the host's name, not by the address that the connection is pinned to."""
    picture.save(tmp_path / "a.png")
    names.answers = {"a.example": [[SERVED]], "b.example": [[SERVED]]}
    url = f"https://a.example:{secure_host}/a.png"
    assert load(url, public).size == picture.size
    with pytest.raises(JobError, match="input_unreachable: image: its URL could not be fetched"):
        load(url.replace("a.example", "b.example"), public)


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket, threading.Event], object]) -> Iterator[str]:
    """The URL of a server that leaves its one connection to ``answer``, and whether all is done."""
    done = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                answer(connection, done)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)  # a test that fails before it connects must end, too
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://a.example:{listening.getsockname()[1]}/a.png"
        finally:
            done.set()
            thread.join()


def test_a_host_that_hangs_is_given_up(
    names: Names, public: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that accepts and never answers holds the worker to the deadline only."""
    monkeypatch.setattr(sources, "DEADLINE", 0.2)
    names.answers = {"a.example": [[SERVED]]}
    with (
        answering(lambda _, done: done.wait()) as url,
        pytest.raises(JobError, match=r"input_unreachable: image: its URL took over 0\.2 s"),
    ):
        load(url, public)


def test_a_large_body_is_cut_off(
    names: Names, public: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body over the limit is refused, and its rest is not read."""
    monkeypatch.setattr(pictures, "MAX_BYTES", 1 << 20)
    names.answers = {"a.example": [[SERVED]]}
    all_sent = threading.Event()

    def pour(connection: socket.socket, _done: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(64):  # MiB, more than the buffers in between hold
            connection.sendall(bytes(1 << 20))
        all_sent.set()

    with (
        answering(pour) as url,
        pytest.raises(JobError, match="invalid_input: image: is larger than 1 MiB"),
    ):
        load(url, public)
    assert not all_sent.is_set()
