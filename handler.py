"""What RunPod starts: boot, checks, then jobs, one at a time.

python handler.py                                     # runs test_input.json
python handler.py --test_input '{"input": {...}}'
MODE_TO_RUN=pod python handler.py                     # a server of its own, on localhost:8000
"""

import os
import sys
from typing import Any

# The SDK's default, DEBUG, prints answers with their signed links; it reads this when imported.
os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")

import runpod
from runpod.serverless.modules import rp_progress
from runpod.serverless.modules.worker_state import JobsProgress

from onetake.entrypoints.runpod.runner import Runner
from onetake.runtime import logs
from onetake.runtime.errors import OnetakeError
from onetake.runtime.settings import Settings
from onetake.takes.fitness import checks_of
from onetake.takes.worker import Worker


def boot() -> Worker:
    """A worker with its model loaded, or at once an end that says why; a pod stays and serves."""
    try:
        settings = Settings.read()
        logs.set_up(settings)
        if settings.mode == "pod":
            from onetake.entrypoints.pod.server import serve  # noqa: PLC0415 - a queue's worker needs none

            sys.exit(serve(settings))
        worker = Worker(settings)
        worker.boot()
    except OnetakeError as error:
        reason = str(error)
    except Exception as error:
        reason = f"internal_error: {type(error).__name__}; set ONETAKE_DEBUG=1 to see where"
        if os.environ.get("ONETAKE_DEBUG"):
            raise
    else:
        return worker
    sys.stderr.write(f"onetake cannot start: {reason}\n")
    sys.stderr.flush()
    os._exit(1)  # sys.exit would wait for threads that libraries have started


def send_progress(job: dict[str, Any], told: dict[str, Any]) -> None:
    """What ``runpod.serverless.progress_update`` does in an unordered thread for each update."""
    rp_progress._thread_target(job, told)  # noqa: SLF001 - it has no other name for it


if __name__ == "__main__":
    ready = boot()
    send = send_progress if ready.settings.production else None
    runner = Runner(ready, send, JobsProgress().get_job_count)

    async def handler(job: dict[str, Any]) -> dict[str, Any]:
        """One job of RunPod's: its ``input`` in, the result or an ``error`` out."""
        return await runner(job)

    for check in checks_of(ready):
        runpod.serverless.register_fitness_check(check)
    runpod.serverless.start({"handler": handler, "concurrency_modifier": runner.before_take})
