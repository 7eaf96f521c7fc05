"""The visible mark: words or a logo in the lower right corner of every frame."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onetake.media.frames import FrameBatch

_HEIGHT, _MARGIN = 1 / 24, 1 / 40  # of the shorter side of the frame
_OPACITY = 0.75


class Label:
    """A partly transparent picture, blended over frames of one size."""

    def __init__(self, size: tuple[int, int], *, words: str = "", logo: Path | None = None) -> None:
        """For frames of ``size`` (width, height): ``words``, or a PNG file.

        A logo is at most a quarter as wide as the frame.
        """
        shorter = min(size)
        height = max(9, round(shorter * _HEIGHT))
        picture = _scaled(logo, 2 * height, size[0] // 4) if logo else _drawn(words, height)
        picture.thumbnail(size)
        margin = round(shorter * _MARGIN)
        right, bottom = size[0] - margin, size[1] - margin
        self._left = max(0, right - picture.width)
        self._top = max(0, bottom - picture.height)
        pixels = np.asarray(picture, np.float32)
        self._alpha = pixels[..., 3:] / 255 * (1 if logo else _OPACITY)
        self._colour = pixels[..., :3] * self._alpha

    def over(self, frames: FrameBatch) -> FrameBatch:
        """A copy of the frames, uint8 [n, height, width, 3], with the label on them."""
        marked = frames.copy()
        height, width = self._alpha.shape[:2]
        corner = marked[:, self._top : self._top + height, self._left : self._left + width]
        corner[:] = (corner * (1 - self._alpha) + self._colour + 0.5).astype(np.uint8)
        return marked


def _drawn(words: str, height: int) -> Image.Image:
    """White words with a dark edge, which can be read on any ground."""
    font = ImageFont.load_default(height)
    edge = max(1, height // 12)
    box = font.getbbox(words, stroke_width=edge)
    picture = Image.new("RGBA", (round(box[2] - box[0]), round(box[3] - box[1])), (0, 0, 0, 0))
    ImageDraw.Draw(picture).text(
        (-box[0], -box[1]), words, (255, 255, 255, 255), font, stroke_width=edge,
        stroke_fill=(0, 0, 0, 255),
    )  # fmt: skip
    return picture


def _scaled(logo: Path, height: int, width: int) -> Image.Image:
    """The logo in its own ratio, within these sides."""
    picture = Image.open(logo).convert("RGBA")
    factor = min(height / picture.height, width / picture.width)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS)
