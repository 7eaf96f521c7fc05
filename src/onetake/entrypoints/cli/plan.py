"""`onetake plan`: what a job would generate and cost, without running it."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from onetake.entrypoints.cli.console import JsonOption, out, refusals
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
    request_of,
)
from onetake.jobs.estimate import HOSTED
from onetake.jobs.plan import Plan
from onetake.runtime.settings import Settings
from onetake.takes.inputs import fetch_inputs, source_of
from onetake.takes.planning import plan_job
from onetake.takes.steps import request_model


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
    options = locals()
    with refusals():
        settings = Settings.read()
        request = request_model().parse(request_of(job, options))
        spec, _note, plan_for = plan_job(request, settings, planning=True)
        planned = plan_for(None)
        if any(request.inputs()):
            with TemporaryDirectory() as folder:
                planned = plan_for(source_of(fetch_inputs(request, settings, Path(folder))))
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
    hosted = HOSTED if spec.repo_id else ()  # no hosted service sells the embedded model
    if as_json:
        prices = [asdict(price) for price in hosted]
        print(json.dumps({**delivered, "plan": planned.summary(), "hosted": prices}, indent=2))
        return
    table = Table(title=f"{planned.model}, {planned.profile}", show_header=False)
    for name, value in {**delivered, **planned.summary()["estimate"]}.items():
        table.add_row(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    out.print(table)
    out.print(_segments(planned))
    for price in hosted:
        print(
            f"hosted: ${price.dollars:.2f} for {price.seconds:g} s ({price.name}, {price.date}) - "
            f"this plan: ${planned.estimate.dollars:.2f} for {planned.duration:.3g} s"
        )


def _segments(planned: Plan) -> Table:
    table = Table("segment", "frames", "overlap", "starts at", "seed", title="segments")
    for segment in planned.segments:
        table.add_row(
            str(segment.index + 1),
            str(segment.num_frames),
            str(segment.overlap_frames),
            f"{segment.start_frame / planned.generated_fps:.2f} s",
            str(segment.seed),
        )
    return table
