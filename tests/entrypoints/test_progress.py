"""What is told of a job's progress, and when."""

import queue
import threading
from typing import Any

from onetake.entrypoints.runpod.progress import Teller
from onetake.runtime.progress import Progress


def progress(step: int) -> Progress:
    """The first segment of one, after this many of nine steps."""
    return Progress("denoise", 1, 1, step, 9, step / 9, 9.0 - step)


def test_the_newest_is_told_and_what_it_replaces_is_not() -> None:
    """While one update is on its way, those that come meanwhile give way to the last of them."""
    sending, sent = threading.Event(), queue.Queue[int]()

    def send(told: dict[str, Any]) -> None:
        sent.put(told["step"])
        sending.wait(5)

    teller = Teller(send, interval=0.0)
    teller.tell(progress(1))
    assert sent.get(timeout=5) == 1
    for step in (2, 3, 4):
        teller.tell(progress(step))
    sending.set()
    assert sent.get(timeout=5) == 4
    teller.close()


def test_nothing_is_told_after_the_end() -> None:
    """An update that waits for its turn is dropped, since the result comes next."""
    sent = queue.Queue[int]()
    teller = Teller(lambda told: sent.put(told["step"]), interval=3600.0)
    teller.tell(progress(1))
    assert sent.get(timeout=5) == 1
    teller.tell(progress(2))
    teller.close()
    assert sent.empty()
    assert not teller._thread.is_alive()


def test_an_update_that_cannot_be_sent_stops_nothing() -> None:
    """The next one is tried as if nothing had been."""
    sent = queue.Queue[int]()

    def send(told: dict[str, Any]) -> None:
        sent.put(told["step"])
        raise OSError("no network")

    teller = Teller(send, interval=0.0)
    for step in (1, 2):
        teller.tell(progress(step))
        assert sent.get(timeout=5) == step
    teller.close()
