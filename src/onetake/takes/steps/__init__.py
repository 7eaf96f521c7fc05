"""Ordered steps over the frames and the sound of a take, from the model to the encoder.

A step is a module, and row order is run order. It has
  TIMED, the name under which the answer counts its seconds
  stage(context), which gives its `Stage`, or None if this take does not need it
  Fields, if it adds fields to the request: a subclass of `onetake.jobs.request.Fields`
"""

from functools import cache
from importlib import import_module
from typing import Any

from pydantic import create_model

from onetake.jobs.request import Job
from onetake.media.frames import FrameStream, SoundStream
from onetake.takes.context import Stage, TakeContext

STEPS: tuple[str, ...] = (
    "onetake.takes.steps.rate",
    "onetake.takes.steps.fit",
    "onetake.takes.steps.extend",
    "onetake.takes.steps.measure",
    "onetake.takes.steps.look",
    "onetake.takes.steps.mark",
    "onetake.takes.steps.parts",
)


def request_model() -> type[Job]:
    """`Job` with the fields of every step."""
    return _with_fields(STEPS)


@cache
def _with_fields(steps: tuple[str, ...]) -> type[Job]:
    modules: list[Any] = [import_module(name) for name in steps]
    groups = [module.Fields for module in modules if hasattr(module, "Fields")]
    return (
        create_model("Job", __base__=(*groups[::-1], Job), __doc__=Job.__doc__) if groups else Job
    )


def through_steps(
    context: TakeContext, frames: FrameStream, sound: SoundStream | None = None
) -> tuple[FrameStream, SoundStream | None]:
    """``frames`` and ``sound`` through every step that the take needs."""
    for name in STEPS:
        step: Any = import_module(name)
        with context.clock.stage(step.TIMED):  # so that every answer has the same timings
            stage: Stage | None = step.stage(context)
        if stage is not None:
            frames, sound = stage.through(frames, sound)
            frames = context.clock.through(step.TIMED, frames)
    return frames, sound
