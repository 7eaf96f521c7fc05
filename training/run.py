"""Make the embedded model from nothing: one command, in parts of under nine minutes.

    python -m training.run WORK_DIR             # all parts, then the package's assets and the table
    python -m training.run WORK_DIR --parts 1   # only the next one, and so on in another call

WORK_DIR holds all that a part hands to the next (under 40 MB but for `latents/`, which only saves
time on the same machine), so it can be carried to another one in between. A part that was cut off
is done again. All GPUs that are there are used: two take half as long as one, more have larger
batches.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ASSETS = Path(__file__).parents[1] / "src" / "onetake" / "models" / "assets"
# Seconds of one GPU for each training in turn, its set-up included (the evaluator's comes first).
TRAININGS = {"train_vae": 360, "judge": 80, "train_transformer": 1520, "train_turbo": 360}
ALONE = {"judge"}  # it uses one GPU
RESUMED = {"train_vae", "train_transformer"}  # trainings that can go on in another part
SHARED = 2  # GPUs at most that share a training's seconds: its set-up does not shrink
LONGEST_PART, FIRST_SET_UP, SET_UP = 480, 170, 40  # seconds


@dataclass(frozen=True)
class Part:
    """A training, or a share of it that is done in one go."""

    name: str
    module: str
    options: tuple[str, ...]
    processes: int


def parts(gpus: int) -> list[Part]:
    """All parts in turn for so many GPUs."""
    found = []
    for module, whole in TRAININGS.items():
        processes = 1 if module in ALONE else gpus
        seconds = whole / min(processes, SHARED)
        count = math.ceil(seconds / LONGEST_PART) if module in RESUMED else 1
        each = seconds / count
        total = seconds - FIRST_SET_UP - (count - 1) * SET_UP
        for number in range(1, count + 1):
            options = ["--seconds", f"{each:.0f}"]
            if number < count:  # the last one knows how long the others took
                options += ["--total", f"{total:.0f}"]
            name = f"{module}, {number} of {count}"
            found.append(Part(name, module, tuple(options), processes))
    return found


def main(work: Path, most: int | None) -> int:
    """Do the parts that are not done yet, `most` of them; 0 if all went well.

    A training goes on with as many GPUs as it was begun with, since its schedule is in seconds.
    """
    work.mkdir(parents=True, exist_ok=True)
    ledger = work / "parts.json"
    done: dict[str, float] = json.loads(ledger.read_text()) if ledger.exists() else {}
    gpus = max(1, torch.cuda.device_count())
    planned = parts(gpus)
    finished = {name.split(",")[0] for name in done if _is_last(name)}
    todo = [p for p in planned if p.name not in done and p.module not in finished]
    for name in done.keys() - {p.name for p in planned}:
        if any(p.module == name.split(",")[0] for p in todo):
            print(f"{name} was done on another number of GPUs; go on with as many")
            return 1
    for part in todo[:most]:
        print(f"== {part.name}", flush=True)
        started = time.monotonic()
        code = launch(part.module, str(work), *part.options, processes=part.processes)
        if code:
            return code
        done[part.name] = round(time.monotonic() - started)
        ledger.write_text(json.dumps(done))
    if most is not None and len(todo) > most:
        return 0
    return launch("export", str(work), str(ASSETS)) or launch("evaluate", processes=gpus)


def _is_last(name: str) -> bool:
    number, count = name.split(", ")[1].split(" of ")
    return number == count


def launch(module: str, *arguments: str, processes: int = 1) -> int:
    """Run a module of this package in one process for each GPU."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", f"training.{module}"]
    command += arguments
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own modules


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--parts", type=int, help="how many of those to come; else all")
    arguments = parser.parse_args()
    sys.exit(main(arguments.work, arguments.parts))
