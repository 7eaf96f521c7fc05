"""What a request asks: RunPod's envelope, or the fields of `POST /generate`."""

import base64
import json
import re
import sys
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from onetake.jobs.request import Job, schema
from onetake.runtime.errors import JobError
from onetake.runtime.wording import shown
from onetake.takes.planning import plan_job
from onetake.takes.worker import Worker

_ENVELOPE = ("input", "s3Config")
SIZE = r"^\d{2,4}[*xX]\d{2,4}$"  # that a `resolution` of `/generate` may be
MOST_FILES, MOST_FIELDS = 4, 100  # of a form
# Fields that a form gives as they are; the others are JSON in it.
_TEXTS = {
    name
    for name, rule in schema()["properties"].items()
    if rule["anyOf"][0].get("type") == "string"
}


async def read_envelope(request: Request) -> dict[str, Any]:
    """The body of `/run` and `/runsync`.

    Raises:
        JobError: it is none, or asks for what a pod does not do.
    """
    body = await _read_json(request)
    for name in body:
        if name not in _ENVELOPE:
            problem = f"is no field of a request; a pod takes {' and '.join(_ENVELOPE)}"
            raise JobError(shown(name)[1:-1], problem, code="unknown_field")
    return body


async def read_fields(request: Request) -> dict[str, Any]:
    """The fields of `/generate`, as a job's input; a `resolution` may be a size.

    Raises:
        JobError: they cannot be read.
    """
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        asked = await _read_form(request)
    else:
        asked = await _read_json(request)
    resolution = asked.get("resolution")
    if isinstance(resolution, str) and re.match(SIZE, resolution) and asked.get("size") is None:
        asked["size"] = asked.pop("resolution")
    return asked


def check(worker: Worker, envelope: dict[str, Any]) -> None:
    """Refuse a job that the worker would refuse, as far as can be said without its inputs.

    Raises:
        JobError: the worker's own.
    """
    _spec, _note, plan_for = plan_job(Job.parse(envelope.get("input")), worker.settings)
    plan_for(None)
    worker.answered_jobs(envelope.get("s3Config"))


async def _read_json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise JobError("body", "is no JSON object; see /openapi.json")
    return {name: value for name, value in body.items() if value is not None}


async def _read_form(request: Request) -> dict[str, Any]:
    """A form's fields; a file becomes a data URI."""
    asked: dict[str, Any] = {}
    # The guard has limited the whole; a picture may come as base64 in a field.
    limits = {"max_files": MOST_FILES, "max_fields": MOST_FIELDS, "max_part_size": sys.maxsize}
    async with request.form(**limits) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                asked[name] = "data:;base64," + base64.b64encode(await value.read()).decode()
            else:
                asked[name] = value if name in _TEXTS else _read_value(value)
    return asked


def _read_value(text: str) -> object:
    """A number, true, false or an object; what is none of them is left to the parser to refuse."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
