"""Train the transformer and the text encoder by flow matching on cached latents.

    python -m training.train_transformer WORK_DIR --seconds 530 --total 1400

Goes on from the transformer in WORK_DIR, if there is one.
Clean latents (0, 1, 2, 3 or 5 at the start, sometimes the last one) sit in their slots at timestep
0, as the image-to-video pipeline of Wan2.2-TI2V-5B puts them; the loss counts the noisy ones.
"""

from __future__ import annotations

import argparse
import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from training import painting
from training.architecture import TEXT_LENGTH, build_text_encoder, build_transformer
from training.data import ORDER, SHAPES, Bucket, Codec, build_bucket, recode
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
from training.fast import FastText, FastTransformer
from training.sampling import integrate, schedule

if TYPE_CHECKING:
    from training.data import Damage

    Buckets = dict[str, Bucket]

CONTEXTS = torch.tensor([0, 1, 2, 3, 5], device=DEVICE)  # clean latents at the start
FRESH = torch.tensor([0.40, 0.65, 0.77, 0.89], device=DEVICE)  # cumulative shares of CONTEXTS
LATE = torch.tensor([0.0, 0.05, 0.40, 0.75], device=DEVICE)  # for clips in mid-movement
REDRAW_AT = (0.4, 0.58, 0.85)  # of the schedule: the model itself draws the imperfect contexts anew
REDRAW_FROM = 0.5  # noise level that contexts are drawn again from: above it they lose their pace
LAST_SHARE = 0.12  # of clips with a first latent also get the ending
CONTEXT_NOISE = 0.10  # at most, in half of the contexts
PRODUCT_WEIGHT = 3  # of the loss where the product is, as the small part that shapes are told by
PADDED = 512 - TEXT_LENGTH  # the pipeline's default text length pads this much more


class Learner:
    """Text encoder and transformer in their fast forms, with the tables that shapes need."""

    def __init__(self) -> None:
        """Untrained."""
        self.text_encoder = build_text_encoder().to(DEVICE)
        self.transformer = build_transformer().to(DEVICE)
        self.text = FastText(self.text_encoder)
        self.fast = FastTransformer(self.transformer)
        self.buckets = self.text.buckets(TEXT_LENGTH).to(DEVICE)
        if DEVICE.type == "cuda":
            torch._dynamo.config.recompile_limit = 64
            self.fast.compile()

    def velocity(
        self, x: Tensor, sigma: Tensor, clean: Tensor, ids: Tensor, rope: tuple[Tensor, Tensor],
        padding: int = 0,
    ) -> Tensor:  # fmt: skip
        """Predicted velocity for noisy latents x under token ids."""
        with autocast():
            text = self.text(ids, self.buckets)
            text = F.pad(text, (0, 0, 0, padding))
            return self.fast(x, sigma, clean, text, rope).float()

    def load(self, work: Path) -> None:
        """Take the weights of an earlier part."""
        self.transformer.load_state_dict(load_file(work / "transformer.safetensors"))
        self.text_encoder.load_state_dict(load_file(work / "text_encoder.safetensors"))

    def save(self, work: Path) -> None:
        """Write both as bf16."""
        save_weights(self.transformer, work / "transformer.safetensors")
        save_weights(self.text_encoder, work / "text_encoder.safetensors")


def clean_latents(start: Tensor, late: Tensor, frames: int) -> Tensor:
    """Choose which latents are given: bool [B, frames]."""
    lot = torch.rand_like(start, dtype=torch.float32)
    count = torch.where(late, torch.bucketize(lot, LATE), torch.bucketize(lot, FRESH))
    count = CONTEXTS[count].clamp_max(frames - 2)
    count = torch.where(start > 0, start, count)
    clean = torch.arange(frames, device=DEVICE)[None] < count[:, None]
    last = (torch.rand_like(lot) < LAST_SHARE) & (count > 0) & (start == 0)
    clean[:, -1] |= last
    return clean


def drift_left(clean: Tensor) -> Tensor:
    """How much of its context's drift each latent of a clip still has: float [B, frames].

    From 1 where the context ends to 0 at the last: a clip that was true at once would be seen to
    settle behind every seam, and one that kept its drift would drift on.
    """
    frames = clean.shape[1]
    given = clean[:, :-1].sum(1, keepdim=True)  # at the start
    left = (frames - 1 - torch.arange(frames, device=clean.device)) / (frames - given)
    return left.clamp_max(1) * (given > 0)


def loss_on(
    learner: Learner, bucket: Bucket, rope: tuple[Tensor, Tensor], batch: int, padding: int = 0
) -> Tensor:
    """Flow matching on a random batch: the squared error of the noisy latents' velocity."""
    # 1. A batch with one of its wordings, and what is given.
    index = torch.randint(len(bucket.latents), (batch,), device=DEVICE)
    latents = bucket.latents[index].float()
    wording = torch.randint(bucket.ids.shape[1], (batch,), device=DEVICE)
    ids = bucket.ids[index, wording].long()
    clean = clean_latents(bucket.start[index], bucket.late[index], latents.shape[2])
    # 2. Noise, more of it than of signal: sigma = 3u / (1 + 2u), as flow_shift has it.
    u = torch.rand(batch, device=DEVICE).clamp_min(0.003)
    sigma = 3 * u / (1 + 2 * u)
    noise = torch.randn_like(latents)
    level = sigma.view(-1, 1, 1, 1, 1)
    drifted = bucket.drifted[index].float()
    latents = latents.lerp(drifted, drift_left(clean)[:, None, :, None, None])
    faint = (CONTEXT_NOISE * 2 * (torch.rand_like(level) - 0.5)).clamp_min(0)
    given = clean[:, None, :, None, None]
    handed = drifted.clone()
    handed[:, :, -1:] = bucket.ending[index].float()
    x = torch.where(given, handed + faint * torch.randn_like(noise), latents.lerp(noise, level))
    # 3. The velocity from data to noise.
    error = (learner.velocity(x, sigma, clean, ids, rope, padding) - (noise - latents)).square()
    weight = (1 + (PRODUCT_WEIGHT - 1) * bucket.product[index]) * ~given
    return (error * weight).sum() / (weight.sum() * latents.shape[1])


