"""The pixel evaluator: a small network that names colour, shape, background and movement of frames.

It is trained on drawn clips only and never sees a generated one; most of them go through the VAE
with noise added to their latents, because generated frames are imperfect too. Its own accuracy on
drawn clips of held-out combinations is printed beside every figure it gives.

    python -m training.judge WORK_DIR --seconds 80      # after training.train_vae
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from training import clips, painting
from training.captions import BACKGROUNDS, COLOURS, MOVEMENTS, SHAPES, Scene
from training.data import Codec
from training.engine import DEVICE, Clock, Log, Trainer, autocast, save_weights

LOOKS = 9  # frames that are looked at, evenly spaced
ATTRIBUTES = {
    "colour": len(COLOURS), "shape": len(SHAPES), "background": len(BACKGROUNDS),
    "movement": len(MOVEMENTS),
}  # fmt: skip
WEIGHTS = Path(__file__).with_name("judge.safetensors")


class Judge(nn.Module):
    """Frames go through one trunk for looks and, stacked, through another for movement."""

    def __init__(self) -> None:
        """About 1.3M parameters."""
        super().__init__()
        self.early = nn.Sequential(_conv(3, 32, 5, 2), _conv(32, 64, 3, 2), _conv(64, 64))
        self.late = nn.Sequential(_conv(64, 96, 3, 2), _conv(96, 96), _conv(96, 96), _conv(96, 96))
        self.mask = nn.Sequential(_conv(160, 32), nn.Conv2d(32, 1, 1))
        self.colour, self.shape = _head(192, len(COLOURS)), _head(192, len(SHAPES))
        self.background = _head(192, len(BACKGROUNDS))
        self.motion = nn.Sequential(
            _conv(3 * LOOKS, 64, 5, 2), _conv(64, 96, 3, 2), _conv(96, 128), _conv(128, 128, 3, 2),
            _conv(128, 128), _conv(128, 128),
        )  # fmt: skip
        self.movement = _head(256, len(MOVEMENTS) + 1)  # the last output is the sign

    def looks(self, frames: Tensor) -> dict[str, Tensor]:
        """Frames [M, 3, H, W] in 0..1 to logits, and the product's mask logits [M, 1, H/4, W/4]."""
        near = self.early(_resize(frames, 128) * 2 - 1)
        far = self.late(near)
        mask = self.mask(torch.cat([near, F.interpolate(far, size=near.shape[-2:])], dim=1))
        share = F.adaptive_avg_pool2d(mask.sigmoid(), far.shape[-2:])
        product = torch.cat([_average(far, share), (far * share).amax(dim=(2, 3))], dim=1)
        rest = torch.cat([_average(far, 1 - share), (far * (1 - share)).amax(dim=(2, 3))], dim=1)
        return {
            "colour": self.colour(product),
            "shape": self.shape(product),
            "background": self.background(rest),
            "mask": mask,
        }

    def moves(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """LOOKS frames a clip [N, 3, LOOKS, H, W] to movement logits [N, 12] and a sign logit."""
        stack = stack.transpose(1, 2).flatten(1, 2)
        far = self.motion(_resize(stack, 64) * 2 - 1)
        out = self.movement(torch.cat([far.mean(dim=(2, 3)), far.amax(dim=(2, 3))], dim=1))
        return out[:, :-1], out[:, -1]

    @torch.no_grad()
    def name(self, video: Tensor) -> dict[str, Tensor]:
        """Clips [N, 3, F, H, W] in 0..1 to attribute indices [N] (looks by nine frames' vote)."""
        stack = video[:, :, even_frames(video.shape[2])]
        looks = self.looks(stack.transpose(1, 2).flatten(0, 1))
        said = {
            key: looks[key].unflatten(0, (-1, LOOKS)).softmax(-1).mean(1).argmax(-1)
            for key in ("colour", "shape", "background")
        }
        movement, sign = self.moves(stack)
        return {**said, "movement": movement.argmax(-1), "sign": sign.sign()}

    @torch.no_grad()
    def locate(self, frames: Tensor) -> Tensor:
        """Frames [M, 3, H, W] in 0..1 to the product's centre [M, 2] (x, y) in pixels."""
        height, width = frames.shape[-2:]
        share = self.looks(frames)["mask"].sigmoid().squeeze(1)
        share = share * (share > 0.5)
        y = (torch.arange(share.shape[1], device=share.device) + 0.5) * height / share.shape[1]
        x = (torch.arange(share.shape[2], device=share.device) + 0.5) * width / share.shape[2]
        total = share.sum(dim=(1, 2)).clamp_min(1e-6)
        column, row = (share.sum(1) * x).sum(1) / total, (share.sum(2) * y).sum(1) / total
        return torch.stack([column, row], dim=1)


def even_frames(count: int) -> list[int]:
    """Which LOOKS frames of a clip are looked at."""
    return [round(i * (count - 1) / (LOOKS - 1)) for i in range(LOOKS)]


def load_judge(device: torch.device | str = "cpu") -> Judge:
    """The trained evaluator, in float32."""
    judge = Judge()
    judge.load_state_dict(load_file(WEIGHTS))
    return judge.to(device).float().eval()


def _conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(8, outside),
        nn.SiLU(),
    )


