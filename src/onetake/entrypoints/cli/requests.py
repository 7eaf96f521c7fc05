"""The request from a command's options and its job file."""

import base64
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from onetake.jobs.request import SYNONYMS
from onetake.runtime.errors import JobError
from onetake.takes.steps import request_model

PromptOption = Annotated[str | None, typer.Option(help="What the take shows.")]
ImageOption = Annotated[str | None, typer.Option(help="First frame: a file or an https URL.")]
NegativeOption = Annotated[str | None, typer.Option(help="What it must not show.")]
SizeOption = Annotated[str | None, typer.Option(help="Delivered size, such as 1280*720.")]
DurationOption = Annotated[float | None, typer.Option(help="Seconds.")]
FpsOption = Annotated[float | None, typer.Option(help="Delivered frames a second.")]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Denoising steps.")]
SeedOption = Annotated[int | None, typer.Option(help="The same seed gives the same frames.")]
ModelOption = Annotated[str | None, typer.Option(help="A name from `onetake models`.")]
JobOption = Annotated[Path | None, typer.Option(help="A whole request as a JSON file.")]
# Fields of a job file that an option replaces although it has another name.
_RIVALS = {
    "duration": ("num_frames",),
    "size": ("width", "height", "resolution", "aspect_ratio"),
}


def request_of(job: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The request of the file ``job``, with the ``options`` in the place of its fields.

    Raises:
        JobError: a file cannot be read.
    """
    fields = request_model().model_fields
    chosen = {name: options[name] for name in fields if options.get(name) is not None}
    chosen.pop("output", None)  # here the name of the file
    image = chosen.get("image")
    if image and "://" not in image:
        chosen["image"] = _data_uri(Path(image))
    replaced = {rival for name in chosen for rival in (name, *_RIVALS.get(name, ()))}
    from_file = {
        name: value
        for name, value in (_read(job) if job else {}).items()
        if SYNONYMS.get(name, name) not in replaced
    }
    return from_file | chosen


def output_of(output: object, container: str) -> object:
    """The `output` of a request whose result goes to a file with the suffix ``container``."""
    if output is not None and not isinstance(output, dict):
        return output  # for the parser to refuse
    codec = {"codec": "av1"} if container == "webm" else {}
    return {**codec, **(output or {}), "container": container, "delivery": "url"}


def _read(job: Path) -> dict[str, Any]:
    """The request in a file, with or without RunPod's envelope."""
    try:
        request = json.loads(job.read_text())
    except (OSError, ValueError):
        raise JobError("--job", f"{job} is no readable JSON file") from None
    if isinstance(request, dict):
        request = request.get("input", request)
    if not isinstance(request, dict):
        raise JobError("--job", f'{job} holds no request; write {{"prompt": "..."}}')
    return request


def _data_uri(path: Path) -> str:
    """A local file as a request holds it."""
    try:
        return "data:;base64," + base64.b64encode(path.read_bytes()).decode()
    except OSError:
        raise JobError("--image", f"{path} cannot be read; check its name") from None
