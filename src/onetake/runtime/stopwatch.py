"""Where a job's time and host memory go, and what a worker has done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from onetake.media.frames import FrameStream


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
