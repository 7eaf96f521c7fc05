"""One job at a time on its own thread, so that the event loop is free for RunPod's signals."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from onetake.entrypoints.runpod.answer import answer
from onetake.entrypoints.runpod.progress import ProgressSender
from onetake.runtime.cancellation import Control
from onetake.takes.worker import Worker

Job = dict[str, Any]

log = logging.getLogger("onetake")


class Runner:
    """Answers jobs for RunPod's SDK: nothing is posted for a stopped job.

    Args:
        worker: makes the takes.
        send_progress: sends a job's progress to RunPod and returns when it has arrived; None
            without a queue.
        jobs_taken: how many jobs the SDK has taken and not finished.
    """

    def __init__(
        self,
        worker: Worker,
        send_progress: Callable[[Job, dict[str, Any]], None] | None,
        jobs_taken: Callable[[], int],
    ) -> None:
        self._worker = worker
        self._send_progress = send_progress
        self._jobs_taken = jobs_taken
        self._gpu = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gpu")
        self._control = Control()
        self._watching = self._leaving = False

    async def __call__(self, job: Job) -> Job:
        """The result, or an ``error``.

        Raises:
            asyncio.CancelledError: the job was stopped, or the worker has to leave before the job
                ends; RunPod's SDK then posts nothing.
        """
        if self._watching and (task := asyncio.current_task()):
            task.add_done_callback(self._after_job)
        send = self._send_progress
        sender = ProgressSender(lambda update: send(job, update)) if send else None
        settings = self._worker.settings
        self._control = Control(sender.offer if sender else None, settings.execution_timeout)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._gpu, answer, self._worker, job, self._control)
        try:
            reply = await asyncio.shield(work)
        except asyncio.CancelledError:
            self._control.stop()
            await asyncio.wait([work])
            raise
        finally:
            if sender:
                await asyncio.to_thread(sender.close)
        if self._control.stopped:  # by SIGTERM
            raise asyncio.CancelledError
        return reply

    def before_take(self, _concurrency: int) -> int:
        """How many jobs to have at once: one. The SDK calls this before it takes each job.

        This is also our first call after the SDK has set its own handler of SIGTERM. The SDK's
        handler waits up to 90 s for the open poll, and loses a job that the poll brings meanwhile.
        Ours lets the running job finish within the grace period, or ends it, and leaves at once.
        """
        if not self._watching:
            self._watching = True
            signal.signal(signal.SIGTERM, self._leave)
        return 1

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        if not self._jobs_taken():
            raise SystemExit(0)
        if self._leaving:
            return
        self._leaving = True
        grace = self._worker.settings.grace_period
        log.info("leaving; the running job has %g s", grace)
        timer = threading.Timer(grace, self._end_of_grace)
        timer.daemon = True
        timer.start()

    def _end_of_grace(self) -> None:
        self._control.stop(hand_back=True)

    def _after_job(self, _task: asyncio.Task[Any]) -> None:
        """Leave if SIGTERM came during the job. Its result, if any, is posted by now."""
        if self._leaving:
            raise SystemExit(0)
