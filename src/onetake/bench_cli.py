"""`onetake bench`: sizes, lengths and steps, by Onetake and by stock diffusers side by side."""

import csv
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from onetake import models
from onetake.errors import OnetakeError, SettingsError
from onetake.job import Job
from onetake.settings import Settings
from onetake.spec import DenoiseRequest, ModelSpec
from onetake.worker import Worker

out = Console()
err = Console(stderr=True)
PROMPT = "a red bottle on a white background, camera slowly zooming in"
Row = dict[str, Any]


def bench(
    model: Annotated[str | None, typer.Option(help="A name from `onetake models`.")] = None,
    size: Annotated[list[str] | None, typer.Option(help="Generated size; may be repeated.")] = None,
    frames: Annotated[
        list[int] | None, typer.Option(help="Frames of a segment; may be repeated.")
    ] = None,
    steps: Annotated[list[int] | None, typer.Option(help="Steps; may be repeated.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each, after one to warm up.")] = 2,
    stock: Annotated[bool, typer.Option(help="Time stock diffusers as well.")] = True,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for bench.json and bench.csv.")
    ] = None,
) -> None:
    """Time denoising and decoding of one segment; ratios are stock's time over ours."""
    try:
        settings = Settings.read()
        spec, _note = models.resolve(model, settings)
        requests = _requests(spec, size, frames, steps)
        rows = _measure(spec, settings, requests, repeat, stock=stock)
    except OnetakeError as error:
        err.print(str(error), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    out.print(_table(rows, models.card_name() or "CPU"))
    if output:
        output.mkdir(parents=True, exist_ok=True)
        (output / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")
        with (output / "bench.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _requests(
    spec: ModelSpec, sizes: list[str] | None, frames: list[int] | None, steps: list[int] | None
) -> list[DenoiseRequest]:
    """One for each combination; what is left open is the model's own.

    Raises:
        OnetakeError: the model cannot make one of them.
    """
    asked = [Job.parse({"prompt": PROMPT, "size": text}) for text in sizes or []]
    pairs = [job.sides_of_size() for job in asked] or [spec.sizes[0]]
    for width, height in pairs:
        if width % spec.size_multiple or height % spec.size_multiple:
            problem = f"{width}*{height} is not in multiples of {spec.size_multiple} pixels"
            raise SettingsError("--size", problem)
    for count in frames or []:
        if count % spec.frame_step != 1 or not 1 < count <= spec.max_frames:
            problem = f"{count} is none of {1 + spec.frame_step}, ... {spec.max_frames}"
            raise SettingsError("--frames", problem)
    return [
        DenoiseRequest(
            PROMPT, "", width, height, count, step, spec.guidance_scale, spec.flow_shift, 0
        )
        for (width, height), count, step in product(
            pairs, frames or [spec.max_frames], steps or [spec.num_inference_steps]
        )
    ]


def _measure(
    spec: ModelSpec,
    settings: Settings,
    requests: list[DenoiseRequest],
    repeat: int,
    *,
    stock: bool,
) -> list[Row]:
    """A row for each request and way; one way is loaded at a time, since two may not fit."""
    from onetake.models import measure  # noqa: PLC0415 - torch, not for a slip of the options

    rows: list[Row] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("", total=len(requests) * (repeat + 1) * (1 + stock))

        def run(way: str, once: Callable[[DenoiseRequest], measure.Figures]) -> None:
            for asked in requests:
                row = _named(way, spec, asked)
                bar.update(task, description=f"{way}, {row['size']}, {row['frames']} frames")
                found = []
                for _ in range(repeat + 1):
                    found.append(once(asked))
                    bar.advance(task)
                rows.append({**row, **_medians(found[1:]), "first": found[0]["total"]})

        if stock:
            weights = models.find_weights(spec, settings)
            if weights is None:
                raise SettingsError("ONETAKE_WEIGHTS_DIR", f"holds no weights of {spec.name}")
            models.hush()
            run("stock", measure.load_stock(spec, weights))
            models.free()
        loaded = Worker(settings).model(spec)
        run("exact", lambda asked: measure.measure(loaded, asked))
    return rows


def _named(way: str, spec: ModelSpec, asked: DenoiseRequest) -> Row:
    """What a row is about."""
    size = f"{asked.width}*{asked.height}"
    steps = asked.num_inference_steps
    return {
        "way": way, "model": spec.name, "size": size, "frames": asked.num_frames, "steps": steps,
    }  # fmt: skip


def _medians(found: list[Row]) -> Row:
    """The middle one of each figure."""
    return {
        key: None if value is None else median(row[key] for row in found)
        for key, value in found[0].items()
    }


def _table(rows: list[Row], card: str) -> Table:
    """All rows; the ratio is of a row to stock's with the same request."""
    timed = ("denoise", "decode", "total", "first")
    header = (
        "way",
        "size",
        "frames",
        "steps",
        *(f"{key}, s" for key in timed),
        "peak, GiB",
        "ratio",
    )
    table = Table(*header, title=f"{rows[0]['model']} on {card}")
    same = ("size", "frames", "steps")
    for row in rows:
        stock = (r for r in rows if r["way"] == "stock" and all(r[k] == row[k] for k in same))
        against = next(stock, {}).get("total")
        ratio = f"{against / row['total']:.2f}" if against else ""
        seconds = [f"{row[key]:.2f}" for key in timed]
        peak = "" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}"
        table.add_row(row["way"], *(str(row[k]) for k in same), *seconds, peak, ratio)
    return table
