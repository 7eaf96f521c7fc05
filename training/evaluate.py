"""Does the embedded model do what it is told? Prints the table of figures; fails below the bars.

    python -m training.evaluate            # everything: a minute on a GPU, an hour on two CPU cores
    python -m training.evaluate --short    # a sample with wider bars: a minute on two cores

Frames are judged by training/judge.py, which saw drawn clips only. Each share stands beside
its chance level and beside a control: the same clips held against other clips' prompts.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from training import clips
from training.captions import MOVEMENTS, Scene, caption, names
from training.engine import DEVICE, RANK, WORLD, join, say
from training.generate import Model
from training.judge import ATTRIBUTES, Judge, accuracy, draw_looks, load_judge

ASSETS = Path(__file__).parents[1] / "src" / "onetake" / "models" / "assets"
SIZES = ((128, 128, 17), (128, 224, 33), (224, 128, 33), (128, 128, 33), (192, 192, 17))
SEEN = {"background": 0.99, "colour": 0.99, "shape": 0.97, "movement": 0.97}
UNSEEN = {"background": 0.98, "colour": 0.95, "shape": 0.92, "movement": 0.93}
TURBO_SEEN, TURBO_UNSEEN = dict.fromkeys(SEEN, 0.95), dict.fromkeys(SEEN, 0.88)
SHORT_MARGIN = 0.12  # a sample of so few clips scatters
AXIS_MOVES = ("left", "right", "up", "down")


# What, value, bar, chance, control.
Row = tuple[str, float, float | None, float | None, float | None]


@dataclass
class Report:
    """The rows so far."""

    margin: float
    rows: list[Row] = field(default_factory=list)

    def add(
        self, what: str, value: float, bar: float | None = None, chance: float | None = None,
        control: float | None = None,
    ) -> None:  # fmt: skip
        """Print and keep a row. Bars on shares are widened by the margin."""
        if bar is not None and bar <= 1:
            bar -= self.margin
        self.rows.append((what, value, bar, chance, control))
        cells = ["" if v is None else f"{v:.3f}" for v in (value, bar, chance, control)]
        verdict = "" if bar is None else ("ok" if value >= bar else "BELOW")
        print(
            f"{what:52} {cells[0]:>8} {cells[1]:>8} {cells[2]:>8} {cells[3]:>8} {verdict}",
            flush=True,
        )

    def passed(self) -> bool:
        """Whether every bar was reached."""
        return all(bar is None or value >= bar for _, value, bar, _, _ in self.rows)


def drawn(scenes: list[Scene], size: tuple[int, int, int], seed: int) -> tuple[Tensor, clips.Clips]:
    """True clips of scenes: frames in 0..1 [N, 3, F, H, W] on the device, and what made them."""
    height, width, frames = size
    made = clips.make_clips(scenes, frames, height, width, random.Random(seed))
    return clips.draw(made, DEVICE)[0].float() / 255, made


def shares(judge: Judge, video: Tensor, scenes: list[Scene]) -> dict[str, tuple[Tensor, Tensor]]:
    """For each attribute: bool [N] named right, and the same against a neighbour's scene."""
    said = {key: [] for key in ATTRIBUTES}
    for part in video.split(50):
        for key, value in judge.name(part).items():
            if key in said:
                said[key].append(value.cpu())
    result = {}
    for key, parts in said.items():
        truth = torch.tensor([getattr(scene, key) for scene in scenes])
        result[key] = torch.cat(parts) == truth, torch.cat(parts) == truth.roll(1)
    return result


def evaluator(report: Report, judge: Judge, count: int) -> None:
    """What the judge itself gets right, on drawn clips of held-out combinations."""
    pool, labels = draw_looks(count, (128, 128, 17), random.Random(3), keep_out=True)
    for key, value in accuracy(judge, pool, labels).items():
        report.add(f"evaluator on drawn clips: {key}", value, 0.99, 1 / ATTRIBUTES[key])


