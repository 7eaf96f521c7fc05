"""The worker as RunPod runs it: the real SDK, handler and model in a process, and a queue."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

from tests.support.runpod_queue import FAULTY_WORKER, RunpodQueue, worker_process
from tests.support.servers import free_port, rclone
from tests.support.takes import frames_of

WAIT = 90.0  # seconds for anything here
QUICK = {"prompt": "a red bottle", "num_inference_steps": 2, "size": "128*96", "duration": 1}
LONG = {**QUICK, "num_inference_steps": 100, "duration": 60}
PROMPT = "a secret product nobody may know of"


def video_at(url: str) -> np.ndarray:
    """The frames behind a link."""
    with urlopen(url, timeout=10) as video:  # noqa: S310 - the test's own server
        return frames_of(video.read())


@dataclass
class Bench:
    """A queue, a bucket, and workers between them."""

    queue: RunpodQueue
    folder: Path
    bucket: Path
    variables: dict[str, str]

    @contextlib.contextmanager
    def worker(self, name: str = "w", **variables: str) -> Iterator[Popen[bytes]]:
        """A worker whose prompts can ask for faults."""
        command = [sys.executable, str(FAULTY_WORKER)]
        env = {**os.environ, **self.variables, **self.queue.environment(name), **variables}
        with worker_process(command, env, self.folder, self.log(name)) as process:
            yield process

    def log(self, name: str = "w") -> Path:
        """Where a worker's output goes."""
        return self.folder / f"{name}.log"

    def run(self, request: dict[str, Any], **extra: Any) -> dict[str, Any]:
        """A job's result, as it was posted."""
        return self.queue.result(self.queue.submit(request, **extra), WAIT)

    def started(self, job: str) -> None:
        """Wait for a job's first progress."""
        self.queue.wait_until(lambda: self.queue.jobs[job].progress, WAIT)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One queue and one bucket for all tests here."""
    folder = tmp_path_factory.mktemp("production")
    (folder / "served" / "clips").mkdir(parents=True)
    with (
        rclone(folder / "served", "key", "secret-of-the-store") as endpoint,
        RunpodQueue() as queue,
    ):
        variables = {
            "BUCKET_ENDPOINT_URL": endpoint,
            "BUCKET_ACCESS_KEY_ID": "key",
            "BUCKET_SECRET_ACCESS_KEY": "secret-of-the-store",
            "BUCKET_NAME": "clips",
            "ONETAKE_MODEL": "tiny",
            "ONETAKE_WORK_DIR": str(folder / "work"),
            "ONETAKE_KEEP_DIR": str(folder / "kept"),
            "ONETAKE_ALLOW_PRIVATE_INPUTS": "1",
        }
        yield Bench(queue, folder, folder / "served" / "clips" / "onetake", variables)


@pytest.fixture(scope="class")
def worker(bench: Bench) -> Iterator[Popen[bytes]]:
    """The one worker."""
    with bench.worker() as process:
        yield process


@pytest.mark.usefixtures("worker")
class TestOneWorker:
    """One worker, job after job; it survives all of them."""

    def test_a_job_is_answered_once_and_its_link_works(
        self, bench: Bench, worker: Popen[bytes]
    ) -> None:
        """The posted output is the result, and nothing else is posted after it."""
        job = bench.queue.submit({**QUICK, "prompt": PROMPT})
        output = bench.queue.result(job, WAIT)["output"]
        assert len(video_at(output["video_url"])) == 16
        assert worker.poll() is None
        assert bench.queue.jobs[job].order[-1] == "result"
        assert len(bench.queue.jobs[job].results) == 1

    def test_progress_arrives_in_order_and_not_too_often(self, bench: Bench) -> None:
        """Fractions grow, at most one update a second comes, and none after the result."""
        job = bench.queue.submit({**QUICK, "num_inference_steps": 20, "duration": 6})
        output = bench.queue.result(job, WAIT)["output"]
        updates = [update["output"] for update in bench.queue.jobs[job].progress]
        fractions = [update["fraction"] for update in updates]
        assert fractions == sorted(fractions)
        assert len(updates) <= output["timings"]["total"] + 2
        assert {"stage", "segment", "segments", "step", "steps", "seconds_left"} <= set(updates[0])
        assert bench.queue.jobs[job].order.index("result") == len(updates)

    def test_finished_segments_can_be_seen_early(self, bench: Bench) -> None:
        """With partial_results each segment's own frames have a link before the take is done."""
        job = bench.queue.submit(
            {**QUICK, "num_inference_steps": 12, "duration": 6, "partial_results": True}
        )
        output = bench.queue.result(job, WAIT)["output"]
        parts = bench.queue.jobs[job].progress[-1]["output"]["parts"]
        assert [part["segment"] for part in parts] == list(range(1, len(parts) + 1))
        assert len(video_at(parts[0]["video_url"])) == output["seams"][0]["at_frame"]

    def test_a_cancelled_job_posts_nothing_and_makes_room(self, bench: Bench) -> None:
        """The next job is answered; the stopped one leaves neither result nor file."""
        job = bench.queue.submit(LONG)
        bench.started(job)
        bench.queue.cancel(job)
        assert "error" not in bench.run(QUICK)
        assert bench.queue.jobs[job].results == []
        assert not list(bench.bucket.glob(f"{job}*"))
        assert [path.name for path in (bench.folder / "work").glob("worker-*/*")] == ["lock"]

    def test_a_job_that_comes_twice_is_made_once(self, bench: Bench) -> None:
        """The second delivery of an id is answered from the first; another request is not."""
        first = bench.run(QUICK, id="twice")["output"]
        bench.queue.submit(QUICK, id="twice")
        bench.queue.wait_until(lambda: len(bench.queue.jobs["twice"].results) == 2, WAIT)
        second = bench.queue.jobs["twice"].results[1]["output"]
        assert second["timings"] == first["timings"]
        assert second["seed"] == first["seed"]
        bench.queue.submit({**QUICK, "seed": 5}, id="twice")
        bench.queue.wait_until(lambda: len(bench.queue.jobs["twice"].results) == 3, WAIT)
        assert bench.queue.jobs["twice"].results[2]["output"]["seed"] == 5

    def test_a_result_that_the_queue_refuses_is_not_lost(self, bench: Bench) -> None:
        """If RunPod refuses a result and sends the job again, it is answered at once."""
        bench.queue.refuse_results(1, 400)
        job = bench.queue.submit(QUICK)
        bench.queue.wait_until(lambda: bench.queue.jobs[job].refused, WAIT)
        bench.queue.requeue(job)
        assert bench.queue.result(job, WAIT)["output"]["video_url"]

    def test_a_store_that_is_down_loses_no_take(self, bench: Bench) -> None:
        """The error says that the take is kept; the same job again delivers it, once more too."""
        dead = {"accessId": "a", "accessSecret": "my-own-secret", "bucketName": "b",
                "endpointUrl": f"http://127.0.0.1:{free_port()}"}  # fmt: skip
        job = bench.queue.submit(QUICK, id="kept", s3Config=dead)
        error = bench.queue.result(job, WAIT)["error"]
        assert error.startswith("store_failed: ")
        assert "the finished take is kept as kept" in error
        bench.queue.submit(QUICK, id="kept")
        bench.queue.wait_until(lambda: len(bench.queue.jobs["kept"].results) == 2, WAIT)
        delivered = bench.queue.jobs["kept"].results[1]["output"]
        assert len(video_at(delivered["video_url"])) == 16
        assert not list((bench.folder / "kept").glob("*.*"))
        bench.queue.submit(QUICK, id="kept")
        bench.queue.wait_until(lambda: len(bench.queue.jobs["kept"].results) == 3, WAIT)
        again = bench.queue.jobs["kept"].results[2]["output"]
        assert again["timings"] == delivered["timings"]

    @pytest.mark.parametrize(
        ("word", "error"),
        [
            ("NOENCODER", "encode_failed: "),
            ("CRASH", "internal_error: the worker failed; send the job again"),
        ],
    )
    def test_a_fault_beside_the_card_costs_one_job(
        self, bench: Bench, word: str, error: str
    ) -> None:
        """One clean line, the worker stays, and the next job is made."""
        result = bench.run({**QUICK, "prompt": word})
        assert result["error"].startswith(error)
        assert "root" not in result["error"]
        assert "stopPod" not in result
        assert "error" not in bench.run(QUICK)

    def test_short_memory_is_met_once_with_a_leaner_placement(self, bench: Bench) -> None:
        """The job succeeds and says so; a second shortage asks for another worker."""
        output = bench.run({**QUICK, "prompt": "OOMONCE"})["output"]
        assert any("memory ran out (cpu)" in note for note in output["notes"])
        assert output["num_frames"] == 16
        short = bench.run({**QUICK, "prompt": "OOMALWAYS"})
        assert short["error"].startswith("out_of_memory: ")
        assert short["stopPod"] is True

    def test_a_lost_card_asks_for_another_worker(self, bench: Bench) -> None:
        """No second try on a card that is gone."""
        result = bench.run({**QUICK, "prompt": "CARDLOST"})
        assert result["error"] == "device_lost: the card stopped answering; send the job again"
        assert result["stopPod"] is True

    def test_no_prompt_secret_link_or_path_is_logged(
        self, bench: Bench, worker: Popen[bytes]
    ) -> None:
        """The whole log of the jobs above holds nothing private."""
        assert worker.poll() is None
        log = bench.log().read_text()
        assert "denoise took" in log
        private = (
            PROMPT,
            "secret",
            "X-Amz",
            "Signature",
            bench.variables["BUCKET_ENDPOINT_URL"],
            str(bench.folder),
            "/root",
            "Traceback",
        )
        assert [word for word in private if word in log] == []


