"""Bad requests: each gets one line that names the field, before any model is loaded."""

import base64
import contextlib
import json
import re
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Site
from PIL import Image
from test_take import reply_to

from onetake import inputs
from onetake.settings import Settings
from onetake.storage.local import LocalStore
from onetake.worker import Worker


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def uri(data: bytes) -> str:
    """``data`` as a job carries it."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


# (what is added to a legal job, the whole answer or its end)
FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": 5}, 'prompt: 5 is not text, such as "a red bottle"'),
    ({"prompt": ["a"]}, "prompt: ['a'] is not text"),
    ({"prompt": ""}, "prompt: is empty; say what the take shows, or give an image"),
    ({"prompt": "  \n"}, "prompt: is empty"),
    ({"prompt": "x" * 10_000_000}, "prompt: has 10,000,000 characters; the longest legal text"),
    ({"negative_prompt": "x" * 2001}, "negative_prompt: has 2,001 characters"),
    ({"negative_prompt": {}}, "negative_prompt: {} is not text"),
    (
        {"negative_prompt": "blue", "guidance": 1},
        "negative_prompt: does nothing at guidance_scale 1",
    ),
    ({"width": 1279, "height": 720}, "width: 1279 is odd; the nearest legal value is 1278"),
    ({"width": "1280", "height": 720}, "width: '1280' is not a whole number"),
    ({"width": 1280.5, "height": 720}, "width: 1280.5 is not a whole number"),
    ({"width": True, "height": 720}, "width: True is not a whole number"),
    ({"width": 0, "height": 720}, "width: 0 is too small; the nearest legal value is 64"),
    ({"width": -2, "height": 720}, "width: -2 is too small"),
    ({"width": 4096, "height": 720}, "width: 4096 is too large; the nearest legal value is 2560"),
    ({"width": 1280}, "height: is missing; width needs it"),
    ({"height": 720}, "width: is missing; height needs it"),
    ({"width": 1280, "height": 64}, "times as long as wide; at most 3 is legal, such as 192 by 64"),
    ({"size": "1280"}, "size: '1280' is not width*height; write it like 1280*720"),
    ({"size": "1280*721"}, "size: height 721 is not an even number from 64 to 2560; the nearest"),
    ({"size": "10*20"}, "size: width 10 is not an even number"),
    ({"size": ""}, "size: '' is not width*height"),
    ({"size": [1280, 720]}, "size: [1280, 720] is not text"),
    ({"size": "1280*720", "width": 64, "height": 64}, "size: is given twice"),
    ({"size": "1280*720", "resolution": "720p"}, "size: is given twice"),
    ({"resolution": "4k"}, "resolution: '4k' is not one of 480p, 720p, 1080p"),
    ({"resolution": "720"}, "did you mean 720p?"),
    ({"aspect_ratio": "16/9"}, "aspect_ratio: '16/9' is not one of 16:9, 9:16"),
    ({"aspect_ratio": 1.78}, "aspect_ratio: 1.78 is not one of"),
    ({"duration": 0}, "duration: 0 is too small; the nearest legal value is 0.1"),
    ({"duration": -5}, "duration: -5 is too small"),
    ({"duration": 10_000}, "duration: 10000 is too large; the nearest legal value on this worker"),
    ({"duration": "5"}, "duration: '5' is not a number"),
    ({"duration": float("nan")}, "duration: nan is not a number"),
    ({"duration": float("inf")}, "duration: inf is not a number"),
    ({"num_frames": 0}, "num_frames: 0 is too small; the nearest legal value is 1"),
    ({"num_frames": 10**9}, "num_frames: 1000000000 is too large; the nearest legal value is"),
    ({"num_frames": 33, "duration": 5}, "num_frames: 33 frames at 16 fps are not 5 s"),
    ({"fps": 0}, "fps: 0 is too small; the nearest legal value is 1"),
    ({"fps": 1000}, "fps: 1000 is too large; the nearest legal value is 60"),
    ({"fps": "24"}, "fps: '24' is not a number"),
    ({"num_inference_steps": 0}, "num_inference_steps: 0 is too small"),
    ({"num_inference_steps": 101}, "num_inference_steps: 101 is too large"),
    ({"steps": 2.5}, "steps: 2.5 is not a whole number"),
    ({"guidance_scale": -1}, "guidance_scale: -1 is too small"),
    ({"guidance": 99}, "guidance: 99 is too large; the nearest legal value is 20"),
    ({"cfg_scale": "high"}, "cfg_scale: 'high' is not a number"),
    ({"guidance": 3, "cfg_scale": 4}, "says the same as another field; keep guidance_scale alone"),
    ({"flow_shift": 0}, "flow_shift: 0 is too small"),
    ({"flow_shift": 99}, "flow_shift: 99 is too large"),
    ({"seed": -2}, "seed: -2 is too small; the nearest legal value is -1"),
    ({"seed": 2**64}, "seed: 18446744073709551616 is too large"),
    ({"seed": "random"}, "seed: 'random' is not a whole number"),
    ({"overlap_frames": 0}, "overlap_frames: 0 is too small"),
    ({"overlap_frames": 4}, "overlap_frames: 4 is not one that tiny takes: 1, 5, 9, 17"),
    ({"model": "sora"}, "unknown_model: model: 'sora' is not one of"),
    ({"model": "wan2.2-ti2v-5B"}, "did you mean wan2.2-ti2v-5b?"),
    ({"model": ""}, "unknown_model: model: '' is not one of"),
    ({"model": 5}, "model: 5 is not text"),
    ({"model": "wan2.2-ti2v-5b"}, "model_unavailable: model: the weights of wan2.2-ti2v-5b are"),
    (
        {"profile": "fastest"},
        "unknown_profile: profile: 'fastest' is not one of exact, balanced, turbo, lean",
    ),
    ({"output": "mp4"}, "output: 'mp4' is not an object"),
    ({"output": {"codec": "vp9"}}, "output.codec: 'vp9' is not one of h264, hevc, av1"),
    ({"output": {"container": "avi"}}, "output.container: 'avi' is not one of mp4, mov, webm"),
    ({"output": {"container": "webm"}}, "output.codec: a webm holds av1 only"),
    ({"output": {"container": "mov", "codec": "av1"}}, "output.codec: a mov holds h264 or hevc"),
    ({"output": {"delivery": "ftp"}}, "output.delivery: 'ftp' is not one of url, base64"),
    ({"output": {"bitrate": 5}}, "unknown_field: output.bitrate: is no field of a job"),
    ({"enable_prompt_optimization": "yes"}, "enable_prompt_optimization: 'yes' is neither true"),
    ({"enable_safety_checker": 1}, "enable_safety_checker: 1 is neither true nor false"),
    ({"segments": []}, "segments: is empty"),
    ({"segments": "two"}, "segments: 'two' is not a list"),
    (
        {"segments": [{"prompt": "a" * 2000, "duration": 1}] * 9},
        "segments: have 18,108 characters, each with the prompt; at most 16,000 are legal",
    ),
    ({"segments": [{"prompt": "a"}]}, "segments.0.duration: is missing"),
    ({"segments": [{"prompt": "a", "duration": 2, "sed": 1}]}, "did you mean seed?"),
    ({"segments": [{"prompt": "a", "duration": 2}], "duration": 4}, "add up to; leave it out"),
    (
        {"segments": [{"prompt": "a", "duration": 0.1}] * 2, "fps": 2},
        "segments.0.duration: is shorter than a frame at 2 fps; lengthen it",
    ),
    ({"segments": [{"prompt": "a", "duration": 99}] * 2}, "segments: 198 is too large"),
    ({"segments": [{"prompt": "a", "duration": 1, "transition": "fade"}]}, "'fade' is not one of"),
    (
        {"video": "https://example.com/a.mp4", "size": "640*480"},
        "size: is the video's own when one is extended; leave it out",
    ),
    ({"video": "data:video/mp4;base64,AAAA"}, "video: is no MP4, MOV or WebM video"),
    ({"last_image": uri(b"")}, "last_image: "),
    (
        {"loop": True, "last_image": uri(b"")},
        "loop: ends the take on its own first frame; leave last_image out",
    ),
    ({"loop": "yes"}, "loop: 'yes' is neither true nor false"),
    ({"retries": 4}, "retries: 4 is too large; the nearest legal value is 3"),
    ({"colour_match": 1.5}, "colour_match: 1.5 is too large; the nearest legal value is 1"),
    ({"color_match": 0.5}, "color_match: is no field of a job; did you mean colour_match?"),
    (
        {"last_image": uri(b""), "duration": 0.2},
        "last_image: needs a take of at least 14 generated frames; ask for a longer one",
    ),
    ({"promt": "a"}, "unknown_field: promt: is no field of a job; did you mean prompt?"),
    ({"xyz\r\nSet-Cookie": 1}, "is no field of a job; leave it out"),
    ({"image": 7}, "image: 7 is not text"),
    ({"image": ""}, "image: is empty; fill it or leave it out"),
    ({"image": "not base64!"}, "image: is neither a URL, a data URI nor base64"),
    ({"image": uri(b"")}, "image: is not a JPEG, PNG or WebP picture"),
    ({"image": uri(b"plain text, no picture")}, "image: is not a JPEG, PNG or WebP picture"),
    ({"image": uri(b"<!DOCTYPE html><p>hello")}, "image: is a web page"),
    ({"image": uri(png_header(50_000, 100))}, "image: has 50000x100 pixels; at most 16384 a side"),
    ({"image": uri(png_header(12_000, 12_000))}, "image: has 12000x12000 pixels"),
    ({"image": uri(png_header(8, 8))}, "image: has 8x8 pixels; 16 a side are the fewest"),
    ({"image": uri(png_header(640, 480))}, "image: is damaged or cut off"),
    ({"image": "file:///etc/passwd"}, "image: has a scheme that is not served"),
    ({"image": "ftp://example.com/a.png"}, "image: has a scheme that is not served"),
    ({"image": "/etc/host.conf"}, "image: is no file of the worker's input folder"),
    ({"image": "/\0.png"}, "image: is no file of the worker's input folder"),
    ({"image": "/\ud800.png"}, "image: "),
    ({"prompt": "\ud800"}, "prompt: "),
    ({"\ud800": 1}, "is no field of a job; leave it out"),
    ({"image": "/etc/../etc/host.conf"}, "image: is no file of the worker's input folder"),
    ({"image": "http://127.0.0.1:9/a.png"}, "input_unreachable: image: its URL could not be"),
    ({"image": "http://"}, "input_unreachable: image: its URL could not be fetched"),
    ({"image": "http://[::1"}, "input_unreachable: image: its URL could not be fetched"),
]
WHOLE: list[object] = [None, "a red bottle", 5, [], ["prompt"], True, {}, {"prompt": None}]
ONE_LINE = re.compile(r"[a-z_]+: [^\n\r]{1,300}")


@pytest.fixture
def refuse(settings: Settings) -> Callable[[object], str]:
    """The error of a request on a worker that has loaded no model, and still has none after."""
    worker = Worker(settings, LocalStore(settings.output_dir))

    def send(asked: object) -> str:
        answer = reply_to(worker, asked)
        assert set(answer) == {"error"}
        assert worker._model is None, "a model was loaded for a bad request"
        assert not settings.output_dir.exists()
        assert ONE_LINE.fullmatch(answer["error"]), answer["error"]
        assert json.dumps(answer)
        return answer["error"]

    return send


@pytest.mark.parametrize(("asked", "expected"), FIELDS, ids=lambda value: str(value)[:50])
def test_a_wrong_field_is_named(
    asked: dict[str, Any], expected: str, refuse: Callable[[object], str]
) -> None:
    """Each wrong field is answered by its name and what would be right."""
    assert expected in refuse({"prompt": "a red bottle", **asked})


@pytest.mark.parametrize("asked", WHOLE, ids=repr)
def test_a_wrong_whole_is_refused(asked: object, refuse: Callable[[object], str]) -> None:
    """An input that is no object, or says nothing, is refused."""
    assert refuse(asked).startswith("invalid_input: ")


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
    assert not inputs._is_public(address)
    assert inputs._is_public("8.8.8.8")
    assert inputs._is_public("2606:4700:4700::1111")


@pytest.mark.parametrize("drip", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n\x89PNG"])
def test_a_server_that_drips_is_given_up(
    drip: bytes, refuse: Callable[[object], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then, in the headers or the body, does not hold the worker."""
    monkeypatch.setattr(inputs, "DEADLINE", 0.5)
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
