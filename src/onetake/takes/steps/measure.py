"""The figures of the take's seams, measured as its frames pass."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from onetake.jobs.response import Seam
from onetake.takes.context import FrameStage, TakeContext

TIMED = "measure"


def stage(context: TakeContext) -> FrameStage | None:
    """Needed if the take has seams."""
    plan = context.plan
    if not plan.seams():
        return None
    from onetake.seams.meter import SeamMeter  # noqa: PLC0415 - OpenCV, for takes with seams alone

    meter = context.meter = SeamMeter(plan.seam_frames(), plan.num_frames)
    return FrameStage(meter.through)


def add_figures(seams: Sequence[Seam], meter: Any) -> None:
    """Put the figures of a `SeamMeter` into the seams; those of a cut would mean nothing."""
    figures = {place.at_frame: asdict(place) for place in meter.report().seams}
    for seam in seams:
        if seam.overlap_frames and seam.at_frame in figures:
            seam.figures = figures[seam.at_frame]
            del seam.figures["at_frame"]
