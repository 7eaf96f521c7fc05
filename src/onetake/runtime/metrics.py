"""What a worker has done."""

import threading
from collections import Counter


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
