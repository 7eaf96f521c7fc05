"""Where weights are found, and how a model of the table is loaded; torch is not needed before."""

import gc
import hashlib
import importlib
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path

from onetake.errors import JobError, SettingsError, StageError
from onetake.job import nearest_name, shown
from onetake.models.table import DEFAULT_ON_GPU as DEFAULT_ON_GPU
from onetake.models.table import MODELS as MODELS
from onetake.models.table import TINY as TINY
from onetake.models.weights import INT8, ORIGINAL, Manifest, check_weights, read_ahead
from onetake.settings import Settings
from onetake.spec import DenoiseRequest, ModelSpec, VideoModel
from onetake.telemetry import Stopwatch

SMALL = f"-{INT8}"  # what the name of a folder with the 8-bit form ends with
_FINGERPRINT_BYTES = 1 << 16
_WARM_LATENTS = 3  # the first, which is decoded by itself, and two of the others


def embedded_weights(name: str = TINY) -> Path:
    """The folder of an embedded model, which is part of the package."""
    return Path(str(resources.files("onetake"))) / "assets" / name


def find_weights(spec: ModelSpec, settings: Settings, *, eight_bit: bool = False) -> Path | None:
    """The folder that holds ``spec``'s weights in diffusers' layout, or None.

    The first of `weight_places`; the 8-bit form if that is wished for, or if the card has no room
    for the other.
    """
    places = weight_places(spec, settings)
    small = [place for place in places if place.name.endswith(SMALL)]
    if small and (eight_bit or card_gib() < spec.streamed_gib):
        places = small
    return next(iter(places), None)


def few_step_form(spec: ModelSpec, settings: Settings, *, need_weights: bool = True) -> ModelSpec:
    """The row with the distilled weights of ``spec``; a row of such weights is its own.

    Raises:
        JobError: there are none, or they are needed and missing.
    """
    if spec.distilled:
        return spec
    if not spec.few_steps:
        able = ", ".join(other.name for other in MODELS.values() if other.few_steps)
        problem = f"turbo needs distilled weights, and {spec.name} has none; only {able} have them"
        raise JobError("profile", problem, code="unsupported")
    return resolve(spec.few_steps, settings, need_weights=need_weights)[0]


