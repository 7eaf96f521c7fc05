"""From RunPod's job to RunPod's answer. No exception and no secret gets out of here."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from onetake.models import device
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import DeviceError, JobError, OnetakeError, StoppedError
from onetake.runtime.host_memory import trim_host_memory
from onetake.runtime.logs import about
from onetake.takes.story import make_take
from onetake.takes.worker import Worker

MAX_REPLY_BYTES = 9_500_000  # RunPod's /run takes 10 MB, and drops larger answers silently

log = logging.getLogger("onetake")


def answer(worker: Worker, job: Mapping[str, Any], control: Control) -> dict[str, Any]:
    """The result as JSON, or ``{"error": "<code>: <sentence>"}``; never raises an Exception.

    ``refresh_worker`` beside an error asks RunPod to replace this worker.

    Args:
        worker: makes the take.
        job: RunPod's: ``id``, ``input``, and ``s3Config`` if the caller brings a bucket.
        control: hears of each step, and can stop the job.
    """
    name = safe_name(str(job.get("id", "job")))
    with about(name):
        reply, outcome = _answer(worker, name, job, control)
        if outcome in {"failed", "stopped"}:
            device.free()  # nothing holds the job's tensors any more
        trim_host_memory()
        worker.metrics.count_job(outcome)
        log.info("%s", outcome)
    return reply


def _answer(
    worker: Worker, name: str, job: Mapping[str, Any], control: Control
) -> tuple[dict[str, Any], str]:
    """The reply, and the job's outcome in one word."""
    request = job.get("input")
    try:
        answered = worker.answered_jobs(job.get("s3Config"))
        # Only the queue delivers a job twice; elsewhere the same name means: make it again.
        if worker.settings.production and (earlier := answered.find(name, request)):
            return earlier, "answered_again"
        result = make_take(worker, answered, name, request, control).model_dump(mode="json")
        _check_size(result)
        if result["error"] is not None:
            return _cut_short(result), "failed"
        del result["error"]
        if worker.settings.production and result["safety"]["verdict"] != "flagged":
            answered.write(name, request, result)
    except OnetakeError as error:
        return _error_reply(error)
    except Exception:
        log.exception("failed unexpectedly")
        return {"error": "internal_error: the worker failed; send the job again"}, "failed"
    return result, "done"


def _check_size(result: dict[str, Any]) -> None:
    if (size := len(json.dumps(result))) > MAX_REPLY_BYTES:
        problem = f"the answer has {size / 1e6:.1f} MB, too many to send; use output.delivery url"
        raise OnetakeError("reply_too_large", problem)


def _cut_short(result: dict[str, Any]) -> dict[str, Any]:
    """The reply for a take that ends early: RunPod reads its error, and the rest as the output."""
    log.error("%s", result["error"])
    lost = result["error"].startswith(("out_of_memory", "device_lost"))
    return result | ({"refresh_worker": True} if lost else {})


def _error_reply(error: OnetakeError) -> tuple[dict[str, Any], str]:
    reply: dict[str, Any] = {"error": str(error)}
    if isinstance(error, JobError):  # its sentence may repeat the request, so it is not logged
        log.info("refused: %s", error.code)
        return reply, "refused"
    if isinstance(error, StoppedError):
        log.info("%s", error)
        return reply, "stopped"
    log.error("%s", error, exc_info=error)
    if isinstance(error, DeviceError):
        reply["refresh_worker"] = True
    return reply, "failed"


def safe_name(job_id: str) -> str:
    """``job_id`` as a file name; a digest keeps names that had to be changed apart."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", job_id)[:80]
    if name == job_id:
        return name
    digest = hashlib.sha256(job_id.encode(errors="surrogatepass")).hexdigest()
    return f"{name}-{digest[:8]}"
