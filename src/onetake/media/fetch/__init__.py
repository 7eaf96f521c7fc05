"""Inputs that jobs bring: one module for each kind, and one row for each module.

A source is a URL, a data URI, base64 or a file of the worker's volume. It is checked before it is
believed.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from onetake.runtime.settings import Settings

# By a kind's name, the module that reads it. Such a module has
#   DESCRIPTION, which completes "give ..."
#   MAX_BYTES, of the file
#   load(source, field, settings, folder), which returns the kind's own value
KINDS: dict[str, str] = {
    "picture": "onetake.media.fetch.picture",
    "clip": "onetake.media.fetch.clip",
}
MIN_SIDE = 16  # pixels, of a picture or a clip


@dataclass(frozen=True)
class InputKind:
    """Marks a request field, in its ``Annotated`` type, as an input of the kind ``name``."""

    name: str


def load(kind: str, source: str, field: str, settings: Settings, folder: Path) -> Any:
    """The input that ``source`` names, as the value of its ``kind``.

    Args:
        kind: a key of `KINDS`.
        source: what the job gave.
        field: the request field, which a refusal names.
        settings: say whether private addresses and files of the volume are allowed.
        folder: for files that must exist while the job runs.

    Raises:
        JobError: the input cannot be fetched, or is not of this kind, or is damaged or too large.
    """
    return import_module(KINDS[kind]).load(source, field, settings, folder)
