"""Reads requests: RunPod's envelope, or the fields of `POST /generate`."""

import base64
import json
import re
import sys
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from onetake.jobs.request import schema
from onetake.runtime.errors import JobError
from onetake.runtime.wording import shown
from onetake.takes.planning import plan_job
from onetake.takes.steps import request_model
from onetake.takes.worker import Worker

_ENVELOPE = ("input", "s3Config")
SIZE = r"^\d{2,4}[*xX]\d{2,4}$"  # also taken as `resolution` by `/generate`
MOST_FILES, MOST_FIELDS = 4, 100  # of a form


async def read_envelope(request: Request) -> dict[str, Any]:
    """The body of `/run` and `/runsync`.

    Raises:
        JobError: it is no object, or has a field that a pod does not take.
    """
    body = await _read_json(request)
    for name in body:
        if name not in _ENVELOPE:
            problem = f"is no field of a request; a pod takes {' and '.join(_ENVELOPE)}"
            raise JobError(shown(name)[1:-1], problem, code="unknown_field")
    return body


async def read_fields(request: Request) -> dict[str, Any]:
    """The fields of `/generate`, as a job's input; `resolution` may be a size.

    Raises:
        JobError: they cannot be read.
    """
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        fields = await _read_form(request)
    else:
        fields = await _read_json(request)
    resolution = fields.get("resolution")
    if isinstance(resolution, str) and re.match(SIZE, resolution) and fields.get("size") is None:
        fields["size"] = fields.pop("resolution")
    return fields


def check(worker: Worker, envelope: dict[str, Any]) -> None:
    """Refuse a job that the worker would refuse, as far as is known without its inputs.

    Raises:
        JobError: as the worker would raise it.
    """
    job = request_model().parse(envelope.get("input"))
    plan_job(job, worker.settings).plan_for(None)
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
    fields: dict[str, Any] = {}
    # No limit for one part: a field may hold a picture as base64. The guard limits the whole body.
    limits = {"max_files": MOST_FILES, "max_fields": MOST_FIELDS, "max_part_size": sys.maxsize}
    # Fields of text come as they are; the others are JSON.
    rules = schema(request_model())["properties"]
    texts = {name for name, rule in rules.items() if rule["anyOf"][0].get("type") == "string"}
    async with request.form(**limits) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                fields[name] = "data:;base64," + base64.b64encode(await value.read()).decode()
            else:
                fields[name] = value if name in texts else _read_value(value)
    return fields


def _read_value(text: str) -> object:
    """A JSON value; other text stays as it is, for the job's parser to refuse."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
