"""The shipped weights behind one batched call, for judging: prompts and context in, frames out."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from torch import Tensor

from training.data import hold
from training.engine import DEVICE

GUIDANCE, STEPS, TURBO_STEPS, TEXT_LENGTH = 3.5, 12, 4, 64


class Model:
    """The shipped files behind one batched call that takes context frames too."""

    def __init__(self, assets: Path) -> None:
        """Load base and turbo weights, if there are any, in bf16 with stock diffusers."""
        self.pipe = WanPipeline.from_pretrained(
            assets / "tiny", dtype=torch.bfloat16, local_files_only=True
        ).to(DEVICE)
        turbo = assets / "tiny-turbo"
        self.turbo_scheduler = turbo / "scheduler"
        self.turbo = None
        if turbo.is_dir():
            self.turbo = WanTransformer3DModel.from_pretrained(
                turbo / "transformer", dtype=torch.bfloat16, local_files_only=True
            ).to(DEVICE)
        self.batch = 50 if DEVICE.type == "cuda" else 4
        config = self.pipe.vae.config
        self.mean, self.std = (
            torch.tensor(v, device=DEVICE).view(1, -1, 1, 1, 1)
            for v in (config.latents_mean, config.latents_std)
        )

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """Frames [N, 3, 4k-3, H, W] in 0..1 to normalised latents [N, 48, k, h, w], float32."""
        latents = self.pipe.vae.encode((video * 2 - 1).bfloat16().to(DEVICE)).latent_dist.mode()
        return (latents.float() - self.mean) / self.std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents to frames in 0..1, float32."""
        video = self.pipe.vae.decode((latents * self.std + self.mean).bfloat16()).sample
        return (video.float() + 1) / 2

    @torch.no_grad()
    def __call__(
        self,
        prompts: list[str],
        size: tuple[int, int, int],
        *,
        seed: int = 0,
        context: Tensor | None = None,
        last: Tensor | None = None,
        negative: str = "",
        turbo: bool = False,
        steps: int | None = None,
        guidance: float = GUIDANCE,
        text_length: int = TEXT_LENGTH,
    ) -> Tensor:
        """Frames [N, 3, F, H, W] in 0..1; the context [N, 3, 4k-3, H, W] is kept at the start.

        The take ends on the image last [N, 3, 1, H, W], if there is one.
        """
        height, width, frames = size
        shape = (48, (frames + 3) // 4, height // 16, width // 16)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(prompts), *shape, generator=generator).to(DEVICE)
        videos = []
        for begin in range(0, len(prompts), self.batch):
            part = slice(begin, begin + self.batch)
            fixed, moving = torch.zeros_like(noise[part]), torch.ones(shape[1], device=DEVICE)
            if context is not None:
                given = self.encode(context[part])
                fixed[:, :, : given.shape[2]] = given
                moving[: given.shape[2]] = 0
            if last is not None:
                fixed[:, :, -1:] = self.encode(hold(last[part]))[:, :, -1:]
                moving[-1] = 0
            latents = self._denoise(
                prompts[part], noise[part], fixed, moving, negative, turbo, steps, guidance,
                text_length,
            )  # fmt: skip
            videos.append(self.decode(latents))
        return torch.cat(videos)

    def _denoise(
        self, prompts: list[str], x: Tensor, fixed: Tensor, moving: Tensor, negative: str,
        turbo: bool, steps: int | None, guidance: float, text_length: int,
    ) -> Tensor:  # fmt: skip
        """The pipelines' loop: clean latents pinned in their slots, their timestep 0."""
        transformer = self.turbo if turbo else self.pipe.transformer
        guidance = 1.0 if turbo else guidance
        scheduler = (
            UniPCMultistepScheduler.from_pretrained(self.turbo_scheduler)
            if turbo
            else UniPCMultistepScheduler.from_config(self.pipe.scheduler.config)
        )
        scheduler.set_timesteps(steps or (TURBO_STEPS if turbo else STEPS), device=DEVICE)
        text, without = self.pipe.encode_prompt(
            prompts, negative, guidance > 1, max_sequence_length=text_length, device=DEVICE
        )
        mask = moving.view(1, 1, -1, 1, 1)
        tokens = x.shape[3] * x.shape[4] // 4
        for t in scheduler.timesteps:
            model_input = (x * mask + fixed * (1 - mask)).bfloat16()
            times = (moving * t).repeat_interleave(tokens).expand(len(x), -1)
            v = transformer(model_input, times, text, return_dict=False)[0].float()
            if guidance > 1:
                away = transformer(model_input, times, without, return_dict=False)[0].float()
                v = away + guidance * (v - away)
            x = scheduler.step(v, t, x, return_dict=False)[0]
        return x * mask + fixed * (1 - mask)
