"""Make the embedded model from nothing: one command, in parts of under nine minutes.

    python -m training.run WORK_DIR             # all parts, then the package's assets and the table
    python -m training.run WORK_DIR --parts 1   # only the next one, and so on in another call

WORK_DIR holds all that a part hands to the next (under 40 MB but for `latents/`, which only saves
time on the same machine), so it can be carried to another one in between. A part that was cut off
is done again. All GPUs that are there are used.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

ASSETS = Path(__file__).parents[1] / "src" / "onetake" / "assets"
VAE, TRANSFORMER = 2 * 430, 3 * 430  # seconds that the parts' schedules span, about
PARTS = {
    "VAE, 1 of 2": ("train_vae", "--seconds", "480", "--total", str(VAE)),
    "VAE, 2 of 2": ("train_vae", "--seconds", "480"),
    "evaluator": ("judge", "--seconds", "80"),
    "transformer, 1 of 3": ("train_transformer", "--seconds", "480", "--total", str(TRANSFORMER)),
    "transformer, 2 of 3": ("train_transformer", "--seconds", "480", "--total", str(TRANSFORMER)),
    "transformer, 3 of 3": ("train_transformer", "--seconds", "480"),
    "turbo": ("train_turbo", "--seconds", "360"),
}


def main(work: Path, most: int, extra: tuple[str, ...] = ()) -> int:
    """Do the parts that are not done yet, `most` of them; 0 if all went well."""
    work.mkdir(parents=True, exist_ok=True)
    ledger = work / "parts.json"
    done: dict[str, float] = json.loads(ledger.read_text()) if ledger.exists() else {}
    todo = [name for name in PARTS if name not in done][:most]
    for name in todo:
        module, *options = PARTS[name]
        print(f"== {name}", flush=True)
        started = time.monotonic()
        code = launch(f"training.{module}", str(work), *options, *extra, alone=module == "judge")
        if code:
            return code
        done[name] = round(time.monotonic() - started)
        ledger.write_text(json.dumps(done))
    if len(done) < len(PARTS):
        return 0
    return launch("training.export", str(work), str(ASSETS), alone=True) or launch(
        "training.evaluate"
    )


def launch(module: str, *arguments: str, alone: bool = False) -> int:
    """Run a module in one process for each GPU."""
    processes = 1 if alone else max(1, torch.cuda.device_count())
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", module, *arguments]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own modules


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--parts", type=int, default=len(PARTS), help="how many of those to come")
    arguments = parser.parse_args()
    sys.exit(main(arguments.work, arguments.parts))
