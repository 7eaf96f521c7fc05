"""Colours that drift are drawn back to the first segment's."""

import numpy as np
import pytest

from onetake.media.colour import delta_e
from onetake.seams.frames import FrameMeter
from onetake.takes.colour_match import ColourMatch

FRAMES = 12
START = np.random.default_rng(5).integers(60, 180, (6, 8, 3)).repeat(16, 0).repeat(16, 1)
FIRST = np.broadcast_to(START.astype(np.uint8), (FRAMES, *START.shape))
LATER = np.clip(FIRST * 0.8 + 40, 0, 255).astype(np.uint8)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Delta E of two frames, mean of a 3x3 grid."""
    lab = [FrameMeter().row(frame)["lab"] for frame in (one, other)]
    return float(delta_e(*lab).mean())


@pytest.mark.parametrize(("strength", "left"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.1)])
def test_so_much_of_the_drift_is_left(strength: float, left: float) -> None:
    """After the ramp what is left is the share that was not asked for."""
    match = ColourMatch(strength, ramp=4)
    match.matched(FIRST, 0)
    for _ in range(30):  # the statistics run a little behind
        matched = match.matched(LATER, 1)
    drift = difference(LATER[0], FIRST[0])
    assert drift > 3
    assert difference(matched[-1], FIRST[0]) == pytest.approx(left * drift, abs=0.15 * drift)


def test_it_begins_by_degrees() -> None:
    """The first frame of the second segment is changed less than a later one."""
    match = ColourMatch(1.0, ramp=10)
    match.matched(FIRST, 0)
    matched = match.matched(LATER, 1)
    changed = [difference(a, b) for a, b in zip(matched, LATER, strict=True)]
    assert changed[0] < changed[5]


def test_the_first_segment_is_kept() -> None:
    """To the bit."""
    assert np.array_equal(ColourMatch(1.0, ramp=4).matched(FIRST, 0), FIRST)
