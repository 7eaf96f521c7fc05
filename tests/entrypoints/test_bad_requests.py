"""Bad requests: each gets one line that names the field, before any model is loaded."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from onetake.delivery.storage.local import LocalStore
from onetake.media.fetch import guard
from onetake.media.fetch import source as sources
from onetake.runtime.settings import Settings
from onetake.takes.worker import Worker
from tests.support.bad_fields import FIELDS, uri
from tests.support.site import Site
from tests.support.takes import reply_to

WHOLE: list[object] = [None, "a red bottle", 5, [], ["prompt"], True, {}, {"prompt": None}]
ONE_LINE = re.compile(r"[a-z_]+: [^\n\r]{1,300}")


@pytest.fixture
def refuse(settings: Settings) -> Callable[[object], str]:
    """The error of a request on a worker that has loaded no model, and still has none after."""
    worker = Worker(settings, LocalStore(settings.output_dir))

    def send(request: object) -> str:
        answer = reply_to(worker, request)
        assert set(answer) == {"error"}
        assert worker._model is None, "a model was loaded for a bad request"
        assert not settings.output_dir.exists()
        assert ONE_LINE.fullmatch(answer["error"]), answer["error"]
        assert json.dumps(answer)
        return answer["error"]

    return send


@pytest.mark.parametrize(("fields", "expected"), FIELDS, ids=lambda value: str(value)[:50])
def test_a_wrong_field_is_named(
    fields: dict[str, Any], expected: str, refuse: Callable[[object], str]
) -> None:
    """Each wrong field is answered by its name and what would be right."""
    assert expected in refuse({"prompt": "a red bottle", **fields})


@pytest.mark.parametrize("payload", WHOLE, ids=repr)
def test_a_wrong_whole_is_refused(payload: object, refuse: Callable[[object], str]) -> None:
    """An input that is no object, or says nothing, is refused."""
    assert refuse(payload).startswith("invalid_input: ")


def test_a_url_that_is_missing(site: Site, refuse: Callable[[object], str]) -> None:
    """A 404 is named."""
    assert "its URL answered 404" in refuse({"image": f"{site.url}/none.png"})


def test_a_url_that_answers_with_a_page(site: Site, refuse: Callable[[object], str]) -> None:
    """HTML is not taken for a picture, whatever its content type says."""
    site.pages["/a.png"] = (200, {"Content-Type": "image/png"}, b"\n <html><body>Log in</body>")
    assert "image: is a web page" in refuse({"image": f"{site.url}/a.png"})


def test_a_url_that_goes_in_circles(site: Site, refuse: Callable[[object], str]) -> None:
    """Redirects are followed a few times only."""
    site.pages["/a"] = (302, {"Location": "/a"}, b"")
    assert "redirects over 5 times" in refuse({"image": f"{site.url}/a"})
    assert len(site.visited) == 6


@pytest.mark.parametrize("target", ["http://[", "ftp://example.com/a.png", "http://"])
def test_a_redirect_to_nowhere(target: str, site: Site, refuse: Callable[[object], str]) -> None:
    """A broken or foreign address after a redirect is refused like one before it."""
    site.pages["/a"] = (302, {"Location": target}, b"")
    assert refuse({"image": f"{site.url}/a"}).startswith("input_unreachable: image: its URL")


def test_a_body_that_ends_early(site: Site, refuse: Callable[[object], str]) -> None:
    """A body shorter than promised is refused."""
    site.pages["/a.png"] = (200, {"Content-Length": "1000"}, b"\x89PNG")
    assert refuse({"image": f"{site.url}/a.png"}).startswith("input_unreachable: image: ")


def test_a_truncated_picture(
    picture: Image.Image, encoded: Callable[..., bytes], refuse: Callable[[object], str]
) -> None:
    """A JPEG that was cut off in transfer is refused, not padded with grey."""
    whole = encoded(picture, "JPEG")
    assert "is damaged or cut off" in refuse({"image": uri(whole[: len(whole) // 2])})


def test_an_animated_picture(
    picture: Image.Image, encoded: Callable[..., bytes], refuse: Callable[[object], str]
) -> None:
    """A picture with more than one frame is refused, not shown by its first."""
    frames = encoded(picture, "WEBP", save_all=True, append_images=[picture.rotate(90)])
    assert "image: is animated" in refuse({"image": uri(frames)})


def test_a_ribbon(encoded: Callable[..., bytes], refuse: Callable[[object], str]) -> None:
    """A picture whose own ratio no model can make asks to be cropped."""
    ribbon = encoded(Image.new("RGB", (1600, 20)))
    assert "image: is 80.0 times as long as wide; at most 3 is legal: crop" in refuse(
        {"image": uri(ribbon)}
    )


def test_a_gif(
    picture: Image.Image, encoded: Callable[..., bytes], refuse: Callable[[object], str]
) -> None:
    """A picture of another kind is refused by the kinds that are taken."""
    assert "is not a JPEG, PNG or WebP" in refuse({"image": uri(encoded(picture, "GIF"))})


def test_private_addresses_are_refused(site: Site, settings: Settings, tmp_path: Path) -> None:
    """Outside development no input is fetched from this machine or its network."""
    public = settings.model_copy(update={"allow_private_inputs": False})
    worker = Worker(public, LocalStore(tmp_path))
    for host in (site.url, "http://169.254.169.254", "http://10.0.0.1", "http://[::ffff:7f00:1]"):
        error = reply_to(worker, {"image": f"{host}/latest"})["error"]
        assert (
            error == "input_forbidden: image: its URL leads to a private address; give a public one"
        )
    assert site.visited == []


@pytest.mark.parametrize(
    "address",
    ["64:ff9b::a00:1", "2002:7f00:1::", "::127.0.0.1", "fec0::1", "ff02::1", "224.0.0.1",
     "168.63.129.16", "169.254.169.254", "100.64.0.1", "::1", "fe80::1%eth0"],
)  # fmt: skip
def test_private_addresses_in_disguise(address: str) -> None:
    """IPv4 inside IPv6, metadata hosts, multicast and link-local are not public."""
    assert not guard._is_public(address)
    assert guard._is_public("8.8.8.8")
    assert guard._is_public("2606:4700:4700::1111")


@pytest.mark.parametrize("drip", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n\x89PNG"])
def test_a_server_that_drips_is_given_up(
    drip: bytes, refuse: Callable[[object], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then, in the headers or the body, does not hold the worker."""
    monkeypatch.setattr(sources, "DEADLINE", 0.5)
    done = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(drip)
            while not done.wait(0.05):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.png"
        assert "its URL took over 0.5 s; give a faster one" in refuse({"image": url})
        done.set()
        thread.join()


def test_paths_need_an_input_folder(settings: Settings, tmp_path: Path) -> None:
    """A worker without an input folder reads no file, also not one that exists."""
    closed = settings.model_copy(update={"inputs_dir": None})
    answer = reply_to(Worker(closed, LocalStore(tmp_path)), {"image": "/etc/host.conf"})
    assert answer == {
        "error": "invalid_input: image: names a file, and this worker takes none; give an https URL"
    }
