"""The card's peak memory by size and length, against what the plan says: bench/results/memory.json.

    python bench/memory.py               # needs a GPU; three minutes on an H100

The default model at full size with random weights, on a card capped to 24 GiB. One step and the
first latents are enough: what is kept does not grow from step to step or from latent to latent.
"""

import argparse
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import torch
from profiles import MODEL, load

from onetake import models, tuning
from onetake.memory import peaks
from onetake.models import wan
from onetake.spec import DenoiseRequest

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
        asked = DenoiseRequest(
            "a red bottle", "", width, height, frames, 1, model.spec.guidance_scale,
            model.spec.flow_shift, 1,
        )  # fmt: skip
        found = {}
        models.free()
        model.peak_gib()
        try:
            latents = model.denoise(asked, lambda _step: None)
            found["denoise_gib"] = model.peak_gib()
            models.free()
            model.peak_gib()
            list(islice(model.decode(latents), LATENTS))
            found["decode_gib"] = model.peak_gib()
        except wan.DeviceError as error:
            found["error"] = error.code
        predicted = peaks(model.spec, tuning.PROFILES[profile], (width, height), frames)
        rows.append(
            {"profile": profile, "size": f"{width}x{height}", "frames": frames, **found,
             "predicted_gib": predicted[model.placement]}
        )  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.one)))
    else:
        rows = []
        for profile in PROFILES:
            command = [sys.executable, __file__, "--one", profile]
            ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows += json.loads(ended.stdout.splitlines()[-1])
        card = torch.cuda.get_device_name()
        RESULTS.write_text(json.dumps({"card": card, "model": MODEL, "rows": rows}, indent=1))
