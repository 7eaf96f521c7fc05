"""Seconds of each stage of a job."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Seconds by stage. Stages may nest; only the innermost one counts.

    So the stages add up to the total, although decoding, finishing and encoding alternate.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._started = self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the block for ``name``."""
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def through(self, name: str, items: Iterator[Item]) -> Iterator[Item]:
        """``items``, with the time that each one takes counted for ``name``."""
        while True:
            with self.stage(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

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
