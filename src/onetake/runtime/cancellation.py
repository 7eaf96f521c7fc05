"""What a running job is told from outside, and what it tells: to stop, and how far it is."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from onetake.runtime.errors import StoppedError
from onetake.runtime.progress import PartLink, Progress


class Control:
    """One job's rein. The GPU thread reports and checks; any thread may stop.

    Args:
        on_progress: called with every step; must return at once.
        timeout: seconds that the job may take, or None.
    """

    def __init__(
        self, on_progress: Callable[[Progress], None] | None = None, timeout: float | None = None
    ) -> None:
        self._on_progress = on_progress
        self._timeout = timeout
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._stopped = threading.Event()
        self.handed_back = False  # rather than unwanted: another worker will go on with it
        self._last: Progress | None = None
        self._parts: tuple[PartLink, ...] = ()

    def stop(self, *, hand_back: bool = False) -> None:
        """Ask the job to end at its next step, frame or wait."""
        self.handed_back = hand_back
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def check(self) -> None:
        """Go on, or not.

        Raises:
            StoppedError: the job was stopped, or its time is up.
        """
        if self.stopped:
            raise StoppedError("cancelled", f"the job was stopped {self._where()}")
        if self._ends is not None and time.monotonic() > self._ends:
            raise StoppedError(
                "timeout",
                f"the job was ended after {self._timeout:g} s, {self._where()}; "
                "ask for a shorter take or fewer steps",
            )

    def report(self, progress: Progress) -> None:
        """Tell how far the job is, then `check`."""
        self._last = replace(progress, parts=self._parts)
        if self._on_progress:
            self._on_progress(self._last)
        self.check()

    def part(self, link: PartLink) -> None:
        """Tell that a segment can be seen."""
        self._parts += (link,)
        if self._last:
            self.report(self._last)

    def pause(self, seconds: float) -> None:
        """Wait, but not for a job that was stopped.

        A time that is up ends no wait: what is made by then is worth more than the seconds.

        Raises:
            StoppedError: `stop` was called.
        """
        if self._stopped.wait(seconds):
            self.check()

    def _where(self) -> str:
        at = self._last
        if at is None:
            return "before its first step"
        return (
            f"{at.fraction:.0%} done, in {at.stage} of segment {at.segment} of {at.segments}, "
            f"step {at.step} of {at.steps}"
        )
