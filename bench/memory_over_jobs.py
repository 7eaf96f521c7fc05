"""Memory of a worker over many jobs of mixed sizes: does it grow?

python -m bench.memory_over_jobs      # minutes on two cores; writes docs/memory_over_jobs.png

Resident memory of the worker process after each job; without a card that is the only memory
there is. With one, the reserved memory of the card is drawn too. Of five kinds of jobs, the first
five show each once: torch keeps what it has prepared for a shape, some MiB for each new one.
"""

import json
import random
import tempfile
from pathlib import Path

import matplotlib as mpl
import torch

mpl.use("Agg")
import matplotlib.pyplot as plt

from onetake.entrypoints.runpod.answer import answer
from onetake.runtime.cancellation import Control
from onetake.runtime.settings import Settings
from onetake.takes.worker import Worker

PICTURE = Path(__file__).parents[1] / "docs" / "memory_over_jobs.png"
RESULTS = Path(__file__).parent / "results" / "memory_over_jobs.json"
KINDS = (
    {"size": "224*128", "duration": 1},
    {"size": "128*224", "duration": 5},
    {"size": "256*256", "duration": 2, "fps": 24},
    {"size": "640*360", "duration": 3},
    {"size": "1280*720", "duration": 4},
)
JOBS, SETTLED = 50, len(KINDS)
MIB = 1 << 20


def resident_mib() -> float:
    """This process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB


def main() -> None:
    """Run the jobs, print the figures, draw the curve."""
    torch.set_num_threads(2)
    rng = random.Random(7)  # noqa: S311 - the same jobs in every run
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model="tiny", output_dir=Path(folder), work_dir=Path(folder) / "work")
        worker = Worker(settings)
        host, card = [], []
        for number in range(JOBS):
            request = {
                **(KINDS[number] if number < SETTLED else rng.choice(KINDS)),
                "prompt": "a red bottle",
                "num_inference_steps": 2,
                "seed": number,
            }
            reply = answer(worker, {"id": f"job{number}", "input": request}, Control())
            if "error" in reply:
                raise SystemExit(reply["error"])
            host.append(round(resident_mib()))
            card.append(
                round(torch.cuda.memory_reserved() / MIB) if torch.cuda.is_available() else 0
            )
    growth = host[-1] / host[SETTLED - 1] - 1
    print(
        f"after {SETTLED} jobs {host[SETTLED - 1]} MiB, after {JOBS} {host[-1]} MiB ({growth:+.1%})"
    )
    RESULTS.write_text(json.dumps({"host_mib": host, "card_mib": card}) + "\n")
    draw(host, card)


def draw(host: list[int], card: list[int]) -> None:
    """The curves, in MiB after each job."""
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot(range(1, JOBS + 1), host, label="host, resident")
    if any(card):
        axes.plot(range(1, JOBS + 1), card, label="card, reserved")
    axes.set(xlabel="jobs done, of five kinds", ylabel="MiB", ylim=(0, 1.2 * max(host + card)))
    axes.legend()
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    main()
