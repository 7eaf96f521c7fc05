"""The stock modules' arithmetic, arranged for training speed. Same weights, same results.

Stock diffusers runs the VAE latent by latent through a cache, and computes six modulations for
every token of the transformer although a clip has only two timesteps (its own, and 0 for clean
latents). Here a clip passes the VAE whole, a token picks one of two modulations inside a fused
kernel, and the text encoder has no host synchronisation, so that whole steps fit in a CUDA graph.

    python -m training.fast      # compares all three with the stock forward passes
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanResample,
    WanRMS_norm,
    patchify,
    unpatchify,
)
from torch import Tensor
from transformers import UMT5EncoderModel

Weights = dict[str, Tensor]


# --- the VAE, whole clips at once ---------------------------------------------------------------


def to_clip_mode(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """Give the VAE's resamplers their whole-clip form. Its own encode and decode no longer work."""
    for parameter in vae.parameters():  # the memory layout that tensor cores take without copies
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    for module in vae.modules():
        if isinstance(module, WanResample):
            module.forward = functools.partial(_resample_clip, module)
        elif isinstance(module, WanRMS_norm):
            module.forward = functools.partial(_norm_clip, module)
    return vae


def encode_clip(vae: AutoencoderKLWan, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [B, 3, 4k+1, H, W] in -1..1 to mean and log-variance [B, 48, k+1, H/16, W/16]."""
    x = patchify(frames, vae.config.patch_size).contiguous(memory_format=torch.channels_last_3d)
    moments = vae.quant_conv(vae.encoder(x))
    mean, log_variance = moments.chunk(2, dim=1)
    return mean, log_variance


def decode_clip(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Latents [B, 48, k+1, h, w] to frames [B, 3, 4k+1, 16h, 16w], not clamped."""
    latents = latents.contiguous(memory_format=torch.channels_last_3d)
    out = vae.decoder(vae.post_quant_conv(latents), first_chunk=True)
    return unpatchify(out, vae.config.patch_size)


def _resample_clip(
    module: WanResample, x: Tensor, feat_cache: None = None, feat_idx: None = None
) -> Tensor:
    """What the cached path computes, for all frames: the first one is never mixed in time."""
    del feat_cache, feat_idx
    if module.mode == "upsample3d" and x.shape[2] > 1:
        doubled = module.time_conv(x[:, :, 1:]).unflatten(1, (2, -1))  # B 2 C T H W
        x = torch.cat([x[:, :, :1], doubled.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)], dim=2)
    frames = x.shape[2]
    x = module.resample(x.transpose(1, 2).flatten(0, 1))
    x = x.unflatten(0, (-1, frames)).transpose(1, 2)
    if module.mode == "downsample3d" and frames > 1:
        x = torch.cat([x[:, :, :1], module.time_conv(x)], dim=2)
    return x


def _norm_clip(module: WanRMS_norm, x: Tensor) -> Tensor:
    """The same norm in one kernel that reads and writes bf16 (the stock one takes about eight)."""
    weight = module.gamma.flatten().to(x.dtype)
    return F.rms_norm(x.movedim(1, -1), weight.shape, weight, 1e-12).movedim(-1, 1)


# --- the text encoder ---------------------------------------------------------------------------


class FastText:
    """`UMT5EncoderModel` as plain functions of its parameters."""

    def __init__(self, encoder: UMT5EncoderModel) -> None:
        """Keep the parameters by name; nothing is copied."""
        self.encoder = encoder
        self.weights: Weights = dict(encoder.named_parameters())
        self.heads, self.layers = encoder.config.num_heads, encoder.config.num_layers

    def buckets(self, length: int) -> Tensor:
        """Int [length, length]: which relative-position bias a query-key pair takes."""
        steps = torch.arange(length)
        attention = self.encoder.encoder.block[0].layer[0].SelfAttention
        return attention._relative_position_bucket(steps[None] - steps[:, None])

    def __call__(self, ids: Tensor, buckets: Tensor) -> Tensor:
        """Ids int [B, L] (0 pads) to hidden states [B, L, D], zero at the padding."""
        w = self.weights
        there = ids != 0
        blocked = torch.zeros_like(ids, dtype=torch.float32).masked_fill(~there, -1e4)
        x = F.embedding(ids, w["shared.weight"])
        for i in range(self.layers):
            at = f"encoder.block.{i}.layer.0."
            bias = w[at + "SelfAttention.relative_attention_bias.weight"][buckets].permute(2, 0, 1)
            h = _rms(x, w[at + "layer_norm.weight"])
            q, k, v = (
                F.linear(h, w[f"{at}SelfAttention.{n}.weight"])
                .unflatten(-1, (self.heads, -1))
                .transpose(1, 2)
                for n in "qkv"
            )
            mask = (bias[None] + blocked[:, None, None]).to(q.dtype)
            h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
            x = x + F.linear(h.transpose(1, 2).flatten(2), w[at + "SelfAttention.o.weight"])
            ff = f"encoder.block.{i}.layer.1."
            h = _rms(x, w[ff + "layer_norm.weight"])
            gate = F.gelu(F.linear(h, w[ff + "DenseReluDense.wi_0.weight"]), approximate="tanh")
            h = gate * F.linear(h, w[ff + "DenseReluDense.wi_1.weight"])
            x = x + F.linear(h, w[ff + "DenseReluDense.wo.weight"])
        return _rms(x, w["encoder.final_layer_norm.weight"]) * there[..., None]


