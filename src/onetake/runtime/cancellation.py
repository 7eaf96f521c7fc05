"""Stopping a job from outside, and hearing how far it is."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from onetake.runtime.errors import StoppedError
from onetake.runtime.progress import PartLink, Progress


class Control:
    """Cancellation and progress of one job. The GPU thread reports; any thread may stop.

    Args:
        on_progress: called after every step; must return at once.
        timeout: seconds that the job may take; None: no limit.
    """

    def __init__(
        self, on_progress: Callable[[Progress], None] | None = None, timeout: float | None = None
    ) -> None:
        self._on_progress = on_progress
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._stopped = threading.Event()
        self.handed_back = False  # stopped here, but another worker goes on with it
        self._last: Progress | None = None
        self._parts: tuple[PartLink, ...] = ()

    def stop(self, *, hand_back: bool = False) -> None:
        """End the job at its next step, frame or wait.

        Args:
            hand_back: another worker goes on with the job, so its segments are kept.
        """
        self.handed_back = hand_back
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def check(self) -> None:
        """Do nothing, unless the job has to end.

        Raises:
            StoppedError: the job was stopped, or its time is up.
        """
        if self.stopped:
            raise StoppedError("cancelled", f"the job was stopped {self._where()}")
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise StoppedError(
                "timeout",
                f"the job was ended after {self._timeout:g} s, {self._where()}; "
                "ask for a shorter take or fewer steps",
            )

    def report(self, progress: Progress) -> None:
        """Send on how far the job is, then `check`."""
        self._last = replace(progress, parts=self._parts)
        if self._on_progress:
            self._on_progress(self._last)
        self.check()

    def part(self, link: PartLink) -> None:
        """Add the link of a finished segment to this and all later progress."""
        self._parts += (link,)
        if self._last:
            self.report(self._last)

    def pause(self, seconds: float) -> None:
        """Wait, unless the job is stopped.

        The timeout does not end the wait: a take that is ready is worth a few more seconds.

        Raises:
            StoppedError: `stop` was called.
        """
        if self._stopped.wait(seconds):
            self.check()

    def _where(self) -> str:
        last = self._last
        if last is None:
            return "before its first step"
        return (
            f"{last.fraction:.0%} done, in {last.stage} of segment {last.segment} "
            f"of {last.segments}, step {last.step} of {last.steps}"
        )
