"""Sends a job's progress in order, not too often, and never after its answer."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from onetake.runtime.progress import Progress

LAST_UPDATE = 10.0  # seconds that the answer waits for an update that is being sent

log = logging.getLogger("onetake")


class ProgressSender:
    """Sends the newest progress, at most one a second, from a thread of its own.

    Args:
        send: sends one update, and returns when it has arrived.
        interval: seconds between two updates.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], interval: float = 1.0) -> None:
        self._send, self._interval = send, interval
        self._changed = threading.Condition()
        self._newest: Progress | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def offer(self, progress: Progress) -> None:
        """Send this, unless something newer comes first; returns at once."""
        with self._changed:
            self._newest = progress
            self._changed.notify()

    def close(self) -> None:
        """Send no more, and wait for the update that is being sent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(LAST_UPDATE)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._newest)
                if self._closed:
                    return
                newest, self._newest = self._newest, None
            sent_at = time.monotonic()
            if newest:
                try:
                    self._send(newest.summary())
                except Exception:  # the job goes on without it
                    log.warning("progress was not sent", exc_info=True)
            with self._changed:
                wait = sent_at + self._interval - time.monotonic()
                self._changed.wait_for(lambda: self._closed, timeout=max(0.0, wait))
