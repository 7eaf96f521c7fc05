"""The clip that is extended, in front of the frames that continue it."""

from pathlib import Path

from onetake.media.frames import FrameStream
from onetake.takes.context import FrameStage, TakeContext
from onetake.takes.inputs import frames_of_clip

TIMED = "finish"


def stage(context: TakeContext) -> FrameStage | None:
    """Needed if a clip is extended."""
    if not context.plan.extends:
        return None
    file: Path = context.inputs["video"].file
    return FrameStage(lambda frames: _after_clip(file, frames))


def _after_clip(file: Path, frames: FrameStream) -> FrameStream:
    """The clip's own frames, then ``frames`` without their first: the clip's last again.

    Raises:
        JobError: the clip is damaged.
    """
    yield from frames_of_clip(file)
    first = next(frames, None)
    if first is not None:
        yield first[1:]
    yield from frames
