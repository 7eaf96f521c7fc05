"""The stand-in for RunPod's queue, with workers that the real SDK runs."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.runpod_queue import RunpodQueue, worker_process

WORKER = """
import asyncio
import os

import runpod


async def echo(job):
    match job["input"]:
        case {"say": what}:
            return {"said": what, "s3": job.get("s3Config")}
        case {"finish_after": seconds}:
            runpod.serverless.progress_update(job, "started")
            await asyncio.sleep(seconds)
            return {"pid": os.getpid()}
        case "hang":
            runpod.serverless.progress_update(job, "started")
            await asyncio.Event().wait()


async def count(job):
    for number in range(job["input"]):
        yield number


runpod.serverless.start({
    "handler": globals()[os.environ["HANDLER"]],
    "concurrency_modifier": lambda _: int(os.environ["CONCURRENCY"]),
})
"""
SOON = 20.0  # seconds, most of them the SDK's import on a busy machine

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def queue() -> Iterator[RunpodQueue]:
    """A queue that listens."""
    with RunpodQueue() as listening:
        yield listening


@pytest.fixture
def start(queue: RunpodQueue, tmp_path: Path) -> Iterator[Start]:
    """Start a worker that echoes."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)

    def begin(worker: str = "w1", handler: str = "echo", concurrency: int = 1):
        chosen = {"HANDLER": handler, "CONCURRENCY": str(concurrency)}
        env = {**os.environ, **queue.environment(worker), **chosen}
        command = [sys.executable, str(script)]
        return workers.enter_context(worker_process(command, env, tmp_path, tmp_path / "log"))

    with ExitStack() as workers:
        yield begin


def test_a_jobs_output_arrives_once(queue: RunpodQueue, start: Start) -> None:
    """A job and its extra fields reach the handler; its output is posted a single time."""
    start()
    first = queue.submit({"say": "één"}, s3Config={"bucketName": "b"})
    assert queue.result(first, SOON) == {"output": {"said": "één", "s3": {"bucketName": "b"}}}
    queue.result(queue.submit({"say": "two"}), SOON)
    assert len(queue.jobs[first].results) == 1
    assert queue.jobs[first].taken_by == ["w1"]


def test_a_cancelled_job_posts_nothing(queue: RunpodQueue, start: Start) -> None:
    """A stop reaches the handler in mid-job, and the same worker does the next job."""
    start()
    hung = queue.submit("hang")
    queue.wait_until(lambda: queue.jobs[hung].progress, SOON)
    queue.cancel(hung)
    queue.result(queue.submit({"say": "next"}), SOON)
    assert queue.jobs[hung].order == ["progress"]


def test_progress_is_no_result(queue: RunpodQueue, start: Start) -> None:
    """An update is kept apart from the output, and their order is kept."""
    start()
    job = queue.submit({"finish_after": 0.5})
    queue.result(job, SOON)
    assert queue.jobs[job].progress == [{"status": "IN_PROGRESS", "output": "started"}]
    assert queue.jobs[job].order == ["progress", "result"]


def test_a_ping_names_the_job_in_progress(queue: RunpodQueue, start: Start) -> None:
    """The SDK's second process names the job of its worker."""
    worker = start()
    hung = queue.submit("hang")
    queue.wait_until(lambda: hung in queue.pings, SOON)
    worker.kill()  # SIGTERM would await the job


def test_a_refused_result_is_sent_again(queue: RunpodQueue, start: Start) -> None:
    """The SDK repeats a post that got a 500, and one post counts."""
    start()
    queue.refuse_results(1, 500)
    job = queue.submit({"say": "hello"})
    assert queue.result(job, SOON)["output"]["said"] == "hello"
    assert (queue.jobs[job].refused, len(queue.jobs[job].results)) == (1, 1)


def test_a_worker_finishes_its_job_before_it_leaves(queue: RunpodQueue, start: Start) -> None:
    """After SIGTERM the job in flight is posted, and the process exits 0."""
    worker = start()
    job = queue.submit({"finish_after": 1})
    queue.wait_until(lambda: queue.jobs[job].progress, SOON)
    worker.terminate()
    assert queue.result(job, SOON) == {"output": {"pid": worker.pid}}
    assert worker.wait(SOON) == 0


def test_a_dead_workers_job_is_done_by_another(queue: RunpodQueue, start: Start) -> None:
    """A job whose worker was killed is queued again and posted by the next worker."""
    first = start("w1")
    job = queue.submit({"finish_after": 0.5})
    queue.wait_until(lambda: queue.jobs[job].progress, SOON)
    first.kill()
    queue.requeue(job)
    second = start("w2")
    assert queue.result(job, SOON) == {"output": {"pid": second.pid}}
    assert queue.jobs[job].taken_by == ["w1", "w2"]


def test_a_worker_takes_several_jobs_and_streams(queue: RunpodQueue, start: Start) -> None:
    """One id submitted twice is done twice, in one batch, and each yield is posted."""
    assert queue.submit(2, id="same") == queue.submit(2, id="same") == "same"
    start(handler="count", concurrency=2)
    queue.wait_until(lambda: len(queue.jobs["same"].results) == 2, SOON)
    assert sorted(body["output"] for body in queue.jobs["same"].streamed) == [0, 0, 1, 1]


def test_a_killed_workers_last_poll_takes_no_job(queue: RunpodQueue) -> None:
    """A job waits for a worker that is alive."""
    url = queue.environment("w1")["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", "w1")
    with socket.create_connection(("127.0.0.1", urlsplit(url).port)) as dying:
        dying.sendall(f"GET {url} HTTP/1.1\r\n\r\n".encode())
    job = queue.submit("hang")
    assert requests.get(url, timeout=5).json() == {"id": job, "input": "hang"}
    assert queue.jobs[job].taken_by == ["w1"]
