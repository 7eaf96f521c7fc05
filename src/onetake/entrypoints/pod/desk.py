"""A pod's jobs: a bounded queue, one job at a time, and results that are kept for a while."""

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

KEPT_SECONDS = 30 * 60.0  # of a result, as RunPod keeps it
MOST_KEPT = 100  # results; one with its video inside has up to 9.5 MB
MOST_UNREAD = 1000  # updates of a stream that nobody reads
LAST_LOOK = 3.0  # seconds that a last result can still be asked for; RunPod's SDK asks every second
LEAVING = "leaving: this pod is stopping; send the job again"

Job = dict[str, Any]


class State(StrEnum):
    """A job's, in RunPod's words."""

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
        self.asked = digest(job.get("input"))
        self.state = State.IN_QUEUE
        self.error: str | None = None
        self.ended = asyncio.Event()
        self.ended_at = 0.0
        self.making: asyncio.Task[Job] | None = None
        self.output: Job = {}  # progress, then the result
        self._unread: deque[Job] = deque(maxlen=MOST_UNREAD)
        self._asked_at = time.monotonic()
        self._started_at: float | None = None

    def start(self, making: asyncio.Task[Job]) -> None:
        """Its turn has come."""
        self.state, self.making, self._started_at = State.IN_PROGRESS, making, time.monotonic()

    def tell(self, output: Job) -> None:
        """Progress, or the result; may come from any thread."""
        self.output = output
        self._unread.append(output)

    def end(self, state: State, error: str | None = None) -> None:
        """Nothing changes after this."""
        self.state, self.error, self.ended_at = state, error, time.monotonic()
        self.job = {}  # its inputs may be large
        self.ended.set()

    @property
    def waits(self) -> bool:
        """Whether its take is kept back for a review."""
        return bool(self.output.get("safety", {}).get("verdict") == "flagged")

    def status(self) -> Job:
        """For `/status`."""
        told: Job = {"id": self.id, "status": self.state}
        if self._started_at is not None:
            told["delayTime"] = _milliseconds(self._asked_at, self._started_at)
            if self.ended.is_set():
                told["executionTime"] = _milliseconds(self._started_at, self.ended_at)
        if self.error:
            told["error"] = self.error
        # Of a failed job what was made, not how far it was.
        whole = not self.error or "video_url" in self.output
        if self.output and whole and self.state != State.CANCELLED:
            told["output"] = self.output
        return told

    def stream(self) -> Job:
        """For `/stream`: what was told since it was asked last."""
        told: Job = {"status": self.state, "stream": []}
        while self._unread:
            told["stream"].append({"output": self._unread.popleft()})
        return told | ({"error": self.error} if self.error else {})


class Desk:
    """Takes jobs, has them made in order, and answers what became of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.ready = self.leaving = False
        self.lost = ""  # why this process can make no more jobs
        self._entries: dict[str, Entry] = {}
        self._line: asyncio.Queue[Entry | None] = asyncio.Queue()
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
        if len(unfinished) > most:  # the first of them is in progress, or will be at once
            problem = f"queue_full: {most} jobs are waiting, and no more may; send it again later"
            left = unfinished[0].output.get("seconds_left", 0)
            raise RefusedError(429, problem, retry_after=left)
        entry = Entry(job)
        self._entries[entry.id] = entry
        self._line.put_nowait(entry)
        return entry

    def find(self, job_id: str) -> Entry:
        """The job of this id.

        Raises:
            RefusedError: there is none, or none any more.
        """
        self._forget()
        if entry := self._entries.get(job_id):
            return entry
        problem = f"not_found: no job has this id; results are kept for {KEPT_SECONDS / 60:g} min"
        raise RefusedError(404, problem)

    def cancel(self, entry: Entry) -> None:
        """End a job that has not ended; the one in progress makes no further step."""
        self._end(entry, State.CANCELLED)

    def tell(self, job: Job, told: Job) -> None:
        """Note a job's progress, from any thread."""
        self._entries[job["id"]].tell(told)

    def unfinished(self) -> list[Entry]:
        """Jobs that wait or are in progress, in order."""
        return [entry for entry in self._entries.values() if not entry.ended.is_set()]

    def leave(self) -> None:
        """Take no more, let the job in progress end within the grace period, then be done."""
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
        self._line.put_nowait(None)

    async def work(self, make: Callable[[Job], Awaitable[Job]]) -> None:
        """Have jobs made until it is time to leave."""
        self.ready = True
        while entry := await self._line.get():
            if not entry.ended.is_set():
                await self._see_through(entry, make)
        last = max((entry.ended_at for entry in self._entries.values()), default=0.0)
        await asyncio.sleep(max(0.0, last + LAST_LOOK - time.monotonic()))

    async def _see_through(self, entry: Entry, make: Callable[[Job], Awaitable[Job]]) -> None:
        making = asyncio.ensure_future(make(entry.job))
        entry.start(making)
        await asyncio.wait([making])
        if entry.ended.is_set():  # meanwhile, by `cancel` or `leave`
            return
        reply = making.result()
        if error := reply.pop("error", None):
            if "video_url" in reply:
                reply.pop("refresh_worker", None)
                entry.tell(reply)
            self._end(entry, State.FAILED, error)
            if error.startswith("device_lost"):  # no further job can be made by this process
                self.lost = error
                self.leave()
        else:
            entry.tell(reply)
            self._end(entry, State.COMPLETED)

    def _end(self, entry: Entry, state: State, error: str | None = None) -> None:
        if entry.ended.is_set():
            return
        entry.end(state, error)
        self._ended[state] += 1
        if entry.making:
            entry.making.cancel()

    def _forget(self) -> None:
        """Let go of results that are old or too many."""
        ended = [entry for entry in self._entries.values() if entry.ended.is_set()]
        oldest = time.monotonic() - KEPT_SECONDS
        for place, entry in enumerate(reversed(ended)):
            if place >= MOST_KEPT or entry.ended_at < oldest:
                del self._entries[entry.id]

    def health(self) -> Job:
        """For `/health`."""
        unfinished = self.unfinished()
        running = sum(entry.state == State.IN_PROGRESS for entry in unfinished)
        return {
            "jobs": {
                "completed": self._ended[State.COMPLETED],
                "failed": self._ended[State.FAILED],
                "inProgress": running,
                "inQueue": len(unfinished) - running,
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