def text_to_video(
    report: Report, model: Model, judge: Judge, title: str, count: int, bars: dict[str, float],
    *, keep_out: bool, turbo: bool = False,
) -> None:  # fmt: skip
    """The four attributes over all sizes, complete captions."""
    rng = random.Random(f"{keep_out}")
    right: dict[str, list[Tensor]] = {key: [] for key in bars}
    control: dict[str, list[Tensor]] = {key: [] for key in bars}
    for i, size in enumerate(SIZES if count >= 100 else SIZES[:2]):
        part = count // (len(SIZES) if count >= 100 else 2)
        scenes = clips.random_scenes(part, rng, keep_out=keep_out)
        prompts = [caption(scene, rng, full=True) for scene in scenes]
        video = model(prompts, size, seed=100 + i, turbo=turbo)
        for key, (yes, other) in shares(judge, video, scenes).items():
            right[key].append(yes)
            control[key].append(other)
    for key, bar in bars.items():
        value, other = (torch.cat(parts[key]).float().mean().item() for parts in (right, control))
        report.add(f"{title}: {key}", value, bar, 1 / ATTRIBUTES[key], other)


def image_to_video(report: Report, model: Model, judge: Judge, count: int, *, turbo: bool) -> None:
    """The first frame is kept; the movement follows the text, not the clip the image came from."""
    rng, size = random.Random(31), (128, 128, 17)
    name = "turbo, image to video" if turbo else "image to video"
    images, prompts, wanted = [], [], []
    while len(images) < count:
        scenes = clips.random_scenes(50, rng)
        made = clips.make_clips(scenes, 1, *size[:2], rng)
        central = made.state[:, 0, :2].abs().amax(dim=1) < 0.08  # room to go anywhere
        frames = clips.draw(made, DEVICE)[0].float() / 255
        for i in central.nonzero().flatten().tolist():
            others = [m for m in names(MOVEMENTS) if clips.MOVEMENT[m] != scenes[i].movement]
            scene = clips.with_movement(scenes[i], rng.choice(others))
            images.append(frames[i])
            wanted.append(scene)
            prompts.append(caption(scene, rng, full=True))
    images, prompts, wanted = images[:count], prompts[:count], wanted[:count]
    context = torch.stack(images)
    video = model(prompts, size, seed=3, context=context, turbo=turbo)
    error = (video[:, :, 0] - context[:, :, 0]).square().mean(dim=(1, 2, 3))
    report.add(f"{name}: first frame PSNR, dB", float(-10 * error.log10().mean()), 36.0)
    result = shares(judge, video, wanted)
    for key, bar in (("movement", 0.95), ("colour", None), ("shape", None), ("background", None)):
        yes, other = (v.float().mean().item() for v in result[key])
        title = f"{name}: swapped movement" if key == "movement" else f"{name}: {key}"
        report.add(title, yes, None if turbo else bar, 1 / ATTRIBUTES[key], other)


def continuation(report: Report, model: Model, judge: Judge, count: int, *, turbo: bool) -> None:
    """Nine frames say where a product goes; the prompt names everything but the movement."""
    rng, size = random.Random(47), (128, 128, 33)
    name = "turbo, continuation" if turbo else "continuation"
    scenes = [
        clips.with_movement(s, rng.choice(AXIS_MOVES)) for s in clips.random_scenes(count, rng)
    ]
    truth, _ = drawn(scenes, size, 5)
    prompts = [caption(scene, rng, without="movement") for scene in scenes]
    video = model(prompts, size, seed=9, context=truth[:, :, :9], turbo=turbo)
    last, end, made = (judge.locate(v) for v in (truth[:, :, 8], truth[:, :, -1], video[:, :, -1]))
    went, should = made - last, end - last
    moved = should.norm(dim=1) > 6  # px; the others have stopped at the edge already
    along = (went * should).sum(1) / should.norm(dim=1)
    right = (along > 3)[moved].float().mean().item()
    report.add(f"{name}, movement not named: direction", right, None if turbo else 0.98, 0.25)
    share = ((made - end).norm(dim=1)[moved].mean() / should.norm(dim=1)[moved].mean()).item()
    report.add(f"{name}: frozen error / end error", 1 / share, None if turbo else 6.0)


