"""The shapes of the pod's answers, for its OpenAPI."""

import json
from typing import Any

from pydantic import BaseModel, Field

from onetake.entrypoints.pod.desk import State
from onetake.entrypoints.pod.requests import SIZE
from onetake.jobs.request import schema
from onetake.jobs.response import Result
from onetake.runtime.progress import Progress
from onetake.takes.steps import request_model

_REF = "#/components/schemas/"


class Refusal(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="`<code>: <sentence>`")


class Status(BaseModel):
    """A job, as RunPod's API shows it; fields that are not known yet are left out."""

    id: str
    status: State
    delay_time: int = Field(0, alias="delayTime", description="Milliseconds in the queue")
    execution_time: int = Field(
        0, alias="executionTime", description="Milliseconds after the queue"
    )
    output: Result | Progress | None = Field(
        None, description="The result; before it, how far the job is"
    )
    error: str = Field("", description="`<code>: <sentence>`")


class Chunk(BaseModel):
    """One update."""

    output: Result | Progress


class Stream(BaseModel):
    """A job's updates since the last call; the last one is the result."""

    status: State
    stream: list[Chunk]
    error: str = Field("", description="`<code>: <sentence>`")


class JobCounts(BaseModel):
    """Numbers of jobs since the pod started."""

    completed: int
    failed: int
    in_progress: int = Field(alias="inProgress")
    in_queue: int = Field(alias="inQueue")
    retried: int


class WorkerCounts(BaseModel):
    """The state of the one worker, in RunPod's counts."""

    idle: int
    initializing: int
    ready: int
    running: int
    throttled: int
    unhealthy: int


class Health(BaseModel):
    """Jobs and workers, counted."""

    jobs: JobCounts
    workers: WorkerCounts


def body(**named: str) -> dict[str, Any]:
    """A route's `openapi_extra`: the schema of its body as JSON, and as a form if it takes one.

    FastAPI parses neither: the job's own parser has better sentences for mistakes.
    """
    media = {"json": "application/json", "form": "multipart/form-data"}
    content = {media[kind]: {"schema": {"$ref": _REF + name}} for kind, name in named.items()}
    return {"requestBody": {"required": True, "content": content}}


def request_schemas() -> dict[str, Any]:
    """The schemas of requests, by the names that `body` refers to."""
    job = json.loads(json.dumps(schema(request_model())).replace("#/$defs/", _REF))
    parts = job.pop("$defs")
    named = job["properties"]["resolution"]
    resolution = {**named, "anyOf": [*named["anyOf"], {"type": "string", "pattern": SIZE}]}
    fields = {**job, "properties": {**job["properties"], "resolution": resolution}}
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
