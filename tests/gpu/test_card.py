"""The meter on a real card."""

import threading

import pytest
import torch

from onetake.models.device import card_name, card_steady_gib
from onetake.runtime.gpu_meter import PERIOD, card_meter
from onetake.runtime.units import GIB

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def multiply_for(seconds: float) -> None:
    """Keep the card busy, and wait for it."""
    matrix = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    over = threading.Event()
    timer = threading.Timer(seconds, over.set)
    timer.start()
    while not over.is_set():
        torch.mm(matrix, matrix)
        torch.cuda.synchronize()
    timer.join()


def test_a_busy_card_is_measured() -> None:
    """Matrix products draw watts for as long as they run, and warm a card that says so."""
    multiply_for(1.0)  # the driver's averages are of the last second
    with card_meter(card_name()) as use:
        multiply_for(8 * PERIOD)
        usage = use()
    assert usage is not None
    print(usage)  # noqa: T201 - for whoever runs it
    assert usage.name == torch.cuda.get_device_name(0)
    assert usage.energy_joules is not None
    assert usage.mean_watts is not None
    assert usage.peak_watts is not None
    assert usage.max_celsius is not None
    assert usage.mean_utilisation is not None
    assert usage.energy_joules == pytest.approx(usage.mean_watts * 8 * PERIOD, rel=0.2)
    assert 50 < usage.mean_watts < 1500
    assert 50 < usage.peak_watts < 1500
    assert 15 < usage.max_celsius < 110
    assert 0.5 < usage.mean_utilisation <= 1


def test_it_goes_on_counting_until_the_block_ends() -> None:
    """A second answer from one meter holds the first one's energy and more; the thread ends."""
    with card_meter(card_name()) as use:
        multiply_for(2 * PERIOD)
        first = use()
        multiply_for(2 * PERIOD)
        second = use()
    assert first is not None
    assert second is not None
    assert first.energy_joules is not None
    assert second.energy_joules is not None
    assert 0 < first.energy_joules < second.energy_joules
    assert "card meter" not in {thread.name for thread in threading.enumerate()}


def test_what_stays_on_the_card_is_told() -> None:
    """A tensor that is kept counts, one that was let go does not."""
    before = card_steady_gib()
    kept = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    after = card_steady_gib()
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(kept.nbytes / GIB, abs=0.001)


def test_it_reads_the_card_that_the_process_uses() -> None:
    """The sensors are those of torch's first card, whatever CUDA's order and mask."""
    import pynvml  # noqa: PLC0415 - a GPU's machine alone needs it

    from onetake.runtime.gpu_meter import _sensors  # noqa: PLC0415

    sensors = _sensors()
    assert sensors is not None
    uuid = pynvml.nvmlDeviceGetUUID(sensors._handle)
    assert uuid == f"GPU-{torch.cuda.get_device_properties(0).uuid}"