def first_and_last(report: Report, model: Model, count: int) -> None:
    """Both ends of a true clip are given as images; the take arrives where it should."""
    rng, size = random.Random(53), (128, 128, 33)
    scenes = clips.random_scenes(count, rng)
    truth, _ = drawn(scenes, size, 7)
    prompts = [caption(scene, rng, full=True) for scene in scenes]
    ends = truth[:, :, :1], truth[:, :, -1:]
    video = model(prompts, size, seed=11, context=ends[0], last=ends[1])
    error = (video[:, :, -1:] - ends[1]).square().mean(dim=(1, 2, 3, 4))
    report.add("first and last frame: last frame PSNR, dB", float(-10 * error.log10().mean()))
    jump = (video[:, :, 1:] - video[:, :, :-1]).square().mean(dim=(1, 3, 4)).sqrt()
    worst = (jump[:, -6:].amax(dim=1) / jump[:, :-6].median(dim=1).values.clamp_min(0.004)).median()
    report.add("first and last frame: greatest late change / usual change", float(worst))


def chain(
    report: Report, model: Model, judge: Judge, count: int, bar: float, *, keep_out: bool,
    turbo: bool = False,
) -> None:  # fmt: skip
    """Eight segments of 17 frames, each continuing the last five frames of the one before."""
    rng, size = random.Random(61), (128, 128, 17)
    scenes = clips.random_scenes(count, rng, keep_out=keep_out)
    context = None
    for segment in range(8):
        prompts = [caption(scene, rng, full=True) for scene in scenes]
        video = model(prompts, size, seed=200 + segment, context=context, turbo=turbo)
        # A storyboard: half of the segments change the movement.
        context = (video[:, :, -5:] * 255).round() / 255
        if segment < 7:
            scenes = [
                clips.with_movement(s, rng.choice(names(MOVEMENTS))) if rng.random() < 0.5 else s
                for s in scenes
            ]
    title = f"{'turbo, ' if turbo else ''}eighth segment, {'held out' if keep_out else 'seen'}"
    result = shares(judge, video, scenes)
    for key in ("background", "colour", "shape"):
        yes, other = (v.float().mean().item() for v in result[key])
        report.add(f"{title}: {key}", yes, None if turbo else bar, 1 / ATTRIBUTES[key], other)


def reconstruction(report: Report, model: Model, count: int) -> None:
    """The VAE alone, on held-out clips of each size."""
    rng = random.Random(71)
    for height, width in ((128, 128), (128, 224), (224, 128), (192, 192), (256, 256)):
        scenes = clips.random_scenes(count, rng, keep_out=True)
        truth, _ = drawn(scenes, (height, width, 17), 5)
        error = torch.cat(
            [
                (model.decode(model.encode(v)) - v).square().mean(dim=(1, 2, 3, 4))
                for v in truth.split(4)
            ]
        )
        report.add(f"VAE {width}x{height}: PSNR, dB", float(-10 * error.log10().mean()), 38.0)


