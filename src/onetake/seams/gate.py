"""Whether a segment may follow: by the figures of its seam, and whether its picture holds up.

A segment that fails is made again with another seed, and the best try is taken.
"""

from dataclasses import dataclass

import numpy as np

from onetake.media.colour import delta_e
from onetake.media.frames import FrameBatch
from onetake.seams.cross_fade import LOOKED_AT
from onetake.seams.frames import ROW, FrameMeter, Rows
from onetake.seams.report import BARS, CLOSE, FLAT, Take, over_bar

# How much a segment may change from its start to its end; beyond that its picture falls apart.
_LEAST_SHARPNESS = 0.6
_MOST_DELTA_E = 20.0
_LEAST_MOVEMENT = 0.05  # of the movement before; below it the take freezes
_OF_MOVEMENT = {"velocity", "direction", "duplicate"}  # another prompt may ask for other movement
_BAD = 1.5  # times a bar; the movement itself may cause what is just over it


@dataclass(frozen=True)
class Verdict:
    """Figures over their bars."""

    severity: float  # the worst figure as a factor of its bar; at most 1: no fault
    faults: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether the segment may follow."""
        return self.severity <= _BAD


def examine(before: FrameBatch, after: FrameBatch, *, same_prompt: bool) -> Verdict:
    """Judge the segment ``after`` by the frames ``before`` it, both uint8 (n, height, width, 3)."""
    lead = before[-LOOKED_AT:]
    meter = FrameMeter()
    rows = np.array([meter.row(frame) for frame in np.concatenate([lead, after])], ROW)
    seam = Take(rows).measure(len(lead), [len(lead)])
    if same_prompt:
        factors = _falling_apart(rows[: len(lead)], rows[len(lead) :])
        faults = (*seam.faults, *_over_one(factors))
        return Verdict(max(seam.severity, *factors.values()), faults)
    figures = {name: getattr(seam, name) for name in BARS if name not in _OF_MOVEMENT}
    factors = {name: over_bar(name, value) for name, value in figures.items() if value is not None}
    return Verdict(max(factors.values()), _over_one(factors))


def _over_one(factors: dict[str, float]) -> tuple[str, ...]:
    return tuple(name for name, factor in factors.items() if factor > 1)


def _falling_apart(before: Rows, after: Rows) -> dict[str, float]:
    """How far the segment's end is from what came before, as factors of the bars above."""
    start, end = before[-CLOSE:], after[-CLOSE:]
    sharp_start, sharp_end = (max(float(part["sharpness"].mean()), FLAT) for part in (start, end))
    speed_before, speed_after = (float(np.median(part["speed"])) for part in (before, after))
    drift = delta_e(start["lab"].mean(0), end["lab"].mean(0)).mean()
    return {
        "blurred": _LEAST_SHARPNESS * sharp_start / sharp_end,
        "discoloured": float(drift) / _MOST_DELTA_E,
        "frozen": _LEAST_MOVEMENT * speed_before / max(speed_after, 1e-6),
    }
