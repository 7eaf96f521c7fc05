"""Where a job's time and host memory go, and what a worker has done."""

import ctypes
import gc
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from onetake.clip import FrameStream

_KIB_A_GIB = 1 << 20


class Stopwatch:
    """Seconds by stage. Stages nest, and time counts for the innermost one alone.

    So the stages add up to the total although decoding, finishing and encoding interleave.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._started = self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs inside for ``name``."""
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def through(self, name: str, stream: FrameStream) -> FrameStream:
        """``stream``, with the time that drawing from it takes counted for ``name``."""
        while True:
            with self.stage(name):
                batch = next(stream, None)
            if batch is None:
                return
            yield batch

    def timings(self) -> dict[str, float]:
        """Seconds of each stage so far, and ``total`` since the start."""
        rounded = {name: round(seconds, 3) for name, seconds in self.seconds.items()}
        return {**rounded, "total": round(self.total, 3)}

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    def _count(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


class Counters:
    """What this worker has done since it started; safe to add to from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: Counter[str] = Counter()

    def add(self, name: str, amount: float = 1) -> None:
        """Add to the sum of this name."""
        with self._lock:
            self._sums[name] += amount  # type: ignore[assignment]  # typeshed: whole numbers alone

    def summary(self) -> dict[str, float]:
        """All sums by name."""
        with self._lock:
            return dict(self._sums)


def trim_host_memory() -> None:
    """Give the host back what the last job used: collected here, and returned by glibc."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such function
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def reset_host_peak() -> None:
    """Start a new peak, where Linux lets the process do so."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def host_peak_gib() -> float | None:
    """Largest resident memory of this process since the last reset, in GiB; None off Linux."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / _KIB_A_GIB
    return None
