"""Seconds and memory of the default job by stock diffusers and by each profile: README's ratios.

    python -m bench.profiles              # needs a GPU; ten minutes on an H100

The default model at full size with random weights, on a card capped to 24 GiB. Every way has a
process of its own: it is loaded, warmed up as the worker does at boot, and runs the same job.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.full_size import build
from onetake.models import acceleration, catalogue, choice, loader, measure
from onetake.models.families.wan import int8, stock
from onetake.models.families.wan import model as wan
from onetake.models.spec import DenoiseRequest, ModelSpec
from onetake.runtime import profiles
from onetake.runtime.settings import Settings

RESULTS = Path(__file__).parent / "results" / "profiles.json"
MODEL = "wan2.2-ti2v-5b"
CARD_GIB = 24
STOCK = "stock"
PROMPT = "a red bottle on a white background, camera slowly zooming in"
Figures = dict[str, Any]


def load(
    way: str, steps: int | None = None, layers: int | None = None, *, name: str = MODEL,
    card_gib: float = CARD_GIB,
) -> tuple[Any, Figures]:  # fmt: skip
    """A model under a profile (or stock's pipeline in its place), and seconds that it took."""
    started = time.monotonic()
    spec = catalogue.MODELS[name]
    profile = profiles.PROFILES.get(way)
    if profile and profile.distilled:
        spec = choice.few_step_form(spec, Settings(), need_weights=False)
    elif steps:
        spec = replace(spec, sampling=replace(spec.sampling, num_inference_steps=steps))
    pipeline = build(name, layers)
    if profile and acceleration.effect_of(spec, profile.techniques).eight_bit:
        for part in (pipeline.text_encoder, pipeline.transformer):
            int8.convert(part.cuda())
            part.cpu()
    torch.cuda.empty_cache()
    # Now, since all this needs more room than the job.
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1, card_gib * wan.GIB / total))
    figures: Figures = {"build": time.monotonic() - started}
    if profile is None:
        pipeline.vae.float()
        return (spec, stock.stock_runner(spec, pipeline)), figures
    started = time.monotonic()
    model = wan.place(spec, pipeline, "random")
    figures |= {
        "tuning": acceleration.tune(model, profile.techniques),
        "placement": model.placement,
    }
    return model, {**figures, "load": time.monotonic() - started}


def one(way: str, jobs: int, steps: int | None, layers: int | None) -> Figures:
    """Load and run one way in this process."""
    loaded, figures = load(way, steps, layers)
    started = time.monotonic()
    if way == STOCK:
        spec, run = loaded
        run(_request(spec, spec.segment.min_frames, 2))
    else:
        loader.warm_up(loaded)
        spec, run = loaded.spec, partial(measure.measure, loaded)
    figures["warm up"] = time.monotonic() - started
    request = _request(spec, spec.segment.max_frames, spec.sampling.num_inference_steps)
    return {"profile": way, **figures, "jobs": [run(request) for _ in range(jobs)]}


def _request(spec: ModelSpec, frames: int, steps: int) -> DenoiseRequest:
    width, height = spec.segment.sizes[0]
    guidance, shift = spec.sampling.guidance_scale, spec.sampling.flow_shift
    return DenoiseRequest(PROMPT, "", width, height, frames, steps, guidance, shift, 1)


def main(ways: list[str], steps: int | None, layers: int | None) -> None:
    """Every way in its process; results are written after each."""
    rows: list[Figures] = []
    for way in ways:
        options = ["--one", way]
        options += [f"--steps={steps}"] if steps else []
        options += [f"--layers={layers}"] if layers else []
        ended = subprocess.run(
            [sys.executable, "-m", "bench.profiles", *options],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if ended.returncode:
            print(way, "failed", flush=True)
            continue
        row = json.loads(ended.stdout.splitlines()[-1])
        last = row["jobs"][-1]
        row |= {"seconds": last["total"], "peak_gib": last["peak_gib"]}
        stock = next((r["seconds"] for r in rows if r["profile"] == STOCK), None)
        row["ratio"] = stock and stock / last["total"]
        rows.append(row)
        print(row, flush=True)
        about = {
            "card": f"{torch.cuda.get_device_name()}, capped to {CARD_GIB} GiB",
            "command": " ".join(["python -m bench.profiles", *sys.argv[1:]]),
            "torch": torch.__version__,
            "job": f"{MODEL}, 1280x704, 121 frames, {steps or 50} steps, random weights",
            "rows": rows,
        }
        RESULTS.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ways", nargs="*", default=[STOCK, *profiles.PROFILES])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help="else the model's own")
    parser.add_argument("--layers", type=int, help="of the transformer, for trials")
    options = parser.parse_args()
    if options.one:
        jobs = 2 if options.one in {"balanced", "turbo"} else 1  # the others take minutes
        print(json.dumps(one(options.one, jobs, options.steps, options.layers)))
    else:
        main(options.ways, options.steps, options.layers)
