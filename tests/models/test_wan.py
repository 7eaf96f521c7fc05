"""The Wan family against the stock pipelines, on the embedded model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from PIL import Image

from onetake.models.catalogue import MODELS
from onetake.models.families.wan.model import WanModel, place
from onetake.models.loader import load
from onetake.models.spec import DenoiseRequest
from onetake.runtime.settings import Settings
from tests.support.frames import psnr

REQUEST = DenoiseRequest(
    prompt="a red bottle on a white background, camera slowly zooming in",
    negative_prompt="blue",
    width=128,
    height=96,
    num_frames=17,
    num_inference_steps=3,
    guidance_scale=3.5,
    flow_shift=3.0,
    seed=11,
)


def frames_of(model: WanModel, request: DenoiseRequest) -> np.ndarray:
    """All frames of one segment."""
    return np.concatenate(list(model.decode(model.denoise(request, lambda _step: None))))


def stock_frames(model: WanModel, pipeline_class: type, **extra: object) -> np.ndarray:
    """What diffusers' own pipeline makes of ``REQUEST`` with the same weights, as uint8."""
    components = dict(model.pipeline.components)
    components["scheduler"] = UniPCMultistepScheduler.from_config(
        components["scheduler"].config, flow_shift=REQUEST.flow_shift
    )
    pipeline = pipeline_class(**components, expand_timesteps=True)
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(
        prompt=REQUEST.prompt, negative_prompt=REQUEST.negative_prompt, width=REQUEST.width,
        height=REQUEST.height, num_frames=REQUEST.num_frames, guidance_scale=REQUEST.guidance_scale,
        num_inference_steps=REQUEST.num_inference_steps, max_sequence_length=64,
        generator=torch.Generator().manual_seed(REQUEST.seed), output_type="np", **extra,
    ).frames[0]  # fmt: skip
    return (frames * 255).round().astype(np.uint8)


def test_text_to_video_is_the_stock_s(tiny: WanModel) -> None:
    """The streamed frames equal those of WanPipeline."""
    assert psnr(frames_of(tiny, REQUEST), stock_frames(tiny, WanPipeline)) > 50


def test_image_to_video_is_the_stock_s(tiny: WanModel, picture: Image.Image) -> None:
    """A context of one frame equals WanImageToVideoPipeline's image."""
    small = picture.resize((REQUEST.width, REQUEST.height))
    request = DenoiseRequest(**{**vars(REQUEST), "context": np.array(small)[None]})
    assert (
        psnr(frames_of(tiny, request), stock_frames(tiny, WanImageToVideoPipeline, image=small))
        > 50
    )


def test_latents_are_decoded_one_at_a_time(tiny: WanModel) -> None:
    """One frame for the first latent, four for each after it."""
    latents = tiny.denoise(REQUEST, lambda _step: None)
    assert [len(batch) for batch in tiny.decode(latents)] == [1, 4, 4, 4, 4]


def test_a_leaner_placement_gives_nearly_the_same() -> None:
    """Tiles of the decoder are blended where they meet, and there is one leaner way on a CPU."""
    model = load(MODELS["tiny"], Settings())
    whole = frames_of(model, REQUEST)
    assert model.lean()
    assert model.placement == "cpu, tiled decode"
    assert psnr(frames_of(model, REQUEST), whole) > 29
    assert not model.lean()


@pytest.mark.parametrize("count", [1, 5, 9])
def test_the_context_is_kept(count: int, tiny: WanModel) -> None:
    """Context latents come out of denoising exactly as they went in."""
    context = frames_of(tiny, REQUEST)[:count]
    request = DenoiseRequest(**{**vars(REQUEST), "context": context, "seed": 5})
    latents = tiny.denoise(request, lambda _step: None)
    vae = tiny.pipeline.vae
    pixels = torch.from_numpy(context).permute(3, 0, 1, 2)[None].to(vae.dtype) / 255 * 2 - 1
    with torch.no_grad():
        encoded = vae.encode(pixels).latent_dist.mode().float()
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    pinned = (count - 1) // 4 + 1
    torch.testing.assert_close(latents[:, :, :pinned], (encoded - mean) / std, atol=0.1, rtol=0.05)
    assert latents.shape[2] == 5


def test_noise_on_the_context_is_faint_and_the_seed_s(tiny: WanModel) -> None:
    """The pinned latents differ by so many deviations, the same for the same seed."""
    context = frames_of(tiny, REQUEST)[:5]
    clean, noisy, again = (
        tiny.denoise(replace(REQUEST, context=context, context_noise=noise), lambda _step: None)
        for noise in (0.0, 0.05, 0.05)
    )
    assert float((noisy - clean)[:, :, :2].std()) == pytest.approx(0.05, rel=0.1)
    assert torch.equal(noisy, again)


def test_steps_are_reported_in_order(tiny: WanModel) -> None:
    """Each denoising step is told once."""
    steps: list[int] = []
    tiny.denoise(REQUEST, steps.append)
    assert steps == [0, 1, 2]


def test_a_step_can_stop_the_segment(tiny: WanModel) -> None:
    """What the step callback raises comes out at once, and the model is usable after it."""

    def stop(step: int) -> None:
        if step == 1:
            raise KeyboardInterrupt

    before = frames_of(tiny, REQUEST)
    with pytest.raises(KeyboardInterrupt):
        tiny.denoise(REQUEST, stop)
    assert np.array_equal(frames_of(tiny, REQUEST), before)


def test_a_decoder_left_half_way_is_clean(tiny: WanModel) -> None:
    """A stream that is dropped leaves nothing in the causal cache for the next."""
    latents = tiny.denoise(REQUEST, lambda _step: None)
    whole = np.concatenate(list(tiny.decode(latents)))
    half = tiny.decode(latents)
    next(half)
    next(half)
    half.close()
    assert np.array_equal(np.concatenate(list(tiny.decode(latents))), whole)


@pytest.fixture(scope="module")
def wan21(tiny: WanModel) -> WanModel:
    """A minute Wan 2.1: its own VAE (8x8x4, 16 channels), one timestep for all tokens."""
    vae = AutoencoderKLWan(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    transformer = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16,
        text_dim=128, freq_dim=32, ffn_dim=32, num_layers=2,
    )  # fmt: skip
    components = {**tiny.pipeline.components, "vae": vae, "transformer": transformer}
    pipeline = WanPipeline(**components, expand_timesteps=False)
    return place(MODELS["wan2.1-t2v-1.3b"], pipeline, "random")


def test_wan_2_1_runs_the_same_way(wan21: WanModel) -> None:
    """The older VAE, without patches, decodes latent by latent as the stock does it whole."""
    latents = wan21.denoise(REQUEST, lambda _step: None)
    assert latents.shape == (1, 16, 5, REQUEST.height // 8, REQUEST.width // 8)
    batches = list(wan21.decode(latents))
    assert [len(batch) for batch in batches] == [1, 4, 4, 4, 4]
    vae = wan21.pipeline.vae
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    with torch.no_grad():
        whole = vae.decode(latents * std + mean).sample[0].permute(1, 2, 3, 0)
    stock = ((whole.numpy() + 1) * 127.5).round().astype(np.uint8)
    assert psnr(np.concatenate(batches), stock) > 50
