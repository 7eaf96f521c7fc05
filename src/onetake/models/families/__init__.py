"""Model families. A row of the catalogue names its family's module, which has a `FAMILY`.

A family names its functions as ``module:function``. They are imported when they are used, so that
describing and planning need neither torch nor diffusers.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

from onetake.models.spec import DenoiseRequest, ModelSpec, VideoModel
from onetake.models.weights.manifest import WeightsManifest
from onetake.runtime.errors import SettingsError

Figures = dict[str, float | None]  # seconds of each stage, `total`, and `peak_gib`
# The first folder holds the weights, the others lend the components that it leaves out.
Load = Callable[[ModelSpec, tuple[Path, ...], str], VideoModel]
# The row, its weights and their revision, the new folder, adapters with their strengths, progress.
Quantise = Callable[
    [ModelSpec, Path, str, Path, Iterable[tuple[Path, float]], Callable[[str], object]],
    WeightsManifest,
]
LoadStock = Callable[[ModelSpec, Path], Callable[[DenoiseRequest], Figures]]


@dataclass(frozen=True)
class Family:
    """What a family offers; an empty name says that it offers none."""

    loader: str
    techniques: frozenset[str] = frozenset()  # of onetake.models.acceleration that its models take
    quantiser: str = ""  # makes the 8-bit form
    stock_loader: str = ""  # loads stock diffusers, to be measured beside ours


def family_of(spec: ModelSpec) -> Family:
    """The family of a row."""
    family: Family = import_module(spec.family).FAMILY
    return family


def loader_of(spec: ModelSpec) -> Load:
    """What loads a model of the row."""
    load: Load = resolve_name(family_of(spec).loader)
    return load


def quantiser_of(spec: ModelSpec) -> Quantise:
    """What makes the 8-bit form of the row.

    Raises:
        SettingsError: its family has none.
    """
    quantise: Quantise = resolve_name(_hook(spec, family_of(spec).quantiser, "8-bit form"))
    return quantise


def stock_loader_of(spec: ModelSpec) -> LoadStock:
    """What loads stock diffusers with the row's weights.

    Raises:
        SettingsError: its family has none.
    """
    load_stock: LoadStock = resolve_name(_hook(spec, family_of(spec).stock_loader, "stock form"))
    return load_stock


def _hook(spec: ModelSpec, name: str, what: str) -> str:
    if not name:
        raise SettingsError("MODEL", f"{spec.name} has no {what}; name another model")
    return name
