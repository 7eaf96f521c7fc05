"""Clips that jobs bring: read before they are believed."""

import base64
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from onetake.media import fetch
from onetake.media.fetch import clip as clips
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., bytes]:
    """Encode noise as a video file."""

    def encode(
        suffix: str = "mp4", codec: str = "libx264", size: tuple[int, int] = (96, 64)
    ) -> bytes:
        path = tmp_path / f"clip.{suffix}"
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as file:
            stream = file.add_stream(codec, rate=12)
            stream.width, stream.height = size
            for seed in range(24):
                noise = np.random.default_rng(seed).integers(
                    0, 255, (size[1], size[0], 3), np.uint8
                )
                file.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
            file.mux(stream.encode())
        return path.read_bytes()

    return encode


def refusal(content: bytes, tmp_path: Path) -> str:
    """Why a clip of that content is not taken."""
    with pytest.raises(JobError) as refused:
        fetch.load("clip", base64.b64encode(content).decode(), "video", Settings(), tmp_path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mov", "libx264"), ("webm", "libvpx")]
)
def test_a_clip_is_read_as_it_is(suffix: str, codec: str, clip, tmp_path: Path) -> None:
    """Size, rate and frames are counted in the file."""
    source = base64.b64encode(clip(suffix, codec)).decode()
    loaded = fetch.load("clip", source, "video", Settings(), tmp_path)
    facts = loaded.facts
    assert (facts.width, facts.height, facts.num_frames) == (96, 64, 24)
    assert (facts.fps, facts.duration) == (Fraction(12), 2.0)
    assert loaded.file.parent == tmp_path


def test_a_cut_clip_is_refused(clip, tmp_path: Path) -> None:
    """An index that promises more frames than there are is a file that was cut off."""
    whole = clip()
    assert "is damaged or cut off" in refusal(whole[: len(whole) // 2], tmp_path)
    assert "is damaged or cut off" in refusal(whole[:600], tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/latest\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"GIF89a" + bytes(40),
        b"<html>no video here, and long enough</html>",
    ],
    ids=["playlist", "concat", "gif", "page"],
)
def test_what_is_no_clip_is_not_opened(content: bytes, tmp_path: Path) -> None:
    """A playlist would lead elsewhere: only known containers are opened, by their first bytes."""
    assert refusal(content, tmp_path).startswith(
        "invalid_input: video: is no MP4, MOV or WebM video; give an MP4"
    )


def test_limits_of_a_clip(clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large, too fast and too long are named with what is legal."""
    content = clip()
    monkeypatch.setattr(clips, "MAX_SECONDS", 1.0)
    assert "lasts 2 s; at most 1 s are legal" in refusal(content, tmp_path)
    monkeypatch.setattr(clips, "MAX_FPS", 10)
    assert "has 12 frames a second" in refusal(content, tmp_path)
    monkeypatch.setattr(clips, "MAX_SIDE", 64)
    assert "has 96x64 pixels; 16 to 64 a side" in refusal(content, tmp_path)
