"""`onetake models | recover | serve | boot | schema`: run a worker and look after it."""

import json
from typing import Annotated

import typer
from rich.table import Table

from onetake.entrypoints.cli.console import out, refusals
from onetake.jobs import tables
from onetake.jobs.request import schema as schema_of
from onetake.models.catalogue import MODELS
from onetake.models.weights.places import find_weights
from onetake.runtime import logs
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings
from onetake.takes.fitness import checks_of
from onetake.takes.steps import request_model
from onetake.takes.worker import Worker


def models() -> None:
    """Show the model table, and which weights are here."""
    with refusals():
        settings = Settings.read()
    header, *rows = tables.models()
    table = Table(*header, "weights")
    for name, *cells in rows:
        here = find_weights(MODELS[name], settings)
        table.add_row(name, *cells, "here" if here else "missing")
    out.print(table)


def recover() -> None:
    """Store the takes that could not be stored before, and print their links."""
    with refusals():
        answered_jobs = Worker(Settings.read()).answered_jobs()
        for name in answered_jobs.kept():
            print(f"{name}: {answered_jobs.send(name)['video_url'] or 'waits for review'}")


def serve() -> None:
    """Serve RunPod's API and `POST /generate` over HTTP, as a pod does."""
    from onetake.entrypoints.pod import server  # noqa: PLC0415 - no other command needs a server

    with refusals():
        settings = Settings.read()
        logs.set_up(settings)
        code = server.serve(settings)
    raise typer.Exit(code)


def boot(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Take no jobs.")] = False,
) -> None:
    """Boot as a worker does, with all its checks, and print where the time goes."""
    with refusals():
        if not dry_run:
            raise JobError("--dry-run", "is missing; handler.py starts the worker that takes jobs")
        worker = Worker(Settings.read())
        worker.boot()
        for check in checks_of(worker):
            with worker.watch.stage("checks"):
                check()
    title = f"boot of {worker.settings.model or 'the default model'}"
    table = Table("stage", "seconds", title=title)
    for stage, seconds in worker.watch.timings().items():
        table.add_row(stage, f"{seconds:.2f}")
    out.print(table)


def schema() -> None:
    """Print the JSON Schema of a request."""
    print(json.dumps(schema_of(request_model()), indent=2))
