"""The pod's routes: RunPod's API, `POST /generate`, finished files and metrics."""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from onetake.entrypoints.pod.desk import Desk, Entry, State
from onetake.entrypoints.pod.guard import Guard
from onetake.entrypoints.pod.refusal import RefusedError, failure, refusal
from onetake.entrypoints.pod.requests import check, read_envelope, read_fields
from onetake.entrypoints.pod.shapes import Health, Refusal, Status, Stream, body, request_schemas
from onetake.jobs.response import Result
from onetake.media.formats import CONTENT_TYPES
from onetake.runtime.errors import JobError, OnetakeError, StageError
from onetake.runtime.metrics import METRICS_TYPE
from onetake.takes.worker import Worker

RUNSYNC_WAIT = 90.0  # seconds, as RunPod waits
GONE = 499  # the client has hung up, so nobody reads this answer
_TYPES = {**CONTENT_TYPES, "jpg": "image/jpeg"}
# File names that jobs use; no other file of the folder is served.
_FILE = re.compile(rf"[A-Za-z0-9_-]+(\.poster|\.segment\d+)?\.({'|'.join(_TYPES)})")
# A route of both methods names both when it refuses a third. In OpenAPI they are two routes.
_EITHER = ["GET", "POST"]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_REFUSED = {"model": Refusal, "description": "One line: what is wrong, and what to do"}


@dataclass(frozen=True)
class Pod:
    """What the routes use."""

    worker: Worker
    desk: Desk


def _pod(request: Request) -> Pod:
    pod: Pod = request.app.state.pod
    return pod


Here = Annotated[Pod, Depends(_pod)]
runpod_routes = APIRouter(tags=["RunPod"])
own_routes = APIRouter()


@runpod_routes.post("/run", response_model=Status, openapi_extra=body(json="RunRequest"))
async def run(request: Request, pod: Here) -> Response:
    """Queue a job and answer its id at once."""
    entry = await _submit(pod, await read_envelope(request))
    return JSONResponse(entry.status())


@runpod_routes.post("/runsync", response_model=Status, openapi_extra=body(json="RunRequest"))
async def runsync(request: Request, pod: Here) -> Response:
    """Queue a job and wait until it ends, but at most 90 s."""
    entry = await _submit(pod, await read_envelope(request))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(entry.ended.wait(), RUNSYNC_WAIT)
    return JSONResponse(entry.status())


@runpod_routes.get("/status/{job_id}", response_model=Status)
@runpod_routes.post("/status/{job_id}", response_model=Status)
@runpod_routes.api_route("/status/{job_id}", methods=_EITHER, include_in_schema=False)
async def status(job_id: str, pod: Here) -> Response:
    """A job's progress, then its result; for a take in review, the decision."""
    entry = pod.desk.find(job_id)
    if entry.in_review:
        with contextlib.suppress(StageError):  # the next call may learn it
            quarantine = pod.worker.quarantine
            decided = await asyncio.to_thread(quarantine.decided, entry.id, entry.digest)
            entry.output = decided or entry.output
    return JSONResponse(entry.status())


@runpod_routes.get("/stream/{job_id}", response_model=Stream)
@runpod_routes.post("/stream/{job_id}", response_model=Stream)
@runpod_routes.api_route("/stream/{job_id}", methods=_EITHER, include_in_schema=False)
async def stream(job_id: str, pod: Here) -> Response:
    """A job's updates since the last call; each is given once."""
    return JSONResponse(pod.desk.find(job_id).stream())


@runpod_routes.post("/cancel/{job_id}", response_model=Status)
async def cancel(job_id: str, pod: Here) -> Response:
    """End a job that has not ended; if it runs, it stops before its next step."""
    entry = pod.desk.find(job_id)
    _cancel(pod, entry)
    return JSONResponse(entry.status())


@runpod_routes.get("/health", response_model=Health)
async def health(pod: Here) -> Response:
    """Jobs and workers, counted."""
    return JSONResponse(pod.desk.health())


@own_routes.get(
    "/ping",
    response_class=Response,
    responses={204: {"description": "Still starting, or leaving"}},
    openapi_extra={"security": []},
)
async def ping(pod: Here) -> Response:
    """Whether jobs run; needs no key."""
    return Response(status_code=200 if pod.desk.ready else 204)


