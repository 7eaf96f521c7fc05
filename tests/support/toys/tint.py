"""A finishing step with a request field of its own, whose input is of a kind of its own."""

from typing import Annotated

import numpy as np
from pydantic import Field

from onetake.jobs import request
from onetake.media.fetch import InputKind
from onetake.takes.context import FrameStage, TakeContext

TIMED = "tint"


class Fields(request.Fields):
    """What this step adds to a request."""

    tint: Annotated[str | None, InputKind("palette")] = Field(None, description="A colour")


def stage(context: TakeContext) -> FrameStage | None:
    if "tint" not in context.inputs:
        return None
    colour = np.array(context.inputs["tint"], np.uint8)
    return FrameStage(lambda frames: (np.broadcast_to(colour, f.shape) for f in frames))
