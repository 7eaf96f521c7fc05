"""What a video or a sound file really holds, by reading it: for inputs, and for our own outputs.

Only containers that were recognised by their first bytes are opened, each by its own demuxer: a
playlist could make ffmpeg's libraries open other files and addresses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from onetake.media.frames import FrameBatch

_RIFF_HEADER = 8  # bytes before those that a RIFF file's size counts


class MediaError(Exception):
    """The file is no such media, or is damaged; the text says which, after "is"."""


@dataclass(frozen=True)
class VideoFacts:
    """A video stream's shape, upright; frames are counted, not believed."""

    width: int
    height: int
    fps: Fraction
    num_frames: int
    codec: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.num_frames / self.fps)


@dataclass(frozen=True)
class SoundFacts:
    """A WAV file's shape."""

    sample_rate: int
    channels: int
    duration: float  # seconds


def probe_video(file: Path) -> VideoFacts:
    """The first video stream of an MP4, MOV, WebM or Matroska file.

    Raises:
        MediaError: it is none of them, has no picture, or is damaged or cut off.
    """
    with file.open("rb") as opened:
        start = opened.read(12)
    if start[4:8] == b"ftyp":
        demuxer = "mov"
    elif start[:4] == b"\x1a\x45\xdf\xa3":
        demuxer = "matroska"
    else:
        raise MediaError("no MP4, MOV or WebM video")
    try:
        with av.open(str(file), format=demuxer) as container:
            return _video_facts(container)
    except (av.FFmpegError, ValueError):
        raise MediaError("damaged or cut off") from None


def _video_facts(container: InputContainer) -> VideoFacts:
    if not container.streams.video:
        raise MediaError("without a picture")
    stream = container.streams.video[0]
    packets = sum(1 for packet in container.demux(stream) if packet.size)
    if packets < max(1, stream.frames):  # the index promises more than there is
        raise MediaError("damaged or cut off")
    container.seek(0)
    # The first picture can be decoded, or this raises; a telephone's may lie on its side.
    first = next(container.decode(stream), None)
    sides = stream.width, stream.height
    width, height = reversed(sides) if first and first.rotation % 180 else sides
    rate = stream.average_rate or stream.guessed_rate
    if not rate:
        raise MediaError("without a frame rate")
    return VideoFacts(width, height, rate, packets, stream.codec_context.name)


def read_frames(file: Path) -> Iterator[FrameBatch]:
    """The frames of a video that `probe_video` took, upright, a few at a time.

    Raises:
        MediaError: it is damaged further on.
    """
    with av.open(str(file)) as container:
        try:
            for frame in container.decode(video=0):
                turned = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                yield turned[None].astype(np.uint8)
        except (av.FFmpegError, ValueError):
            raise MediaError("damaged or cut off") from None


def read_tags(file: Path) -> dict[str, str]:
    """The container's tags of a video that `probe_video` took, by lower-case names."""
    with av.open(str(file)) as container:
        return {name.lower(): value for name, value in container.metadata.items()}


def probe_sound(file: Path) -> SoundFacts:
    """An uncompressed WAV file.

    Raises:
        MediaError: it is none, or is damaged or cut off.
    """
    with file.open("rb") as opened:
        start = opened.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise MediaError("no WAV sound")
    if int.from_bytes(start[4:8], "little") + _RIFF_HEADER > file.stat().st_size:
        raise MediaError("damaged or cut off")
    try:
        with av.open(str(file), format="wav") as container:
            stream = container.streams.audio[0]
            if not stream.codec_context.name.startswith("pcm_"):
                raise MediaError("no uncompressed WAV sound")
            rate = stream.rate
            samples = sum(frame.samples for frame in container.decode(stream))
            return SoundFacts(rate, stream.channels, samples / rate)
    except (av.FFmpegError, ValueError, IndexError):
        raise MediaError("damaged or cut off") from None
