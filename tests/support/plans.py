"""Plans of jobs by the rows of the model table, and frames finished by them."""

from importlib import import_module

from onetake.jobs.plan import Plan
from onetake.jobs.planner import Terms, plan_take
from onetake.jobs.request import Job
from onetake.media.frames import FrameStream
from onetake.models.catalogue import MODELS
from onetake.runtime.cancellation import Control
from onetake.runtime.profiles import PROFILES
from onetake.runtime.stopwatch import Stopwatch
from onetake.takes.context import TakeContext
from onetake.trust.policy import Policy
from onetake.trust.provenance.apply import Marking
from onetake.trust.safety.check import Safeguard

WAN = MODELS["wan2.2-ti2v-5b"]
TINY = MODELS["tiny"]
TERMS = Terms(max_duration=600, price_per_second=0.001)


def planned(request: dict, spec=WAN, source=None) -> Plan:
    """The plan of a request."""
    job = Job.parse({"prompt": "a red bottle", **request})
    return plan_take(
        job,
        spec,
        PROFILES["exact"],
        TERMS,
        prompts=[part.prompt for part in job.segments or [job]],
        seed=7,
        source=source,
    )


def context_of(plan: Plan, **parts: object) -> TakeContext:
    """What steps share, for a take that nobody makes; ``parts`` replace those that it lacks."""
    job = Job.parse({"prompt": "a red bottle"})
    named = {
        "worker": None,
        "answered": None,
        "name": "job",
        "request": {},
        "job": job,
        "plan": plan,
        "model": None,
        "inputs": {},
        "files": None,
        "checkpoints": None,
        "clock": Stopwatch(),
        "control": Control(),
        "safeguard": Safeguard(Policy(), job),
        "parts": None,
        "card_use": lambda: None,
        "notes": [],
        "marking": Marking(Policy(), None, plan, "revision", None),
    }
    return TakeContext(**named | parts)


def finished(frames: FrameStream, plan: Plan) -> FrameStream:
    """Frames at the delivered rate and size."""
    context = context_of(plan)
    for name in ("rate", "fit"):
        stage = import_module(f"onetake.takes.steps.{name}").stage(context)
        if stage is not None:
            frames, _sound = stage.through(frames, None)
    return frames
