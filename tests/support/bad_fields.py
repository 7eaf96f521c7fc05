"""Requests with one wrong field each, and what is said of it."""

import base64
import struct
import zlib
from typing import Any


# (what is added to a legal job, the whole answer or its end)
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
