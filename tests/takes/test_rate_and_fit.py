"""Finishing: exact counts, exact sizes, nothing changed that need not be."""

from fractions import Fraction

import numpy as np
import pytest

from onetake.media.frames import first_frames
from tests.support.plans import TINY, finished, planned


def numbered(count: int, size: tuple[int, int] = (224, 128)) -> np.ndarray:
    """Frames of one grey each, frame i of level i."""
    levels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(levels, (count, size[1], size[0], 3))


def batches(frames: np.ndarray) -> list[np.ndarray]:
    """As a decoder gives them: one frame, then fours."""
    return [frames[:1], *(frames[start : start + 4] for start in range(1, len(frames), 4))]


@pytest.mark.parametrize("fps", [1, 8, 12, 15, 16, 23.976, 24, 25, 30, 60])
@pytest.mark.parametrize("duration", [0.1, 1, 2, 3.7])
def test_every_rate_gives_the_planned_count(fps: float, duration: float) -> None:
    """Frame i of the take shows the moment i / fps, and there are as many as planned."""
    plan = planned({"fps": fps, "duration": duration}, TINY)
    frames = batches(numbered(plan.generated_frames))
    delivered = np.concatenate(list(finished(iter(frames), plan)))[:, 0, 0, 0]
    meant = [index * 16 / plan.fps for index in range(plan.num_frames)]
    assert len(delivered) == plan.num_frames
    assert np.abs(delivered - np.array(meant, float)).max() <= 0.5


def test_a_divisor_of_the_rate_picks_frames() -> None:
    """16 to 8 fps is every second frame, bit for bit."""
    plan = planned({"fps": 8, "duration": 2}, TINY)
    delivered = np.concatenate(list(finished(iter(batches(numbered(plan.generated_frames))), plan)))
    assert delivered[:, 0, 0, 0].tolist() == list(range(0, 32, 2))


def test_a_plan_that_needs_nothing_changes_nothing() -> None:
    """At the model's own size and rate the stream passes through untouched."""
    frames = iter(batches(numbered(33)))
    assert finished(frames, planned({"duration": 2}, TINY)) is frames


def test_the_centre_stays_in_the_centre() -> None:
    """Scaling to another ratio crops both sides alike."""
    frame = np.zeros((1, 128, 224, 3), np.uint8)
    frame[:, 60:68, 108:116] = 255
    plan = planned({"width": 200, "height": 200}, TINY)
    stretched = np.concatenate(list(finished(iter([frame]), plan)))
    assert stretched.shape == (1, 200, 200, 3)
    rows, columns = np.nonzero(stretched[0, :, :, 0] > 128)
    assert (rows.mean(), columns.mean()) == pytest.approx((99.5, 99.5), abs=0.6)


def test_first_frames_draws_the_stream_to_its_end() -> None:
    """The surplus is dropped, and the decoder is not left half-way."""
    drawn = []

    def stream():
        for batch in batches(numbered(33)):
            drawn.append(len(batch))
            yield batch

    assert sum(len(batch) for batch in first_frames(stream(), 10)) == 10
    assert sum(drawn) == 33


def test_ntsc_rates_are_fractions() -> None:
    """23.976 means 24000/1001."""
    assert planned({"fps": 23.976}, TINY).fps == Fraction(24000, 1001)
