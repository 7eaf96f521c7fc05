"""8-bit arithmetic for the transformer's linear layers, which are most of its work.

Weights have a scale per output row, made once; activations a scale per token, made at each run
(LLM.int8(), Dettmers et al. 2022, arXiv:2208.07339, without its outlier path; the dynamic
per-token setting of SmoothQuant, Xiao et al. 2022, arXiv:2211.10438, without its smoothing). The
products are torch's own kernels. The numbers are int8 or e4m3 (Micikevicius et al. 2022,
arXiv:2209.05433), whichever the card multiplies faster. The first and the last block stay as they
are: that is a fifteenth of the work with 30 blocks, and 2 dB in the embedded model's frames. Layers
outside of the blocks stay too.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from onetake.models.acceleration import Effect
from onetake.models.acceleration.compiled import can_compile
from onetake.models.quantisation import quantise
from onetake.models.spec import TunableModel

Kind = Literal["int8", "fp8"]
_DTYPES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
GUARDED = 1  # blocks at each end that stay as they are
_ROWS = 17  # the fewest that the integer kernel takes on a card
_AMPERE, _HOPPER = (8, 0), (9, 0)  # compute capabilities

EFFECT = Effect(eight_bit=True)


def apply(model: TunableModel) -> str:
    """Change the transformers to what suits the card, if their weights are on it."""
    card = torch.cuda.is_available()
    kind, reason = suits(torch.cuda.get_device_capability() if card else None)
    if kind is None:
        return f"as loaded: {reason}"
    weights = (weight for part in model.transformers for weight in part.blocks.parameters())
    if card and not all(weight.is_cuda for weight in weights):
        return "as loaded: its weights go through the card"
    if card and not can_compile():  # uncompiled, quantising takes longer than it saves
        return "as loaded: Triton finds no C compiler"
    for transformer in model.transformers:
        eight_bit_linears(transformer, kind)
    return f"{kind}: {reason}"


class Suits(NamedTuple):
    """The kind of 8 bits for a card, None for neither, and why."""

    kind: Kind | None
    reason: str


def suits(capability: tuple[int, int] | None) -> Suits:
    """What suits a card of this compute capability, or the CPU (None)."""
    if capability is None:
        return Suits("int8", "there is no GPU; here it shows what 8 bits do to the picture")
    name = f"compute capability {capability[0]}.{capability[1]}"
    if capability < _AMPERE:
        return Suits(None, f"{name} is older than 8.0")
    if capability < _HOPPER:
        # An RTX 4090 multiplies int8 at four times the rate of bf16, e4m3 with full sums at twice.
        return Suits("int8", f"the fastest of {name}")
    return Suits("fp8", f"twice the rate of bf16 on {name}")


class EightBitLinear(nn.Module):
    """A linear layer in 8 bits: weight (out, in), scale (out,) in float32, bias (out,) or None."""

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale.float(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out) in the dtype of ``x``."""
        rows, scale = quantise(x.flatten(0, -2), self.weight.dtype, 1)
        multiply = _integers if self.weight.dtype == torch.int8 else _floats
        return multiply(rows, scale, self).to(x.dtype).reshape(*x.shape[:-1], -1)


def eight_bit_linears(transformer: Any, kind: Kind) -> None:
    """Change a Wan transformer in place: every linear layer of its inner blocks.

    Weights are freed one by one as they are replaced; those stored as int8 keep their levels, if
    that is the kind. The three projections of self-attention become one product.
    """
    for block in transformer.blocks[GUARDED:-GUARDED]:
        for parent in list(block.modules()):
            for name, layer in list(parent.named_children()):
                if _is_linear(layer):
                    setattr(parent, name, _convert(layer, kind))
        _join_projections(block.attn1)


def _is_linear(layer: Any) -> bool:
    """Whether it is `nn.Linear`, or a family's stored 8-bit form, which is not imported here."""
    weight = getattr(layer, "weight", None)
    stored = hasattr(layer, "scale") and weight is not None and weight.dtype == torch.int8
    return type(layer) is nn.Linear or stored


def _convert(layer: Any, kind: Kind) -> EightBitLinear:
    weight, dtype = layer.weight.detach(), _DTYPES[kind]
    bias = None if layer.bias is None else layer.bias.detach()
    if weight.dtype == dtype:
        return EightBitLinear(weight, layer.scale.detach(), bias)
    if weight.dtype == torch.int8:
        weight = weight.float() * layer.scale.detach().float()[:, None]
    levels, scale = quantise(weight, dtype, 1)
    return EightBitLinear(levels, scale[:, 0], bias)


def _join_projections(attention: Any) -> None:
    """Join query, key and value in `to_qkv`, where diffusers looks for them together."""
    parts = [attention.to_q, attention.to_k, attention.to_v]
    joined = (torch.cat([getattr(p, n) for p in parts]) for n in ("weight", "scale", "bias"))
    attention.to_qkv = EightBitLinear(*joined)
    attention.fused_projections = True
    del attention.to_q, attention.to_k, attention.to_v


def _integers(rows: Tensor, scale: Tensor, layer: EightBitLinear) -> Tensor:
    """Exact sums in int32, scaled in float32."""
    count = rows.shape[0]
    if count < _ROWS:
        rows = functional.pad(rows, (0, 0, 0, _ROWS - count))
    sums = torch._int_mm(rows, layer.weight.t())[:count]  # noqa: SLF001 - there is no public name
    y = sums * scale * layer.scale
    return y if layer.bias is None else y + layer.bias


def _floats(rows: Tensor, scale: Tensor, layer: EightBitLinear) -> Tensor:
    """Sums in the tensor cores' own width, scaled in the kernel's last step."""
    return torch._scaled_mm(  # noqa: SLF001 - what torch.compile takes from 2.11 to 2.13
        rows,
        layer.weight.t(),
        scale_a=scale,
        scale_b=layer.scale[None],
        bias=layer.bias,
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )
