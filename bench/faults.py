"""A hundred jobs through RunPod's SDK with faults injected: what became of each.

python -m bench.faults      # minutes on two cores; prints a table, fails if a job is lost

The queue is the stand-in of tests/support/runpod_queue.py, the worker that of
tests/support/faulty_worker.py: the real SDK, handler, model, encoder and store, with faults raised
where a card or an encoder would.
"""

import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

from tests.support.runpod_queue import FAULTY_WORKER, RunpodQueue, worker_process
from tests.support.servers import free_port, rclone

RESULTS = Path(__file__).parent / "results" / "faults.json"
WAIT = 180.0  # seconds for one job
QUICK = {"prompt": "a red bottle", "num_inference_steps": 2, "size": "128*96", "duration": 1}
LONG = {**QUICK, "num_inference_steps": 100, "duration": 60}
MIDDLE = {**QUICK, "num_inference_steps": 12, "duration": 4}
FAULTS = {  # how many of each, and what must come of it
    "none": (35, "result"),
    "wrong request": (8, "invalid_input"),
    "input host hangs": (3, "input_unreachable"),
    "out of memory once": (8, "result"),
    "out of memory twice": (3, "out_of_memory"),
    "card lost": (3, "device_lost"),
    "error in the model": (6, "internal_error"),
    "ffmpeg killed": (6, "encode_failed"),
    "store down": (6, "store_failed"),
    "job cancelled": (8, "nothing"),
    "worker killed, job sent again": (4, "result"),
    "result refused, job sent again": (4, "result"),
    "job delivered twice": (6, "result, result"),
}
PROMPTS = {
    "out of memory once": "OOMONCE",
    "out of memory twice": "OOMALWAYS",
    "card lost": "CARDLOST",
    "error in the model": "CRASH",
    "ffmpeg killed": "NOENCODER",
}


@dataclass
class Fleet:
    """One worker at a time, replaced when it dies or asks for it, as RunPod does."""

    queue: RunpodQueue
    folder: Path
    variables: dict[str, str]
    hanging: str
    dead: dict[str, str]
    stack: ExitStack = field(default_factory=ExitStack)
    started: int = 0
    process: Popen[bytes] | None = None

    def replace(self) -> None:
        """End the worker, if there is one, and start another."""
        self.stack.close()
        self.started += 1
        name = f"worker-{self.started}"
        env = {**os.environ, **self.variables, **self.queue.environment(name)}
        command = [sys.executable, str(FAULTY_WORKER)]
        log = self.folder / f"{name}.log"
        self.process = self.stack.enter_context(worker_process(command, env, self.folder, log))

    def settled(self, job: str, results: int = 1) -> None:
        """Wait for this many final posts."""
        self.queue.wait_until(lambda: len(self.queue.jobs[job].results) >= results, WAIT)

    def begun(self, job: str) -> None:
        """Wait for the first progress."""
        self.queue.wait_until(lambda: self.queue.jobs[job].progress, WAIT)

    def run(self, fault: str) -> str:
        """One job with its fault, to its end; gives its id."""
        special = {
            "job cancelled": self.cancelled,
            "worker killed, job sent again": self.killed,
            "result refused, job sent again": self.refused,
            "job delivered twice": self.twice,
        }
        if fault in special:
            return special[fault]()
        request: Any = {**QUICK, "prompt": f"{PROMPTS.get(fault, '')} a red bottle"}
        extra: Any = {}
        if fault == "wrong request":
            request["width"] = 1279
        elif fault == "input host hangs":
            request["image"] = self.hanging
        elif fault == "store down":
            extra["s3Config"] = self.dead
        return self.finish(self.queue.submit(request, **extra))

    def cancelled(self) -> str:
        """Stopped in the middle."""
        job = self.queue.submit(LONG)
        self.begun(job)
        self.queue.cancel(job)
        return job

    def killed(self) -> str:
        """Its worker dies, and the next one gets it."""
        job = self.queue.submit(MIDDLE)
        self.begun(job)
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.replace()
        self.queue.requeue(job)
        return self.finish(job)

    def refused(self) -> str:
        """RunPod does not take the result, and sends the job again."""
        self.queue.refuse_results(1, 400)
        job = self.queue.submit(QUICK)
        self.queue.wait_until(lambda: self.queue.jobs[job].refused, WAIT)
        self.queue.requeue(job)
        return self.finish(job)

    def twice(self) -> str:
        """Sent again although it was answered."""
        job = self.finish(self.queue.submit(QUICK))
        self.queue.submit(QUICK, id=job)
        self.settled(job, 2)
        return job

    def finish(self, job: str) -> str:
        """Wait for a job's result, and replace the worker if it asks for that."""
        self.settled(job)
        if self.queue.jobs[job].results[-1].get("stopPod"):
            self.replace()
        return job

    def renders(self) -> Counter[str]:
        """How often each job was begun, by the workers' own logs."""
        lines = [line for log in self.folder.glob("*.log") for line in log.read_text().splitlines()]
        said = [json.loads(line) for line in lines if line.startswith('{"time"')]
        return Counter(line["job"] for line in said if "segments of" in line["message"])


