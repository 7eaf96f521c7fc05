"""Clips and sounds that jobs bring: read before they are believed."""

import base64
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from onetake.media.fetch import source as inputs
from onetake.media.fetch.clip import load_sound, load_video
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


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    """Half a second of a tone."""
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((8000 * np.sin(np.arange(8000) / 10)).astype("<i2").tobytes())
    return path.read_bytes()


def refusal(load: Callable[..., object], content: bytes, field: str, tmp_path: Path) -> str:
    """Why it is not taken."""
    with pytest.raises(JobError) as refused:
        load(base64.b64encode(content).decode(), field, Settings(), tmp_path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mov", "libx264"), ("webm", "libvpx")]
)
def test_a_clip_is_read_as_it_is(suffix: str, codec: str, clip, tmp_path: Path) -> None:
    """Size, rate and frames are counted in the file."""
    source = base64.b64encode(clip(suffix, codec)).decode()
    file, facts = load_video(source, "video", Settings(), tmp_path)
    assert (facts.width, facts.height, facts.num_frames) == (96, 64, 24)
    assert (facts.fps, facts.duration) == (Fraction(12), 2.0)
    assert file.parent == tmp_path


def test_a_cut_clip_is_refused(clip, tmp_path: Path) -> None:
    """An index that promises more frames than there are is a file that was cut off."""
    whole = clip()
    assert "is damaged or cut off" in refusal(
        load_video, whole[: len(whole) // 2], "video", tmp_path
    )
    assert "is damaged or cut off" in refusal(load_video, whole[:600], "video", tmp_path)


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
    told = refusal(load_video, content, "video", tmp_path)
    assert told.startswith("invalid_input: video: is no MP4, MOV or WebM video; give an MP4")


def test_limits_of_a_clip(clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large, too fast and too long are named with what is legal."""
    content = clip()
    monkeypatch.setattr(inputs, "MAX_MEDIA_SECONDS", 1.0)
    assert "lasts 2 s; at most 1 s are legal" in refusal(load_video, content, "video", tmp_path)
    monkeypatch.setattr(inputs, "MAX_FPS", 10)
    assert "has 12 frames a second" in refusal(load_video, content, "video", tmp_path)
    monkeypatch.setattr(inputs, "MAX_VIDEO_SIDE", 64)
    assert "has 96x64 pixels; 16 to 64 a side" in refusal(load_video, content, "video", tmp_path)


def test_a_sound_is_read_as_it_is(sound: bytes, tmp_path: Path) -> None:
    """Rate, channels and length are those of the samples."""
    _, facts = load_sound(base64.b64encode(sound).decode(), "audio", Settings(), tmp_path)
    assert (facts.sample_rate, facts.channels, facts.duration) == (16000, 1, 0.5)


def test_a_cut_or_foreign_sound_is_refused(sound: bytes, tmp_path: Path) -> None:
    """The header's length must be there, and the header must be a WAV's."""
    assert "is damaged or cut off" in refusal(load_sound, sound[:-100], "audio", tmp_path)
    assert "is no WAV sound" in refusal(load_sound, b"ID3" + bytes(40), "audio", tmp_path)
