"""What every step must keep."""

from importlib import import_module

import numpy as np
import pytest

from onetake.takes.steps import STEPS, through_steps
from tests.support.plans import TINY, context_of, finished, planned

EVERYTHING = {"size": "640*480", "fps": 24, "duration": 1}
ALWAYS = ("onetake.takes.steps.look", "onetake.takes.steps.mark")


@pytest.mark.parametrize("name", [name for name in STEPS if name not in ALWAYS])
def test_a_step_that_is_not_needed_is_none(name: str) -> None:
    """A plan that delivers what is generated runs no step but those that watch and mark."""
    assert import_module(name).stage(context_of(planned({"duration": 2}, TINY))) is None


@pytest.mark.parametrize("name", ["rate", "fit", "look", "mark"])
def test_a_step_streams(name: str) -> None:
    """The first frames come out before the last have gone in, so that memory stays flat."""
    drawn = []

    def stream():
        for index in range(6):
            drawn.append(index)
            yield np.zeros((4, 128, 224, 3), np.uint8)

    context = context_of(planned(EVERYTHING, TINY))
    stage = import_module(f"onetake.takes.steps.{name}").stage(context)
    with context.closing:
        frames, sound = stage.through(stream(), None)
        first = next(frames)
        assert (first.dtype, sound) == (np.uint8, None)
        assert len(drawn) <= 2


def test_all_steps_together_deliver_the_plan() -> None:
    """Whatever the plan needs, the result has its size and its count."""
    plan = planned(EVERYTHING, TINY)
    generated = np.zeros((plan.generated_frames, 128, 224, 3), np.uint8)
    context = context_of(plan)
    with context.closing:
        frames, _sound = through_steps(context, iter([generated]))
        delivered = np.concatenate(list(frames))
    assert delivered.shape == (plan.num_frames, *plan.size[::-1], 3)
    assert np.array_equal(delivered, np.concatenate(list(finished(iter([generated]), plan))))
    stages = {"finish", "measure", "check", "mark", "encode", "total"}
    assert set(context.clock.timings()) == stages
