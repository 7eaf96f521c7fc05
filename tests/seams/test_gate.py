"""What lets a segment pass, on drawn frames."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from onetake.seams.cross_fade import LOOKED_AT
from onetake.seams.gate import examine

FRAMES = 33
BLUE = np.array([0, 0, 255])


def drawn(start: int, count: int, step: float = 2.0) -> np.ndarray:
    """A red block on a grey slope, `step` pixels to the right a frame from frame `start` on."""
    y, x = np.mgrid[:96, :160]
    frames = []
    for number in range(start, start + count):
        frame = np.repeat((90 + x // 3 + 8 * np.sin(y / 3))[..., None], 3, axis=2)
        at = 20 + step * number
        frame[(abs(x - at) < 12) & (abs(y - 48) < 20)] = (200, 30, 30)
        frames.append(frame)
    return np.stack(frames).clip(0, 255).astype(np.uint8)


def by_degrees(change: Callable[[np.ndarray, float], np.ndarray]) -> np.ndarray:
    """A segment that changes more and more, from 0 to 1."""
    frames = drawn(LOOKED_AT, FRAMES)
    return np.stack([change(f, i / FRAMES) for i, f in enumerate(frames)]).astype(np.uint8)


BEFORE = drawn(0, LOOKED_AT)


def test_a_segment_that_goes_on_passes() -> None:
    """The same movement on, without a fault."""
    verdict = examine(BEFORE, drawn(LOOKED_AT, FRAMES), same_prompt=True)
    assert verdict.passes


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        (drawn(LOOKED_AT + 6, FRAMES), "velocity"),
        (by_degrees(lambda f, share: cv2.GaussianBlur(f, (0, 0), 0.1 + 3 * share)), "blurred"),
        (np.repeat(drawn(LOOKED_AT, 1), FRAMES, axis=0), "frozen"),
        (by_degrees(lambda f, share: f * (1 - share) + share * BLUE), "discoloured"),
    ],
)
def test_a_bad_one_is_refused(after: np.ndarray, fault: str) -> None:
    """A jump, growing blur, a stop and a growing tint are named."""
    verdict = examine(BEFORE, after, same_prompt=True)
    assert not verdict.passes
    assert fault in verdict.faults


def test_another_prompt_may_move_otherwise() -> None:
    """A storyboard's next part may stop, but not change its light at once."""
    still = np.repeat(drawn(LOOKED_AT, 1), FRAMES, axis=0)
    assert examine(BEFORE, still, same_prompt=False).passes
    assert not examine(BEFORE, still // 2, same_prompt=False).passes


def test_a_flat_picture_is_no_blur() -> None:
    """Where nothing could be sharp, nothing is missed."""
    flat = np.full((FRAMES, 96, 160, 3), 120, np.uint8)
    assert examine(flat[:LOOKED_AT], flat, same_prompt=True).passes
