"""What a job draws from its card: energy, power, heat and use, as the driver tells (NVML)."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, Field

PERIOD = 0.25  # seconds; drivers renew their readings 1 to 10 times a second

_PCI_CHARACTERS = 32


@dataclass(frozen=True)
class Sample:
    """One look at the card; None is what it does not tell."""

    at: float  # seconds of any clock
    watts: float | None
    celsius: float | None
    busy: float | None  # share of the driver's last period in which a kernel ran, 0 to 1


class CardUse(BaseModel):
    """What the whole card drew while the take was made and stored; null: it does not tell."""

    name: str
    energy_joules: float | None
    mean_watts: float | None
    peak_watts: float | None = Field(description="As the driver averages, over up to a second")
    max_celsius: float | None
    mean_utilisation: float | None = Field(
        description="Share of the time in which a kernel ran, 0 to 1"
    )


@contextmanager
def card_meter(name: str | None) -> Iterator[Callable[[], CardUse | None]]:
    """Gives a function that tells what the card has drawn since; None without card or driver.

    The whole card's figures, other processes' share included.

    Args:
        name: of the process's first card, as torch tells it; None: the process uses no card.
    """
    sensors = _sensors() if name else None
    if name is None or sensors is None:
        yield lambda: None
        return
    counted = sensors.joules()
    samples = [sensors.sample()]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(PERIOD):
            samples.append(sensors.sample())

    def use() -> CardUse:
        joules = sensors.joules()
        drawn = None if joules is None or counted is None else joules - counted
        return card_use(name, [*samples, sensors.sample()], drawn)

    thread = threading.Thread(target=watch, name="card meter", daemon=True)
    thread.start()
    try:
        yield use
    finally:
        ended.set()
        thread.join()


def card_use(name: str, samples: Sequence[Sample], joules: float | None) -> CardUse:
    """Samples in order as one answer; ``joules`` is what the card itself counted between them.

    Where it counts none (None), the energy is the power, integrated by trapezoids.
    """
    watts = [(s.at, s.watts) for s in samples if s.watts is not None]
    busy = [(s.at, s.busy) for s in samples if s.busy is not None]
    celsius = [s.celsius for s in samples if s.celsius is not None]
    seconds = samples[-1].at - samples[0].at
    mean_watts = _mean(watts) if joules is None else joules / seconds
    if joules is None and mean_watts is not None:
        joules = mean_watts * seconds
    return CardUse(
        name=name,
        energy_joules=_rounded(joules),
        mean_watts=_rounded(mean_watts),
        peak_watts=_rounded(max((w for _, w in watts), default=None)),
        max_celsius=max(celsius, default=None),
        mean_utilisation=_rounded(_mean(busy), 3),
    )


def _mean(points: Sequence[tuple[float, float]]) -> float | None:
    """The mean over time of (seconds, value), by trapezoids; None for fewer than two."""
    if len(points) < 2:  # noqa: PLR2004 - a mean over time needs some
        return None
    area = sum((later - at) * (value + then) / 2 for (at, value), (later, then) in pairwise(points))
    return area / (points[-1][0] - points[0][0])


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


class _Sensors:
    """One card's, by its NVML handle."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def sample(self) -> Sample:
        nvml = self._nvml
        milliwatts = self._ask(nvml.nvmlDeviceGetPowerUsage)
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates)
        return Sample(
            at=time.monotonic(),
            watts=None if milliwatts is None else milliwatts / 1000,
            celsius=self._ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
            busy=None if rates is None else rates.gpu / 100,
        )

    def joules(self) -> float | None:
        """Since the driver was loaded; None on cards older than Volta."""
        millijoules = self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if millijoules is None else millijoules / 1000

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A reading, or None where the card or its driver has none."""
        try:
            return function(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None


@cache
def _sensors() -> _Sensors | None:
    """The sensors of CUDA's first card, opened once; None without a driver."""
    import pynvml  # noqa: PLC0415 - a process without a card does without

    place = _pci_place()
    if place is None:
        return None
    try:
        pynvml.nvmlInit()
        return _Sensors(pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(place))
    except pynvml.NVMLError:
        return None


def _pci_place() -> str | None:
    """Where CUDA's first card sits: NVML knows neither CUDA's order nor CUDA_VISIBLE_DEVICES."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    card, place = ctypes.c_int(), ctypes.create_string_buffer(_PCI_CHARACTERS)
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(card), 0)
        or cuda.cuDeviceGetPCIBusId(place, _PCI_CHARACTERS, card)
    )
    return None if failed else place.value.decode()
