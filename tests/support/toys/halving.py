"""A technique that says it runs every second forward."""

from onetake.models.acceleration import Effect
from onetake.models.spec import TunableModel

EFFECT = Effect(forwards=lambda steps, guided: steps * (1 + guided) // 2, streamed=True)


def apply(model: TunableModel) -> str:
    return f"every second step of {model.spec.name}"
