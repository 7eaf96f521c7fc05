"""Frames on their way from the decoder to the encoder."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

# uint8 RGB of shape (frames, height, width, 3). One latent frame decodes to 1 or 4 frames, so a
# take of any length passes through memory a few frames at a time.
FrameBatch = npt.NDArray[np.uint8]
FrameStream = Iterator[FrameBatch]
SoundStream = Iterator[npt.NDArray[np.float32]]  # stereo samples of shape (n, 2), 48 kHz


def first_frames(stream: FrameStream, count: int) -> FrameStream:
    """The first ``count`` frames of ``stream``; the rest is read and dropped.

    Reading to the end lets the decoder finish and release what it holds.
    """
    left = count
    for batch in stream:
        kept = batch[:left]
        left -= len(kept)
        if len(kept):
            yield kept


def stretch(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """``picture`` at ``size`` (width, height), whatever its ratio: nothing is cropped."""
    return picture.resize(size, Image.Resampling.LANCZOS)


def cover(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """``picture`` scaled and centrally cropped to fill ``size`` (width, height), by Lanczos."""
    scale = min(picture.width / size[0], picture.height / size[1])
    width, height = size[0] * scale, size[1] * scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    box = (left, top, left + width, top + height)
    return picture.resize(size, Image.Resampling.LANCZOS, box=box)
