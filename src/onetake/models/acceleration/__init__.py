"""Techniques that make models faster or smaller; profiles name them.

A technique is a module of this package. Its ``apply(model) -> str`` changes a loaded model in
place, as far as this card and the installed kernels allow, and says what it chose. Its ``EFFECT``
says what that changes for a plan.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from onetake.models.families import family_of
from onetake.models.spec import ModelSpec, TunableModel, VideoModel
from onetake.runtime.profiles import PROFILES


@dataclass(frozen=True)
class Effect:
    """What a technique changes of forwards and memory."""

    # From steps, and whether they are guided, to runs of the transformer for one segment.
    forwards: Callable[[int, bool], int] | None = None
    eight_bit: bool = False  # linear layers run in 8 bits; a stored 8-bit form is loaded if there
    streamed: bool = False  # weights are streamed through the card, and it decodes in tiles


class Technique(Protocol):
    """What a module of this package offers."""

    EFFECT: Effect

    @staticmethod
    def apply(model: TunableModel) -> str:
        """Change the model in place; returns what it chose, and why."""


def technique(name: str) -> Technique:
    """The module of a technique."""
    return cast("Technique", import_module(f"{__name__}.{name}"))


def effect_of(spec: ModelSpec, techniques: Iterable[str]) -> Effect:
    """The joint effect of those ``techniques`` that the family of ``spec`` takes."""
    taken = family_of(spec).techniques
    effects = [technique(name).EFFECT for name in techniques if name in taken]
    counts = [effect.forwards for effect in effects if effect.forwards]
    return Effect(
        forwards=counts[-1] if counts else None,
        eight_bit=any(effect.eight_bit for effect in effects),
        streamed=any(effect.streamed for effect in effects),
    )


def leanest_profile(spec: ModelSpec) -> str:
    """The profile that streams weights through the card; empty if this family has none."""
    streamed = (p.name for p in PROFILES.values() if effect_of(spec, p.techniques).streamed)
    return next(streamed, "")


def tune(model: VideoModel, techniques: Iterable[str]) -> dict[str, str]:
    """Apply the techniques in order; returns what each chose, and why."""
    taken = family_of(model.spec).techniques
    return {
        name: technique(name).apply(cast("TunableModel", model))
        if name in taken
        else "as loaded: this family of models does not take it"
        for name in techniques
    }
