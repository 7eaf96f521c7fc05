"""What tuning does to a pipeline changes its speed alone."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel

from onetake.models import acceleration, loader
from onetake.models.acceleration import timesteps
from onetake.models.catalogue import MODELS
from onetake.models.families.wan.loading import load_pipeline
from onetake.models.families.wan.model import WanModel, place, stock_arguments
from onetake.models.loader import load
from onetake.models.placement import STREAMED
from onetake.models.spec import DenoiseRequest, VideoModel
from onetake.models.weights.places import embedded_weights
from onetake.runtime import profiles
from onetake.runtime.settings import Settings


@pytest.mark.parametrize("context_latents", [0, 1, 2, 5])
def test_deduplicated_timesteps_change_no_bit(context_latents: int) -> None:
    """With any number of given latents the transformer's output is the stock one's."""
    stock, tuned = (load_pipeline(embedded_weights(), torch.device("cpu")) for _ in range(2))
    timesteps.deduplicate_timesteps(tuned.transformer)
    generator = torch.Generator().manual_seed(context_latents)
    latents = torch.randn(1, 48, 6, 8, 8, generator=generator).bfloat16()
    text = torch.randn(1, 12, 128, generator=generator).bfloat16()
    times = torch.full((1, 6 * 16), 700.0)
    times[:, : context_latents * 16] = 0
    with torch.no_grad():
        expected, actual = (
            p.transformer(latents, times, text, return_dict=False)[0] for p in (stock, tuned)
        )
    assert torch.equal(actual, expected)


def test_a_prompt_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of one take share their prompts' embeddings; without guidance one is enough."""
    model: VideoModel = load(MODELS["tiny"], Settings())
    encoder, calls = model.pipeline.text_encoder, []
    stock = encoder.forward

    def counted(*args: object, **named: object) -> object:
        calls.append(1)
        return stock(*args, **named)

    monkeypatch.setattr(encoder, "forward", counted)

    def make(prompt: str, guidance: float) -> torch.Tensor:
        request = DenoiseRequest(prompt, "blurred", 64, 64, 17, 1, guidance, 3.0, 1)
        latents: torch.Tensor = model.denoise(request, lambda _step: None)
        return latents

    first, again = make("a red ball", 3.5), make("a red ball", 3.5)
    assert (len(calls), torch.equal(first, again)) == (2, True)
    make("a blue ball", 1.0)
    assert len(calls) == 3


@pytest.mark.parametrize("profile", ["exact", "balanced"])
@pytest.mark.parametrize("with_context", [0, 1])
def test_blocks_are_traced_whole(profile: str, with_context: int) -> None:
    """The pinned torch compiles every tuned block without a break, and keeps its output."""
    model: VideoModel = load(MODELS["tiny"], Settings())
    names = [name for name in profiles.PROFILES[profile].techniques if name != "compiled"]
    acceleration.tune(model, tuple(names))
    context = np.full((1, 64, 64, 3), 90, np.uint8) if with_context else None
    request = DenoiseRequest("a red ball", "", 64, 64, 17, 2, 3.5, 3.0, 1, context)
    expected = model.denoise(request, lambda _step: None)
    for block in model.pipeline.transformer.blocks:
        block.compile(fullgraph=True, backend="eager")
    actual = model.denoise(request, lambda _step: None)
    torch.testing.assert_close(actual, expected, atol=0.02, rtol=0.02)


@pytest.fixture
def two_experts(tiny: VideoModel) -> WanModel:
    """A minute model in the layout of A14B: one transformer for noisy steps, one for later ones."""
    experts = [
        WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16,
            text_dim=128, freq_dim=32, ffn_dim=32, num_layers=4,
        )
        for _ in range(2)
    ]  # fmt: skip
    vae = AutoencoderKLWan(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    parts = {"vae": vae, "transformer": experts[0], "transformer_2": experts[1]}
    components = {**tiny.pipeline.components, **parts}
    pipeline = WanPipeline(**components, expand_timesteps=False, boundary_ratio=0.875)
    return place(MODELS["wan2.2-t2v-a14b"], pipeline, "random")


@pytest.mark.parametrize("profile", ["exact", "balanced"])
def test_both_experts_are_run_and_tuned(profile: str, two_experts: WanModel) -> None:
    """Noisy steps are the first's, the others the second's; a second job starts anew."""
    calls: list[int] = []
    for number, expert in enumerate(two_experts.transformers):
        expert.register_forward_pre_hook(lambda *_, number=number: calls.append(number))
    acceleration.tune(two_experts, profiles.PROFILES[profile].techniques)
    request = DenoiseRequest("a red ball", "", 64, 64, 17, 30, 4.0, 12.0, 1)
    first = two_experts.denoise(request, lambda _step: None)
    assert calls == sorted(calls)
    assert set(calls) == {0, 1}
    assert torch.equal(two_experts.denoise(request, lambda _step: None), first)


def test_the_second_expert_has_its_own_guidance() -> None:
    """The model's, unless the job asks for one, which both then have."""
    spec = MODELS["wan2.2-t2v-a14b"]
    request = DenoiseRequest("a red ball", "", 64, 64, 17, 2, spec.sampling.guidance_scale, 12.0, 1)
    assert stock_arguments(spec, request)["guidance_scale_2"] == spec.sampling.expert_guidance
    assert stock_arguments(spec, replace(request, guidance_scale=6.0))["guidance_scale_2"] == 6
    assert "guidance_scale_2" not in stock_arguments(MODELS["tiny"], request)


def test_weights_are_streamed_after_tuning(tiny: VideoModel) -> None:
    """Whatever changes a block's forward, the hook that brings its own weights is around it."""
    whole = load_pipeline(embedded_weights(), torch.device("cpu"))
    device = torch.device("cpu")
    parts = (whole.transformer, whole.text_encoder)
    model = WanModel(MODELS["tiny"], whole, "r", device, STREAMED, parts)
    acceleration.tune(model, profiles.PROFILES["exact"].techniques)
    request = DenoiseRequest("a red ball", "", 64, 64, 17, 2, 3.5, 3.0, 1)
    latents = model.denoise(request, lambda _step: None)
    assert torch.equal(latents, tiny.denoise(request, lambda _step: None))
    assert all(isinstance(block.forward, partial) for block in whole.transformer.blocks)


def test_the_lean_profile_warms_up() -> None:
    """Tiles come out as whole decoding does: one frame, then four for each latent."""
    model: VideoModel = load(MODELS["tiny"], Settings())
    acceleration.tune(model, profiles.PROFILES["lean"].techniques)
    assert "tiled" in model.placement
    loader.warm_up(model)
