"""The marks that are seen, or not seen, in every frame."""

from onetake.takes.context import FrameStage, TakeContext

TIMED = "mark"


def stage(context: TakeContext) -> FrameStage:
    """Always needed; a policy without such marks changes no frame."""
    return FrameStage(context.marking.over)
