"""By how much the checks make a take later: bench/results/checks.json.

    python -m bench.checks               # two minutes on two CPU cores

A clip of the default job's size goes through the worker's watch into its encoder, with the checks
and without them, by turns. ffmpeg encodes in software on the same cores, which leaves the
classifier less than a card's encoder does. A prompt's check comes before the job, and is added.
"""

import json
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from onetake.delivery.publish import TakeFiles
from onetake.jobs.plan import Plan
from onetake.jobs.request import Job
from onetake.media.frames import FrameBatch
from onetake.runtime.settings import Settings
from onetake.takes.encoding import encode_take
from onetake.takes.planning import plan_job
from onetake.trust.policy import Policy
from onetake.trust.safety.check import Safeguard
from onetake.trust.safety.prompts import categories_of

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "checks.json"
PROFILES = ROOT / "bench" / "results" / "profiles.json"
TURNS = 3
BATCH = 4  # frames of a latent
PROMPT = "a red bottle on a white background, camera slowly zooming in"


def clip(plan: Plan) -> FrameBatch:
    """A smooth pan with some grain."""
    width, height = plan.size
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (24, 40, 3), np.uint8)
    wide = cv2.resize(colours, (width + 2 * plan.num_frames, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.integers(0, 12, (height, width, 3), np.uint8)
    moved = (wide[:, 2 * i : 2 * i + width] for i in range(plan.num_frames))
    return np.stack([cv2.add(frame, grain) for frame in moved])


def seconds(frames: FrameBatch, plan: Plan, job: Job, policy: Policy) -> float:
    """From the first frame to the verdict on an encoded take."""
    safeguard = Safeguard(policy, job)
    with TemporaryDirectory() as folder:
        files = TakeFiles(Path(folder), "take", job.output.container)
        started = time.perf_counter()
        with safeguard.watch(plan) as watch:
            batches = np.array_split(frames, len(frames) // BATCH)
            encode_take(watch.through(iter(batches)), plan, job.output, files, {})
        safeguard.verdict()
        return time.perf_counter() - started


def main() -> None:
    """Measure, print, write down."""
    policy = Policy(optional=True)
    request = {"prompt": PROMPT, "model": "wan2.2-ti2v-5b"}
    jobs = {on: Job.parse({**request, "enable_safety_checker": on}) for on in (True, False)}
    plan = plan_job(jobs[True], Settings(), planning=True)[2](None)
    frames = clip(plan)
    durations: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(TURNS):
        for on, job in jobs.items():
            durations[on].append(seconds(frames, plan, job, policy))
    prompts = []
    for number in range(20):
        started = time.perf_counter()
        categories_of(f"{PROMPT}, take {number}", policy)
        prompts.append(time.perf_counter() - started)
    with_checks, without = (median(durations[on]) for on in (True, False))
    later = with_checks - without + median(prompts)
    jobs_seconds = {
        row["profile"]: row["seconds"] for row in json.loads(PROFILES.read_text())["rows"]
    }
    results = {
        "frames": plan.num_frames, "size": plan.size,
        "encode_s": without, "encode_and_check_s": with_checks,
        "prompt_s": median(prompts), "later_s": later,
        "share": {name: later / each for name, each in jobs_seconds.items()},
    }  # fmt: skip
    print(json.dumps(results, indent=1))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
