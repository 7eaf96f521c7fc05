"""`onetake generate`: a video file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from onetake.delivery.quarantine import Quarantine
from onetake.delivery.storage import open_store
from onetake.delivery.storage.local import LocalStore
from onetake.entrypoints.cli.console import JsonOption, err, refusals, say
from onetake.entrypoints.cli.requests import (
    DurationOption,
    FpsOption,
    ImageOption,
    JobOption,
    ModelOption,
    NegativeOption,
    PromptOption,
    SeedOption,
    SizeOption,
    StepsOption,
    output_of,
    request_of,
)
from onetake.jobs.response import Result
from onetake.runtime.cancellation import Control
from onetake.runtime.progress import Progress
from onetake.runtime.settings import Settings
from onetake.takes.planning import plan_job
from onetake.takes.steps import request_model
from onetake.takes.story import make_take
from onetake.takes.worker import Worker


def generate(
    output: Annotated[Path, typer.Option("--output", "-o", help="The video file.")],
    prompt: PromptOption = None,
    image: ImageOption = None,
    negative_prompt: NegativeOption = None,
    size: SizeOption = None,
    duration: DurationOption = None,
    fps: FpsOption = None,
    num_inference_steps: StepsOption = None,
    seed: SeedOption = None,
    model: ModelOption = None,
    job: JobOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a video file, and its poster beside it."""
    options = locals()
    with refusals():
        request = request_of(job, options)
        request["output"] = output_of(request.get("output"), output.suffix.lstrip("."))
        settings = Settings.read()
        # A wrong request is refused before a bar is drawn.
        plan_job(request_model().parse(request), settings).plan_for(None)
        worker = Worker(settings, LocalStore(output.parent))
        worker.quarantine = Quarantine(open_store(settings), worker.workdir.path)
        result = _with_bar(worker, output.stem, request)
    _report(output, result, as_json=as_json)


def _with_bar(worker: Worker, name: str, request: dict[str, object]) -> Result:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=err) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(progress: Progress) -> None:
            where = f"segment {progress.segment} of {progress.segments}"
            bar.update(task, completed=progress.fraction, description=where)

        return make_take(worker, worker.answered_jobs(), name, request, Control(show))


def _report(output: Path, result: Result, *, as_json: bool) -> None:
    """Print the result.

    Raises:
        typer.Exit: the take waits for a review, or ends early.
    """
    if as_json:
        print(result.model_dump_json(indent=2))
    else:
        for note in result.notes:
            err.print(f"note: {note}", markup=False)
    if result.safety.verdict == "flagged":
        say(f"{output.stem} waits for review; `onetake review approve {output.stem}` lets it go")
        raise typer.Exit(1)
    if not as_json:
        print(
            f"{output}: {result.duration:g} s, {result.width}x{result.height}, {result.fps:g} fps, "
            f"{result.model}, seed {result.seed}"
        )
    if result.error:
        say(result.error)
        raise typer.Exit(1)
