"""Our decoder gives the frames that the stock one gives, of both kinds of Wan's VAE."""

import weakref
from collections.abc import Callable

import pytest
import torch
from diffusers import AutoencoderKLWan

from onetake.models.families.wan.decoder import StreamingDecoder
from onetake.models.weights.places import embedded_weights


def embedded() -> AutoencoderKLWan:
    return AutoencoderKLWan.from_pretrained(embedded_weights() / "vae").eval()


def random_vae(**config: object) -> AutoencoderKLWan:
    torch.manual_seed(0)
    vae = AutoencoderKLWan(base_dim=8, z_dim=16, num_res_blocks=1, **config).eval()
    for name, parameter in vae.named_parameters():
        if name.endswith("gamma"):  # ones as they are made, which would hide a forgotten one
            torch.nn.init.normal_(parameter, 1, 0.3)
    return vae


def wan21() -> AutoencoderKLWan:
    return random_vae()


def wan22() -> AutoencoderKLWan:
    """The published one's shape, whose blocks narrow, which the embedded one's do not all."""
    return random_vae(
        decoder_base_dim=16, is_residual=True, in_channels=12, out_channels=12, patch_size=2
    )


def latents_for(vae: AutoencoderKLWan, *size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, vae.config.z_dim, *size, generator=generator).to(vae.dtype)


def stock(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return vae.decode(latents).sample


def streamed(decoder: StreamingDecoder, latents: torch.Tensor) -> torch.Tensor:
    return torch.cat(list(decoder.frames(latents)), dim=2).clamp(-1, 1)


def decibels(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return -10 * (((actual.float() - expected) / 2) ** 2).mean().log10().item()


@pytest.mark.parametrize("build", [embedded, wan21, wan22])
@pytest.mark.parametrize("size", [(1, 4, 3), (4, 3, 5)])
def test_frames_are_the_stock_ones(
    build: Callable[[], AutoencoderKLWan], size: tuple[int, ...]
) -> None:
    """In float32 every frame equals the stock decoder's, whether there are one or more latents."""
    vae = build()
    latents = latents_for(vae, *size)
    expected = stock(vae, latents)
    actual = streamed(StreamingDecoder(vae), latents)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", [embedded, wan21, wan22])
def test_half_precision_loses_no_more_than_the_stock(build: Callable[[], AutoencoderKLWan]) -> None:
    """In bf16 the distance to float32 frames is the stock decoder's, within 1.5 dB."""
    vae = build()
    latents = latents_for(vae, 3, 4, 4)
    exact = stock(vae, latents)
    half = build().bfloat16()
    theirs = decibels(stock(half, latents.bfloat16()), exact)
    ours = decibels(streamed(StreamingDecoder(half), latents.bfloat16()), exact)
    assert ours > theirs - 1.5


def test_weights_are_shared() -> None:
    """The stock methods work with the weights as the decoder lays them out, and as exactly."""
    vae = wan22()
    latents = latents_for(vae, 2, 3, 3)
    pixels = torch.rand(1, 3, 5, 48, 48)
    with torch.no_grad():
        before = stock(vae, latents), vae.encode(pixels).latent_dist.mode()
        StreamingDecoder(vae)
        after = stock(vae, latents), vae.encode(pixels).latent_dist.mode()
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def test_the_cache_goes_with_the_generator() -> None:
    """A take that is cancelled between two latents leaves nothing of the cache in memory."""
    vae = wan22()
    frames = StreamingDecoder(vae).frames(latents_for(vae, 3, 3, 3))
    for _ in range(2):
        batch = next(frames)
        assert batch.untyped_storage().nbytes() == batch.nbytes
    past = list(frames.gi_frame.f_locals["past"].values())
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in past)
    held = [weakref.ref(tensor) for tensor in past]
    del past
    frames.close()
    assert len(held) == 24  # convolutions over time
    assert not any(tensor() is not None for tensor in held)


def test_one_graph_serves_every_size() -> None:
    """Compiled, frames stay the same, and a second size or length needs nothing new."""
    torch._dynamo.reset()
    vae, graphs = wan22(), []
    decoder, compiled = StreamingDecoder(vae), StreamingDecoder(vae)

    def counted(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    compiled.compile(fullgraph=True, backend=counted)
    for size in [(3, 3, 5), (2, 4, 4)]:
        latents = latents_for(vae, *size)
        torch.testing.assert_close(
            streamed(compiled, latents), streamed(decoder, latents), rtol=0, atol=1e-6
        )
        assert len(graphs) == 9  # for each of three widths: two of windows, one of sums


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_compiled_frames_on_a_card_are_the_stock_ones() -> None:
    """What Triton makes of it is as close to float32 frames as the stock decoder in bf16."""
    torch._dynamo.reset()
    vae = embedded()
    latents = latents_for(vae, 5, 8, 12)
    exact = stock(vae, latents)
    half = embedded().to("cuda", torch.bfloat16)
    theirs = decibels(stock(half, latents.to("cuda", torch.bfloat16)).cpu(), exact)
    decoder = StreamingDecoder(half)
    decoder.compile(fullgraph=True)
    ours = decibels(streamed(decoder, latents.to("cuda", torch.bfloat16)).cpu(), exact)
    assert ours > theirs - 1.5
