"""Are the files of a model whole? Found by sizes and headers alone, before anything is loaded."""

import json
from pathlib import Path
from typing import Any

from onetake.errors import SettingsError

_VARIABLE = "ONETAKE_WEIGHTS_DIR"
_NOT_FILES = ("scheduler", "tokenizer")  # components without weights


def check_weights(folder: Path) -> None:
    """Look at every safetensors file of a model in diffusers' layout.

    Raises:
        SettingsError: one is missing, cut off or no safetensors file; it is named.
    """
    index = _json(folder / "model_index.json", folder)
    for component, kind in index.items():
        if not isinstance(kind, list) or kind[0] is None or component in _NOT_FILES:
            continue
        files = list((folder / component).glob("*.safetensors"))
        for shards in (folder / component).glob("*.safetensors.index.json"):
            names = set(_json(shards, folder)["weight_map"].values())
            files += [shards.parent / name for name in sorted(names)]
        if not files:
            raise SettingsError(_VARIABLE, f"{component} has no weights; fetch the model again")
        for file in sorted({*files}):
            _check_file(file, file.relative_to(folder))


def _check_file(file: Path, name: Path) -> None:
    """The header of a safetensors file says how long it must be (8 bytes, JSON, tensors)."""
    if not file.is_file():
        raise SettingsError(_VARIABLE, f"{name} is missing; fetch the model again")
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = opened.read(length) if length < size else b""
    try:
        tensors = json.loads(header)
    except ValueError:
        raise SettingsError(_VARIABLE, f"{name} is damaged; fetch the model again") from None
    end = max(
        (about["data_offsets"][1] for key, about in tensors.items() if key != "__metadata__"),
        default=0,
    )
    whole = 8 + length + end
    if size != whole:
        problem = f"{name} has {size:,} of {whole:,} bytes; fetch the model again"
        raise SettingsError(_VARIABLE, problem)


def _json(file: Path, folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError):
        name = file.relative_to(folder)
        raise SettingsError(_VARIABLE, f"{name} is damaged; fetch the model again") from None
    return content