@own_routes.post(
    "/generate",
    openapi_extra=body(json="Fields", form="Form"),
    responses={
        200: {
            "model": Result,
            "content": dict.fromkeys(CONTENT_TYPES.values(), _BINARY),
            "description": "The video; the result for a client that accepts application/json",
        },
        303: {"description": "The video is in the bucket; this is its link"},
    },
)
async def generate(request: Request, pod: Here) -> Response:
    """Make a video and answer with it. A client that hangs up cancels its job."""
    as_json = "application/json" in request.headers.get("accept", "")
    fields = await read_fields(request)
    output = fields.get("output", {})
    if not as_json and isinstance(output, dict):
        fields["output"] = {**output, "delivery": "url"}
    entry = await _submit(pod, {"input": fields})
    if not await _ended_first(entry, request):
        _cancel(pod, entry)
        return Response(status_code=GONE)
    if entry.state == State.CANCELLED:
        raise RefusedError(409, "cancelled: the job was cancelled; send it again")
    if entry.error:
        return failure(entry.error)
    link = entry.output["video_url"]
    if as_json or link is None:  # a take in review has no link
        return JSONResponse(entry.output)
    if pod.worker.settings.has_bucket:
        return RedirectResponse(link, 303)
    return _file(pod, PurePosixPath(urlsplit(link).path).name)


@own_routes.get(
    "/files/{name}",
    response_class=FileResponse,
    responses={200: {"content": dict.fromkeys(_TYPES.values(), _BINARY)}},
)
async def files(name: str, pod: Here) -> Response:
    """A finished file of the local store, or a range of it."""
    return _file(pod, name)


@own_routes.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(pod: Here) -> Response:
    """The worker's figures in Prometheus' text format."""
    kept = await asyncio.to_thread(pod.worker.answered_jobs().kept)
    text = pod.worker.metrics.text(queue_length=len(pod.desk.waiting()), kept_takes=len(kept))
    return Response(text, media_type=METRICS_TYPE)


def _file(pod: Pod, name: str) -> FileResponse:
    path = pod.worker.settings.output_dir / name
    if not (_FILE.fullmatch(name) and path.is_file()):
        raise RefusedError(404, "not_found: no file has this name")
    return FileResponse(path, media_type=_TYPES[path.suffix[1:]])


def _cancel(pod: Pod, entry: Entry) -> None:
    """End a job. One that has not started never reaches the worker, which counts the others."""
    if entry.state == State.IN_QUEUE:
        pod.worker.metrics.count_job("stopped")
    pod.desk.cancel(entry)


async def _submit(pod: Pod, job: dict[str, Any]) -> Entry:
    await asyncio.to_thread(check, pod.worker, job)  # it may look up a bucket's host
    return pod.desk.submit(job)


async def _ended_first(entry: Entry, request: Request) -> bool:
    """Whether the job ended before its client hung up."""

    async def hung_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    events = [asyncio.create_task(entry.ended.wait()), asyncio.create_task(hung_up())]
    try:
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for event in events:
            event.cancel()
    return entry.ended.is_set()


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """FastAPI's description, with the schemas of requests and the key."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"]["schemas"] |= request_schemas()
            document["components"]["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "description": "`ONETAKE_API_KEY`"}
            }
            document["security"] = [{"key": []}]
        return super().openapi()


def make_app(pod: Pod) -> FastAPI:
    """The ASGI application."""
    app = _Api(
        title="Onetake",
        version=version("onetake"),
        description="One continuous take of video of any length.",
        # Swagger's page loads scripts from other sites, and a browser sends no key for it.
        docs_url=None,
        redoc_url=None,
        responses={"4XX": _REFUSED, "5XX": _REFUSED},
    )
    app.state.pod = pod
    app.add_middleware(Guard, settings=pod.worker.settings)
    app.include_router(runpod_routes)
    app.include_router(own_routes)
    # RunPod's clients put an endpoint's id before each path; here any id will do.
    app.include_router(runpod_routes, prefix="/v2/{endpoint_id}", include_in_schema=False)

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> Response:
        return refusal(error)

    @app.exception_handler(OnetakeError)
    async def wrong(_request: Request, error: OnetakeError) -> Response:
        if not isinstance(error, JobError):
            return JSONResponse({"error": str(error)}, 500)
        pod.worker.metrics.count_job("refused")
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=GONE)

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> Response:
        return JSONResponse({"error": "internal_error: the pod failed; ask again"}, 500)

    return app