def other_ways(report: Report, model: Model, judge: Judge, count: int) -> None:
    """Figures without a bar: fewer steps, no guidance, long padding, negative prompts, speed."""
    rng, size = random.Random(83), (128, 128, 17)
    scenes = clips.random_scenes(count, rng)
    prompts = [caption(scene, rng, full=True) for scene in scenes]
    ways = {
        "8 steps": {"steps": 8},
        "no guidance": {"guidance": 1.0},
        "text length 512": {"text_length": 512},
    }
    for title, options in ways.items():
        result = shares(judge, model(prompts, size, seed=1, **options), scenes)
        for key in SEEN:
            report.add(
                f"{title}: {key}", result[key][0].float().mean().item(), None, 1 / ATTRIBUTES[key]
            )
    free = ["a bottle on a white background"] * count
    for negative in ("", "red"):
        said = torch.cat(
            [
                judge.name(v)["colour"]
                for v in model(free, size, seed=2, negative=negative).split(50)
            ]
        )
        report.add(f'share of red, negative prompt "{negative}"', (said == 0).float().mean().item())
    for word in ("slowly", "quickly"):
        asked = [
            f"a {c} ball on a grey background, the ball {word} moves right" for c in ("red", "blue")
        ]
        video = model(asked * (count // 2), (128, 224, 17), seed=4)
        path = judge.locate(video[:, :, -1]) - judge.locate(video[:, :, 0])
        report.add(f"pixels moved right in 17 frames, {word}", path[:, 0].mean().item())


def sections(report: Report, model: Model, judge: Judge) -> list[partial[None]]:
    """All measurements, the longest first."""
    r, m, j = report, model, judge
    both = (False, True)
    return [
        *(partial(chain, r, m, j, 100, (0.95, 0.90)[k], keep_out=k == 1, turbo=t)
          for t in both for k in both),
        partial(other_ways, r, m, j, 100),
        partial(text_to_video, r, m, j, "seen", 400, SEEN, keep_out=False),
        partial(text_to_video, r, m, j, "held out", 400, UNSEEN, keep_out=True),
        partial(continuation, r, m, j, 150, turbo=False),
        partial(reconstruction, r, m, 20),
        partial(
            text_to_video, r, m, j, "turbo, seen", 400, TURBO_SEEN, keep_out=False, turbo=True
        ),
        partial(
            text_to_video, r, m, j, "turbo, held out", 400, TURBO_UNSEEN, keep_out=True, turbo=True
        ),
        partial(first_and_last, r, m, 100),
        partial(image_to_video, r, m, j, 150, turbo=False),
        partial(image_to_video, r, m, j, 150, turbo=True),
        partial(continuation, r, m, j, 150, turbo=True),
        partial(evaluator, r, j, 1000),
    ]  # fmt: skip


def short_sections(report: Report, model: Model, judge: Judge) -> list[partial[None]]:
    """A sample of the most telling ones."""
    r, m, j = report, model, judge
    return [
        partial(evaluator, r, j, 40),
        partial(text_to_video, r, m, j, "seen", 16, SEEN, keep_out=False),
        partial(text_to_video, r, m, j, "turbo, seen", 16, TURBO_SEEN, keep_out=False, turbo=True),
        partial(image_to_video, r, m, j, 6, turbo=False),
    ]


def main(assets: Path, *, short: bool, figures: Path | None) -> int:
    """Run all measurements, shared among the processes; 0 if every bar is reached."""
    join()
    report, model, judge = Report(SHORT_MARGIN if short else 0.0), Model(assets), load_judge(DEVICE)
    say(f"{'':52} {'value':>8} {'bar':>8} {'chance':>8} {'shuffled':>8}")
    todo = (short_sections if short else sections)(report, model, judge)
    if model.turbo is None:  # its figures are missing, which is no pass
        todo = [section for section in todo if not section.keywords.get("turbo")]
        todo.append(partial(report.add, "turbo weights are there", 0.0, 1.0))
    for section in todo[RANK::WORLD]:
        section()
    if WORLD > 1:
        shared: list[list[Row]] = [[] for _ in range(WORLD)]
        dist.all_gather_object(shared, report.rows)
        report.rows = [row for rows in shared for row in rows]
    if figures and RANK == 0:
        figures.write_text(json.dumps(report.rows, indent=0))
    return 0 if report.passed() else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--figures", type=Path, help="also write the rows as JSON here")
    arguments = parser.parse_args()
    sys.exit(main(arguments.assets, short=arguments.short, figures=arguments.figures))
