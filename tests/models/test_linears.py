"""8-bit arithmetic: hardly another picture, half the bytes, and one graph a block."""

import copy
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from onetake.models.acceleration import linears
from onetake.models.acceleration.linears import EightBitLinear, eight_bit_linears, suits
from onetake.models.catalogue import MODELS
from onetake.models.families.wan import int8
from onetake.models.families.wan.loading import load_pipeline
from onetake.models.loader import load
from onetake.models.spec import VideoModel
from onetake.models.weights.places import embedded_weights
from onetake.runtime.settings import Settings
from tests.support.frames import frames, psnr

KINDS = ("int8", "fp8")


@pytest.fixture(scope="module")
def loaded() -> Any:
    """The embedded model's transformer."""
    return load_pipeline(embedded_weights(), torch.device("cpu")).transformer


@pytest.fixture
def changed(loaded: Any) -> Any:
    """A copy of it to change."""
    return copy.deepcopy(loaded)


def answer(transformer: Any) -> torch.Tensor:
    """What a transformer makes of noise and a text of nine tokens, fewer than the kernel takes."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(1, 48, 3, 8, 10, generator=generator).bfloat16()
    text = torch.randn(1, 9, 128, generator=generator).bfloat16()
    with torch.no_grad():
        output: torch.Tensor = transformer(noise, torch.tensor([500.0]), text, return_dict=False)[0]
    return output


@pytest.mark.parametrize(("kind", "floor"), [("int8", 31), ("fp8", 25)])
def test_it_makes_nearly_the_same_frames(kind: linears.Kind, floor: int, tiny: VideoModel) -> None:
    """Int8 keeps 37 dB of the bf16 frames and e4m3 30 dB, where another seed's share 15 dB."""
    changed: VideoModel = load(MODELS["tiny"], Settings())
    eight_bit_linears(changed.pipeline.transformer, kind)
    assert psnr(frames(changed), frames(tiny)) > floor


def test_the_ends_are_guarded(changed: Any) -> None:
    """All linear layers of the inner blocks are replaced, and no other."""
    eight_bit_linears(changed, "int8")
    layers = dict(changed.named_modules())
    replaced = {name for name, layer in layers.items() if isinstance(layer, EightBitLinear)}
    kept = {name for name, layer in layers.items() if type(layer) is nn.Linear}
    inner = tuple(f"blocks.{index}." for index in range(1, 6))
    assert len(replaced) == 8 * len(inner)  # query, key and value of self-attention are one
    assert all(name.startswith(inner) for name in replaced)
    assert not any(name.startswith(inner) for name in kept)


@pytest.mark.parametrize("kind", KINDS)
def test_the_old_weights_are_freed(kind: linears.Kind, changed: Any) -> None:
    """The inner blocks take little over half the bytes, and no weight of theirs is left."""
    inner = changed.blocks[1:-1]
    before = sum(weight.nbytes for weight in inner.parameters())
    old = [weakref.ref(layer.weight) for layer in inner.modules() if type(layer) is nn.Linear]
    eight_bit_linears(changed, kind)
    assert sum(weight.nbytes for weight in inner.parameters()) < 0.53 * before
    assert [reference for reference in old if reference() is not None] == []


def test_stored_levels_are_used_as_they_are(changed: Any) -> None:
    """As int8 the 8-bit form's rows are multiplied unchanged; e4m3 is near what they stand for."""
    int8.convert(changed)
    floats = copy.deepcopy(changed)
    stored = {name: value.clone() for name, value in changed.blocks[3].state_dict().items()}
    eight_bit_linears(changed, "int8")
    attention, ffn = changed.blocks[3].attn1, changed.blocks[3].ffn
    rows = torch.cat([stored[f"attn1.to_{name}.weight"] for name in "qkv"])
    assert torch.equal(attention.to_qkv.weight, rows)
    assert torch.equal(ffn.net[2].weight, stored["ffn.net.2.weight"])
    assert torch.equal(ffn.net[2].scale, stored["ffn.net.2.scale"].float())
    eight_bit_linears(floats, "fp8")
    layer = floats.blocks[3].ffn.net[2]
    expected = stored["ffn.net.2.weight"].float() * stored["ffn.net.2.scale"].float()[:, None]
    assert (layer.weight.float() * layer.scale[:, None] - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_compile_whole(kind: linears.Kind, changed: Any) -> None:
    """A block is one graph without breaks, which answers as the uncompiled one does."""
    eight_bit_linears(changed, kind)
    expected = answer(changed)
    for block in changed.blocks:
        block.compile(fullgraph=True, backend="eager")
    assert torch.equal(answer(changed), expected)
    torch.compiler.reset()


@pytest.mark.parametrize(("kind", "error"), [("int8", 0.015), ("fp8", 0.05)])
@pytest.mark.parametrize("rows", [1, 16, 17, 45])
def test_any_number_of_rows(kind: linears.Kind, error: float, rows: int) -> None:
    """A layer's answer is the exact one but for the rounding, each row scaled by itself."""
    torch.manual_seed(rows)
    exact = nn.Linear(64, 48, dtype=torch.bfloat16)
    x = torch.randn(1, rows, 64).bfloat16() * torch.logspace(-3, 3, rows)[:, None].bfloat16()
    exact.bias.data.zero_()
    actual, expected = linears._convert(exact, kind)(x), exact(x)
    off = (actual - expected).float().norm(dim=-1) / expected.float().norm(dim=-1)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    assert off.mean() < error


@pytest.mark.parametrize(
    ("capability", "kind"),
    [(None, "int8"), ((7, 5), None), ((8, 0), "int8"), ((8, 9), "int8"), ((9, 0), "fp8"),
     ((10, 0), "fp8"), ((12, 0), "fp8")],
)  # fmt: skip
def test_what_suits_a_card(capability: tuple[int, int] | None, kind: str | None) -> None:
    """Ampere and Ada multiply int8, Hopper and later e4m3, older cards neither, with a reason."""
    chosen, reason = suits(capability)
    assert chosen == kind
    assert reason
    assert capability is None or f"{capability[0]}.{capability[1]}" in reason


def test_the_technique_says_what_it_did() -> None:
    """Without a GPU the layers are int8, and the answer says so."""
    model: VideoModel = load(MODELS["tiny"], Settings())
    said = linears.apply(model)
    assert said.startswith("int8: there is no GPU")
    assert isinstance(model.pipeline.transformer.blocks[3].attn1.to_qkv, EightBitLinear)
