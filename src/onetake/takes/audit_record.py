"""What the audit log is told of a job; nothing of a prompt, unless the policy asks for it."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onetake.jobs.request import Job, digest
from onetake.jobs.response import Result
from onetake.takes.worker import Worker
from onetake.trust.provenance.audit import AuditLog

log = logging.getLogger("onetake")


def write_down(worker: Worker, name: str, asked: object, outcome: str, **facts: object) -> bool:
    """Append a record, if the policy has a log; whether all went well.

    A log that cannot be written is no reason to lose what was made.
    """
    if not worker.policy.audit.enabled:
        return True
    source = "queue" if worker.settings.production else worker.settings.mode
    record: dict[str, Any] = {"job": name, "source": source, "request": digest(asked)}
    if worker.policy.audit.prompts:
        job = Job.parse(asked)
        record["prompts"] = [job.prompt, *(part.prompt for part in job.segments or [])]
    return append(worker, record | {"outcome": outcome} | facts)


def append(worker: Worker, record: Mapping[str, Any]) -> bool:
    """Append ``record`` as it is; whether that went well."""
    try:
        AuditLog(worker.settings.audit_log).append(record)
    except OSError:
        worker.counters.add("audit_failures")
        log.exception("the audit log could not be written")
        return False
    return True


def note_part(worker: Worker, name: str, asked: object, short_id: int | None, file: Path) -> None:
    """Write down a segment that left before its take was finished."""
    told = None if short_id is None else f"{short_id:08x}"
    write_down(worker, name, asked, "part", short_id=told, output=_file(file))


def about(made: Result, video: Path) -> dict[str, Any]:
    """The facts of a finished take."""
    return {
        "model": made.model,
        "revision": made.revision,
        "profile": made.profile,
        "seed": made.seed,
        "marks": made.marks.applied,
        "short_id": made.marks.short_id,
        "output": _file(video),
        "safety": made.safety.model_dump(exclude={"reason"}),
    }


def _file(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        content = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"file": file.name, "bytes": file.stat().st_size, "sha256": content}
