"""The card's peak memory by size and length: bench/results/memory.json.

    python -m bench.memory               # needs a GPU; three minutes on an H100

The default model at full size with random weights, on a card capped to 24 GiB. One step and the
first latents are enough: what is kept does not grow from step to step or from latent to latent.
tests/models/test_placement.py compares what the plan predicts.
"""

import argparse
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import torch
from profiles import MODEL, load

from onetake.models import device
from onetake.models.families.wan import model as wan
from onetake.models.spec import DenoiseRequest

RESULTS = Path(__file__).parent / "results" / "memory.json"
PROFILES = ("exact", "balanced")
SIZES = ((1280, 704), (960, 960), (832, 480), (704, 1280))
FRAMES = (121, 81, 33)
LATENTS = 4


def measured(profile: str) -> list[dict[str, object]]:
    """A row for each size and length, in this process."""
    model, _found = load(profile)
    rows: list[dict[str, object]] = []
    for (width, height), frames in ((size, count) for size in SIZES for count in FRAMES):
        request = DenoiseRequest(
            "a red bottle", "", width, height, frames, 1, model.spec.sampling.guidance_scale,
            model.spec.sampling.flow_shift, 1,
        )  # fmt: skip
        figures = {}
        device.free()
        model.reset_peak()
        try:
            latents = model.denoise(request, lambda _step: None)
            figures["denoise_gib"] = model.peak_gib()
            model.reset_peak()
            for part in ("job_gib", "decode_gib"):  # with what denoising left cached, and without
                list(islice(model.decode(latents), LATENTS))
                figures[part] = model.peak_gib()
                device.free()
                model.reset_peak()
        except wan.DeviceError as error:
            figures["error"] = error.code
        row = {"profile": profile, "placement": model.placement, "size": [width, height]}
        rows.append({**row, "frames": frames, **figures})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one)))
    else:
        rows = []
        for profile in PROFILES:
            command = [sys.executable, "-m", "bench.memory", "--one", profile]
            ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows += json.loads(ended.stdout.splitlines()[-1])
        card = torch.cuda.get_device_name()
        RESULTS.write_text(json.dumps({"card": card, "model": MODEL, "rows": rows}, indent=1))
