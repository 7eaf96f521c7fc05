"""The command line: `onetake generate | plan | seams | weights | bench | serve | review | ...`.

A request's common fields are options; `--job FILE` takes a whole request as JSON, which options
then override. Errors are one line on stderr and exit code 1.
"""

import base64
import json
import logging
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from onetake.delivery.quarantine import Quarantine
from onetake.delivery.storage import open_store
from onetake.delivery.storage.local import LocalStore
from onetake.entrypoints.cli import trust as trust_cli
from onetake.entrypoints.cli.bench import bench
from onetake.entrypoints.cli.seams import seams
from onetake.entrypoints.cli.weights import app as weights_app
from onetake.jobs import request as jobs
from onetake.jobs import tables
from onetake.jobs.estimate import HOSTED
from onetake.media.fetch.clip import load_video
from onetake.media.fetch.picture import load_image
from onetake.models import catalogue
from onetake.models.weights import places
from onetake.runtime import logs
from onetake.runtime import progress as progress_
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import JobError, OnetakeError
from onetake.runtime.settings import Settings
from onetake.takes.story import make_take, plan_job
from onetake.takes.worker import Worker

app = typer.Typer(
    help="One continuous take of video from a prompt, an image or both.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(weights_app, name="weights")
app.command()(bench)
app.command()(seams)
app.command()(trust_cli.policy)
app.command()(trust_cli.verify)
app.add_typer(trust_cli.review, name="review")
app.add_typer(trust_cli.audit, name="audit")
out = Console()
err = Console(stderr=True)

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
JsonOption = Annotated[bool, typer.Option("--json", help="JSON alone on stdout.")]


@app.command()
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
    try:
        asked = _asked(job, locals())
        asked["output"] = _output(asked.get("output"), output.suffix.lstrip("."))
        settings = Settings.read()
        # A wrong request is answered before any bar is drawn.
        _spec, _note, plan_for = plan_job(jobs.Job.parse(asked), settings)
        plan_for(None)
        worker = Worker(settings, LocalStore(output.parent))
        worker.quarantine = Quarantine(open_store(settings), worker.workdir.path)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(),
            console=err,
        ) as bar:
            task = bar.add_task("starting", total=1.0)

            def show(progress: progress_.Progress) -> None:
                where = f"segment {progress.segment} of {progress.segments}"
                bar.update(task, completed=progress.fraction, description=where)

            result = make_take(worker, worker.ledger(), output.stem, asked, Control(show))
    except OnetakeError as error:
        raise _refused(error) from error
    if as_json:
        print(result.model_dump_json(indent=2))
    else:
        for note in result.notes:
            err.print(f"note: {note}", markup=False)
    if result.safety.verdict == "flagged":
        waits = f"{output.stem} waits for review; `onetake review approve {output.stem}` lets it go"
        err.print(waits, highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)
    if not as_json:
        print(
            f"{output}: {result.duration:g} s, {result.width}x{result.height}, {result.fps:g} fps, "
            f"{result.model}, seed {result.seed}"
        )
    if result.error:
        err.print(result.error, highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)


