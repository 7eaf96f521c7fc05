"""The audit log's records of a job; no prompt is in them, unless the policy asks for it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onetake.jobs.request import digest
from onetake.jobs.response import Result
from onetake.runtime.hashing import sha256_of
from onetake.takes.steps import request_model
from onetake.takes.worker import Worker
from onetake.trust.provenance.audit import AuditLog

log = logging.getLogger("onetake")


def write_down(worker: Worker, name: str, request: object, outcome: str, **facts: object) -> bool:
    """Append a record, if the policy has a log; False if the log cannot be written.

    The take is delivered all the same.
    """
    if not worker.policy.audit.enabled:
        return True
    source = "queue" if worker.settings.production else worker.settings.mode
    record: dict[str, Any] = {"job": name, "source": source, "request": digest(request)}
    if worker.policy.audit.prompts:
        job = request_model().parse(request)
        record["prompts"] = [job.prompt, *(part.prompt for part in job.segments or [])]
    return append(worker, record | {"outcome": outcome} | facts)


def append(worker: Worker, record: Mapping[str, Any]) -> bool:
    """Append ``record`` as it is; False if the log cannot be written."""
    try:
        AuditLog(worker.settings.audit_log).append(record)
    except OSError:
        worker.metrics.count_audit_failure()
        log.exception("the audit log could not be written")
        return False
    return True


def note_part(worker: Worker, name: str, request: object, short_id: int | None, file: Path) -> None:
    """Write down a segment that was sent before its take was finished."""
    mark = None if short_id is None else f"{short_id:08x}"
    write_down(worker, name, request, "part", short_id=mark, output=_file(file))


def facts_of(result: Result, video: Path) -> dict[str, Any]:
    """The facts of a finished take."""
    return {
        "model": result.model,
        "revision": result.revision,
        "profile": result.profile,
        "seed": result.seed,
        "marks": result.marks.applied,
        "short_id": result.marks.short_id,
        "output": _file(video),
        "safety": result.safety.model_dump(exclude={"reason"}),
    }


def _file(file: Path) -> dict[str, Any]:
    return {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256_of(file)}
