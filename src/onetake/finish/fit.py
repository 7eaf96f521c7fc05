"""The delivered size from the generated one: scaled to cover it and cropped about the centre."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from onetake.clip import FrameStream, cover
from onetake.plan import Plan


def step(plan: Plan) -> Callable[[FrameStream], FrameStream] | None:
    """Needed when the sizes differ."""
    if plan.size == plan.generated_size:
        return None
    return lambda frames: (
        np.stack([np.asarray(cover(Image.fromarray(frame), plan.size)) for frame in batch])
        for batch in frames
    )
