"""Model families. A row of the catalogue names the module of its family, which has a `FAMILY`.

A family names its functions as ``module:function``. They are imported when they are used, so that
a plan does not import diffusers, and a table not even torch.
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
# (row, folders, revision): the first folder holds the weights, others lend missing components.
Load = Callable[[ModelSpec, tuple[Path, ...], str], VideoModel]
# (row, weights, their revision, new folder, adapters with their strengths, progress).
Quantise = Callable[
    [ModelSpec, Path, str, Path, Iterable[tuple[Path, float]], Callable[[str], object]],
    WeightsManifest,
]
# (row, weights) to a function that runs one request.
LoadStock = Callable[[ModelSpec, Path], Callable[[DenoiseRequest], Figures]]


@dataclass(frozen=True)
class Family:
    """What a family offers. An empty name means that it has none."""

    loader: str
    techniques: frozenset[str] = frozenset()  # of onetake.models.acceleration that its models take
    quantiser: str = ""  # makes the 8-bit form
    stock_loader: str = ""  # loads stock diffusers, to be measured beside ours


def family_of(spec: ModelSpec) -> Family:
    """The family of a row."""
    family: Family = import_module(spec.family).FAMILY
    return family


def loader_of(spec: ModelSpec) -> Load:
    """The function that loads the row's model."""
    load: Load = resolve_name(family_of(spec).loader)
    return load


def quantiser_of(spec: ModelSpec) -> Quantise:
    """The function that makes the row's 8-bit form.

    Raises:
        SettingsError: its family has none.
    """
    quantise: Quantise = resolve_name(_hook(spec, family_of(spec).quantiser, "8-bit form"))
    return quantise


def stock_loader_of(spec: ModelSpec) -> LoadStock:
    """The function that loads stock diffusers with the row's weights.

    Raises:
        SettingsError: its family has none.
    """
    load_stock: LoadStock = resolve_name(_hook(spec, family_of(spec).stock_loader, "stock form"))
    return load_stock


def _hook(spec: ModelSpec, name: str, what: str) -> str:
    if not name:
        raise SettingsError("model", f"{spec.name} has no {what}; name another model")
    return name