def weight_places(spec: ModelSpec, settings: Settings) -> list[Path]:
    """Every folder that holds ``spec``'s weights, in the order in which they are looked for.

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
    """Where the 8-bit form of a folder lies."""
    return weights.with_name(weights.name + SMALL)


def weights_revision(weights: Path) -> str:
    """The manifest's revision, the hub's of a cached snapshot, else a fingerprint of the files.

    The fingerprint reads names, sizes and both ends of each file: enough to tell two sets of
    weights apart without reading all of them.
    """
    manifest = Manifest.read(weights)
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


@cache
def card_name() -> str | None:
    """The name of the GPU, or None."""
    import torch  # noqa: PLC0415 - seconds of import that schema, plan errors and tables do without

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def card_gib() -> float:
    """Memory of the GPU that this process may use, in GiB; without one, enough for anything."""
    if card_name() is None:
        return float("inf")
    import torch  # noqa: PLC0415 - see card_name

    share = torch.cuda.get_per_process_memory_fraction()
    return float(share * torch.cuda.get_device_properties(0).total_memory / (1 << 30))


def card_steady_gib() -> float | None:
    """What stays on the GPU between jobs, in GiB: weights, encoded prompts; None without one."""
    if card_name() is None:
        return None
    import torch  # noqa: PLC0415 - see card_name

    return float(torch.cuda.memory_allocated(0) / (1 << 30))


def default_model(settings: Settings) -> tuple[ModelSpec, str]:
    """The model for jobs that name none, and why it is the embedded one when nobody chose that.

    `ONETAKE_MODEL`, else the default of a GPU, else the embedded one. In production a missing GPU
    or model is an error: answering with another would look like success.

    Raises:
        SettingsError: `ONETAKE_MODEL` is unknown, or production finds no GPU or no weights.
    """
    if settings.model is not None:
        if settings.model not in MODELS:
            raise SettingsError("ONETAKE_MODEL", f"is none of {', '.join(MODELS)}")
        return MODELS[settings.model], ""
    if card_name() is None:
        lacking = "there is no GPU"
    elif find_weights(MODELS[DEFAULT_ON_GPU], settings) is None:
        lacking = f"the weights of {DEFAULT_ON_GPU} are not here"
    else:
        return MODELS[DEFAULT_ON_GPU], ""
    if settings.production:
        raise SettingsError("ONETAKE_MODEL", f"not set, and {lacking}; mend that or name a model")
    return MODELS[TINY], f"made by the embedded model, since {lacking}"


def resolve(
    name: str | None, settings: Settings, *, need_weights: bool = True
) -> tuple[ModelSpec, str]:
    """The model that a job asks for, and a note on it; see `default_model`.

    Raises:
        JobError: it is unknown, or its weights are needed and missing; it is never replaced.
    """
    if name is None:
        return default_model(settings)
    if name not in MODELS:
        problem = f"{shown(name)} is not one of {', '.join(MODELS)}{nearest_name(name, MODELS)}"
        raise JobError("model", problem, code="unknown_model")
    if need_weights and find_weights(MODELS[name], settings) is None:
        here = [spec.name for spec in MODELS.values() if find_weights(spec, settings)]
        problem = f"the weights of {name} are not on this worker, which has {', '.join(here)}"
        raise JobError("model", problem, code="model_unavailable")
    return MODELS[name], ""


def load(
    spec: ModelSpec,
    settings: Settings,
    watch: Stopwatch | None = None,
    *,
    eight_bit: bool = False,
) -> VideoModel:
    """Load ``spec`` onto the GPU, or the CPU where there is none; ``watch`` times the stages.

    Raises:
        SettingsError: its files are missing or damaged.
        DeviceError: it does not fit.
    """
    watch = watch or Stopwatch()
    rows = [spec, *([MODELS[spec.base]] if spec.base else [])]
    found = [find_weights(row, settings, eight_bit=eight_bit) for row in rows]
    folders = tuple(folder for folder in found if folder)
    if len(folders) < len(rows):
        raise SettingsError("ONETAKE_WEIGHTS_DIR", f"holds no weights of {spec.name}")
    with watch.stage("check weights"):
        for folder in folders:
            check_weights(folder)
    with watch.stage("import"):
        hush()
        module = importlib.import_module(spec.module)
    with watch.stage("load"):
        free()
        model: VideoModel = module.load(spec, folders, weights_revision(folders[0]))
        gc.freeze()  # what stays for good is not looked through after every job
    return model


def warm_up(model: VideoModel) -> None:
    """Few steps of the model's default clip and its first frames: on a card, what is compiled.

    Raises:
        StageError: it makes none, or DeviceError: the card fails.
    """
    spec = model.spec
    width, height = spec.sizes[0]
    request = DenoiseRequest(
        prompt="a product",
        negative_prompt="",
        width=width,
        height=height,
        # Graphs are of a length, so that of most jobs; on a CPU the shortest will do.
        num_frames=spec.max_frames if card_name() else spec.min_frames,
        num_inference_steps=spec.num_inference_steps if spec.distilled else 2,
        guidance_scale=spec.guidance_scale,
        flow_shift=spec.flow_shift,
        seed=0,
    )
    batches = islice(model.decode(model.denoise(request, lambda _step: None)), _WARM_LATENTS)
    frames = [len(batch) for batch in batches]
    expected = [1] + [spec.frame_step] * (_WARM_LATENTS - 1)
    if frames != expected:
        raise StageError("boot", f"{spec.name} made {frames} frames, not {expected}")


def read_default_ahead(settings: Settings) -> None:
    """Have the likely model's files read into the host's cache while libraries are imported."""
    spec = MODELS.get(settings.model or DEFAULT_ON_GPU)
    places = weight_places(spec, settings) if spec else []
    # Whether the card suits is not known yet; who has the 8-bit form made it for the card.
    small = [place for place in places if place.name.endswith(SMALL)]
    for place in (small or places)[:1]:
        read_ahead(place)


def hush() -> None:
    """Keep the libraries' advice and loading bars from between the worker's own lines.

    Before the models' modules are imported, since some of the advice is given by that.
    """
    for name in ("diffusers", "transformers"):
        logs = importlib.import_module(f"{name}.utils.logging")
        logs.set_verbosity_error()
        logs.disable_progress_bar()


def free() -> None:
    """Give back the memory of what was let go: pipelines hold themselves in cycles."""
    import torch  # noqa: PLC0415 - see card_name

    gc.unfreeze()
    gc.collect()
    gc.freeze()  # see load
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
