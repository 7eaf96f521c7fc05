"""Distil the guided model into four steps without guidance.

    python -m training.train_turbo WORK_DIR --seconds 100

The teacher (16 steps, CFG) draws trajectories; the student learns to cross a quarter of one in
a single step. It needs a first-order solver: UniPC with solver_order 1 and no corrector.
The student starts as the one in WORK_DIR, if there is one, else as the teacher.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training import painting
from training.data import SHAPES, Bucket, Codec, build_bucket, tokenize
from training.engine import DEVICE, RANK, WORLD, Clock, Log, Trainer, join, save_weights, say
from training.sampling import integrate, schedule
from training.train_transformer import Learner, clean_latents, redrawn

STEPS = 4
TEACHER_STEPS = 16
GUIDANCE = 3.5
TRAJECTORIES = {
    "square": 4000, "short": 4000, "wide": 2400, "tall": 2400, "large": 1600, "middle": 1200,
    "largest": 800,
}  # fmt: skip


@dataclass
class Paths:
    """Trajectories: states bf16 [STEPS + 1, N, 48, T, h, w], clean bool [N, T], ids [N, L]."""

    states: Tensor
    clean: Tensor
    ids: Tensor
    rope: tuple[Tensor, Tensor]


@torch.no_grad()
def draw_paths(learner: Learner, bucket: Bucket, batch: int) -> Paths:
    """Let the teacher go from noise (and the context, recoded ones among them) to each clip."""
    rope = learner.fast.rope(bucket.latents[:1])
    sigmas = schedule(TEACHER_STEPS)
    empty = tokenize([""]).to(DEVICE)
    states, cleans, idss = [], [], []
    for begin in range(0, len(bucket.latents) - batch + 1, batch):
        part = slice(begin, begin + batch)
        latents = bucket.drifted[part].float()
        clean = clean_latents(bucket.start[part], bucket.late[part], latents.shape[2])
        ids = bucket.ids[part, 0].long()
        latents[:, :, -1:] = bucket.ending[part].float()
        x = torch.where(clean[:, None, :, None, None], latents, torch.randn_like(latents))
        both = torch.cat([ids, empty.expand_as(ids)])

        def velocity(
            x: Tensor, sigma: Tensor, clean: Tensor = clean, both: Tensor = both
        ) -> Tensor:
            pair = learner.velocity(
                x.repeat(2, 1, 1, 1, 1), sigma.repeat(2), clean.repeat(2, 1), both, rope
            )
            with_text, without = pair.chunk(2)
            return without + GUIDANCE * (with_text - without)

        path = integrate(velocity, x, clean, sigmas)
        states.append(torch.stack(path[:: TEACHER_STEPS // STEPS]).bfloat16())
        cleans.append(clean)
        idss.append(ids)
    return Paths(torch.cat(states, dim=1), torch.cat(cleans), torch.cat(idss), rope)


def loss_on(learner: Learner, paths: Paths, sigmas: Tensor, batch: int) -> Tensor:
    """Squared error of the straight line across a random quarter of random trajectories."""
    index = torch.randint(paths.states.shape[1], (batch,), device=DEVICE)
    quarter = torch.randint(STEPS, (batch,), device=DEVICE)
    here, there = paths.states[quarter, index].float(), paths.states[quarter + 1, index].float()
    gap = (sigmas[quarter] - sigmas[quarter + 1]).view(-1, 1, 1, 1, 1)
    clean = paths.clean[index]
    predicted = learner.velocity(here, sigmas[quarter], clean, paths.ids[index], paths.rope)
    error = (predicted - (here - there) / gap).square()
    noisy = ~clean[:, None, :, None, None]
    return (error * noisy).sum() / (noisy.sum() * here.shape[1] * here[0, 0, 0].numel())


def main(work: Path, seconds: float, scale: float) -> None:
    """Draw clips for contexts, let the teacher work, train the student, save it."""
    join()
    started = time.monotonic()
    codec, learner = Codec(work), Learner()
    learner.load(work)
    torch.manual_seed(21 + RANK)
    paths = {}
    share = min(1, scale) / min(WORLD, 2)
    batches = {name: max(2, int(SHAPES[name].batch * share)) for name in TRAJECTORIES}
    for i, (name, count) in enumerate(TRAJECTORIES.items()):
        whole = max(1, int(count * scale) // batches[name]) * batches[name]
        bucket = build_bucket(
            codec, SHAPES[name], 7000 + i + 100 * RANK, whole,
            lambda x, ids: redrawn(learner, x, ids),
        )  # fmt: skip
        paths[name] = draw_paths(learner, bucket, batches[name])
    say(f"trajectories drawn in {time.monotonic() - started:.0f} s")

    student = work / "turbo.safetensors"
    if student.exists():
        learner.transformer.load_state_dict(load_file(student))
    learner.text_encoder.requires_grad_(False)  # shared with the base model
    sigmas = schedule(STEPS).to(DEVICE)
    losses = {
        name: lambda p=p, n=batches[name]: loss_on(learner, p, sigmas, n)
        for name, p in paths.items()
    }
    trainer = Trainer([learner.transformer], losses, peak=6e-4, decay=0.998, weight_decay=0.0)
    for name in losses:
        trainer.step(name, 0.0)
    names = list(paths)
    clock, log = Clock(seconds - (time.monotonic() - started)), Log(work / "turbo.jsonl", every=10)
    while clock.running(trainer.steps):
        loss = trainer.step(names[trainer.steps % len(names)], clock.progress, warmup=100)
        if trainer.steps % 70 == 0:
            log(clock, step=trainer.steps, loss=loss)
    trainer.swap()
    say(f"{trainer.steps} steps")
    save_weights(learner.transformer, work / "turbo.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=100, help="trajectories included")
    parser.add_argument("--scale", type=float, default=1.0, help="of data and batches, for trials")
    arguments = parser.parse_args()
    painting.compile_painter()
    main(arguments.work, arguments.seconds, arguments.scale)
