"""The default model at full size on a card, capped to the memory of an RTX 4090.

Random weights in the published sizes: this proves shapes, placement and memory, not quality.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.full_size import build
from onetake.models.catalogue import MODELS
from onetake.models.families.wan import int8
from onetake.models.families.wan.model import place
from onetake.models.loader import load
from onetake.models.placement import TEXT_STREAMED
from onetake.models.spec import DenoiseRequest
from onetake.models.weights.places import small_form
from onetake.runtime.settings import Settings
from onetake.runtime.units import GIB

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CARD_GIB = 24


@pytest.mark.timeout(500)
def test_the_default_model_runs_in_24_gib() -> None:
    """A native segment from text, and one continued from nine frames, stay under 24 GiB."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1, CARD_GIB * GIB / total))
    spec = MODELS["wan2.2-ti2v-5b"]
    model = place(spec, build(spec.name), "random")
    assert model.placement == TEXT_STREAMED
    without_context = DenoiseRequest(
        prompt="a red bottle", negative_prompt="", width=1280, height=704, num_frames=121,
        num_inference_steps=2, guidance_scale=5.0, flow_shift=5.0, seed=1,
    )  # fmt: skip
    context = None
    for _ in range(2):
        request = DenoiseRequest(**{**vars(without_context), "context": context})
        frames = np.concatenate(list(model.decode(model.denoise(request, lambda _step: None))))
        assert frames.shape == (121, 704, 1280, 3)
        context = frames[-9:]
    peak = model.peak_gib()
    assert peak is not None
    print(f"peak {peak:.1f} GiB")  # noqa: T201 - the figure for estimate.py
    assert peak < CARD_GIB


@pytest.mark.timeout(500)
def test_the_8_bit_form_is_resident_in_24_gib(tmp_path: Path) -> None:
    """Half the bytes leave room for the whole model beside its work, and frames come out."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1, CARD_GIB * GIB / total))
    spec = MODELS["wan2.2-ti2v-5b"]
    original = tmp_path / spec.name
    build(spec.name).save_pretrained(original)
    int8.quantise(spec, original, "random", small_form(original), [], lambda _step: None)
    model = load(spec, Settings(weights_dir=tmp_path), eight_bit=True)
    assert (model.placement, model.revision.endswith("-int8")) == ("resident", True)
    request = DenoiseRequest("a red bottle", "", 1280, 704, 121, 2, 5.0, 5.0, 1)
    frames = sum(len(batch) for batch in model.decode(model.denoise(request, lambda _step: None)))
    peak = model.peak_gib()
    assert peak is not None
    print(f"8 bits, resident: peak {peak:.1f} GiB")  # noqa: T201 - the figure for estimate.py
    assert frames == 121  # under the cap: what does not fit is an error
