"""Ordered steps over frame batches, from what was generated to what is delivered.

Each row is a module with ``step(plan)``, which gives a function over the stream, or None when the
plan does not need it. Row order is run order.
"""

from collections.abc import Callable
from importlib import import_module

from onetake.jobs.plan import Plan
from onetake.media.frames import FrameStream

FinishStep = Callable[[FrameStream], FrameStream]

STEPS = ("rate", "fit")


def finish(frames: FrameStream, plan: Plan) -> FrameStream:
    """``frames`` through every step that ``plan`` needs."""
    for name in STEPS:
        step: FinishStep | None = import_module(f"onetake.takes.steps.{name}").step(plan)
        if step is not None:
            frames = step(frames)
    return frames