def _head(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, 128), nn.SiLU(), nn.Linear(128, outside))


def _average(x: Tensor, share: Tensor) -> Tensor:
    return (x * share).sum(dim=(2, 3)) / share.sum(dim=(2, 3)).clamp_min(1e-3)


def _resize(x: Tensor, short: int) -> Tensor:
    """Scale so that the shorter side has this many pixels."""
    height, width = x.shape[-2:]
    factor = short / min(height, width)
    size = (round(height * factor), round(width * factor))
    return F.interpolate(x, size=size, mode="bilinear", antialias=True) if factor != 1 else x


def draw_looks(
    count: int,
    size: tuple[int, int, int],
    rng: random.Random,
    *,
    keep_out: bool = False,
    codec: Codec | None = None,
) -> tuple[Tensor, Tensor]:
    """LOOKS frames of drawn clips with masks, uint8 [N, 4, LOOKS, H, W], and labels int [N, 5].

    With a codec, four in five are damaged as generated clips might be.
    """
    height, width, frames = size
    parts, labels = [], []
    for start in range(0, count, 200):
        scenes = clips.random_scenes(min(200, count - start), rng, keep_out=keep_out)
        batch = clips.make_clips(scenes, frames, height, width, rng)
        if codec is None:  # only what is looked at need be painted
            batch.state = batch.state[:, even_frames(frames)]
        video, mask = clips.draw(batch, DEVICE)
        if codec is not None:
            some = slice(len(scenes) // 5, None)
            video[some] = codec.decode(_damage(codec.encode(video[some]).float()))
            video, mask = video[:, :, even_frames(frames)], mask[:, :, even_frames(frames)]
        parts.append(torch.cat([video, mask], dim=1))
        labels += [_label(scene) for scene in scenes]
    return torch.cat(parts), torch.tensor(labels, device=DEVICE)


def _damage(latents: Tensor) -> Tensor:
    """Up to 0.6 deviations of noise that stays, and as much that changes from latent to latent."""
    stays, changes = 0.6 * torch.rand(2, len(latents), 1, 1, 1, 1, device=DEVICE).square()
    still = torch.randn_like(latents[:, :, :1])
    return latents + stays * still + changes * torch.randn_like(latents)


def _label(scene: Scene) -> tuple[int, ...]:
    return scene.colour, scene.shape, scene.background, scene.movement, scene.sign


def loss_on(judge: Judge, pool: Tensor, labels: Tensor, batch: int) -> Tensor:
    """Cross-entropies of a random batch, blurred and noised as generated frames might be."""
    index = torch.randint(len(pool), (batch,), device=DEVICE)
    shots, label = pool[index].float() / 255, labels[index]
    video, mask = shots[:, :3], shots[:, 3:]
    amount = torch.rand(batch, 1, 1, 1, 1, device=DEVICE)
    soft = F.avg_pool3d(video, (1, 3, 3), 1, (0, 1, 1))
    video = video + (soft - video) * amount * torch.rand_like(amount)
    video = video + 0.05 * amount.square() * torch.randn_like(video)
    video = video + 0.08 * (torch.rand(batch, 3, 1, 1, 1, device=DEVICE) - 0.5) * amount
    pick = torch.randint(LOOKS, (2 * batch,), device=DEVICE)
    rows = torch.arange(batch, device=DEVICE).repeat(2)
    with autocast():
        looks = judge.looks(video[rows, :, pick])
        movement, sign = judge.moves(video)
    total = F.cross_entropy(movement.float(), label[:, 3])
    for column, key in enumerate(("colour", "shape", "background")):
        total = total + F.cross_entropy(looks[key].float(), label[rows, column])
    truth = F.adaptive_avg_pool2d(mask[rows, :, pick], looks["mask"].shape[-2:])
    total = total + F.binary_cross_entropy_with_logits(looks["mask"].float(), truth)
    signed = sum((label[:, 3] == clips.MOVEMENT[n]).float() for n in ("spin", "tilt", "orbit"))
    way = F.binary_cross_entropy_with_logits(
        sign.float(), (label[:, 4] > 0).float(), reduction="none"
    )
    return total + 0.5 * (way * signed).mean()


def accuracy(judge: Judge, pool: Tensor, labels: Tensor) -> dict[str, float]:
    """On drawn clips: the share named right for each attribute."""
    right: dict[str, list[Tensor]] = {key: [] for key in ATTRIBUTES}
    for start in range(0, len(pool), 50):
        said = judge.name(pool[start : start + 50, :3].float() / 255)
        for column, key in enumerate(ATTRIBUTES):
            right[key].append(said[key] == labels[start : start + 50, column])
    return {key: torch.cat(parts).float().mean().item() for key, parts in right.items()}


def main(work: Path, seconds: float, scale: float) -> None:
    """Draw, train, report and save to training/judge.safetensors and to WORK_DIR."""
    rng = random.Random(5)
    torch.manual_seed(5)
    sizes = [(128, 128, 17, 6000), (128, 128, 33, 5000), (128, 224, 33, 3500),
             (224, 128, 33, 3500), (192, 192, 17, 2500)]  # fmt: skip
    codec = Codec(work)
    pools = [
        draw_looks(max(8, int(n * scale)), (h, w, f), rng, codec=codec) for h, w, f, n in sizes
    ]
    judge = Judge().to(DEVICE)
    batch = max(4, int(128 * min(1, scale)))
    losses = {
        str(i): (lambda p=p, y=y: loss_on(judge, p, y, batch)) for i, (p, y) in enumerate(pools)
    }
    trainer = Trainer([judge], losses, peak=2e-3, decay=0.995)
    for name in losses:
        trainer.step(name, 0.0)
    clock, log = Clock(seconds), Log(work / "judge.jsonl", every=10)
    while clock.running(trainer.steps):
        loss = trainer.step(str(trainer.steps % len(pools)), clock.progress)
        if trainer.steps % 50 == 0:
            log(clock, step=trainer.steps, loss=loss)
    trainer.swap()
    for height, width, frames, _ in sizes:
        for damaged in (None, codec):
            pool, labels = draw_looks(
                max(8, int(1000 * scale)), (height, width, frames), rng, keep_out=True,
                codec=damaged,
            )  # fmt: skip
            right = {k: round(v, 4) for k, v in accuracy(judge, pool, labels).items()}
            print((width, height, frames), "damaged" if damaged else "clean", right, flush=True)
    save_weights(judge, work / WEIGHTS.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=80)
    parser.add_argument("--scale", type=float, default=1.0, help="of pools and batches, for trials")
    arguments = parser.parse_args()
    painting.compile_painter()
    main(arguments.work, arguments.seconds, arguments.scale)
