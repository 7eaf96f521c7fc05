"""Profiles: named ways to run a model, and the techniques that each is made of.

A technique is a module of this room with one function, ``apply(model) -> str``, which changes a
loaded model in place, as this card and the installed kernels allow, and says what it chose.
"""

import importlib

from onetake.models.spec import VideoModel


def tune(model: VideoModel, techniques: tuple[str, ...]) -> dict[str, str]:
    """Apply the techniques in order; returns what each chose, and why."""
    return {
        name: importlib.import_module(f"onetake.models.acceleration.{name}").apply(model)
        for name in techniques
    }
