"""Wan's VAE decoder, latent by latent, without the copies that the stock one makes.

Every convolution of the stock decoder joins its cached frames to its input, pads the result, which
copies it again, and clones the frames to remember; upsampling and norms go through float32. Here a
window of two remembered frames and the new ones is written once, in the layout in which bf16
convolutions are fast, and the convolution pads it itself. Inside, everything is (t, h, w, c).

Convolutions are cuDNN's in any case, so only the code between them is compiled: two functions of
rows of channels, which serve videos of every size and take no more memory than eager code does.
"""

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from torch import Tensor, nn
from torch.nn import functional

_Past = dict[nn.Module, Tensor]  # the last two frames that each convolution over time has read


class StreamingDecoder:
    """The decoder of an `AutoencoderKLWan`, Wan 2.1's or 2.2's, whose parameters it uses.

    It changes their memory layout; the stock methods still work with them.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._window = _window
        self._add = _add
        for module in vae.decoder.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                flat = isinstance(module, nn.Conv2d)
                layout = torch.channels_last if flat else torch.channels_last_3d
                module.weight.data = module.weight.data.contiguous(memory_format=layout)

    def compile(self, **options: Any) -> None:
        """Compile at the first use of each number of channels; ``options`` are torch.compile's."""
        self._window = torch.compile(_window, dynamic=True, **options)
        self._add = torch.compile(_add, dynamic=True, **options)

    def frames(self, latents: Tensor) -> Iterator[Tensor]:
        """The frames of each latent, (1, 3, 1 or 4, H, W), for un-normalised (1, z, f, h, w)."""
        past: _Past = {}
        for latent in latents.unbind(2):
            yield self._decode(latent, past)

    # Views of inference tensors count as plain tensors: compiled code has no guards on their base.
    @torch.inference_mode()
    def _decode(self, latent: Tensor, past: _Past) -> Tensor:
        """The frames of (1, z, h, w), given what the latents before it left in ``past``."""
        first = not past
        stock, patch_size = self._vae.decoder, self._vae.config.patch_size
        x = _convolve(self._vae.post_quant_conv, latent.permute(0, 2, 3, 1))
        x = _convolve_over_time(stock.conv_in, x, past)
        x = self._residual(stock.mid_block.resnets[0], x, past)
        x = _attend(stock.mid_block.attentions[0], x)
        x = self._residual(stock.mid_block.resnets[1], x, past)
        for block in stock.up_blocks:
            # Wan 2.2 has one upsampler and a shortcut around the block, Wan 2.1 a list and none.
            shortcut = getattr(block, "avg_shortcut", None)
            start = None if shortcut is None else x
            for resnet in block.resnets:
                x = self._residual(resnet, x, past)
            upsamplers = block.upsamplers if hasattr(block, "upsamplers") else [block.upsampler]
            if upsamplers and upsamplers[0] is not None:
                x = _upsample(upsamplers[0], x, past, first=first)
            if start is not None:
                x = _add_duplicated(shortcut, x, start)
        x = self._activated(stock.norm_out, None, stock.conv_out, x, past)
        frames: Tensor = (x + stock.conv_out.bias).permute(3, 0, 1, 2)[None]
        return frames if patch_size is None else unpatchify(frames, patch_size)

    def _residual(self, block: Any, x: Tensor, past: _Past) -> Tensor:
        y = self._activated(block.norm1, None, block.conv1, x, past)
        y = self._activated(block.norm2, block.conv1.bias, block.conv2, y, past)
        if isinstance(block.conv_shortcut, nn.Conv3d):
            x = _convolve(block.conv_shortcut, x)
        return self._add(y.flatten(0, 2), x.flatten(0, 2), block.conv2.bias).view_as(y)

    def _activated(
        self, norm: Any, bias: Tensor | None, conv: Any, x: Tensor, past: _Past
    ) -> Tensor:
        """``conv`` without its own bias, over the activation of ``x + bias`` and its past."""
        before = _before(conv, x, past)
        window = self._window(x.flatten(0, 2), bias, norm.gamma, before.flatten(0, 2))
        return _convolve(conv, window.view(-1, *x.shape[1:]), bias=False)