def _rms(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    return x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps) * weight


# --- the transformer ----------------------------------------------------------------------------


class FastTransformer:
    """`WanTransformer3DModel` for clips whose latents are either clean (t=0) or at one timestep."""

    def __init__(self, model: WanTransformer3DModel) -> None:
        """Sort the parameters by block; nothing is copied."""
        self.model = model
        self.blocks: list[Weights] = [dict(block.named_parameters()) for block in model.blocks]
        self.run_block = _block

    def compile(self) -> None:
        """Fuse the block; one compilation serves all seven, and soon all batch shapes."""
        self.run_block = torch.compile(_block)

    def rope(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary tables [1, N, 1, head] for latents of this shape."""
        return self.model.rope(latents)

    def __call__(
        self,
        latents: Tensor,
        sigma: Tensor,
        clean: Tensor,
        text: Tensor,
        rope: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Velocity [B, 48, T, h, w] for latents of that shape.

        sigma [B] is the noise level of latents not marked in clean (bool [B, T]); text [B, L, D].
        """
        model = self.model
        batch, _, frames, height, width = latents.shape
        embedder = model.condition_embedder
        # 1. Two timesteps a clip: its own, and 0 (one row shared by the whole batch).
        times = torch.cat([sigma * 1000, sigma.new_zeros(1)])
        base = embedder.time_embedder(embedder.timesteps_proj(times))
        steps = embedder.time_proj(embedder.act_fn(base)).float().unflatten(1, (6, -1))
        own, zero = steps[:-1], steps[-1:]
        text = embedder.text_embedder(text)
        per_frame = height // 2 * (width // 2)
        is_clean = clean.repeat_interleave(per_frame, dim=1)[..., None]  # B N 1
        # 2. Tokens through the blocks.
        embed = model.patch_embedding  # as a product: a convolution's backward pass is slow here
        x = latents.view(batch, -1, frames, height // 2, 2, width // 2, 2)
        x = x.permute(0, 2, 3, 5, 1, 4, 6).reshape(batch, frames * per_frame, -1)
        x = F.linear(x, embed.weight.flatten(1), embed.bias)
        # One compilation for all sizes: batch and length are said to vary from the start.
        for tensor in (x, is_clean, text):
            torch._dynamo.maybe_mark_dynamic(tensor, (0, 1))
        torch._dynamo.maybe_mark_dynamic(own, 0)
        for table in rope:
            torch._dynamo.maybe_mark_dynamic(table, 1)
        for weights in self.blocks:
            x = self.run_block(weights, x, own, zero, is_clean, text, *rope)
        # 3. Back to latents.
        table = model.scale_shift_table.float()
        ends = table + base[:-1].float()[:, None], table + base[-1:].float()[:, None]
        shift, scale = (
            torch.where(is_clean, ends[1][:, i : i + 1], ends[0][:, i : i + 1]) for i in (0, 1)
        )
        x = model.proj_out((_layer_norm(x) * (1 + scale) + shift).to(x.dtype))
        x = x.view(batch, frames, height // 2, width // 2, 2, 2, -1)
        return x.permute(0, 6, 1, 2, 4, 3, 5).reshape(latents.shape)


def _block(
    w: Weights,
    x: Tensor,
    own: Tensor,
    zero: Tensor,
    is_clean: Tensor,
    text: Tensor,
    cos: Tensor,
    sin: Tensor,
) -> Tensor:
    """One `WanTransformerBlock`: x [B, N, D], own [B, 6, D], zero [1, 6, D], is_clean [B, N, 1]."""
    table = w["scale_shift_table"].float()

    def pick(index: int) -> Tensor:
        noisy, still = (table + own)[:, index : index + 1], (table + zero)[:, index : index + 1]
        return torch.where(is_clean, still, noisy)

    # 1. Self-attention.
    h = (_layer_norm(x) * (1 + pick(1)) + pick(0)).to(x.dtype)
    q, k, v = _fused_linear(w, "attn1.", ("to_q", "to_k", "to_v"), h).chunk(3, dim=-1)
    q = _rms(q, w["attn1.norm_q.weight"]).unflatten(2, (8, -1))
    k = _rms(k, w["attn1.norm_k.weight"]).unflatten(2, (8, -1))
    h = _attend(_turn(q, cos, sin).to(v.dtype), _turn(k, cos, sin).to(v.dtype), v)
    h = F.linear(h, w["attn1.to_out.0.weight"], w["attn1.to_out.0.bias"])
    x = (x.float() + h * pick(2)).to(x.dtype)
    # 2. Cross-attention to the words.
    h = _layer_norm(x, w["norm2.weight"], w["norm2.bias"]).to(x.dtype)
    q = _rms(F.linear(h, w["attn2.to_q.weight"], w["attn2.to_q.bias"]), w["attn2.norm_q.weight"])
    k, v = _fused_linear(w, "attn2.", ("to_k", "to_v"), text).chunk(2, dim=-1)
    k = _rms(k, w["attn2.norm_k.weight"]).unflatten(2, (8, -1)).to(v.dtype)
    h = _attend(q.unflatten(2, (8, -1)).to(v.dtype), k, v)
    x = x + F.linear(h, w["attn2.to_out.0.weight"], w["attn2.to_out.0.bias"])
    # 3. Feed-forward.
    h = (_layer_norm(x) * (1 + pick(4)) + pick(3)).to(x.dtype)
    h = F.linear(h, w["ffn.net.0.proj.weight"], w["ffn.net.0.proj.bias"])
    h = F.linear(F.gelu(h, approximate="tanh"), w["ffn.net.2.weight"], w["ffn.net.2.bias"])
    return (x.float() + h.float() * pick(5)).to(x.dtype)


def _layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    return F.layer_norm(x.float(), x.shape[-1:], weight, bias, 1e-6)


def _fused_linear(w: Weights, at: str, parts: tuple[str, ...], x: Tensor) -> Tensor:
    weight = torch.cat([w[f"{at}{part}.weight"] for part in parts])
    return F.linear(x, weight, torch.cat([w[f"{at}{part}.bias"] for part in parts]))


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding on pairs of neighbouring channels; x [B, N, heads, head]."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    c, s = cos[..., 0::2], sin[..., 1::2]
    return torch.stack([a * c - b * s, a * s + b * c], dim=-1).flatten(-2)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q and k [B, N, heads, head], v [B, N, D] to [B, N, D]."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.unflatten(2, (q.shape[2], -1)).transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _compare() -> None:
    """Print the largest difference between the fast and the stock forward passes."""
    from training.architecture import build_text_encoder, build_transformer, build_vae

    torch.manual_seed(0)
    with torch.no_grad():
        vae = build_vae()
        for parameter in vae.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        frames = torch.rand(1, 3, 13, 64, 96) * 2 - 1
        latents = vae.encode(frames).latent_dist.mode()
        video = vae.decode(latents * 0.1).sample
        to_clip_mode(vae)
        print("encode", (encode_clip(vae, frames)[0] - latents).abs().max().item())
        print("decode", (decode_clip(vae, latents * 0.1).clamp(-1, 1) - video).abs().max().item())

        encoder, ids = build_text_encoder(), torch.randint(3, 400, (2, 12))
        ids[0, 7:] = 0
        there = (ids != 0).long()
        stock = encoder(ids, there).last_hidden_state * there[..., None]
        fast = FastText(encoder)
        text = fast(ids, fast.buckets(12))
        print("text", (text - stock).abs().max().item())

        model = build_transformer()
        x, sigma = torch.randn(2, 48, 3, 8, 6), torch.tensor([0.3, 0.9])
        clean = torch.tensor([[1, 0, 0], [1, 1, 0]]).bool()
        times = torch.where(clean, 0, sigma[:, None] * 1000).repeat_interleave(12, dim=1)
        stock = model(x, times, text, return_dict=False)[0]
        quick = FastTransformer(model)
        print("velocity", (quick(x, sigma, clean, text, quick.rope(x)) - stock).abs().max().item())


if __name__ == "__main__":
    _compare()
