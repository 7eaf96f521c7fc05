"""Train the VAE on drawn clips.

    python -m training.train_vae WORK_DIR --seconds 530 --total 1060

Writes WORK_DIR/vae.safetensors (bf16, averaged weights) and latent_stats.json, and goes on from
them. What made it work: whole clips instead of the latent-by-latent cache, a loss that minds edges,
and graphed steps.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file
from torch import Tensor

from training import clips, painting
from training.architecture import build_vae
from training.engine import (
    DEVICE,
    RANK,
    WORLD,
    Clock,
    Log,
    Trainer,
    autocast,
    join,
    note_seconds,
    save_weights,
    say,
    seconds_done,
)
from training.fast import decode_clip, encode_clip, to_clip_mode

POOLS = {  # name: (height, width, clips held, frames a step, batch); all sizes are seen
    "square": (128, 128, 12000, 9, 48),
    "long": (128, 128, 0, 17, 24),
    "wide": (128, 224, 3000, 9, 24),
    "tall": (224, 128, 3000, 9, 24),
    "large": (192, 192, 3000, 9, 20),
    "largest": (256, 256, 1600, 9, 12),
}
ORDER = (
    "square",
    "long",
    "square",
    "wide",
    "square",
    "large",
    "square",
    "tall",
    "square",
    "largest",
)
POOL_FRAMES = 17
LATENT_NOISE = 0.1  # the decoder must forgive what a diffusion model gets wrong
PACE = 8.0  # weight of the change from frame to frame


def draw_pool(count: int, height: int, width: int, rng: random.Random) -> Tensor:
    """Clips with their masks, uint8 [N, 4, F, H, W] on the device."""
    pool = torch.empty(count, 4, POOL_FRAMES, height, width, dtype=torch.uint8, device=DEVICE)
    scenes = clips.random_scenes(count, rng)
    made = clips.make_clips(
        scenes, POOL_FRAMES, height, width, rng, late_share=0.3, change_share=0.3
    )
    for start in range(0, count, 200):
        part = clips.draw(made.part(start, start + 200), DEVICE)
        pool[start : start + 200] = torch.cat(part, dim=1)
    return pool


def loss_on(vae: AutoencoderKLWan, pool: Tensor, frames: int, batch: int) -> Tensor:
    """L1 + 8 MSE of a random batch's windows, heavier on products and heaviest on their edges.

    What changes from frame to frame has a loss of its own, else the first of a latent's four frames
    moves further than the others, and every seam lies before a first one.
    """
    index = torch.randint(len(pool), (batch, 1), device=DEVICE)
    start = torch.randint(POOL_FRAMES - frames + 1, (batch, 1), device=DEVICE)
    window = pool[index, :, start + torch.arange(frames, device=DEVICE)]  # B F 4 H W
    window = window.transpose(1, 2).float()
    video, cover = window[:, :3] / 127.5 - 1, window[:, 3:] / 255
    learning = vae.quant_conv.weight.requires_grad  # not when only the decoder is trained on
    with autocast():
        with torch.set_grad_enabled(learning):
            mean, log_variance = encode_clip(vae, video)
        out = decode_clip(vae, mean + LATENT_NOISE * torch.randn_like(mean))
    error = out.float() - video
    weight = 1 + 3 * cover + 16 * cover * (1 - cover)
    pixels = (weight * (error.abs() + 8 * error.square())).mean()
    pixels = pixels + PACE * (weight[:, :, 1:] * error.diff(dim=2).abs()).mean()
    # Small latents for the noise to matter; the variance (never sampled in use) states that noise.
    prior = mean.float().square().mean() + (log_variance.float() + 4.6).square().mean()
    return pixels + 1e-3 * prior


@torch.no_grad()
def latent_stats(vae: AutoencoderKLWan, pools: list[Tensor]) -> dict[str, list[float]]:
    """Mean and deviation per channel; a deviation is at least a quarter of the median one."""
    values = []
    for pool in pools:
        for start in range(0, min(len(pool), 600), 50):
            video = pool[start : start + 50, :3].float() / 127.5 - 1
            with autocast():
                values.append(encode_clip(vae, video)[0].float().transpose(0, 1).flatten(1))
    latents = torch.cat(values, dim=1)
    deviation = latents.std(dim=1)
    deviation = deviation.clamp_min(deviation.median() / 4)
    return {"mean": latents.mean(dim=1).tolist(), "std": deviation.tolist()}


@torch.no_grad()
def psnr(vae: AutoencoderKLWan, video: Tensor) -> float:
    """Of drawn frames (uint8 [B, 3, F, H, W]) after encoding and decoding."""
    with autocast():
        out = decode_clip(vae, encode_clip(vae, video.float() / 127.5 - 1)[0])
    error = (out.float().clamp(-1, 1) + 1) / 2 - video.float() / 255
    return float(-10 * error.square().mean(dim=(1, 2, 3, 4)).log10().mean())


def main(
    work: Path, seconds: float, total: float | None, scale: float, *, decoder_only: bool
) -> None:
    """Draw pools, train for the given seconds, measure, save."""
    join()
    done = 0.0 if decoder_only else seconds_done(work, "vae")
    rng = random.Random(11 + RANK + 1000 * int(done))  # every part and process draws its own clips
    torch.manual_seed(11)
    started = time.monotonic()
    vae = to_clip_mode(build_vae()).to(DEVICE)
    if (work / "vae.safetensors").exists():
        vae.load_state_dict(load_file(work / "vae.safetensors"))
    if decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    torch.manual_seed(11 + RANK + 1000 * int(done))
    part = 1 / min(WORLD, 2)  # two processes halve their pools and batches, more add to them
    pools = {
        n: draw_pool(max(2, int(c * scale * part)), h, w, rng)
        for n, (h, w, c, _, _) in POOLS.items()
        if c
    }
    pools["long"] = pools["square"]
    held = {
        n: draw_pool(max(2, int(32 * min(1, scale))), *POOLS[n][:2], random.Random(99))
        for n in pools
    }
    say(f"pools drawn in {time.monotonic() - started:.0f} s")

    share = min(1, scale) * part
    trainer = Trainer(
        [vae],
        {n: (lambda n=n, f=f, b=b: loss_on(vae, pools[n], f, max(2, int(b * share))))
         for n, (_, _, _, f, b) in POOLS.items()},
        peak=1.5e-3,
        decay=0.999,
    )  # fmt: skip
    progress = done / total if total else 0.0
    for name in POOLS:
        trainer.step(name, progress)
    clock = Clock(seconds - (time.monotonic() - started), done, total)
    log, begun = Log(work / "vae.jsonl"), time.monotonic()
    while clock.running(trainer.steps):
        loss = trainer.step(ORDER[trainer.steps % len(ORDER)], clock.progress)
        if trainer.steps % 50 == 0:
            log(clock, step=trainer.steps, loss=loss)
    say(f"{trainer.steps} steps, {1000 * (time.monotonic() - begun) / trainer.steps:.1f} ms each")

    trainer.swap()
    if RANK > 0:
        return
    for name, pool in held.items():
        say(f"held-out PSNR {name}: {psnr(vae, pool[:, :3]):.2f} dB")
    if not decoder_only:  # the same encoder keeps its latents, and a transformer that knows them
        stats = latent_stats(vae, list(pools.values()))
        (work / "latent_stats.json").write_text(json.dumps(stats))
        note_seconds(work, "vae", done + clock.elapsed)
    save_weights(vae, work / "vae.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=530, help="of this part, drawing included")
    parser.add_argument("--total", type=float, help="of all parts' training; else this is the last")
    parser.add_argument("--scale", type=float, default=1.0, help="of pools and batches, for trials")
    parser.add_argument("--decoder-only", action="store_true", help="keep the latents as they are")
    arguments = parser.parse_args()
    painting.compile_painter()
    main(
        arguments.work,
        arguments.seconds,
        arguments.total,
        arguments.scale,
        decoder_only=arguments.decoder_only,
    )
