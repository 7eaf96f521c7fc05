"""The card's meter: its arithmetic, and a machine without a card."""

import pytest
import torch

from onetake.runtime.gpu_meter import Sample, card_meter, card_use
from onetake.takes.worker import Worker
from tests.support.takes import QUICK, answered

# A second at 100 W, then a second's climb to 300 W.
SAMPLES = [
    Sample(10.0, 100.0, 40.0, 0.0),
    Sample(11.0, 100.0, 50.0, 1.0),
    Sample(12.0, 300.0, 45.0, 1.0),
]


def test_energy_is_the_power_over_time() -> None:
    """Without a counter the energy is integrated, and the mean is of time rather than of looks."""
    use = card_use("a card", SAMPLES, None)
    assert (use.energy_joules, use.mean_watts, use.peak_watts) == (300, 150, 300)
    assert (use.max_celsius, use.mean_utilisation) == (50, 0.75)
    late = card_use("a card", [SAMPLES[0], *SAMPLES[1:], Sample(16.0, 300.0, 45.0, 1.0)], None)
    assert (late.energy_joules, late.mean_watts) == (1500, 250)


def test_the_card_s_own_counter_comes_first() -> None:
    """What the card counted is its energy, and over the time its mean power."""
    use = card_use("a card", SAMPLES, 250.0)
    assert (use.energy_joules, use.mean_watts, use.peak_watts) == (250, 125, 300)


def test_what_a_card_does_not_tell_is_null() -> None:
    """A card without sensors has a name alone; one that misses a look is integrated over it."""
    silent = [Sample(at, None, None, None) for at in (0.0, 1.0)]
    assert set(card_use("a card", silent, None).model_dump(exclude={"name"}).values()) == {None}
    gap = [Sample(0.0, 100.0, None, None), silent[1], Sample(2.0, 100.0, None, None)]
    assert card_use("a card", gap, None).energy_joules == 200


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
@pytest.mark.parametrize("name", [None, "a card"])
def test_without_a_driver_there_is_nothing_to_tell(name: str | None) -> None:
    """The block runs as it would, and the meter says None."""
    with card_meter(name) as use:
        assert use() is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_job_without_a_card_says_so(worker: Worker) -> None:
    """The answer has the field, null, and no joules are counted."""
    answer = answered(worker, {**QUICK, "duration": 1})
    assert answer["card"] is answer["memory"]["card_steady_gib"] is None
    assert worker.metrics.registry.get_sample_value("onetake_card_joules_total") == 0
