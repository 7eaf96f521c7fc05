"""The least memory: weights are streamed through the card, and it decodes in tiles."""

from onetake.models.acceleration import Effect
from onetake.models.spec import TunableModel

EFFECT = Effect(streamed=True)


def apply(model: TunableModel) -> str:
    """Take all the model's ways to less memory; an out-of-memory error takes one at a time."""
    while model.lean():
        pass
    return model.placement
