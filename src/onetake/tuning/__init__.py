"""Profiles: named ways to run a model, and the techniques that each is made of.

A technique is a module of this room with one function, ``apply(model) -> str``, which changes a
loaded model in place, as this card and the installed kernels allow, and says what it chose.
"""

import importlib

from onetake.errors import JobError
from onetake.job import nearest_name, shown
from onetake.spec import Profile, VideoModel

_ROWS = (
    Profile(
        name="exact",
        promise="The model's own arithmetic in bf16, no step skipped",
        techniques=("timesteps", "compiled"),
    ),
    Profile(
        name="balanced",
        promise="8-bit arithmetic, and what neighbouring steps share is computed once: nearly the "
        "same picture, in under half of the forwards where steps are many",
        techniques=("timesteps", "linears", "attention", "reuse", "compiled"),
        eight_bit=True,
    ),
    Profile(
        name="turbo",
        promise="The model's distilled weights: 3 or 4 steps without guidance, another picture",
        techniques=("timesteps", "compiled"),
        distilled=True,
    ),
    Profile(
        name="lean",
        promise="The least of the card's memory: weights pass through it, and it decodes in tiles, "
        "which change the picture a little; slower",
        techniques=("timesteps", "lean"),
        streamed=True,
    ),
)
PROFILES = {profile.name: profile for profile in _ROWS}
DEFAULT_PROFILE = "exact"


def resolve(name: str | None) -> Profile:
    """The profile that a job asks for.

    Raises:
        JobError: it is unknown.
    """
    if name is None:
        return PROFILES[DEFAULT_PROFILE]
    if name not in PROFILES:
        problem = f"{shown(name)} is not one of {', '.join(PROFILES)}{nearest_name(name, PROFILES)}"
        raise JobError("profile", problem, code="unknown_profile")
    return PROFILES[name]


def tune(model: VideoModel, techniques: tuple[str, ...]) -> dict[str, str]:
    """Apply the techniques in order; returns what each chose, and why."""
    return {
        name: importlib.import_module(f"onetake.tuning.{name}").apply(model) for name in techniques
    }
