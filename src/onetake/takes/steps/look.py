"""Frames are looked at by the safety checks, in a thread of their own."""

from onetake.takes.context import FrameStage, TakeContext

TIMED = "check"


def stage(context: TakeContext) -> FrameStage:
    """Always needed; with the checks off it looks at no frame."""
    watch = context.closing.enter_context(context.safeguard.watch(context.plan))
    return FrameStage(watch.through)
