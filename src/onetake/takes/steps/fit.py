"""The delivered size from the generated one: scaled to cover it and cropped about the centre.

What extends a clip is stretched instead, as the clip's end was for the model, so that both meet.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from onetake.jobs.plan import Plan
from onetake.media.frames import FrameStream, cover, stretch


def step(plan: Plan) -> Callable[[FrameStream], FrameStream] | None:
    """Needed when the sizes differ."""
    if plan.size == plan.generated_size:
        return None
    scale = stretch if plan.extends else cover
    return lambda frames: (
        np.stack([np.asarray(scale(Image.fromarray(frame), plan.size)) for frame in batch])
        for batch in frames
    )
