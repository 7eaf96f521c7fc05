"""Whether a segment may follow: what is measured at its seam, and whether the picture holds.

A segment that fails is made again with another seed, and the best of the tries is taken.
"""

from dataclasses import dataclass

import numpy as np

from onetake.media.colour import delta_e
from onetake.media.frames import FrameBatch
from onetake.seams.cross_fade import LOOKED_AT
from onetake.seams.frames import ROW, FrameMeter, Rows
from onetake.seams.report import BARS, CLOSE, Take, over_bar

# How far the segment's end may be from its beginning: the signs of a picture that falls apart.
_LEAST_SHARPNESS = 0.6
_FLAT = 1.0  # Laplacian energy of a picture in which nothing could be sharp
_MOST_DELTA_E = 20.0
_LEAST_MOVEMENT = 0.05  # of the movement before: a take that freezes
_OF_MOVEMENT = {"velocity", "direction", "duplicate"}  # another prompt may ask for another one


_BAD = 1.5  # times a bar: what is just over it may be the movement's own


@dataclass(frozen=True)
class Verdict:
    """Figures over their bars."""

    severity: float  # the worst of them; at most 1 is without a fault
    faults: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether the segment may follow."""
        return self.severity <= _BAD


def examine(before: FrameBatch, after: FrameBatch, *, same_prompt: bool) -> Verdict:
    """Judge the segment ``after`` by the frames ``before`` it, both uint8 (n, height, width, 3)."""
    lead = before[-LOOKED_AT:]
    shown = np.concatenate([lead, after])
    meter = FrameMeter()
    rows = np.array([meter.row(frame) for frame in shown], ROW)
    seam = Take(rows).measure(len(lead), [len(lead)])
    if same_prompt:
        beyond = _falling_apart(rows[: len(lead)], rows[len(lead) :])
        faults = (*seam.faults, *(name for name, factor in beyond.items() if factor > 1))
        return Verdict(max(seam.severity, *beyond.values()), faults)
    told = {name: getattr(seam, name) for name in BARS if name not in _OF_MOVEMENT}
    beyond = {name: over_bar(name, value) for name, value in told.items() if value is not None}
    return Verdict(max(beyond.values()), tuple(name for name in beyond if beyond[name] > 1))


def _falling_apart(before: Rows, after: Rows) -> dict[str, float]:
    start, end = before[-CLOSE:], after[-CLOSE:]
    was, now = (max(float(rows["sharpness"].mean()), _FLAT) for rows in (start, end))
    moved, moves = (float(np.median(rows["speed"])) for rows in (before, after))
    drift = delta_e(start["lab"].mean(0), end["lab"].mean(0)).mean()
    return {
        "blurred": _LEAST_SHARPNESS * was / now,
        "discoloured": float(drift) / _MOST_DELTA_E,
        "frozen": _LEAST_MOVEMENT * moved / max(moves, 1e-6),
    }
