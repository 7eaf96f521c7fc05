"""A pod's jobs: a queue of limited length, one job at a time, results kept for a while."""

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

from onetake.entrypoints.pod.refusal import RefusedError
from onetake.jobs.request import digest
from onetake.runtime.settings import Settings

KEPT_SECONDS = 30 * 60.0  # that a result is kept, as RunPod does
MOST_KEPT = 100  # results; one with its video inside has up to 9.5 MB
MOST_UNREAD = 1000  # updates kept for a stream that nobody reads
LAST_LOOK = 3.0  # seconds to fetch the last result; RunPod's SDK asks every second
LEAVING = "leaving: this pod is stopping; send the job again"

Job = dict[str, Any]


class State(StrEnum):
    """A job's state, in RunPod's words."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Entry:
    """One job, from the queue to its answer."""

    def __init__(self, job: Job) -> None:
        self.id = str(uuid.uuid4())
        self.job: Job = {"id": self.id, **job}
        self.digest = digest(job.get("input"))
        self.state = State.IN_QUEUE
        self.error: str | None = None
        self.ended = asyncio.Event()
        self.ended_at = 0.0
        self.task: asyncio.Task[Job] | None = None
        self.output: Job = {}  # progress, then the result
        self._unread: deque[Job] = deque(maxlen=MOST_UNREAD)
        self._submitted_at = time.monotonic()
        self._started_at: float | None = None

    def start(self, task: asyncio.Task[Job]) -> None:
        """Note that ``task`` makes it now."""
        self.state, self.task, self._started_at = State.IN_PROGRESS, task, time.monotonic()

    def update(self, output: Job) -> None:
        """Note its progress or its result; any thread may call this."""
        self.output = output
        self._unread.append(output)

    def end(self, state: State, error: str | None = None) -> None:
        """Note how it ended; nothing changes after this."""
        self.state, self.error, self.ended_at = state, error, time.monotonic()
        self.job = {}  # free its inputs, which may be large
        self.ended.set()

    @property
    def in_review(self) -> bool:
        """Whether its take is kept back for a review."""
        return bool(self.output.get("safety", {}).get("verdict") == "flagged")

    def status(self) -> Job:
        """The answer of `/status`."""
        answer: Job = {"id": self.id, "status": self.state}
        if self._started_at is not None:
            answer["delayTime"] = _milliseconds(self._submitted_at, self._started_at)
            if self.ended.is_set():
                answer["executionTime"] = _milliseconds(self._started_at, self.ended_at)
        if self.error:
            answer["error"] = self.error
        # A failed job shows the take up to the failure, if there is one, but no progress.
        shown = not self.error or "video_url" in self.output
        if self.output and shown and self.state != State.CANCELLED:
            answer["output"] = self.output
        return answer

    def stream(self) -> Job:
        """The answer of `/stream`: the updates since the last call."""
        answer: Job = {"status": self.state, "stream": []}
        while self._unread:
            answer["stream"].append({"output": self._unread.popleft()})
        return answer | ({"error": self.error} if self.error else {})


class Desk:
    """Takes jobs, runs them in order, and keeps their results."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.ready = self.leaving = False
        self.lost = ""  # the error after which this process can run no more jobs
        self._entries: dict[str, Entry] = {}
        self._queue: asyncio.Queue[Entry | None] = asyncio.Queue()  # None: stop
        self._ended: Counter[State] = Counter()

    def submit(self, job: Job) -> Entry:
        """Queue a job: its ``input``, and ``s3Config`` if there is one.

        Raises:
            RefusedError: the queue is full, or the pod is leaving.
        """
        if self.leaving:
            raise RefusedError(503, LEAVING)
        self._forget()
        unfinished, most = self.unfinished(), self._settings.max_queue
        if len(unfinished) > most:  # the first of them runs, or will at once
            problem = f"queue_full: {most} jobs are waiting, and no more may; send it again later"
            seconds_left = unfinished[0].output.get("seconds_left", 0)
            raise RefusedError(429, problem, retry_after=seconds_left)
        entry = Entry(job)
        self._entries[entry.id] = entry
        self._queue.put_nowait(entry)
        return entry

    def find(self, job_id: str) -> Entry:
        """The job of this id.

        Raises:
            RefusedError: there is none, or it is forgotten.
        """
        self._forget()
        if entry := self._entries.get(job_id):
            return entry
        problem = f"not_found: no job has this id; results are kept for {KEPT_SECONDS / 60:g} min"
        raise RefusedError(404, problem)

    def cancel(self, entry: Entry) -> None:
        """End a job that has not ended; if it runs, it stops before its next step."""
        self._end(entry, State.CANCELLED)

    def update(self, job: Job, progress: Job) -> None:
        """Note a job's progress; any thread may call this."""
        self._entries[job["id"]].update(progress)

    def unfinished(self) -> list[Entry]:
        """Jobs that wait or run, in order."""
        return [entry for entry in self._entries.values() if not entry.ended.is_set()]

    def waiting(self) -> list[Entry]:
        """Jobs that wait, in order."""
        return [entry for entry in self.unfinished() if entry.state == State.IN_QUEUE]

    def leave(self) -> None:
        """Take no more jobs, and let the running one end within the grace period."""
        if self.leaving:
            return
        self.leaving, self.ready = True, False
        for entry in self.unfinished():
            if entry.state == State.IN_QUEUE:
                self._end(entry, State.FAILED, LEAVING)
            else:
                asyncio.get_running_loop().call_later(
                    self._settings.grace_period, self._end, entry, State.FAILED, LEAVING
                )
        self._queue.put_nowait(None)

    async def work(self, make: Callable[[Job], Awaitable[Job]]) -> None:
        """Run jobs with ``make`` until `leave` is called."""
        self.ready = True
        while entry := await self._queue.get():
            if not entry.ended.is_set():
                await self._run(entry, make)
        last_end = max((entry.ended_at for entry in self._entries.values()), default=0.0)
        await asyncio.sleep(max(0.0, last_end + LAST_LOOK - time.monotonic()))

    async def _run(self, entry: Entry, make: Callable[[Job], Awaitable[Job]]) -> None:
        task = asyncio.ensure_future(make(entry.job))
        entry.start(task)
        await asyncio.wait([task])
        if entry.ended.is_set():  # by `cancel` or `leave`
            return
        reply = task.result()
        if error := reply.pop("error", None):
            if "video_url" in reply:
                reply.pop("refresh_worker", None)
                entry.update(reply)
            self._end(entry, State.FAILED, error)
            if error.startswith("device_lost"):  # this process can run no more jobs
                self.lost = error
                self.leave()
        else:
            entry.update(reply)
            self._end(entry, State.COMPLETED)

    def _end(self, entry: Entry, state: State, error: str | None = None) -> None:
        if entry.ended.is_set():
            return
        entry.end(state, error)
        self._ended[state] += 1
        if entry.task:
            entry.task.cancel()

    def _forget(self) -> None:
        """Forget results that are too old or too many."""
        ended = [entry for entry in self._entries.values() if entry.ended.is_set()]
        oldest = time.monotonic() - KEPT_SECONDS
        for newer, entry in enumerate(reversed(ended)):
            if newer >= MOST_KEPT or entry.ended_at < oldest:
                del self._entries[entry.id]

    def health(self) -> Job:
        """The answer of `/health`."""
        waiting = len(self.waiting())
        running = len(self.unfinished()) - waiting
        return {
            "jobs": {
                "completed": self._ended[State.COMPLETED],
                "failed": self._ended[State.FAILED],
                "inProgress": running,
                "inQueue": waiting,
                "retried": 0,
            },
            "workers": {
                "idle": int(self.ready and not running),
                "initializing": int(not self.ready and not self.leaving),
                "ready": int(self.ready),
                "running": running,
                "throttled": 0,
                "unhealthy": int(bool(self.lost)),
            },
        }


def _milliseconds(start: float, end: float) -> int:
    return round((end - start) * 1000)
