"""Energy, power, temperature and use of the GPU during a job, as its driver reports (NVML)."""

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

PERIOD = 0.25  # seconds between samples; drivers renew their readings 1 to 10 times a second

_PCI_ID_LENGTH = 32  # bytes, the final zero among them


@dataclass(frozen=True)
class Sample:
    """One reading of the card; None: the card does not report it."""

    at: float  # seconds, on any clock
    watts: float | None
    celsius: float | None
    busy: float | None  # share of the driver's last period in which a kernel ran, 0 to 1


class CardUse(BaseModel):
    """What the whole card used while the take was made and stored; null: it does not report it."""

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
    """Measure inside the block. The function it gives returns what the card has used so far.

    The figures are of the whole card, other processes included. Without a card or its driver the
    function returns None.

    Args:
        name: torch's name of the process's first card; None: the process uses no card.
    """
    sensors = _sensors() if name else None
    if name is None or sensors is None:
        yield lambda: None
        return
    joules_before = sensors.joules()
    samples = [sensors.sample()]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(PERIOD):
            samples.append(sensors.sample())

    def use() -> CardUse:
        joules = sensors.joules()
        used = None if joules is None or joules_before is None else joules - joules_before
        return card_use(name, [*samples, sensors.sample()], used)

    thread = threading.Thread(target=watch, name="card meter", daemon=True)
    thread.start()
    try:
        yield use
    finally:
        ended.set()
        thread.join()


def card_use(name: str, samples: Sequence[Sample], joules: float | None) -> CardUse:
    """The samples as one answer.

    Args:
        name: of the card.
        samples: in the order of their times.
        joules: what the card itself counted; None: the power is integrated by trapezoids.
    """
    watts = [(sample.at, sample.watts) for sample in samples if sample.watts is not None]
    busy = [(sample.at, sample.busy) for sample in samples if sample.busy is not None]
    celsius = [sample.celsius for sample in samples if sample.celsius is not None]
    seconds = samples[-1].at - samples[0].at
    mean_watts = _mean(watts) if joules is None else joules / seconds
    if joules is None and mean_watts is not None:
        joules = mean_watts * seconds
    return CardUse(
        name=name,
        energy_joules=_rounded(joules),
        mean_watts=_rounded(mean_watts),
        peak_watts=_rounded(max((value for _, value in watts), default=None)),
        max_celsius=max(celsius, default=None),
        mean_utilisation=_rounded(_mean(busy), 3),
    )


def _mean(points: Sequence[tuple[float, float]]) -> float | None:
    """The mean over time of (seconds, value) pairs, by trapezoids; None for fewer than two."""
    if len(points) < 2:  # noqa: PLR2004 - no time passes within one
        return None
    area = sum(
        (end - start) * (first + last) / 2 for (start, first), (end, last) in pairwise(points)
    )
    return area / (points[-1][0] - points[0][0])


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


class _Sensors:
    """The sensors of one card, by its NVML handle."""

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
        """Energy since the driver was loaded; None on cards older than Volta."""
        millijoules = self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if millijoules is None else millijoules / 1000

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A reading; None if the card or its driver does not offer it."""
        try:
            return function(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None


@cache
def _sensors() -> _Sensors | None:
    """The sensors of CUDA's first card, opened once; None without a driver."""
    import pynvml  # noqa: PLC0415 - needed with a card only

    bus_id = _pci_bus_id()
    if bus_id is None:
        return None
    try:
        pynvml.nvmlInit()
        return _Sensors(pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(bus_id))
    except pynvml.NVMLError:
        return None


def _pci_bus_id() -> str | None:
    """PCI id of CUDA's first card: NVML knows neither CUDA's order nor CUDA_VISIBLE_DEVICES."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    card, bus_id = ctypes.c_int(), ctypes.create_string_buffer(_PCI_ID_LENGTH)
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(card), 0)
        or cuda.cuDeviceGetPCIBusId(bus_id, _PCI_ID_LENGTH, card)
    )
    return None if failed else bus_id.value.decode()
