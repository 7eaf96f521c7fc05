"""Which updates of a job's progress are sent, and when."""

import queue
import threading
from typing import Any

from onetake.entrypoints.runpod.progress import ProgressSender
from onetake.runtime.progress import Progress


def progress(step: int) -> Progress:
    """The first segment of one, after this many of nine steps."""
    return Progress("denoise", 1, 1, step, 9, step / 9, 9.0 - step)


def test_the_newest_is_told_and_what_it_replaces_is_not() -> None:
    """Of the updates that come while another is being sent, only the last is sent."""
    sending, sent = threading.Event(), queue.Queue[int]()

    def send(update: dict[str, Any]) -> None:
        sent.put(update["step"])
        sending.wait(5)

    sender = ProgressSender(send, interval=0.0)
    sender.offer(progress(1))
    assert sent.get(timeout=5) == 1
    for step in (2, 3, 4):
        sender.offer(progress(step))
    sending.set()
    assert sent.get(timeout=5) == 4
    sender.close()


def test_nothing_is_told_after_the_end() -> None:
    """An update that still waits is dropped, since the result comes next."""
    sent = queue.Queue[int]()
    sender = ProgressSender(lambda update: sent.put(update["step"]), interval=3600.0)
    sender.offer(progress(1))
    assert sent.get(timeout=5) == 1
    sender.offer(progress(2))
    sender.close()
    assert sent.empty()
    assert not sender._thread.is_alive()


def test_an_update_that_cannot_be_sent_stops_nothing() -> None:
    """The next one is sent as usual."""
    sent = queue.Queue[int]()

    def send(update: dict[str, Any]) -> None:
        sent.put(update["step"])
        raise OSError("no network")

    sender = ProgressSender(send, interval=0.0)
    for step in (1, 2):
        sender.offer(progress(step))
        assert sent.get(timeout=5) == step
    sender.close()
