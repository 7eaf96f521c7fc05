"""8-bit attention among a transformer's own tokens, by the kernels that are installed.

int8: queries and keys with a scale per block of tokens; probabilities and values in 16 bits
(SageAttention, Zhang et al. 2024, arXiv:2410.02367, whose authors' Triton kernels run it). e4m3:
queries, keys, values, probabilities and the result, with a scale per tensor (Shah et al. 2024,
arXiv:2407.08608; cuDNN's kernel). Both subtract the mean of the keys, which changes no softmax.
Attention to the text stays as it is (512 tokens against tens of thousands), and so do the first and
the last block.
"""

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from onetake.models.acceleration import Effect
from onetake.models.acceleration.compiled import refusal
from onetake.models.acceleration.linears import GUARDED, Kind, Suits
from onetake.models.quantisation import LARGEST, quantise
from onetake.models.spec import TunableModel

# Queries, keys and values (batch, tokens, heads, width) to the same shape and dtype.
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
_QUERY_BLOCK, _KEY_BLOCK = 128, 64  # tokens that share a scale, as SageAttention's kernels have it
_E4M3 = LARGEST[torch.float8_e4m3fn]
_ROWS = 1024  # queries at a time where it is computed in float32
_FEWEST = 4096  # tokens for SageAttention: with fewer, the filler in its last block would count
TRIED = 4170  # tokens that a kernel is tried with: no multiple of a block
_GRAPHS = 32  # of cuDNN, one for each number of tokens; as many as of compiled blocks
_TRUSTED = 0.1  # the largest relative error on Gaussian noise; measured: 0.01 int8, 0.06 e4m3

EFFECT = Effect()


def apply(model: TunableModel) -> str:
    """Change the inner blocks to the card's kernel, if it is installed and correct."""
    card = torch.cuda.is_available()
    uncompiled = card and refusal(model)
    if uncompiled:  # then quantising takes longer than it saves
        return f"as loaded: {uncompiled}"
    kind, reason = suits(torch.cuda.get_device_capability() if card else None)
    if kind is None:
        return f"as loaded: {reason}"
    attend = KERNELS[kind] if card else functools.partial(rounded, kind=kind)
    for transformer in model.transformers if card else ():
        problem = fault(attend, transformer.config.attention_head_dim)
        if problem:
            return f"as loaded: {problem}"
    for transformer in model.transformers:
        eight_bit_attention(transformer, attend)
    return f"{kind}: {reason}"


def suits(capability: tuple[int, int] | None) -> Suits:
    """What suits a card of this compute capability, or the CPU (None)."""
    if capability is None:
        return Suits("int8", "there is no GPU; here it shows what 8 bits do to the picture")
    name = f"compute capability {capability[0]}.{capability[1]}"
    if capability[0] in {9, 10}:
        return Suits("fp8", f"cuDNN's kernel, the fastest of {name}")
    if capability[0] in {8, 12}:
        return Suits("int8", f"SageAttention's kernel, which {name} runs")
    return Suits(None, f"no kernel is known for {name}")


def eight_bit_attention(transformer: Any, attend: Attend) -> None:
    """Change a Wan transformer in place: self-attention of its inner blocks."""
    for block in transformer.blocks[GUARDED:-GUARDED]:
        block.attn1.set_processor(Processor(attend))


