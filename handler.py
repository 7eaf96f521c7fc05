"""What RunPod starts: boot once, then jobs, one at a time.

python handler.py                                     # runs test_input.json
python handler.py --test_input '{"input": {...}}'
python handler.py --rp_serve_api                      # POST /runsync on localhost:8000
"""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# The SDK's default, DEBUG, prints answers with their signed links; it reads this when imported.
os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")

import runpod

from onetake.errors import OnetakeError
from onetake.settings import Settings
from onetake.take import Worker


def make_handler(worker: Worker) -> Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]:
    """A handler that leaves the event loop free for the SDK's pings while the GPU works."""
    gpu = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gpu")

    async def handler(job: dict[str, Any]) -> dict[str, Any]:
        """One job of RunPod's: its ``input`` in, the result or an ``error`` out."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(gpu, worker.answer, job["id"], job["input"])

    return handler


if __name__ == "__main__":
    # The SDK has set up the root logger already: force.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    try:
        worker = Worker(Settings.read())
        worker.boot()
    except OnetakeError as error:
        sys.exit(f"onetake cannot start: {error}")
    runpod.serverless.start({"handler": make_handler(worker)})
