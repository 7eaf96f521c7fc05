"""From RunPod's job to RunPod's answer: the boundary that no exception and no secret crosses."""

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

MAX_REPLY_BYTES = 9_500_000  # RunPod's /run takes 10 MB, silently nothing above

log = logging.getLogger("onetake")


def answer(worker: Worker, job: Mapping[str, Any], control: Control) -> dict[str, Any]:
    """The result as JSON, or ``{"error": "<code>: <sentence>"}``; never raises an Exception.

    Args:
        worker: makes it.
        job: RunPod's: ``id``, ``input``, and ``s3Config`` if the caller brings a bucket.
        control: is told each step, and may stop the job.

    ``refresh_worker`` beside an error asks RunPod to replace this worker.
    """
    name = safe_name(str(job.get("id", "job")))
    with about(name):
        reply, outcome = _answer(worker, name, job, control)
        if outcome in {"failed", "stopped"}:
            device.free()  # here nothing holds the job's tensors any more
        trim_host_memory()
        worker.counters.add(f"jobs_{outcome}")
        log.info("%s", outcome)
    return reply


def _answer(
    worker: Worker, name: str, job: Mapping[str, Any], control: Control
) -> tuple[dict[str, Any], str]:
    """The reply, and in one word what became of the job."""
    asked = job.get("input")
    try:
        ledger = worker.answered_jobs(job.get("s3Config"))
        # Only a queue delivers twice; elsewhere the same name is a wish to see it made again.
        if worker.settings.production and (known := ledger.find(name, asked)):
            return known, "answered_again"
        made = make_take(worker, ledger, name, asked, control).model_dump(mode="json")
        _check_size(made)
        if made["error"] is not None:
            return _cut_short(made), "failed"
        del made["error"]
        if worker.settings.production and made["safety"]["verdict"] != "flagged":
            ledger.write(name, asked, made)
    except OnetakeError as error:
        return _refusal(error)
    except Exception:
        log.exception("failed unexpectedly")
        return {"error": "internal_error: the worker failed; send the job again"}, "failed"
    return made, "done"


def _check_size(made: dict[str, Any]) -> None:
    if (size := len(json.dumps(made))) > MAX_REPLY_BYTES:
        problem = f"the answer has {size / 1e6:.1f} MB, too many to send; use output.delivery url"
        raise OnetakeError("reply_too_large", problem)


def _cut_short(made: dict[str, Any]) -> dict[str, Any]:
    """A take that ends early: RunPod takes its error out and keeps the rest as the output."""
    log.error("%s", made["error"])
    lost = made["error"].startswith(("out_of_memory", "device_lost"))
    return made | ({"refresh_worker": True} if lost else {})


def _refusal(error: OnetakeError) -> tuple[dict[str, Any], str]:
    reply: dict[str, Any] = {"error": str(error)}
    if isinstance(error, JobError):  # its sentence may repeat what was asked
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
    """``job_id`` as a file name; what had to be changed is told apart by a digest."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", job_id)[:80]
    if name == job_id:
        return name
    digest = hashlib.sha256(job_id.encode(errors="surrogatepass")).hexdigest()
    return f"{name}-{digest[:8]}"
