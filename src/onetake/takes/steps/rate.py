"""The delivered rate from the model's: each frame is blended from the two around its time.

A frame that falls on a generated one is that frame, bit for bit, so 24 to 12 fps only drops
frames. Two shots are never blended.
"""

from collections.abc import Collection
from fractions import Fraction

import numpy as np

from onetake.media.frames import FrameBatch, FrameStream
from onetake.takes.context import FrameStage, TakeContext

TIMED = "finish"


def stage(context: TakeContext) -> FrameStage | None:
    """Needed if the rates differ."""
    plan = context.plan
    if plan.fps == plan.generated_fps:
        return None
    ratio = plan.generated_fps / plan.fps
    cuts = {s.start_frame for s in plan.segments[1:] if not s.overlap_frames}
    count = plan.num_frames - plan.given_frames
    return FrameStage(lambda frames: _resample(frames, ratio, count, cuts))


def _resample(
    frames: FrameStream, ratio: Fraction, count: int, cuts: Collection[int]
) -> FrameStream:
    """``count`` frames; number i lies at ``i * ratio`` of the incoming ones.

    Frames on two sides of one of the ``cuts`` are not blended.
    """
    held: FrameBatch | None = None  # frames not yet passed, the first of them number `start`
    start = done = 0
    for batch in frames:
        held = batch if held is None else np.concatenate([held, batch])
        end = start + len(held)
        resampled = []
        # A frame exactly on the last one held needs no successor.
        while done < count and done * ratio <= end - 1:
            at = done * ratio
            if int(at) + 1 in cuts:
                at = Fraction(int(at))
            resampled.append(_blend(held, at - start))
            done += 1
        if resampled:
            yield np.stack(resampled)
        passed = min(int(done * ratio), end) - start
        held, start = held[passed:], start + passed


def _blend(held: FrameBatch, position: Fraction) -> FrameBatch:
    """The frame at ``position``, counted in frames from the first of ``held``."""
    index = int(position)
    weight = float(position - index)
    before: FrameBatch = held[index]
    if weight == 0:
        return before
    mixed: FrameBatch = (before * (1 - weight) + held[index + 1] * weight).round().astype(np.uint8)
    return mixed