def test_a_killed_worker_s_job_is_made_by_the_next(bench: Bench) -> None:
    """After kill -9 it is answered once, and what the dead worker left is swept at boot."""
    with bench.worker("dead") as process:
        job = bench.queue.submit({**QUICK, "num_inference_steps": 12, "duration": 4})
        bench.started(job)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert list((bench.folder / "work").glob("worker-*/job-*"))
    bench.queue.requeue(job)
    with bench.worker("next") as process:
        assert "error" not in bench.queue.result(job, WAIT)
        assert not list((bench.folder / "work").glob("worker-*/job-*"))
        # An idle worker leaves at once: its open poll could bring a job that nobody makes.
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
    assert len(bench.queue.jobs[job].results) == 1


def test_sigterm_lets_the_job_finish(bench: Bench) -> None:
    """The job in flight is posted, then the process leaves at once, with 0."""
    with bench.worker("polite") as process:
        job = bench.queue.submit({**QUICK, "num_inference_steps": 12, "duration": 3})
        bench.started(job)
        process.send_signal(signal.SIGTERM)
        assert "error" not in bench.queue.result(job, WAIT)
        assert process.wait(WAIT) == 0


def test_after_the_grace_period_the_job_is_handed_back(bench: Bench) -> None:
    """Nothing is posted and nothing is in the bucket: another worker can make it."""
    with bench.worker("brief", ONETAKE_GRACE_PERIOD="0") as process:
        job = bench.queue.submit(LONG)
        bench.started(job)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
    assert bench.queue.jobs[job].results == []
    assert not list(bench.bucket.glob(f"{job}*"))


def test_an_unfit_worker_takes_no_job(bench: Bench) -> None:
    """A store that does not answer ends the boot with a non-zero code and one reason."""
    port = free_port()
    with bench.worker("unfit", BUCKET_ENDPOINT_URL=f"http://127.0.0.1:{port}") as process:
        assert process.wait(WAIT) == 1
    log = bench.log("unfit").read_text()
    assert "check_store" in log
    assert "the bucket could not be reached" in log
    assert "Traceback" not in log
