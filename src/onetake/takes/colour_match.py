"""The colours of a take, held to those that it began with.

Matching each segment to the one before would follow the drift; all are drawn to the first: mean and
deviation of L*, a* and b*, after Reinhard et al., "Color transfer between images", 2001.
"""

import cv2
import numpy as np
import numpy.typing as npt

from onetake.media.frames import FrameBatch

_Statistics = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
_LEAST_DEVIATION = 1.0  # of a channel in Lab; a flat one is not stretched
_MOST_STRETCH = 1.25
_KEPT = 0.9  # of the statistics, from one latent's frames to the next's


class ColourMatch:
    """Draws the colours of later segments back to those of the first, in part and by degrees.

    Args:
        strength: 0 leaves them as they are, 1 gives them the first segment's mean and deviation.
        ramp: frames over which that begins.
    """

    def __init__(self, strength: float, ramp: int) -> None:
        self._strength, self._ramp = strength, ramp
        self._reference: list[_Statistics] = []
        self._now: _Statistics | None = None
        self._done = 0

    def matched(self, frames: FrameBatch, segment: int) -> FrameBatch:
        """Frames of a segment, uint8 (n, height, width, 3); those of segment 0 are kept."""
        if not self._strength or not len(frames):
            return frames
        found = _statistics(frames)
        if segment == 0:
            self._reference.append(found)
            self._now = found
            return frames
        # A running mean, so that what moves in the picture does not make it flicker.
        before = self._now or found
        mean, deviation = (
            _KEPT * old + (1 - _KEPT) * new for old, new in zip(before, found, strict=True)
        )
        self._now = mean, deviation
        wanted_mean, wanted = (np.mean(part, axis=0) for part in zip(*self._reference, strict=True))
        stretch = (wanted / deviation.clip(_LEAST_DEVIATION)).clip(1 / _MOST_STRETCH, _MOST_STRETCH)
        matched = []
        for frame in frames:
            self._done += 1
            share = self._strength * min(1.0, self._done / self._ramp)
            lab = _lab(frame)
            target = (lab - mean) * stretch + wanted_mean
            matched.append(_rgb(lab + share * (target - lab)))
        return np.stack(matched)


def _statistics(frames: FrameBatch) -> _Statistics:
    """Mean and deviation of each channel in Lab, over all frames."""
    lab = np.stack([_lab(frame[::4, ::4]) for frame in frames])
    return lab.mean((0, 1, 2)), lab.std((0, 1, 2))


def _lab(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    rgb = np.ascontiguousarray(frame, np.float32) / 255
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), np.float32)


def _rgb(lab: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    rgb = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB)
    levels: npt.NDArray[np.uint8] = (np.clip(rgb, 0, 1) * 255).round().astype(np.uint8)
    return levels
