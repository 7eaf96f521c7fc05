"""What a video file really holds, by reading it: for inputs, and for our own outputs.

A file is opened only if its first bytes are those of a known container, and by that container's
demuxer alone: a playlist could make ffmpeg's libraries open other files and addresses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from onetake.media.frames import FrameBatch


class MediaError(Exception):
    """The file is no such media, or is damaged; the text says which, and completes "is ..."."""


@dataclass(frozen=True)
class VideoFacts:
    """A video stream's shape, upright. Frames are counted; the header's number is not trusted."""

    width: int
    height: int
    fps: Fraction
    num_frames: int
    codec: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.num_frames / self.fps)


def probe_video(file: Path) -> VideoFacts:
    """The first video stream of an MP4, MOV, WebM or Matroska file.

    Raises:
        MediaError: it is none of them, has no picture, or is damaged or cut off.
    """
    with file.open("rb") as opened:
        header = opened.read(8)
    if header[4:] == b"ftyp":
        demuxer = "mov"
    elif header[:4] == b"\x1a\x45\xdf\xa3":
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
    # Raises if the first frame cannot be decoded. A phone's frames may lie on their side.
    first = next(container.decode(stream), None)
    sides = stream.width, stream.height
    width, height = reversed(sides) if first and first.rotation % 180 else sides
    rate = stream.average_rate or stream.guessed_rate
    if not rate:
        raise MediaError("without a frame rate")
    return VideoFacts(width, height, rate, packets, stream.codec_context.name)


def read_frames(file: Path) -> Iterator[FrameBatch]:
    """The frames of a video that `probe_video` accepted, upright, a few at a time.

    Raises:
        MediaError: a later frame is damaged.
    """
    with av.open(str(file)) as container:
        try:
            for frame in container.decode(video=0):
                upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                yield upright[None].astype(np.uint8)
        except (av.FFmpegError, ValueError):
            raise MediaError("damaged or cut off") from None


def read_tags(file: Path) -> dict[str, str]:
    """The container's tags of a video that `probe_video` accepted, by lower-case names."""
    with av.open(str(file)) as container:
        return {name.lower(): value for name, value in container.metadata.items()}
