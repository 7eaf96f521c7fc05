"""Where the weights of a model are."""

import hashlib
from importlib import resources
from pathlib import Path

from onetake.models.catalogue import DEFAULT_ON_GPU, MODELS, TINY
from onetake.models.device import card_gib
from onetake.models.spec import ModelSpec
from onetake.models.weights.manifest import INT8, ORIGINAL, WeightsManifest, read_ahead
from onetake.runtime.settings import Settings

SMALL = f"-{INT8}"  # what the name of a folder with the 8-bit form ends with
_FINGERPRINT_BYTES = 1 << 16


def embedded_weights(name: str = TINY) -> Path:
    """The folder of an embedded model, which is part of the package."""
    return Path(str(resources.files("onetake"))) / "models" / "assets" / name


def find_weights(spec: ModelSpec, settings: Settings, *, eight_bit: bool = False) -> Path | None:
    """The folder that holds ``spec``'s weights in diffusers' layout, or None.

    The first of `weight_places`; the 8-bit form if ``eight_bit`` asks for it, or if the card has no
    room for the other.
    """
    places = weight_places(spec, settings)
    small = [place for place in places if place.name.endswith(SMALL)]
    if small and (eight_bit or card_gib() < spec.memory.streamed_gib):
        places = small
    return next(iter(places), None)


def weight_places(spec: ModelSpec, settings: Settings) -> list[Path]:
    """Every folder that holds ``spec``'s weights, in order of preference.

    `ONETAKE_WEIGHTS_DIR/<name>`, its 8-bit form beside it, then RunPod's cached models
    (`models--org--name/snapshots/<revision>`: the table's, else the one that `refs/main` names).
    """
    if not spec.repo_id:
        return [embedded_weights(spec.name)]
    own = settings.weights_dir / spec.name
    return [
        place
        for place in (own, small_form(own), *cached_places(spec, settings.hub_cache))
        if (place / "model_index.json").is_file()
    ]


def cached_places(spec: ModelSpec, hub_cache: Path) -> list[Path]:
    """Where RunPod's or the hub's cache would hold ``spec``."""
    cached = hub_cache / f"models--{spec.repo_id.replace('/', '--')}"
    named = cached / "refs" / "main"
    revisions = [spec.revision, named.read_text().strip() if named.is_file() else ""]
    return [cached / "snapshots" / revision for revision in dict.fromkeys(revisions) if revision]


def small_form(weights: Path) -> Path:
    """The folder of the 8-bit form of ``weights``."""
    return weights.with_name(weights.name + SMALL)


def weights_revision(weights: Path) -> str:
    """The manifest's revision, the hub's of a cached snapshot, else a fingerprint of the files.

    The fingerprint reads names, sizes and both ends of each file: enough to tell two sets of
    weights apart without reading all of them.
    """
    manifest = WeightsManifest.read(weights)
    if manifest:
        form = "" if manifest.form == ORIGINAL else f"-{manifest.form}"
        return manifest.revision + form
    if weights.parent.name == "snapshots":
        return weights.name
    digest = hashlib.sha256()
    for file in sorted(weights.rglob("*.safetensors")):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(weights)}:{size}".encode())
        with file.open("rb") as opened:
            digest.update(opened.read(_FINGERPRINT_BYTES))
            opened.seek(max(0, size - _FINGERPRINT_BYTES))
            digest.update(opened.read(_FINGERPRINT_BYTES))
    return f"sha256-{digest.hexdigest()[:12]}"


def read_default_ahead(settings: Settings) -> None:
    """Read the likely model's files into the host's cache, while libraries are imported."""
    spec = MODELS.get(settings.model or DEFAULT_ON_GPU)
    places = weight_places(spec, settings) if spec else []
    # The card is not known yet; whoever has the 8-bit form made it for that card.
    small = [place for place in places if place.name.endswith(SMALL)]
    for place in (small or places)[:1]:
        read_ahead(place)
