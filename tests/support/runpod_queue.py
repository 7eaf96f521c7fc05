"""A stand-in for RunPod's queue on loopback; the real SDK runs its workers."""

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

POLL = 0.5  # seconds a long poll waits; RunPod's wait longer; a worker leaves after its poll
GRACE = 10.0  # seconds a worker has to leave when its test ends

Json = dict[str, Any]

FAULTY_WORKER = Path(__file__).with_name("faulty_worker.py")


@dataclass
class QueuedJob:
    """All that happened to one job id; bodies are kept as the SDK posted them."""

    request: Json  # as submitted last
    taken_by: list[str] = field(default_factory=list)
    progress: list[Json] = field(default_factory=list)
    results: list[Json] = field(default_factory=list)
    streamed: list[Json] = field(default_factory=list)
    order: list[str] = field(default_factory=list)  # "progress" or "result", as they arrived
    refused: int = 0  # results that were answered with an error


class RunpodQueue:
    """Gives jobs to workers and keeps all that they post, inside a ``with`` block."""

    def __init__(self) -> None:
        self.jobs: dict[str, QueuedJob] = {}
        self.pings: list[str] = []
        self._changed = threading.Condition()
        self._pending: deque[Json] = deque()
        self._stops: dict[str, list[str]] = {}
        self._refusals: deque[int] = deque()
        self._closed = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Call, self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True  # long polls end at once
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def environment(self, worker_id: str) -> dict[str, str]:
        """Variables that make the SDK a worker of this queue; set them before its import."""
        base = f"http://127.0.0.1:{self._server.server_port}/v2/ep"
        return {
            # the SDK appends "&...", so that a query must have begun
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",  # ms; the SDK rounds down to seconds, and 0 is no pause
            "RUNPOD_POD_ID": worker_id,
            "RUNPOD_AI_API_KEY": "key",
            "RUNPOD_ENDPOINT_ID": "ep",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }

    def submit(self, input: Any, *, id: str | None = None, **extra: Any) -> str:  # noqa: A002
        """Queue a job, with ``extra`` beside its input; an id may be submitted again."""
        job_id = id or str(uuid.uuid4())
        request = {"id": job_id, "input": input, **extra}
        with self._changed:
            self.jobs.setdefault(job_id, QueuedJob(request)).request = request
            self._pending.append(request)
            self._changed.notify_all()
        return job_id

    def requeue(self, job_id: str) -> None:
        """Queue a job again whose worker died with it."""
        with self._changed:
            assert self.jobs[job_id].taken_by, f"no worker took {job_id}"
            self._pending.append(self.jobs[job_id].request)
            self._changed.notify_all()

    def cancel(self, job_id: str) -> None:
        """Ask the worker that took the job last to stop it.

        The SDK forgets a stop that comes before the handler starts, up to 0.1 s after the job
        was taken: wait for its first progress.
        """
        with self._changed:
            assert self.jobs[job_id].taken_by, f"no worker took {job_id}"
            self._stops.setdefault(self.jobs[job_id].taken_by[-1], []).append(job_id)
            self._changed.notify_all()

    def refuse_results(self, times: int, status: int) -> None:
        """Answer the next final results with an error and do not count them as received."""
        with self._changed:
            self._refusals.extend([status] * times)

    def wait_until(self, predicate: Callable[[], object], timeout: float) -> None:
        """Wait until ``predicate``, which reads ``jobs`` and ``pings``, is true."""
        with self._changed:
            reached = self._changed.wait_for(predicate, timeout)
            state = {name: (job.taken_by, job.order[-3:]) for name, job in self.jobs.items()}
            assert reached, f"not within {timeout} s: {state}"

    def result(self, job_id: str, timeout: float) -> Json:
        """The job's first final result, as soon as it is posted."""
        self.wait_until(lambda: self.jobs[job_id].results, timeout)
        return self.jobs[job_id].results[0]

    def _take(self, worker: str, most: int, hung_up: Callable[[], bool]) -> list[Json]:
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closed, POLL)
            if hung_up():  # the last poll of a killed worker would lose its job
                return []
            taken = [self._pending.popleft() for _ in range(min(most, len(self._pending)))]
            for request in taken:
                self.jobs[request["id"]].taken_by.append(worker)
            self._changed.notify_all()
            return taken

    def _take_stops(self, worker: str) -> list[str]:
        with self._changed:
            self._changed.wait_for(lambda: self._stops.get(worker) or self._closed, POLL)
            return self._stops.pop(worker, [])

    def _done(self, job_id: str, body: Json) -> int:
        with self._changed:
            job = self.jobs[job_id]
            if body.get("status") == "IN_PROGRESS":
                job.progress.append(body)
                job.order.append("progress")
            elif self._refusals:
                job.refused += 1
                return self._refusals.popleft()
            else:
                job.results.append(body)
                job.order.append("result")
            self._changed.notify_all()
            return 200

    def _stream(self, job_id: str, body: Json) -> int:
        with self._changed:
            self.jobs[job_id].streamed.append(body)
            self._changed.notify_all()
            return 200

    def _ping(self, job_ids: list[str]) -> None:
        with self._changed:
            self.pings += job_ids
            self._changed.notify_all()


class _Call(BaseHTTPRequestHandler):
    """One call of a worker: /v2/<endpoint>/<what>/<worker>[/<job>]."""

    def __init__(self, queue: RunpodQueue, *connection: Any) -> None:
        self.queue = queue
        super().__init__(*connection)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        match unquote(url.path).split("/", 5)[3:]:
            case ["job-take", worker]:
                jobs = self.queue._take(worker, 1, self._hung_up)
                self._answer_json(jobs[0] if jobs else None)
            case ["job-take-batch", worker]:
                most = int(query["batch_size"][0])
                self._answer_json(self.queue._take(worker, most, self._hung_up))
            case ["job-stop", worker]:
                stops = self.queue._take_stops(worker)
                self._answer_json({"jobsToStop": stops} if stops else None)
            case ["ping", _]:
                self.queue._ping([job for ids in query.get("job_id", []) for job in ids.split(",")])
                self._answer(200)
            case _:
                self._answer(404)

    def do_POST(self) -> None:
        # the SDK labels its JSON a form
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match unquote(urlsplit(self.path).path).split("/", 5)[3:]:
            case ["job-done", _, job_id]:
                self._answer(self.queue._done(job_id, body))
            case ["stream", _, job_id]:
                self._answer(self.queue._stream(job_id, body))
            case _:
                self._answer(404)

    def _answer_json(self, content: Any) -> None:
        if content:
            self._answer(200, json.dumps(content).encode())
        else:
            self._answer(204)

    def _answer(self, status: int, body: bytes = b"") -> None:
        with contextlib.suppress(ConnectionError):  # the worker was killed
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _hung_up(self) -> bool:
        """A worker sends nothing after a GET, so that only the end can be read."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""


@contextlib.contextmanager
def worker_process(
    command: list[str], env: dict[str, str], cwd: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in its own process group, which is killed when the block ends."""
    with log.open("ab") as written:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the SDK's pinging child outlives its parent
        process.wait()
