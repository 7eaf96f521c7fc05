"""Chaining, seen frame by frame: a model that writes into each frame its number in the take."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from onetake.models.spec import DenoiseRequest
from onetake.runtime.cancellation import Control
from onetake.runtime.progress import Progress
from onetake.runtime.stopwatch import Stopwatch
from onetake.takes.chain import Chain, ChainInputs
from tests.support.plans import TINY, finished, planned


class Counter:
    """A video model whose frame number i, counted over the whole take, holds i in every pixel.

    A segment goes on counting from its context, so a frame that is doubled, lost or taken from the
    wrong place shows in the numbers.
    """

    spec = TINY
    revision = "counter"
    placement = "cpu"

    def __init__(self) -> None:
        self.requests: list[DenoiseRequest] = []

    def denoise(self, request: DenoiseRequest, on_step: Callable[[int], None]) -> DenoiseRequest:
        """The request itself is the latents."""
        self.requests.append(request)
        on_step(0)
        return request

    def decode(self, latents: DenoiseRequest) -> Iterator[np.ndarray]:
        """One frame, then fours, as the VAE gives them."""
        start = 0 if latents.context is None else int(latents.context[0, 0, 0, 0])
        numbers = np.arange(start, start + latents.num_frames, dtype=np.uint8)
        frames = np.broadcast_to(
            numbers[:, None, None, None], (len(numbers), latents.height, latents.width, 3)
        )
        yield frames[:1]
        for at in range(1, len(frames), 4):
            yield frames[at : at + 4]

    def count_tokens(self, prompt: str) -> int:
        """Unused here."""
        return len(prompt)

    def lean(self) -> bool:
        """It needs nothing."""
        return False

    def peak_gib(self) -> None:
        """No card."""


def chained(job: dict[str, Any], first_frame: np.ndarray | None = None) -> tuple[Any, ...]:
    """The plan, the numbers of the generated frames, the model, and the progress told."""
    plan, model, updates = planned({"retries": 0, **job}, TINY), Counter(), []
    frames = Chain(
        model, plan, Stopwatch(), Control(updates.append), ChainInputs(first_frame)
    ).frames()
    return plan, np.concatenate(list(frames))[:, 0, 0, 0].tolist(), model, updates


@pytest.mark.parametrize("overlap", [1, 5, 9, 17])
@pytest.mark.parametrize("duration", [0.1, 2, 2.1, 5, 12])
def test_no_frame_is_doubled_or_lost(overlap: int, duration: float) -> None:
    """Whatever the overlap, the take counts from 0 without a gap."""
    plan, numbers, _, _ = chained({"duration": duration, "overlap_frames": overlap})
    assert numbers == list(range(plan.generated_frames))


def test_each_segment_continues_the_last_frames_of_the_one_before() -> None:
    """The context is the overlap's frames, in order; the first segment has none."""
    plan, _, model, _ = chained({"duration": 5, "overlap_frames": 9})
    assert model.requests[0].context is None
    for segment, request in zip(plan.segments[1:], model.requests[1:], strict=True):
        numbers = request.context[:, 0, 0, 0].tolist()
        assert numbers == list(range(segment.start_frame - 9, segment.start_frame))
        assert request.seed == segment.seed


def test_an_image_is_the_context_of_the_first_segment() -> None:
    """It is delivered as the first frame, not dropped as an overlap is."""
    image = np.zeros((1, 128, 224, 3), np.uint8)
    plan, numbers, model, _ = chained({"duration": 3}, image)
    assert np.array_equal(model.requests[0].context, image)
    assert numbers == list(range(plan.generated_frames))


def test_a_cut_starts_anew_and_the_rest_continues() -> None:
    """A storyboard's parts count on from each other, but for one that is cut off."""
    parts = [
        {"prompt": "a can", "duration": 1.2},
        {"prompt": "a can spins", "duration": 2.3},
        {"prompt": "a jar", "duration": 1, "transition": "cut", "seed": 5},
    ]
    plan, numbers, model, _ = chained({"segments": parts})
    cut = next(s for s in plan.segments if s.part == 2)
    assert numbers == [*range(cut.start_frame), *range(plan.generated_frames - cut.start_frame)]
    assert [r.prompt for r in model.requests] == [parts[s.part]["prompt"] for s in plan.segments]
    assert (model.requests[cut.index].context, model.requests[cut.index].seed) == (None, 5)
    assert model.requests[1].context is not None