def noised(latents: Tensor, ids: Tensor) -> Tensor:
    """Damage for contexts while there is no model: noise of 0 to 0.4 deviations."""
    del ids
    amount = 0.4 * torch.rand(len(latents), 1, 1, 1, 1, device=DEVICE)
    return latents.float() + amount * torch.randn_like(latents, dtype=torch.float32)


def redrawn(learner: Learner, latents: Tensor, ids: Tensor) -> Tensor:
    """Damage as the model does it: noise the clip and let the model draw it again."""
    sigmas = schedule(8)
    sigmas = sigmas[sigmas < REDRAW_FROM]
    rope = learner.fast.rope(latents)
    clean = torch.zeros(len(latents), latents.shape[2], dtype=torch.bool, device=DEVICE)
    x = latents.float().lerp(torch.randn_like(latents, dtype=torch.float32), float(sigmas[0]))

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        return learner.velocity(x, sigma, clean, ids, rope)

    return integrate(velocity, x, clean, sigmas)[-1]


def training_set(work: Path, codec: Codec, seed: int, share: float, damage: Damage) -> Buckets:
    """Clips of all shapes, drawn; or those of the part before this one, if it ran here."""
    kept = work / "latents" / f"{RANK} of {WORLD}.pt"
    codec_file = work / "vae.safetensors"
    if kept.exists() and kept.stat().st_mtime > codec_file.stat().st_mtime:
        return torch.load(kept, map_location=DEVICE, weights_only=False)
    buckets = {
        name: build_bucket(codec, shape, seed + i, max(8, int(shape.clips * share)), damage)
        for i, (name, shape) in enumerate(SHAPES.items())
    }
    kept.parent.mkdir(exist_ok=True)
    torch.save(buckets, kept)
    return buckets


def main(work: Path, seconds: float, total: float | None, scale: float, *, alone: bool) -> None:
    """Build the data, train for the given seconds, save averaged weights.

    `alone` keeps the text encoder, which turbo shares.
    """
    join()
    started, done = time.monotonic(), seconds_done(work, "transformer")
    torch.manual_seed(31)
    codec, learner = Codec(work), Learner()
    if done:
        learner.load(work)
    redraw = functools.partial(redrawn, learner)
    seed = 31 + 100 * RANK + 10_000 * int(done)  # every part and process draws its own clips
    torch.manual_seed(seed)
    share = scale * min(1, 2 / WORLD)
    buckets = training_set(work, codec, seed, share, redraw if done else noised)
    say(f"latents made in {time.monotonic() - started:.0f} s")
    losses = {}
    share = min(1, scale) / min(WORLD, 2)  # two processes halve their batches, more add to them
    for name, bucket in buckets.items():
        rope = learner.fast.rope(bucket.latents[:1])
        batch = max(2, int(SHAPES[name].batch * share))
        losses[name] = lambda b=bucket, r=rope, n=batch: loss_on(learner, b, r, n)
        if name == "short":
            losses["padded"] = lambda b=bucket, r=rope, n=batch // 2: loss_on(
                learner, b, r, n, PADDED
            )
    learner.text_encoder.requires_grad_(not alone)
    modules = [learner.text_encoder, learner.transformer]
    trainer = Trainer(modules, losses, peak=1e-3, decay=0.9995, muon=True)
    progress = done / total if total else 0.0
    for name in losses:
        trainer.step(name, progress)
    say(f"graphs ready after {time.monotonic() - started:.0f} s")
    clock = Clock(seconds - (time.monotonic() - started), done, total)
    log = Log(work / "transformer.jsonl")
    begun, first = time.monotonic(), trainer.steps
    redraws = sum(progress > at for at in REDRAW_AT)
    while clock.running(trainer.steps):
        due = sum(clock.progress > at for at in REDRAW_AT)
        if due > redraws:
            redraws = due
            trainer.swap()
            for bucket in buckets.values():
                recode(codec, bucket, redraw)
            trainer.swap()
            say(f"contexts redrawn by {time.monotonic() - started:.0f} s")
        padded = trainer.steps % 20 == 0
        name = "padded" if padded else ORDER[trainer.steps % len(ORDER)]
        loss = trainer.step(name, clock.progress)
        if trainer.steps % 180 == 7:  # the same place in ORDER, so that losses compare
            log(clock, step=trainer.steps, loss=loss)
    steps = trainer.steps - first
    say(f"{steps} steps, {1000 * (time.monotonic() - begun) / max(1, steps):.1f} ms each")
    trainer.swap()
    learner.save(work)
    note_seconds(work, "transformer", done + clock.elapsed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=530, help="of this part, data included")
    parser.add_argument("--total", type=float, help="of all parts' training; else this is the last")
    parser.add_argument("--scale", type=float, default=1.0, help="of data and batches, for trials")
    parser.add_argument("--transformer-only", action="store_true", help="keep the text encoder")
    given = parser.parse_args()
    painting.compile_painter()
    main(given.work, given.seconds, given.total, given.scale, alone=given.transformer_only)
