"""What each profile keeps of the picture, on the embedded model: README's quality figures.

    python -m bench.quality             # 40 clips each; half an hour on two CPU cores
    python -m bench.quality --clips 4   # a look

Frames are compared with those of stock diffusers (its VAE in float32) for the same prompt and seed,
and named by the pixel evaluator of training/judge.py. Prompts are of combinations that the model
was not trained on.
"""

import argparse
import json
import math
import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import mean
from unittest.mock import patch

import numpy as np
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline

from onetake.media.frames import FrameBatch
from onetake.models import acceleration, catalogue, choice, loader
from onetake.models.acceleration import attention, linears
from onetake.models.families.wan.model import stock_arguments
from onetake.models.spec import DenoiseRequest, ModelSpec
from onetake.models.weights import places
from onetake.runtime import profiles
from onetake.runtime.settings import Settings
from training.captions import caption
from training.clips import random_scenes
from training.judge import ATTRIBUTES, load_judge

RESULTS = Path(__file__).parent / "results" / "quality.json"
SPEC = catalogue.MODELS["tiny"]
LONG = 50  # steps of the default model, where balanced skips most
E4M3 = "balanced, e4m3"  # as on Hopper; on a CPU it is int8 otherwise, as on an RTX 4090
Make = Callable[[DenoiseRequest], FrameBatch]


def stock() -> Make:
    """Stock diffusers, as its users run it."""
    weights = places.embedded_weights()
    vae = AutoencoderKLWan.from_pretrained(weights, subfolder="vae", dtype=torch.float32)
    pipeline = WanPipeline.from_pretrained(weights, vae=vae, dtype=torch.bfloat16)
    pipeline.set_progress_bar_config(disable=True)

    def make(request: DenoiseRequest) -> FrameBatch:
        pipeline.scheduler = UniPCMultistepScheduler.from_config(
            pipeline.scheduler.config, flow_shift=request.flow_shift
        )
        arguments = stock_arguments(SPEC, request) | {"output_type": "np"}
        video = pipeline(
            prompt=request.prompt, negative_prompt=request.negative_prompt, **arguments
        )[0]  # fmt: skip
        frames: FrameBatch = (video[0] * 255).round().astype(np.uint8)
        return frames

    return make


def ours(name: str) -> tuple[Make, ModelSpec]:
    """The embedded model under a profile."""
    profile = profiles.PROFILES[name.removesuffix(", e4m3")]
    spec = choice.few_step_form(SPEC, Settings()) if profile.distilled else SPEC
    model = loader.load(
        spec, Settings(), eight_bit=acceleration.effect_of(spec, profile.techniques).eight_bit
    )
    with ExitStack() as stack:
        for technique in (linears, attention) if name == E4M3 else ():
            fp8 = linears.Suits("fp8", "as on Hopper")
            stack.enter_context(patch.object(technique, "suits", return_value=fp8))
        acceleration.tune(model, profile.techniques)

    def make(request: DenoiseRequest) -> FrameBatch:
        return np.concatenate(list(model.decode(model.denoise(request, lambda _step: None))))

    return make, spec


def requests(count: int, steps: int) -> tuple[list[DenoiseRequest], list[tuple[int, ...]]]:
    """Jobs of held-out combinations, and what should be seen."""
    rng = random.Random(steps)  # noqa: S311 - no secret
    scenes = random_scenes(count, rng, keep_out=True)
    denoise_requests = [
        DenoiseRequest(
            caption(scene, rng, full=True), "", 128, 128, 33, steps, SPEC.sampling.guidance_scale,
            SPEC.sampling.flow_shift, seed,
        )
        for seed, scene in enumerate(scenes)
    ]  # fmt: skip
    return denoise_requests, [tuple(getattr(scene, key) for key in ATTRIBUTES) for scene in scenes]


def psnr(actual: FrameBatch, expected: FrameBatch) -> float:
    """Decibels; 100 where nothing differs."""
    error = np.mean((actual.astype(float) - expected) ** 2)
    return 10 * math.log10(255**2 / error) if error else 100.0


def accuracy(clips: list[FrameBatch], truth: list[tuple[int, ...]]) -> float:
    """Share of all attributes that the evaluator names as the prompts do."""
    judge = load_judge()
    right = []
    for frames, attributes in zip(clips, truth, strict=True):
        said = judge.name(torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 255)
        right += [
            int(said[key]) == value for key, value in zip(ATTRIBUTES, attributes, strict=True)
        ]
    return mean(right)


def compare(count: int, steps: int, names: list[str]) -> list[dict[str, object]]:
    """A row for stock and one for each profile."""
    request_list, truth = requests(count, steps)
    make = stock()
    expected = [make(request) for request in request_list]
    rows: list[dict[str, object]] = [
        {"profile": "stock", "steps": steps, "clips": count, "accuracy": accuracy(expected, truth)}
    ]
    for name in names:
        make, spec = ours(name)
        if spec.sampling.distilled:
            overrides = {
                "num_inference_steps": spec.sampling.num_inference_steps,
                "guidance_scale": 1.0,
            }
            clips = [make(replace(request, **overrides)) for request in request_list]
        else:
            clips = [make(request) for request in request_list]
        decibels = [psnr(*pair) for pair in zip(clips, expected, strict=True)]
        rows.append(
            {
                "profile": name,
                "steps": spec.sampling.num_inference_steps if spec.sampling.distilled else steps,
                "clips": count,
                "accuracy": accuracy(clips, truth),
                "psnr_mean": round(mean(decibels), 1),
                "psnr_worst": round(min(decibels), 1),
            }
        )
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(2)
    rows = compare(options.clips, SPEC.sampling.num_inference_steps, [*profiles.PROFILES, E4M3])
    rows += compare(options.clips, LONG, ["exact", "balanced", E4M3])
    RESULTS.write_text(json.dumps({"model": "tiny", "rows": rows}, indent=1) + "\n")