def test_two_shots_are_not_blended() -> None:
    """At another rate the last frame before a cut is repeated rather than mixed with the next."""
    parts = [{"prompt": "a can", "duration": 1}, {"prompt": "a jar", "duration": 1}]
    plan, numbers, _, _ = chained({"segments": parts, "transition": "cut", "fps": 30})
    shots = np.repeat([10, 200], [plan.segments[1].start_frame, plan.segments[1].kept_frames])
    assert len(shots) == len(numbers)
    frames = np.broadcast_to(shots[:, None, None, None].astype(np.uint8), (len(shots), 128, 224, 3))
    delivered = np.concatenate(list(finished(iter([frames]), plan)))[:, 0, 0, 0]
    assert delivered.tolist() == [10] * 30 + [200] * 30


def test_progress_names_segment_and_step() -> None:
    """Segments and steps count from 1."""
    plan, _, _, updates = chained({"duration": 3, "num_inference_steps": 4})
    steps = [(p.segment, p.segments, p.step, p.steps) for p in updates if p.stage == "denoise"]
    assert steps == [(n, 2, 1, 4) for n in (1, 2)]
    assert len(plan.segments) == 2


def test_what_progress_raises_stops_the_take() -> None:
    """A stop between two steps comes out at the reader."""
    plan, model = planned({"duration": 5}, TINY), Counter()

    def stop(progress: Progress) -> None:
        if progress.segment == 2:
            raise KeyboardInterrupt

    frames = Chain(model, plan, Stopwatch(), Control(stop)).frames()
    with pytest.raises(KeyboardInterrupt):
        list(frames)
    assert len(model.requests) == 2


def test_the_delivered_seams_are_where_the_segments_meet() -> None:
    """At another rate, too, a seam names the first delivered frame of the later segment."""
    plan, _, _, _ = chained({"duration": 5, "fps": 8})
    numbers = np.broadcast_to(
        np.arange(plan.generated_frames, dtype=np.uint8)[:, None, None, None],
        (plan.generated_frames, 128, 224, 3),
    )
    delivered = np.concatenate(list(finished(iter([numbers]), plan)))[:, 0, 0, 0]
    for seam, segment in zip(plan.seam_frames(), plan.segments[1:], strict=True):
        assert delivered[seam - 1] < segment.start_frame <= delivered[seam]


class Unlike(Counter):
    """A counter that decodes its context 40 levels brighter than it was."""

    def decode(self, latents: DenoiseRequest) -> Iterator[np.ndarray]:
        """The context's frames brighter, the others as they were."""
        ahead = 0 if latents.context is None else len(latents.context)
        for batch in super().decode(latents):
            yield (
                batch
                + np.where(np.arange(len(batch)) < ahead, 40, 0).astype(np.uint8)[
                    :, None, None, None
                ]
            )
            ahead -= min(ahead, len(batch))


def test_the_overlap_is_faded_into() -> None:
    """What a segment makes of its context comes in by equal steps over the overlap."""
    plan = planned({"duration": 3, "overlap_frames": 9}, TINY)
    frames = np.concatenate(list(Chain(Unlike(), plan, Stopwatch(), Control()).frames()))
    seam = plan.segments[1].start_frame
    brighter = frames[:, 0, 0, 0] - np.arange(len(frames))
    assert brighter[seam - 9 : seam].tolist() == [4 * step for step in range(1, 10)]
    assert not brighter[: seam - 9].any()
    assert not brighter[seam:].any()


def test_a_segment_is_not_passed_on_before_the_next_has_faded_it() -> None:
    """Of a segment that another one continues all but the overlap comes at once."""
    plan, model = planned({"duration": 3, "overlap_frames": 5}, TINY), Counter()
    stream = Chain(model, plan, Stopwatch(), Control()).frames()
    seen = 0
    while len(model.requests) < 2:
        ahead, seen = seen, seen + len(next(stream))
    assert ahead == plan.segments[0].kept_frames - 5


def test_a_loop_ends_on_its_own_first_frame() -> None:
    """The last request is given the take's first frame, and no other is."""
    _, numbers, model, _ = chained({"duration": 4, "loop": True})
    ends = [request.last_frame for request in model.requests]
    assert numbers == list(range(64))
    assert [end is None for end in ends] == [True] * (len(ends) - 1) + [False]
    assert (ends[-1] == 0).all()
