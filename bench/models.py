"""What other models take of a card: bench/results/models.json.

    python -m bench.models               # needs a GPU and 100 GB of host memory

At full size with random weights, each in a process of its own and a few steps long: what is kept
does not grow from step to step.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from profiles import STOCK, load

from onetake.models import measure
from onetake.models.spec import DenoiseRequest
from onetake.runtime.errors import DeviceError

RESULTS = Path(__file__).parent / "results" / "models.json"
STEPS = 4
# Model, way, GiB that the card is capped to.
RUNS = (
    ("wan2.2-t2v-a14b", STOCK, 24.0),
    ("wan2.1-t2v-1.3b", "balanced", 12.0),
    ("wan2.2-t2v-a14b", "exact", 24.0),
    ("wan2.2-ti2v-5b", "lean", 16.0),
    ("wan2.2-ti2v-5b", "lean", 12.0),
)


def one(name: str, way: str, card_gib: float) -> dict[str, object]:
    """The figures of the longest segment at the first size, in this process."""
    row: dict[str, object] = {"model": name, "way": way, "card_gib": card_gib}
    try:
        loaded, figures = load(way, name=name, card_gib=card_gib)
        spec = loaded[0] if way == STOCK else loaded.spec
        width, height = spec.segment.sizes[0]
        request = DenoiseRequest(
            "a red bottle", "", width, height, spec.segment.max_frames, STEPS,
            spec.sampling.guidance_scale, spec.sampling.flow_shift, 1,
        )  # fmt: skip
        run = loaded[1] if way == STOCK else lambda request: measure.measure(loaded, request)
        return row | figures | {"job": run(request)}
    except (DeviceError, torch.OutOfMemoryError) as error:
        return row | {"error": type(error).__name__}


def _run(row: dict[str, object]) -> tuple[object, ...]:
    return row["model"], row["way"], row["card_gib"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=int, default=range(len(RUNS)), help="of RUNS")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(one(*RUNS[options.one])))
    else:
        rows = json.loads(RESULTS.read_text())["rows"]
        for number in options.runs:
            command = [sys.executable, "-m", "bench.models", f"--one={number}"]
            ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            new = json.loads(ended.stdout.splitlines()[-1])
            rows = [row for row in rows if _run(row) != _run(new)] + [new]
            print(new, flush=True)
            card = torch.cuda.get_device_name()
            RESULTS.write_text(json.dumps({"card": card, "steps": STEPS, "rows": rows}, indent=1))
