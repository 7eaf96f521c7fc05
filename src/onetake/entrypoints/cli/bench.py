"""`onetake bench`: sizes, lengths and steps, by stock diffusers and by each way to run a model."""

import csv
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated, Any, cast

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from onetake.entrypoints.cli.console import err, out, refusals, say
from onetake.jobs.request import Job
from onetake.models import acceleration, choice, device, loader
from onetake.models.families import stock_loader_of
from onetake.models.spec import DenoiseRequest, ModelSpec, TunableModel
from onetake.models.weights import places
from onetake.runtime.errors import SettingsError
from onetake.runtime.profiles import DEFAULT_PROFILE, PROFILES, Profile, profile_named
from onetake.runtime.settings import Settings

PROMPT = "a red bottle on a white background, camera slowly zooming in"
STOCK = "stock"
STAGES = ("denoise", "decode")
Row = dict[str, Any]


def bench(
    model: Annotated[str | None, typer.Option(help="A name from `onetake models`.")] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="A profile; may be repeated. Default: exact.")
    ] = None,
    technique: Annotated[
        list[str] | None,
        typer.Option(help="One technique of a profile, by itself; may be repeated."),
    ] = None,
    size: Annotated[list[str] | None, typer.Option(help="Generated size; may be repeated.")] = None,
    frames: Annotated[
        list[int] | None, typer.Option(help="Frames of a segment; may be repeated.")
    ] = None,
    steps: Annotated[list[int] | None, typer.Option(help="Steps; may be repeated.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each, after one to warm up.")] = 2,
    stock: Annotated[bool, typer.Option(help="Time stock diffusers as well.")] = True,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for bench.json, .csv and .png.")
    ] = None,
    profile_trace: Annotated[
        Path | None, typer.Option(help="Folder for a torch profiler trace of each way.")
    ] = None,
) -> None:
    """Time denoising and decoding of one segment; ratios are stock's time over ours."""
    with refusals():
        settings = Settings.read()
        spec, _note = choice.resolve(model, settings)
        ways = _ways(profile, technique)
        requests = _requests(spec, size, frames, steps)
        rows = _Bench(spec, settings, requests, repeat, profile_trace).run(ways, stock=stock)
    card = device.card_name() or "CPU"
    out.print(_table(rows, f"{spec.name} on {card}"))
    if output:
        output.mkdir(parents=True, exist_ok=True)
        (output / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")
        with (output / "bench.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        if importlib.util.find_spec("matplotlib"):
            _plot(rows, f"{spec.name} on {card}", output / "bench.png")
        else:
            say("no bench.png: matplotlib is not installed")


def _ways(profiles: list[str] | None, techniques: list[str] | None) -> list[Profile]:
    """The named profiles, and one profile for each technique by itself.

    Raises:
        OnetakeError: one is unknown.
    """
    legal = {name for row in PROFILES.values() for name in row.techniques}
    for name in techniques or []:
        if name not in legal:
            raise SettingsError("--technique", f"{name} is none of {', '.join(sorted(legal))}")
    names = profiles or ([] if techniques else [DEFAULT_PROFILE])
    alone = [Profile(name, "", techniques=(name,)) for name in techniques or []]
    return [profile_named(name) for name in names] + alone


def _requests(
    spec: ModelSpec, sizes: list[str] | None, frames: list[int] | None, steps: list[int] | None
) -> list[DenoiseRequest]:
    """A request for each combination; what is left out is the model's own.

    Raises:
        OnetakeError: the model cannot make one of them.
    """
    jobs = [Job.parse({"prompt": PROMPT, "size": text}) for text in sizes or []]
    pairs = [job.sides_of_size() for job in jobs] or [spec.segment.sizes[0]]
    for width, height in pairs:
        if width % spec.segment.size_multiple or height % spec.segment.size_multiple:
            problem = f"{width}*{height} is not in multiples of {spec.segment.size_multiple} pixels"
            raise SettingsError("--size", problem)
    for count in frames or []:
        if count % spec.segment.frame_step != 1 or not 1 < count <= spec.segment.max_frames:
            problem = (
                f"{count} is none of {1 + spec.segment.frame_step}, ... {spec.segment.max_frames}"
            )
            raise SettingsError("--frames", problem)
    return [
        DenoiseRequest(
            PROMPT,
            "",
            width,
            height,
            count,
            step,
            spec.sampling.guidance_scale,
            spec.sampling.flow_shift,
            0,
        )
        for (width, height), count, step in product(
            pairs, frames or [spec.segment.max_frames], steps or [spec.sampling.num_inference_steps]
        )
    ]


@dataclass
class _Bench:
    """Times every request in every way; one way is loaded at a time, since two may not fit."""

    spec: ModelSpec
    settings: Settings
    requests: list[DenoiseRequest]
    repeat: int
    traces: Path | None

    def run(self, ways: list[Profile], *, stock: bool) -> list[Row]:
        """A row for each request and way."""
        from onetake.models import measure  # noqa: PLC0415 - no torch for a wrong option

        rows: list[Row] = []
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, console=err) as self.bar:
            total = len(self.requests) * (self.repeat + 1) * (len(ways) + stock)
            self.task = self.bar.add_task("", total=total)
            if stock:
                weights = places.find_weights(self.spec, self.settings)
                if weights is None:
                    problem = f"holds no weights of {self.spec.name}"
                    raise SettingsError("ONETAKE_WEIGHTS_DIR", problem)
                loader.hush()
                run_stock = stock_loader_of(self.spec)(self.spec, weights)
                rows += self._rows(STOCK, run_stock, self.requests)
                del run_stock
                device.free()
            for way in ways:
                spec, requests = self.spec, self.requests
                if way.distilled:
                    spec = choice.few_step_form(spec, self.settings)
                    requests = [_distilled(request, spec) for request in requests]
                # A technique by itself is measured on the original weights.
                effect = acceleration.effect_of(spec, way.techniques)
                eight_bit = effect.eight_bit and way.name in PROFILES
                model = loader.load(spec, self.settings, eight_bit=eight_bit)
                acceleration.tune(model, way.techniques)
                run_ours = partial(measure.measure, cast("TunableModel", model))
                rows += self._rows(way.name, run_ours, requests)
                del model, run_ours
                device.free()
        return rows

    def _rows(
        self, way: str, run: Callable[[DenoiseRequest], Row], requests: list[DenoiseRequest]
    ) -> list[Row]:
        rows = []
        for request in requests:
            row = _labels(way, self.spec, request)
            self.bar.update(self.task, description=f"{way}, {row['size']}, {row['frames']} frames")
            results = []
            for _ in range(self.repeat + 1):
                results.append(run(request))
                self.bar.advance(self.task)
            if self.traces:
                self._trace(partial(run, request), f"{way}-{row['size']}-{row['frames']}")
            figures = _medians(results[1:])
            dollars = figures["total"] * self.settings.price_per_second
            rows.append({**row, **figures, "first": results[0]["total"], "dollars": dollars})
        return rows

    def _trace(self, run: Callable[[], object], name: str) -> None:
        from onetake.models import measure  # noqa: PLC0415 - see run

        if self.traces:
            self.traces.mkdir(parents=True, exist_ok=True)
            measure.trace(run, self.traces / f"{name.replace('*', 'x')}.json")


def _distilled(request: DenoiseRequest, spec: ModelSpec) -> DenoiseRequest:
    """The same clip in the steps that ``spec`` was distilled to."""
    steps, guidance = spec.sampling.num_inference_steps, spec.sampling.guidance_scale
    return replace(request, num_inference_steps=steps, guidance_scale=guidance)


def _labels(way: str, spec: ModelSpec, request: DenoiseRequest) -> Row:
    """What a row is about."""
    size = f"{request.width}*{request.height}"
    steps = request.num_inference_steps
    return {
        "way": way, "model": spec.name, "size": size, "frames": request.num_frames, "steps": steps,
    }  # fmt: skip


def _medians(results: list[Row]) -> Row:
    """The median of each figure."""
    return {
        key: None if value is None else median(row[key] for row in results)
        for key, value in results[0].items()
    }


def _table(rows: list[Row], title: str) -> Table:
    """All rows; the ratio is stock's time over the row's, for the same clip."""
    timed = (*STAGES, "total", "first")
    seconds = [f"{key}, s" for key in timed]
    table = Table(
        "way", "size", "frames", "steps", *seconds, "peak, GiB", "dollars", "ratio", title=title
    )
    for row in rows:
        stock = next((r for r in rows if r["way"] == STOCK and _clip(r) == _clip(row)), None)
        ratio = f"{stock['total'] / row['total']:.2f}" if stock else ""
        peak = "" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}"
        cells = [str(row[key]) for key in ("way", "size", "frames", "steps")]
        cells += [f"{row[key]:.2f}" for key in timed]
        table.add_row(*cells, peak, f"{row['dollars']:.4f}", ratio)
    return table


def _clip(row: Row) -> tuple[str, int]:
    return row["size"], row["frames"]


def _plot(rows: list[Row], title: str, file: Path) -> None:
    """Seconds by stage, a bar for each row."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra of developers

    figure = Figure(figsize=(8, 1 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    labels = [f"{r['way']}, {r['size']}, {r['frames']} f, {r['steps']} steps" for r in rows]
    left = [0.0] * len(rows)
    for stage in STAGES:
        axes.barh(labels, [row[stage] for row in rows], left=left, label=stage)
        left = [start + row[stage] for start, row in zip(left, rows, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(title)
    axes.legend()
    figure.savefig(file, dpi=100)
