"""Wan pipelines that continue given frames."""

from typing import Any

import torch
from diffusers import WanImageToVideoPipeline
from diffusers.utils.torch_utils import randn_tensor


class ContextPipeline(WanImageToVideoPipeline):  # type: ignore[misc]  # diffusers is untyped
    """Image-to-video that starts from 4j+1 frames instead of one, and may end on a given one.

    The frames are encoded together. Their j+1 latents are pinned at every step with timestep 0, as
    the stock pipeline does with its single one. The last latent shows the last frame, standing
    still.
    """

    context: torch.Tensor | None = None  # (1, 3, 4j+1, h, w) in [-1, 1], set before each call
    last_frame: torch.Tensor | None = None  # (1, 3, 1, h, w)
    context_noise = 0.0  # on the context's latents, in standard deviations

    def prepare_latents(  # noqa: PLR0913, PLR0917 - the stock signature
        self,
        image: torch.Tensor,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        num_frames: int,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator,
        latents: torch.Tensor | None = None,
        last_image: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(noise, condition, mask), the first two (1, z, f, h, w), the mask 0 where pinned."""
        del image, batch_size, latents, last_image  # the context replaces them
        context, self.context = self.context, None  # not kept until the next segment
        last_frame, self.last_frame = self.last_frame, None
        if context is None:
            raise ValueError("set context before the call")
        shape = (
            1,
            num_channels_latents,
            (num_frames - 1) // self.vae_scale_factor_temporal + 1,
            height // self.vae_scale_factor_spatial,
            width // self.vae_scale_factor_spatial,
        )
        noise = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        condition = torch.zeros_like(noise)
        mask = torch.ones(1, 1, *shape[2:], dtype=dtype, device=device)
        encoded = self._encode(context, noise)
        if self.context_noise:
            faint = randn_tensor(encoded.shape, generator=generator, device=device, dtype=dtype)
            encoded = encoded + self.context_noise * faint
        pinned = encoded.shape[2]
        condition[:, :, :pinned] = encoded
        mask[:, :, :pinned] = 0
        if last_frame is not None:
            still = last_frame.expand(-1, -1, 1 + self.vae_scale_factor_temporal, -1, -1)
            condition[:, :, -1:] = self._encode(still, noise)[:, :, -1:]
            mask[:, :, -1:] = 0
        return noise, condition, mask

    def _encode(self, frames: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Normalised latents of frames (1, 3, 4j+1, h, w) in [-1, 1]."""
        frames = frames.to(like.device, self.vae.dtype)
        latents: torch.Tensor = self.vae.encode(frames).latent_dist.mode().to(like.dtype)
        mean, std = latent_statistics(self.vae, like.device)
        return (latents - mean) / std


def latent_statistics(vae: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each latent channel, (1, z, 1, 1, 1) float32."""
    mean, std = (
        torch.tensor(values, device=device).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std
