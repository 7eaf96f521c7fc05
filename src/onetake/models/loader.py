"""Load a model of the catalogue and warm it up; torch is not needed before."""

import gc
import importlib
from itertools import islice

from onetake.models.catalogue import MODELS
from onetake.models.device import card_name, free
from onetake.models.families import loader_of
from onetake.models.spec import DenoiseRequest, ModelSpec, VideoModel
from onetake.models.weights.manifest import check_weights
from onetake.models.weights.places import find_weights, weights_revision
from onetake.runtime.errors import SettingsError, StageError
from onetake.runtime.settings import Settings
from onetake.runtime.stopwatch import Stopwatch

_WARM_LATENTS = 3  # the first, which is decoded by itself, and two of the others


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
    places = [find_weights(row, settings, eight_bit=eight_bit) for row in rows]
    folders = tuple(place for place in places if place)
    if len(folders) < len(rows):
        raise SettingsError("ONETAKE_WEIGHTS_DIR", f"holds no weights of {spec.name}")
    with watch.stage("check weights"):
        for folder in folders:
            check_weights(folder)
    with watch.stage("import"):
        hush()
        load_model = loader_of(spec)
    with watch.stage("load"):
        free()
        model = load_model(spec, folders, weights_revision(folders[0]))
        gc.freeze()  # the collector need not look through what stays for good
    return model


def warm_up(model: VideoModel) -> None:
    """Run a few steps of the default clip and decode its first frames; a card compiles then.

    Raises:
        StageError: it makes other numbers of frames.
        DeviceError: the card fails.
    """
    spec = model.spec
    width, height = spec.segment.sizes[0]
    request = DenoiseRequest(
        prompt="a product",
        negative_prompt="",
        width=width,
        height=height,
        # Graphs are compiled for one length, here that of most jobs; a CPU needs the shortest only.
        num_frames=spec.segment.max_frames if card_name() else spec.segment.min_frames,
        num_inference_steps=spec.sampling.num_inference_steps if spec.sampling.distilled else 2,
        guidance_scale=spec.sampling.guidance_scale,
        flow_shift=spec.sampling.flow_shift,
        seed=0,
    )
    batches = islice(model.decode(model.denoise(request, lambda _step: None)), _WARM_LATENTS)
    frames = [len(batch) for batch in batches]
    expected = [1] + [spec.segment.frame_step] * (_WARM_LATENTS - 1)
    if frames != expected:
        raise StageError("boot", f"{spec.name} made {frames} frames, not {expected}")


def hush() -> None:
    """Silence the libraries' advice and loading bars, which would mix with the worker's own lines.

    Call it before the models' modules are imported: some of the advice comes at import.
    """
    for name in ("diffusers", "transformers"):
        logs = importlib.import_module(f"{name}.utils.logging")
        logs.set_verbosity_error()
        logs.disable_progress_bar()
