"""The delivered size from the generated one: scaled to cover it and cropped about the centre.

A take that extends a clip is stretched instead, as the clip's end was for the model: so both meet.
"""

import numpy as np
from PIL import Image

from onetake.media.frames import cover, stretch
from onetake.takes.context import FrameStage, TakeContext

TIMED = "finish"


def stage(context: TakeContext) -> FrameStage | None:
    """Needed if the sizes differ."""
    plan = context.plan
    if plan.size == plan.generated_size:
        return None
    scale = stretch if plan.extends else cover
    return FrameStage(
        lambda frames: (
            np.stack([np.asarray(scale(Image.fromarray(frame), plan.size)) for frame in batch])
            for batch in frames
        )
    )