def _window(x: Tensor, bias: Tensor | None, scale: Tensor, before: Tensor) -> Tensor:
    """Rows to convolve, (m + n, c): ``before`` (m, c) and the activation of ``x`` (n, c)."""
    biased = x if bias is None else x + bias
    return _remember(functional.silu(_normalise(biased, scale), inplace=True), before)


def _add(x: Tensor, y: Tensor, bias: Tensor) -> Tensor:
    return x + y + bias


def _before(conv: nn.Module, x: Tensor, past: _Past) -> Tensor:
    if conv not in past:
        past[conv] = x.new_zeros(2, *x.shape[1:])
    return past[conv]


def _remember(x: Tensor, before: Tensor) -> Tensor:
    """``before`` and ``x`` joined; their last frames are written to ``before``."""
    window = torch.cat([before, x])
    before.copy_(window[x.shape[0] :])
    return window


def _normalise(x: Tensor, scale: Tensor) -> Tensor:
    # 1e-24 keeps a pixel of zeros at zero; the stock bounds the root of its sum instead.
    return functional.rms_norm(x, x.shape[-1:], scale.flatten(), 1e-24)


def _convolve_over_time(conv: Any, x: Tensor, past: _Past) -> Tensor:
    return _convolve(conv, _remember(x, _before(conv, x, past)))


def _convolve(conv: Any, x: Tensor, *, bias: bool = True) -> Tensor:
    """A convolution of (t, h, w, c) that pads height and width, and takes t as it is."""
    _, height, width = conv.kernel_size
    y = functional.conv3d(
        x[None].permute(0, 4, 1, 2, 3),
        conv.weight,
        conv.bias if bias else None,
        padding=(0, height // 2, width // 2),
    )
    return y.permute(0, 2, 3, 4, 1)[0].contiguous()


def _attend(block: Any, x: Tensor) -> Tensor:
    """Attention among the pixels of each frame of (t, h, w, c)."""
    pixels = _normalise(x, block.norm.gamma).flatten(1, 2)[:, None]
    mixed = functional.linear(pixels, block.to_qkv.weight.flatten(1), block.to_qkv.bias)
    query, key, value = mixed.chunk(3, dim=-1)
    attended = functional.scaled_dot_product_attention(query, key, value)
    projected = functional.linear(attended, block.proj.weight.flatten(1), block.proj.bias)
    return x + projected.view_as(x)


def _upsample(stock: Any, x: Tensor, past: _Past, *, first: bool) -> Tensor:
    """Twice the height and width, and twice the frames if ``stock`` has a convolution for that."""
    pixels = x[:, None]
    if hasattr(stock, "time_conv") and not first:  # the first frame stays one, and is not read
        both = _convolve_over_time(stock.time_conv, x, past)
        pixels = both.view(*x.shape[:3], 2, -1).permute(0, 3, 1, 2, 4)
    t, times, h, w, c = pixels.shape
    nearest = pixels[:, :, :, None, :, None].expand(t, times, h, 2, w, 2, c)
    frames = nearest.reshape(t * times, 2 * h, 2 * w, c).permute(0, 3, 1, 2)
    upsampled: Tensor = stock.resample[1](frames)
    return upsampled.permute(0, 2, 3, 1).contiguous()


def _add_duplicated(shortcut: Any, x: Tensor, start: Tensor) -> Tensor:
    """Add a block's input to its output (t, h, w, c); the input has fewer pixels, more channels.

    The channels that become one are its places in time, height and width, as far as they reach; the
    other places repeat. The first frame is not upsampled in time: it is the last place.
    """
    times, size, channels = shortcut.factor_t, shortcut.factor_s, shortcut.out_channels
    t, h, w, c = start.shape
    in_time = min(times, c // channels)
    in_height = min(size, c // channels // in_time)
    places = start.view(t, h, w, channels, in_time, in_height, -1).permute(0, 4, 1, 5, 2, 6, 3)
    split = x.view(t, -1, h, size, w, size, channels)
    return (split + places[:, -split.shape[1] :]).view_as(x)
