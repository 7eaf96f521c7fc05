"""8-bit attention: near the exact one, where a kernel is there and right, and nowhere else."""

import sys
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from onetake.models.acceleration import attention
from onetake.models.acceleration.attention import (
    Processor,
    eight_bit_attention,
    fault,
    rounded,
    suits,
)
from onetake.models.families.wan.loading import load_pipeline
from onetake.models.weights.places import embedded_weights


@pytest.fixture
def transformer() -> Any:
    """The embedded model's transformer."""
    return load_pipeline(embedded_weights(), torch.device("cpu")).transformer


def noise(tokens: int = 300) -> list[Tensor]:
    """Queries, keys and values; tokens are no multiple of a block."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, tokens, 2, 32, generator=generator).bfloat16() for _ in range(3)]


def answer(transformer: Any) -> Tensor:
    """What a transformer makes of noise in which one latent is given."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 48, 3, 8, 10, generator=generator).bfloat16()
    text = torch.randn(1, 9, 128, generator=generator).bfloat16()
    with torch.no_grad():
        output: Tensor = transformer(latents, torch.tensor([500.0]), text, return_dict=False)[0]
    return output


def exactly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as torch computes it, heads within a token."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def sageattn(
    query: Tensor, key: Tensor, value: Tensor, *, tensor_layout: str, smooth_k: bool
) -> Tensor:
    """SageAttention 1.0.6 on a card, but for its rounding: what it takes, and its last block."""
    assert (tensor_layout, smooth_k) == ("NHD", False)
    filler = -key.shape[1] % 64  # its keys count, of score 0
    return exactly(query, *(functional.pad(x, (0, 0, 0, 0, 0, filler)) for x in (key, value)))


@pytest.mark.parametrize(("kind", "most"), [(None, 0.004), ("int8", 0.02), ("fp8", 0.07)])
def test_rounding_costs_little(kind: Any, most: float) -> None:
    """On noise int8 is 1% off torch's own attention and e4m3 5%; without rounding bf16's part."""
    actual, expected = rounded(*noise(), kind=kind).float(), exactly(*noise()).float()
    distance = float((actual - expected).norm() / expected.norm())
    assert distance < most
    assert kind is None or distance > most / 10


def test_the_processor_is_the_stock_one(transformer: Any) -> None:
    """With attention as torch has it, blocks answer as with diffusers' own processor."""
    expected = answer(transformer)
    for block in transformer.blocks:
        block.attn1.set_processor(Processor(exactly))
    torch.testing.assert_close(answer(transformer), expected, atol=0.03, rtol=0.03)


def test_the_ends_are_guarded(transformer: Any) -> None:
    """Self-attention of the inner blocks is changed, the text's and that of both ends is not."""
    eight_bit_attention(transformer, exactly)
    own = [isinstance(block.attn1.processor, Processor) for block in transformer.blocks]
    text = [isinstance(block.attn2.processor, Processor) for block in transformer.blocks]
    assert own == [False, *[True] * (len(own) - 2), False]
    assert not any(text)


def test_each_card_has_its_kind() -> None:
    """Ada, Ampere and consumer Blackwell take int8, Hopper and B200 e4m3, others neither."""
    cards = [(8, 9), (8, 6), (12, 0), (9, 0), (10, 0), (7, 5), (11, 0)]
    assert [suits(card).kind for card in cards] == [*["int8"] * 3, *["fp8"] * 2, None, None]


def test_a_kernel_that_cannot_be_trusted_is_named() -> None:
    """Missing, failing, wrong or no numbers at all: each is told, and a right one passes."""

    def missing(*_given: Tensor) -> Tensor:
        raise ModuleNotFoundError(name="cudnn")

    def failing(*_given: Tensor) -> Tensor:
        raise RuntimeError("/a/path of somebody's")

    assert fault(missing, 32, "cpu") == "cudnn cannot be imported"
    assert fault(failing, 32, "cpu") == "its kernel failed with RuntimeError"
    assert fault(lambda query, key, value: exactly(query, value, key), 32, "cpu").endswith("% off")
    assert fault(lambda query, *_: query * torch.nan, 32, "cpu") == "its kernel is nan% off"
    assert fault(exactly, 32, "cpu") == ""


@pytest.fixture
def sage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that can be imported where there is no card."""
    package = ModuleType("sageattention")
    monkeypatch.setattr(package, "sageattn", sageattn, raising=False)
    monkeypatch.setitem(sys.modules, "sageattention", package)


@pytest.mark.usefixtures("sage")
def test_what_fills_a_block_up_hardly_counts() -> None:
    """SageAttention takes keys that are not there for some of score 0; ours have a mean value."""
    generator = torch.Generator().manual_seed(1)
    query, key, value = (
        torch.randn(1, attention.TRIED, 2, 32, generator=generator).bfloat16() for _ in range(3)
    )
    value = value + 1  # else leaving them out of the sum would not show
    actual, expected = attention.KERNELS["int8"](query, key, value), exactly(query, key, value)
    assert float((actual - expected).float().norm() / expected.float().norm()) < 0.005


@pytest.mark.parametrize("problem", ["", "its kernel is 30% off"])
def test_a_card_gets_what_its_kernel_is_worth(
    problem: str, transformer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are changed where the trial with their own width went well, and else left."""
    widths: list[int] = []

    def trial(_attend: attention.Attend, width: int) -> str:
        widths.append(width)
        return problem

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    monkeypatch.setattr(attention, "refusal", lambda _model: "")
    monkeypatch.setattr(attention, "fault", trial)
    report = attention.apply(SimpleNamespace(transformers=[transformer]))  # type: ignore[arg-type]
    assert report.startswith(f"as loaded: {problem}" if problem else "int8: ")
    assert widths == [32]
    changed = [isinstance(block.attn1.processor, Processor) for block in transformer.blocks]
    assert any(changed) is not bool(problem)


@pytest.mark.usefixtures("sage")
def test_blocks_are_traced_whole_around_the_kernels(
    transformer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kernels are one operation each in a compiled block, which gives them what they take."""

    class Graph:
        def run(self, inputs: list[Tensor], output: Tensor) -> None:
            levels, scales, one_over = inputs[:3], inputs[3:6], inputs[6]
            parts = [x.float() * s for x, s in zip(levels, scales, strict=True)]
            output.copy_(exactly(*parts) * one_over)

    monkeypatch.setattr(attention, "_FEWEST", 0)
    monkeypatch.setattr(attention, "_graph", lambda *_shape: Graph())
    for kind, kernel in attention.KERNELS.items():
        eight_bit_attention(transformer, partial(rounded, kind=kind))
        expected = answer(transformer)
        eight_bit_attention(transformer, kernel)
        torch._dynamo.reset()
        for block in transformer.blocks:
            block.compile(fullgraph=True, backend="eager")
        actual = answer(transformer)
        distance = float((actual - expected).norm() / expected.norm())
        assert distance < 0.1, kind
        assert not torch.equal(actual, expected)