class Processor:
    """diffusers' `WanAttnProcessor` for self-attention, with another attention function."""

    def __init__(self, attend: Attend) -> None:
        self._attend = attend

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        _encoder_hidden_states: None = None,
        _attention_mask: None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Tokens (batch, tokens, channels) to what attention adds to them."""
        x = hidden_states
        if attn.fused_projections:
            query, key, value = attn.to_qkv(x).chunk(3, dim=-1)
        else:
            query, key, value = attn.to_q(x), attn.to_k(x), attn.to_v(x)
        parts = (attn.norm_q(query), attn.norm_k(key), value)
        query, key, value = (part.view(*x.shape[:2], attn.heads, -1) for part in parts)
        if rotary_emb is not None:
            query, key = _rotate(query, *rotary_emb), _rotate(key, *rotary_emb)
        y = self._attend(query, key, value).flatten(2, 3)
        result: Tensor = attn.to_out[1](attn.to_out[0](y))
        return result


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels by its token's angle; ``cos`` and ``sin`` hold each one twice."""
    first, second = x.view(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = cos[..., 0::2], sin[..., 1::2]
    turned = torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.flatten(-2).type_as(x)


def fault(attend: Attend, width: int, device: str = "cuda") -> str:
    """Try ``attend`` on noise, with heads of this width; returns what is wrong with it, or ""."""
    noise = torch.Generator(device).manual_seed(0)
    shape = (1, TRIED, 2, width)
    query, key, value = (
        torch.randn(shape, generator=noise, device=device, dtype=torch.bfloat16) for _ in range(3)
    )
    try:
        output = attend(query, key, value).float()
    except ImportError as error:
        return f"{error.name or 'its package'} cannot be imported"
    except Exception as error:  # noqa: BLE001 - kernels raise errors of any kind
        return f"its kernel failed with {type(error).__name__}"
    expected = rounded(query, key, value, kind=None).float()
    distance = float((output - expected).norm() / expected.norm())
    # Compared this way round, NaN is a fault too.
    return "" if distance < _TRUSTED else f"its kernel is {distance:.0%} off"


def rounded(query: Tensor, key: Tensor, value: Tensor, *, kind: Kind | None) -> Tensor:
    """Attention in float32, with numbers rounded nearly as the kernels of ``kind`` do it."""
    dtype = query.dtype
    query, key, value = (part.transpose(1, 2).float() for part in (query, key, value))
    query = query * query.shape[-1] ** -0.5
    if kind == "int8":
        query, key = _in_blocks(query, _QUERY_BLOCK), _in_blocks(_centred(key, 2), _KEY_BLOCK)
        value = value.half().float()
    if kind == "fp8":
        query, key, value = map(_e4m3, (query, _centred(key, 2), value))
    parts = []
    for rows in torch.split(query, _ROWS, dim=2):
        scores = rows @ key.transpose(2, 3)
        shares = (scores - scores.amax(dim=3, keepdim=True)).exp()
        total = shares.sum(dim=3, keepdim=True)
        if kind == "int8":
            shares = shares.half().float()
        if kind == "fp8":
            shares = (shares * _E4M3).to(torch.float8_e4m3fn).float() / _E4M3
        parts.append(shares @ value / total)
    output = torch.cat(parts, dim=2)
    if kind == "fp8":
        scale = value.abs().amax() / _E4M3  # no result is larger than the largest value
        output = (output / scale).to(torch.float8_e4m3fn).float() * scale
    return output.transpose(1, 2).to(dtype)


def _centred(key: Tensor, dim: int) -> Tensor:
    """Keys minus their mean over the tokens: smaller numbers, and the same softmax."""
    return key - key.mean(dim=dim, keepdim=True)


def _in_blocks(x: Tensor, block: int) -> Tensor:
    """(..., tokens, width) rounded to int8 levels, each block of tokens by its largest value."""
    tokens = x.shape[-2]
    padded = functional.pad(x, (0, 0, 0, -tokens % block))
    blocks = padded.view(*x.shape[:-2], -1, block, x.shape[-1])
    levels, scale = quantise(blocks, torch.int8, (-2, -1))
    return (levels.float() * scale).view_as(padded)[..., :tokens, :]


def _e4m3(x: Tensor) -> Tensor:
    levels, scale = _to_e4m3(x)
    return levels.float() * scale


def _to_e4m3(x: Tensor) -> tuple[Tensor, Tensor]:
    """A tensor's levels and its one scale, float32 (1, 1, 1, 1)."""
    return quantise(x, torch.float8_e4m3fn, (0, 1, 2, 3))


def _by_sage(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    tokens = key.shape[1]
    if tokens < _FEWEST:
        return own(query, key, value)
    # Its last block counts missing keys as keys of score 0, the mean score, and of value 0. Filler
    # has that score and the mean value instead: it is at most `filler / tokens` of the result.
    filler = -tokens % _KEY_BLOCK
    key = functional.pad(_centred(key, 1), (0, 0, 0, 0, 0, filler))
    mean = value.mean(dim=1, keepdim=True).expand(-1, filler, -1, -1)
    output: Tensor = _sage(query, key, torch.cat([value, mean], dim=1))
    return output


def own(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Torch's own attention."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)


@torch.library.custom_op("onetake::int8_attention", mutates_args=())
def _sage(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    sageattn = import_module("sageattention").sageattn
    # With smooth_k it would change the keys in place, which torch's graphs do not allow.
    output: Tensor = sageattn(query, key, value, tensor_layout="NHD", smooth_k=False)
    return output


@_sage.register_fake
def _(query: Tensor, _key: Tensor, _value: Tensor) -> Tensor:
    return torch.empty_like(query)


def _by_cudnn(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    quantised = [_to_e4m3(part) for part in (query, _centred(key, 1), value)]
    levels, scales = zip(*quantised, strict=True)
    output: Tensor = _cudnn(*levels, *scales)
    return output


@torch.library.custom_op("onetake::e4m3_attention", mutates_args=())
def _cudnn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_scale: Tensor,
    key_scale: Tensor,
    value_scale: Tensor,
) -> Tensor:
    batch, tokens, heads, width = query.shape
    graph = _graph(batch, tokens, heads, width, query.device.index)
    output = torch.empty(query.shape, dtype=torch.float8_e4m3fn, device=query.device)
    levels = [part.contiguous() for part in (query, key, value)]
    graph.run([*levels, query_scale, key_scale, value_scale, 1 / value_scale], output)
    return (output.float() * value_scale).bfloat16()


@_cudnn.register_fake
def _(query: Tensor, *_others: Tensor) -> Tensor:
    return torch.empty(query.shape, dtype=torch.bfloat16, device=query.device)


KERNELS: dict[Kind, Attend] = {"int8": _by_sage, "fp8": _by_cudnn}


class _Graph(NamedTuple):
    """A cuDNN graph, with the tensors that stay the same, by their numbers in it."""

    graph: Any
    handle: Any
    device: torch.device
    constants: dict[int, Tensor]

    def run(self, inputs: list[Tensor], output: Tensor) -> None:
        """Compute ``output`` from the tensors of `_INPUTS`, on torch's own stream."""
        stream = torch.cuda.current_stream(self.device).cuda_stream
        import_module("cudnn").set_stream(handle=self.handle, stream=stream)
        tensors = {**dict(enumerate(inputs)), **self.constants, _OUTPUT: output}
        size = self.graph.get_workspace_size()
        workspace = torch.empty(size, dtype=torch.uint8, device=self.device)
        self.graph.execute(tensors, workspace, handle=self.handle)


_INPUTS = ("q", "k", "v", "descale_q", "descale_k", "descale_v", "scale_o")
_CONSTANTS = {"scale_s": _E4M3, "descale_s": 1 / _E4M3}  # of probabilities
_OUTPUT, _LARGEST_SHARE, _LARGEST_OUTPUT = 9, 10, 11


@functools.cache
def _handle(_card: int) -> Any:
    return import_module("cudnn").create_handle()


@functools.lru_cache(_GRAPHS)
def _graph(batch: int, tokens: int, heads: int, width: int, card: int) -> _Graph:
    """cuDNN's plan for tokens of this shape, heads within a token."""
    cudnn = import_module("cudnn")
    handle, real = _handle(card), cudnn.data_type
    graph = cudnn.pygraph(
        io_data_type=real.FP8_E4M3, intermediate_data_type=real.FLOAT,
        compute_data_type=real.FLOAT, handle=handle,
    )  # fmt: skip
    shape, stride = [batch, heads, tokens, width], [tokens * heads * width, width, heads * width, 1]
    one = [1, 1, 1, 1]
    inputs = {}
    for uid, name in enumerate((*_INPUTS, *_CONSTANTS)):
        whole = uid < 3  # noqa: PLR2004 - queries, keys and values come first
        inputs[name] = graph.tensor(
            uid=uid, dim=shape if whole else one, stride=stride if whole else one,
            data_type=real.FP8_E4M3 if whole else real.FLOAT,
        )  # fmt: skip
    output, _stats, largest_share, largest_output = graph.sdpa_fp8(
        **inputs, is_inference=True, attn_scale=width**-0.5, use_causal_mask=False
    )
    output.set_uid(_OUTPUT).set_output(True).set_dim(shape).set_stride(stride)
    output.set_data_type(real.FP8_E4M3)
    device = torch.device("cuda", card)
    constants = {
        len(_INPUTS) + i: torch.full(one, value, device=device)
        for i, value in enumerate(_CONSTANTS.values())
    }
    # Two figures for training, which it always writes.
    for uid, tensor in ((_LARGEST_SHARE, largest_share), (_LARGEST_OUTPUT, largest_output)):
        tensor.set_uid(uid).set_output(True).set_dim(one).set_stride(one)
        tensor.set_data_type(real.FLOAT)
        constants[uid] = torch.empty(one, device=device)
    graph.build([cudnn.heur_mode.A])
    return _Graph(graph, handle, device, constants)
