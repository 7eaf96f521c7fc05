"""One embedding for each distinct timestep, instead of one for each token.

The 5B pipeline passes its transformer a timestep for each token, although there are two at most: 0
for pinned latents, and the step's own. Stock diffusers embeds all (27,280 in the default job), and
every block then adds up six modulations a token in float32, 2 GB of them. Here each is computed
once and chosen by a mask. The frames are the same, bit for bit.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from onetake.models.acceleration import Effect
from onetake.models.spec import TunableModel

_Embedded = tuple[Tensor, Tensor, Tensor, Tensor | None]

EFFECT = Effect()


def apply(model: TunableModel) -> str:
    """Change the model's transformers."""
    for transformer in model.transformers:
        deduplicate_timesteps(transformer)
    return "embedded once each"


def deduplicate_timesteps(transformer: Any) -> None:
    """Change the embedder and the blocks of a `WanTransformer3DModel` in place."""
    pinned = _Pinned()
    transformer.condition_embedder.forward = MethodType(
        _embed_condition(pinned), transformer.condition_embedder
    )
    for block in transformer.blocks:
        block.forward = MethodType(_run_block(pinned, type(block).forward), block)


class _Pinned:
    """Which tokens are pinned to conditioning frames: bool (1, tokens, 1), None if none is."""

    mask: Tensor | None = None


def _embed_condition(pinned: _Pinned) -> Any:
    """The embedder's forward: (B, 1 or tokens, D), (B, 1 or 2, 6 D), text, image."""

    def forward(
        embedder: Any,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_image: Tensor | None = None,
        timestep_seq_len: int | None = None,
    ) -> _Embedded:
        pinned.mask = None
        stock: Callable[..., _Embedded] = type(embedder).forward
        image = encoder_hidden_states_image
        if timestep_seq_len is None:
            return stock(embedder, timestep, encoder_hidden_states, image)
        steps = timestep.view(-1, timestep_seq_len)
        # All clips of a batch belong to one job, so the same latents are pinned.
        is_pinned = steps[0] == 0
        own = steps.amax(dim=1, keepdim=True)
        if not is_pinned.any():
            return stock(embedder, own.flatten(), encoder_hidden_states, image, 1)
        both = torch.cat([own, torch.zeros_like(own)], dim=1)
        temb, projected, text, image = stock(
            embedder, both.flatten(), encoder_hidden_states, image, 2
        )
        pinned.mask = is_pinned[None, :, None]
        return torch.where(pinned.mask, temb[:, 1:], temb[:, :1]), projected, text, image

    return forward


def _run_block(pinned: _Pinned, stock: Callable[..., Tensor]) -> Any:
    """A `WanTransformerBlock`'s forward with modulations (B, 2, 6, D): own, and of timestep 0."""

    def forward(
        block: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
    ) -> Tensor:
        mask = pinned.mask
        if mask is None:
            return stock(block, hidden_states, encoder_hidden_states, temb, rotary_emb)
        modulations = (block.scale_shift_table.unsqueeze(0) + temb.float()).unbind(dim=2)
        shift, scale, gate, c_shift, c_scale, c_gate = (
            torch.where(mask, m[:, 1:], m[:, :1]) for m in modulations
        )
        x = hidden_states
        h = (block.norm1(x.float()) * (1 + scale) + shift).type_as(x)
        x = (x.float() + block.attn1(h, None, None, rotary_emb) * gate).type_as(x)
        x = x + block.attn2(block.norm2(x.float()).type_as(x), encoder_hidden_states, None, None)
        h = (block.norm3(x.float()) * (1 + c_scale) + c_shift).type_as(x)
        result: Tensor = (x.float() + block.ffn(h).float() * c_gate).type_as(x)
        return result

    return forward
