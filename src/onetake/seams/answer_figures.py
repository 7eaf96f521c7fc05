"""The figures of a take's seams, in its answer."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from onetake.jobs.plan import Plan
from onetake.jobs.response import Seam
from onetake.media.frames import FrameStream
from onetake.seams.figures import Report


class Meter(Protocol):
    """What a take passes through on its way to the encoder."""

    def through(self, stream: FrameStream) -> FrameStream:
        """The same stream."""

    def report(self) -> Report:
        """What was seen."""


class Idle:
    """For a take without seams, which does without OpenCV's import and work."""

    def through(self, stream: FrameStream) -> FrameStream:
        """The same stream."""
        return stream


def seam_meter(plan: Plan) -> Meter | Idle:
    """Measures the plan's seams."""
    if not plan.seams():
        return Idle()
    from onetake.seams.meter import SeamMeter  # noqa: PLC0415 - see Idle

    return SeamMeter(plan.seam_frames(), plan.num_frames)


def add_figures(seams: Sequence[Seam], meter: Meter | Idle) -> None:
    """Put what was measured into the seams; a cut is none, and its figures would mean nothing."""
    if isinstance(meter, Idle):
        return
    measured = {seam.at_frame: asdict(seam) for seam in meter.report().seams}
    for seam in seams:
        if seam.overlap_frames and seam.at_frame in measured:
            seam.figures = measured[seam.at_frame]
            del seam.figures["at_frame"]
