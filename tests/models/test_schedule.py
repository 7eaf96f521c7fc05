"""Which steps are computed when velocities are reused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetake.models.acceleration import effect_of
from onetake.models.acceleration.schedule import computed_steps, forwards, guided_steps
from onetake.models.catalogue import MODELS
from onetake.runtime.profiles import PROFILES


@given(st.integers(1, 100))
def test_the_ends_are_computed_and_no_gap_is_long(steps: int) -> None:
    """The first fifth and the last step run, no more than two steps in a row do not."""
    computed = computed_steps(steps)
    assert computed[: round(steps / 5)] == list(range(round(steps / 5)))
    assert computed[-1] == steps - 1
    assert all(later - earlier <= 3 for earlier, later in pairwise(computed))
    assert set(guided_steps(steps)) <= set(computed)


@pytest.mark.parametrize(("steps", "run"), [(1, 2), (12, 21), (30, 33), (50, 43)])
def test_more_steps_leave_out_more(steps: int, run: int) -> None:
    """A dozen steps are nearly all run; of fifty, both forwards of under a half."""
    assert forwards(steps, guided=True) == run
    assert forwards(steps, guided=False) == len(computed_steps(steps))
    assert effect_of(MODELS["tiny"], PROFILES["balanced"].techniques).forwards == forwards
    assert effect_of(MODELS["tiny"], PROFILES["exact"].techniques).forwards is None
