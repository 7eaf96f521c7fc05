"""Profiles: named ways to run a model. The settings, the plan and the Hub listing read this table.

A technique is named by its module in `onetake.models.acceleration`.
"""

from dataclasses import dataclass

from onetake.runtime.errors import JobError
from onetake.runtime.wording import nearest_name, shown


@dataclass(frozen=True)
class Profile:
    """A named way to run a model, with the promise that it keeps."""

    name: str
    promise: str
    techniques: tuple[str, ...]  # in the order of their use
    distilled: bool = False  # it runs the model's few-step weights


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
    ),
)
PROFILES = {profile.name: profile for profile in _ROWS}
DEFAULT_PROFILE = "exact"


def profile_named(name: str) -> Profile:
    """The profile that a job asks for.

    Raises:
        JobError: it is unknown.
    """
    if name not in PROFILES:
        problem = f"{shown(name)} is not one of {', '.join(PROFILES)}{nearest_name(name, PROFILES)}"
        raise JobError("profile", problem, code="unknown_profile")
    return PROFILES[name]
