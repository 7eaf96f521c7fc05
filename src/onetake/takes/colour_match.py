"""Colours of later segments, drawn back to those of the first.

If each segment were matched to the one before, the match would follow the drift. So all are matched
to the first: mean and deviation of L*, a* and b*, after Reinhard et al., "Color transfer between
images", 2001.
"""

import numpy as np

from onetake.media.colour import Lab, lab_of, rgb_of
from onetake.media.frames import FrameBatch

_Statistics = tuple[Lab, Lab]  # mean and deviation of each channel
_LEAST_DEVIATION = 1.0  # of a channel in Lab; a flat one is not stretched
_MOST_STRETCH = 1.25
_KEPT = 0.9  # of the statistics, from one latent's frames to the next's


class ColourMatch:
    """Draws the colours of later segments back to those of the first, in part and by degrees.

    Args:
        strength: 0 leaves them as they are, 1 gives them the first segment's mean and deviation.
        ramp: number of frames until the match has its full strength.
    """

    def __init__(self, strength: float, ramp: int) -> None:
        self._strength, self._ramp = strength, ramp
        self._reference: list[_Statistics] = []
        self._smoothed: _Statistics | None = None
        self._matched_frames = 0

    def matched(self, frames: FrameBatch, segment: int) -> FrameBatch:
        """Frames of a segment, uint8 (n, height, width, 3); those of segment 0 stay as they are."""
        if not self._strength or not len(frames):
            return frames
        current = _statistics(frames)
        if segment == 0:
            self._reference.append(current)
            self._smoothed = current
            return frames
        # A running mean, so that movement in the picture does not make it flicker.
        mean, deviation = (
            _KEPT * old + (1 - _KEPT) * new
            for old, new in zip(self._smoothed or current, current, strict=True)
        )
        self._smoothed = mean, deviation
        first_mean, first_deviation = (
            np.mean(part, axis=0) for part in zip(*self._reference, strict=True)
        )
        stretch = first_deviation / deviation.clip(_LEAST_DEVIATION)
        stretch = stretch.clip(1 / _MOST_STRETCH, _MOST_STRETCH)
        matched = []
        for frame in frames:
            self._matched_frames += 1
            share = self._strength * min(1.0, self._matched_frames / self._ramp)
            lab = lab_of(frame)
            target = (lab - mean) * stretch + first_mean
            matched.append(rgb_of(lab + share * (target - lab)))
        return np.stack(matched)


def _statistics(frames: FrameBatch) -> _Statistics:
    """Of all frames together, from every fourth pixel each way."""
    lab = lab_of(frames[:, ::4, ::4])
    return lab.mean((0, 1, 2)), lab.std((0, 1, 2))
