"""The answers of the pod's API, for its OpenAPI; the routes answer in these shapes."""

import json
from typing import Any

from pydantic import BaseModel, Field

from onetake.entrypoints.pod.desk import State
from onetake.entrypoints.pod.requests import SIZE
from onetake.jobs.request import schema
from onetake.jobs.response import Result
from onetake.runtime.progress import Progress

_REF = "#/components/schemas/"


class Refusal(BaseModel):
    """Why a request was not served."""

    error: str = Field(description="`<code>: <sentence>`")


class Status(BaseModel):
    """A job, as RunPod's API tells of it; what is not known yet is left out."""

    id: str
    status: State
    delay_time: int = Field(0, alias="delayTime", description="Milliseconds in the queue")
    execution_time: int = Field(0, alias="executionTime", description="Milliseconds after it")
    output: Result | Progress | None = Field(
        None, description="The result; before it, how far the job is"
    )
    error: str = Field("", description="`<code>: <sentence>`")


class Chunk(BaseModel):
    """One update."""

    output: Result | Progress


class Stream(BaseModel):
    """What was told of a job since it was asked last; the last update is the result."""

    status: State
    stream: list[Chunk]
    error: str = Field("", description="`<code>: <sentence>`")


class JobCounts(BaseModel):
    """Jobs since the pod was started."""

    completed: int
    failed: int
    in_progress: int = Field(alias="inProgress")
    in_queue: int = Field(alias="inQueue")
    retried: int


class WorkerCounts(BaseModel):
    """The one worker's state, as RunPod counts many."""

    idle: int
    initializing: int
    ready: int
    running: int
    throttled: int
    unhealthy: int


class Health(BaseModel):
    """Jobs and workers."""

    jobs: JobCounts
    workers: WorkerCounts


def body(**named: str) -> dict[str, Any]:
    """A route's `openapi_extra`: the schema of its body as JSON, and as a form if it takes one.

    FastAPI parses none of them: a job's own parser finds better words for what is wrong.
    """
    media = {"json": "application/json", "form": "multipart/form-data"}
    content = {media[kind]: {"schema": {"$ref": _REF + name}} for kind, name in named.items()}
    return {"requestBody": {"required": True, "content": content}}


def request_schemas() -> dict[str, Any]:
    """What may be asked, by the names that `body` gives."""
    job = json.loads(json.dumps(schema()).replace("#/$defs/", _REF))
    parts = job.pop("$defs")
    resolution = job["properties"]["resolution"]
    either = {**resolution, "anyOf": [*resolution["anyOf"], {"type": "string", "pattern": SIZE}]}
    fields = {**job, "properties": {**job["properties"], "resolution": either}}
    file = {"type": "string", "format": "binary", "description": "The first frame's file"}
    return {
        **parts,
        "Job": job,
        "RunRequest": {
            "type": "object",
            "properties": {
                "input": {"$ref": f"{_REF}Job"},
                "s3Config": {"type": ["object", "null"], "description": "A bucket for this job"},
            },
            "required": ["input"],
            "additionalProperties": False,
        },
        "Fields": fields,
        "Form": {**fields, "properties": {**fields["properties"], "input_image": file}},
    }
