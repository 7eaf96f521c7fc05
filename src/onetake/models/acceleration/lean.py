"""The least of the card's memory: weights go through it, and it decodes in tiles."""

from onetake.models.acceleration import Effect
from onetake.models.spec import TunableModel

EFFECT = Effect(streamed=True)


def apply(model: TunableModel) -> str:
    """Take every way to less memory that the model has; out of memory takes them one by one."""
    while model.lean():
        pass
    return model.placement