@app.command()
def plan(
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
    """Show what would be generated: sizes, segments, memory, time and cost. Runs no model."""
    try:
        settings = Settings.read()
        asked = jobs.Job.parse(_asked(job, locals()))
        spec, _note, plan_for = plan_job(asked, settings, planning=True)
        planned = plan_for(None)
        if asked.image:
            planned = plan_for(load_image(asked.image, "image", settings).size)
        if asked.video:
            with TemporaryDirectory() as folder:
                facts = load_video(asked.video, "video", settings, Path(folder))[1]
            planned = plan_for(facts)
    except OnetakeError as error:
        raise _refused(error) from error
    delivered = {
        "model": planned.model,
        "profile": planned.profile,
        "width": planned.size[0],
        "height": planned.size[1],
        "num_frames": planned.num_frames,
        "fps": float(planned.fps),
        "duration": planned.duration,
        "seams_at": planned.seam_frames(),
        "notes": list(planned.notes),
    }
    hosted = HOSTED if spec.repo_id else ()  # what the embedded model makes is sold nowhere
    if as_json:
        told = {**delivered, "plan": planned.summary(), "hosted": [asdict(p) for p in hosted]}
        print(json.dumps(told, indent=2))
        return
    table = Table(title=f"{planned.model}, {planned.profile}", show_header=False)
    for name, value in {**delivered, **planned.summary()["estimate"]}.items():
        table.add_row(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    out.print(table)
    segments = Table("segment", "frames", "overlap", "starts at", "seed", title="segments")
    for segment in planned.segments:
        segments.add_row(
            str(segment.index + 1),
            str(segment.num_frames),
            str(segment.overlap_frames),
            f"{segment.start_frame / planned.generated_fps:.2f} s",
            str(segment.seed),
        )
    out.print(segments)
    for price in hosted:
        print(
            f"hosted: ${price.dollars:.2f} for {price.seconds:g} s ({price.name}, {price.date}) - "
            f"this plan: ${planned.estimate.dollars:.2f} for {planned.duration:.3g} s"
        )


@app.command(name="models")
def list_models() -> None:
    """Show the model table, and which weights are here."""
    try:
        settings = Settings.read()
    except OnetakeError as error:
        raise _refused(error) from error
    header, *rows = tables.models()
    table = Table(*header, "weights")
    for name, *rest in rows:
        here = places.find_weights(catalogue.MODELS[name], settings)
        table.add_row(name, *rest, "here" if here else "missing")
    out.print(table)


@app.command()
def recover() -> None:
    """Store the takes that were kept because no store took them, and print their links."""
    try:
        settings = Settings.read()
        ledger = Worker(settings).ledger()
        for name in ledger.kept():
            print(f"{name}: {ledger.send(name)['video_url'] or 'waits for review'}")
    except OnetakeError as error:
        raise _refused(error) from error


@app.command()
def serve() -> None:
    """Serve RunPod's API and `POST /generate` over HTTP, as a pod does."""
    from onetake.entrypoints.pod import server  # noqa: PLC0415 - no other command needs a web server

    try:
        settings = Settings.read()
        logs.set_up(settings)
        code = server.serve(settings)
    except OnetakeError as error:
        raise _refused(error) from error
    raise typer.Exit(code)


@app.command()
def boot(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Take no jobs.")] = False,
) -> None:
    """Boot as a worker does, with all its checks, and print where the time goes."""
    try:
        if not dry_run:
            raise JobError("--dry-run", "is missing; handler.py starts the worker that takes jobs")
        worker = Worker(Settings.read())
        worker.boot()
        for check in worker.checks():
            with worker.watch.stage("checks"):
                check()
    except OnetakeError as error:
        raise _refused(error) from error
    table = Table(
        "stage", "seconds", title=f"boot of {worker.settings.model or 'the default model'}"
    )
    for stage, seconds in worker.watch.timings().items():
        table.add_row(stage, f"{seconds:.2f}")
    out.print(table)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a request."""
    print(json.dumps(jobs.schema(), indent=2))


def _asked(job: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The request that the options make, on top of the file's.

    Raises:
        JobError: a file cannot be read.
    """
    given = {name: options[name] for name in jobs.Job.model_fields if options.get(name) is not None}
    given.pop("output", None)  # here the name of the file
    image = given.get("image")
    if image and "://" not in image:
        given["image"] = _data_uri(Path(image))
    written = _written(job) if job else {}
    overridden = {rival for name in given for rival in (name, *_RIVALS.get(name, ()))}
    kept = {
        name: value
        for name, value in written.items()
        if jobs.SYNONYMS.get(name, name) not in overridden
    }
    return kept | given


def _written(job: Path) -> dict[str, Any]:
    """The request in a file, with or without RunPod's envelope."""
    try:
        written = json.loads(job.read_text())
    except (OSError, ValueError):
        raise JobError("--job", f"{job} is no readable JSON file") from None
    if isinstance(written, dict):
        written = written.get("input", written)
    if not isinstance(written, dict):
        raise JobError("--job", f'{job} holds no request; write {{"prompt": "..."}}')
    return written


def _output(written: object, container: str) -> object:
    """The `output` of a request whose result goes to a file with the suffix ``container``."""
    if written is not None and not isinstance(written, dict):
        return written  # for the parser to refuse
    codec = {"codec": "av1"} if container == "webm" else {}
    return {**codec, **(written or {}), "container": container, "delivery": "url"}


def _data_uri(path: Path) -> str:
    """A local file as the request carries it."""
    try:
        return "data:;base64," + base64.b64encode(path.read_bytes()).decode()
    except OSError:
        raise JobError("--image", f"{path} cannot be read; check its name") from None


def _refused(error: OnetakeError) -> typer.Exit:
    logging.getLogger("onetake").debug("refused", exc_info=error)
    err.print(str(error), highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(1)