def outcome(result: dict[str, Any]) -> str:
    """A result, or an error's code."""
    return str(result["error"]).partition(":")[0] if "error" in result else "result"


def main() -> int:
    """Run all, print the table; 1 if any job did not end as it must."""
    order = [fault for fault, (count, _) in FAULTS.items() for _ in range(count)]
    random.Random(1).shuffle(order)  # noqa: S311 - the same order in every run
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        (folder / "served" / "clips").mkdir(parents=True)
        endpoint = stack.enter_context(rclone(folder / "served", "key", "secret"))
        silent = stack.enter_context(
            socket.create_server(("127.0.0.1", 0))
        )  # accepts, never answers
        queue = stack.enter_context(RunpodQueue())
        fleet = Fleet(
            queue,
            folder,
            {
                "BUCKET_ENDPOINT_URL": endpoint, "BUCKET_ACCESS_KEY_ID": "key",
                "BUCKET_SECRET_ACCESS_KEY": "secret", "BUCKET_NAME": "clips",
                "ONETAKE_MODEL": "tiny", "ONETAKE_ALLOW_PRIVATE_INPUTS": "1",
                "ONETAKE_WORK_DIR": str(folder / "work"), "ONETAKE_KEEP_DIR": str(folder / "kept"),
            },
            f"http://127.0.0.1:{silent.getsockname()[1]}/a.png",
            {"accessId": "a", "accessSecret": "b", "bucketName": "c",
             "endpointUrl": f"http://127.0.0.1:{free_port()}"},
        )  # fmt: skip
        stack.callback(fleet.stack.close)
        started = time.monotonic()
        fleet.replace()
        jobs = [(fault, fleet.run(fault)) for fault in order]
        fleet.run("none")  # after the last cancelled job, so that it has ended as well
        seconds = time.monotonic() - started
        renders = fleet.renders()
        kept = len(list((folder / "kept").glob("*.json")))
        left = [path for path in (folder / "work").glob("worker-*/*") if path.name != "lock"]

    rows, failed = [], 0
    for fault, (count, expected) in FAULTS.items():
        ids = [job for name, job in jobs if name == fault]
        ends = Counter(", ".join(map(outcome, queue.jobs[job].results)) or "nothing" for job in ids)
        most_renders = max((renders[job] for job in ids), default=0)
        right = ends[expected]
        failed += count - right
        rows.append({"fault": fault, "jobs": count, "wanted": expected, "right": right,
                     "ends": dict(ends), "most_renders_of_a_job": most_renders})  # fmt: skip
        print(f"{fault:32} {count:4} jobs, {right:4} ended as wanted: {dict(ends)}, "
              f"made at most {most_renders} times")  # fmt: skip
    print(f"{len(jobs)} jobs in {seconds:.0f} s by {fleet.started} workers; {failed} ended wrong; "
          f"{kept} takes kept for a store that was down; {len(left)} files left")  # fmt: skip
    summary = {"jobs": len(jobs), "workers": fleet.started, "failed": failed, "kept": kept,
               "files_left": len(left), "rows": rows}  # fmt: skip
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    return int(failed > 0 or bool(left))


if __name__ == "__main__":
    sys.exit(main())
