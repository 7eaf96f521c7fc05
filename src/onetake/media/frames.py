"""Frames on their way from the decoder to the encoder."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

# uint8 RGB of shape (frames, height, width, 3). One latent decodes to 1 or 4 frames, so that a
# take of any length passes through memory a few frames at a time.
FrameBatch = npt.NDArray[np.uint8]
FrameStream = Iterator[FrameBatch]


def first_frames(stream: FrameStream, count: int) -> FrameStream:
    """The first ``count`` frames of ``stream``; the rest is drawn from it and dropped.

    Drawing to the end lets the decoder finish and release what it holds.
    """
    left = count
    for batch in stream:
        kept = batch[:left]
        left -= len(kept)
        if len(kept):
            yield kept


def stretch(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """``picture`` at ``size``, whatever its own ratio: nothing is lost, and it can be undone."""
    return picture.resize(size, Image.Resampling.LANCZOS)


def cover(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """``picture`` scaled and centrally cropped to fill ``size`` (width, height), by Lanczos."""
    scale = min(picture.width / size[0], picture.height / size[1])
    kept = size[0] * scale, size[1] * scale
    left, top = (picture.width - kept[0]) / 2, (picture.height - kept[1]) / 2
    box = (left, top, left + kept[0], top + kept[1])
    return picture.resize(size, Image.Resampling.LANCZOS, box=box)
