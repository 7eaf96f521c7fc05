"""The program that RunPod starts: boot, checks, then jobs, one at a time.

python handler.py                                     # makes the job of test_input.json
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
    """A worker with its model loaded; a pod serves in here until it ends.

    If the worker cannot start, the process ends at once and says why in one line.
    """
    try:
        settings = Settings.read()
        logs.set_up(settings)
        if settings.mode == "pod":
            from onetake.entrypoints.pod.server import serve  # noqa: PLC0415 - only a pod needs it

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


def send_progress(job: dict[str, Any], update: dict[str, Any]) -> None:
    """Send one update. The SDK's ``progress_update`` uses a thread for each, so they lose order."""
    rp_progress._thread_target(job, update)  # noqa: SLF001 - there is no public name for it


if __name__ == "__main__":
    ready = boot()
    send = send_progress if ready.settings.production else None
    runner = Runner(ready, send, JobsProgress().get_job_count)

    async def handler(job: dict[str, Any]) -> dict[str, Any]:
        """One job of RunPod: its ``input`` in, the result or an ``error`` out."""
        return await runner(job)

    for check in checks_of(ready):
        runpod.serverless.register_fitness_check(check)
    runpod.serverless.start({"handler": handler, "concurrency_modifier": runner.before_take})
