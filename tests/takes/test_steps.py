"""What every finishing step must keep."""

from importlib import import_module

import numpy as np
import pytest

from onetake.takes.steps import STEPS, finish
from tests.support.plans import TINY, planned

EVERYTHING = {"size": "640*480", "fps": 24, "duration": 1}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_is_not_needed_is_none(name: str) -> None:
    """A plan that delivers what is generated runs no step."""
    assert import_module(f"onetake.takes.steps.{name}").step(planned({"duration": 2}, TINY)) is None


@pytest.mark.parametrize("name", STEPS)
def test_a_step_streams(name: str) -> None:
    """The first frames come out before the last have gone in, so that memory stays flat."""
    plan = planned(EVERYTHING, TINY)
    drawn = []

    def stream():
        for index in range(6):
            drawn.append(index)
            yield np.zeros((4, 128, 224, 3), np.uint8)

    first = next(import_module(f"onetake.takes.steps.{name}").step(plan)(stream()))
    assert first.dtype == np.uint8
    assert len(drawn) <= 2


def test_all_steps_together_deliver_the_plan() -> None:
    """Whatever the plan needs, the result has its size and its count."""
    plan = planned(EVERYTHING, TINY)
    frames = np.zeros((plan.generated_frames, 128, 224, 3), np.uint8)
    delivered = np.concatenate(list(finish(iter([frames]), plan)))
    assert delivered.shape == (plan.num_frames, *plan.size[::-1], 3)
