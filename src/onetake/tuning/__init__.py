"""Profiles: named ways to run a model."""

import importlib
from typing import Any

from onetake.errors import JobError
from onetake.job import nearest_name, shown
from onetake.spec import Profile

_ROWS = (Profile(name="exact", promise="The model's own arithmetic in bf16, no step skipped"),)
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


def tune(pipeline: Any) -> None:
    """What every profile does to a loaded pipeline: it takes less time and memory, no more."""
    timesteps = importlib.import_module("onetake.tuning.timesteps")  # torch, not for tables
    timesteps.deduplicate_timesteps(pipeline.transformer)
