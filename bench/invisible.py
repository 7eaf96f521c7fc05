"""From how many clips the invisible mark is read back, after what is commonly done to a video.

    python -m bench.invisible    # a quarter of an hour on two CPU cores
    python -m bench.invisible --every 6   # a look

Takes of the embedded model and drawn clips, scaled to 720p as they would be delivered, and hard
cases. Each is marked, written by the worker's own encoder, and then attacked with another ffmpeg
and x264 (preset medium), so what is read was encoded twice. Unmarked ones are written and read too.
"""

import argparse
import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from onetake.jobs.request import Output
from onetake.media.encoder import VideoEncoder
from onetake.media.frames import FrameBatch, cover
from onetake.media.probe import read_frames
from onetake.models import catalogue, loader
from onetake.models.spec import DenoiseRequest, VideoModel
from onetake.runtime.settings import Settings
from onetake.trust.provenance.invisible import InvisibleMark
from onetake.trust.provenance.invisible_reader import FALSE_ALARM, best_guess
from training.captions import caption
from training.clips import draw, make_clips, random_scenes

RESULTS = Path(__file__).parent / "results" / "invisible.json"
WIDE, TALL = (1280, 720), (720, 1280)
FRAMES, LONG, FPS = 49, 121, 24
STEPS = 12
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
HALF = "scale=iw/2:ih/2"
CROP = "crop=trunc(iw*0.45)*2:trunc(ih*0.45)*2"  # about the centre, 90% of both sides are left
# Each attack: ffmpeg's filters and options, and x264's crf; None copies what was delivered.
ATTACKS: dict[str, tuple[list[str], int | None]] = {
    "as delivered": ([], None),
    "crf 23, re-muxed": ([], 23),
    "crf 28": ([], 28),
    "half size, crf 23": (["-vf", HALF], 23),
    "half size and back, crf 23": (["-vf", f"{HALF},scale=iw*2:ih*2"], 23),
    "10% cropped, crf 23": (["-vf", CROP], 23),
    "1 second of it at 15 fps, crf 23": (["-ss", "0.5", "-t", "1", "-r", "15"], 23),
    "half size, crf 28": (["-vf", HALF], 28),
}
Make = Callable[[], FrameBatch]
Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """A clip to be made: what kind it is, and how."""

    name: str
    make: Make


@cache
def tiny() -> VideoModel:
    """The embedded model, loaded once a process."""
    torch.set_num_threads(1)
    return loader.load(catalogue.MODELS["tiny"], Settings())


def take(number: int, size: tuple[int, int]) -> FrameBatch:
    """What the embedded model makes of a random prompt."""
    model, rng = tiny(), random.Random(number)  # noqa: S311 - clips, not secrets
    prompt = caption(random_scenes(1, rng)[0], rng, full=True)
    request = DenoiseRequest(
        prompt,
        "",
        *size,
        FRAMES,
        STEPS,
        model.spec.sampling.guidance_scale,
        model.spec.sampling.flow_shift,
        number,
    )
    return np.concatenate(list(model.decode(model.denoise(request, lambda _step: None))))


def drawn(number: int, frames: int) -> FrameBatch:
    """A drawn clip, at a third of its delivered size."""
    torch.set_num_threads(1)
    rng = random.Random(1000 + number)  # noqa: S311 - clips, not secrets
    pixels, _mask = draw(make_clips(random_scenes(1, rng), frames, 256, 448, rng))
    return pixels[0].permute(1, 2, 3, 0).contiguous().numpy()


def scaled(make: Make, size: tuple[int, int]) -> FrameBatch:
    """As the worker delivers another size than was generated."""
    return np.stack([np.asarray(cover(Image.fromarray(frame), size)) for frame in make()])


def texture(seed: int, size: tuple[int, int], power: float) -> npt.NDArray[np.uint8]:
    """Random texture whose waves weaken with their frequency, as those of pictures do (power 1)."""
    width, height = size
    waves = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    away = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width) * width)
    away[0, 0] = np.inf
    values = np.fft.irfft2(waves / away**power, (height, width))
    return (125 + 45 * values / values.std()).clip(0, 255).astype(np.uint8)


def standing(picture: npt.NDArray[np.uint8], frames: int = FRAMES) -> FrameBatch:
    """A grey picture that does not move."""
    return np.broadcast_to(picture[None, ..., None], (frames, *picture.shape, 3)).copy()


def textured(seed: int, power: float) -> FrameBatch:
    """A texture that does not move."""
    return standing(texture(seed, WIDE, power))


def flat(level: int, frames: int = FRAMES) -> FrameBatch:
    """One grey all over."""
    return standing(np.full(WIDE[::-1], level, np.uint8), frames)


def squares(side: int, *, across_only: bool = False) -> FrameBatch:
    """A chequered ground, or stripes."""
    y, x = np.mgrid[: WIDE[1], : WIDE[0]] // side
    return standing(((x + y * (not across_only)) % 2 * 160 + 40).astype(np.uint8))


def panned(seed: int, right: int, down: int) -> FrameBatch:
    """A texture that moves by so many pixels a frame."""
    size = WIDE[0] + right * FRAMES, WIDE[1] + down * FRAMES
    ground = texture(seed, size, 1.0)
    views = [
        ground[down * i : down * i + WIDE[1], right * i : right * i + WIDE[0]]
        for i in range(FRAMES)
    ]
    return np.stack(views)[..., None].repeat(3, axis=3)


def zoomed(seed: int) -> FrameBatch:
    """A texture that the camera nears."""
    ground = texture(seed, (2 * WIDE[0], 2 * WIDE[1]), 1.1)
    views = []
    for number in range(FRAMES):
        part = 1 / (1 + 0.012 * number)
        place = np.array([[part, 0, 600], [0, part, 300]], np.float32)
        views.append(cv2.warpAffine(ground, place, WIDE, flags=1 | cv2.WARP_INVERSE_MAP))
    return np.stack(views)[..., None].repeat(3, axis=3)


def grained(seed: int, deviation: float) -> FrameBatch:
    """A standing texture under noise of film."""
    rng, ground = np.random.default_rng(seed), texture(seed, WIDE, 1.2)
    noise = (rng.standard_normal((*ground.shape, 1), np.float32) * deviation for _ in range(FRAMES))
    return np.stack([(ground[..., None] + n).clip(0, 255).astype(np.uint8) for n in noise]).repeat(
        3, axis=3
    )


def noise() -> FrameBatch:
    """Every pixel another value in every frame."""
    return np.random.default_rng(0).integers(0, 256, (FRAMES, *WIDE[::-1], 3), np.uint8)


def page() -> FrameBatch:
    """Lines of text on white."""
    picture = np.full(WIDE[::-1], 245, np.uint8)
    for line in range(28):
        sentence = "the quick brown fox jumps over the lazy dog 0123456789 " * 2
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, sentence, (10, 24 + line * 25), font, 0.6, (20,), 1, cv2.LINE_AA)
    return standing(picture)


def flashes() -> FrameBatch:
    """Dark and bright, three frames each."""
    levels = np.where(np.arange(FRAMES) // 3 % 2, 30, 220).astype(np.uint8)
    return levels[:, None, None, None].repeat(WIDE[1], 1).repeat(WIDE[0], 2).repeat(3, 3)


def ramp() -> FrameBatch:
    """From dark on the left to bright on the right."""
    return standing(np.linspace(40, 215, WIDE[0]).astype(np.uint8)[None].repeat(WIDE[1], 0))


def sources() -> list[Source]:
    """Clips of 720p, 49 frames or 121."""
    clips = []
    for number in range(12):
        small, size = ((224, 128), WIDE) if number % 4 else ((128, 224), TALL)
        make = partial(take, number, small)
        clips.append(Source(f"take {number}", partial(scaled, make, size)))
    for number in range(10):
        make = partial(drawn, number, FRAMES if number else LONG)
        clips.append(Source(f"drawn {number}", partial(scaled, make, WIDE)))
    hard: dict[str, Make] = {
        "grey, 5 s": partial(flat, 128, LONG),
        "dark grey": partial(flat, 24),
        "black": partial(flat, 0),
        "white": partial(flat, 255),
        "ramp": ramp,
        "flashes": flashes,
        "noise": noise,
        "grain 5": partial(grained, 1, 5),
        "grain 12": partial(grained, 2, 12),
        "pan 3 px": partial(panned, 3, 3, 0),
        "pan 9 px": partial(panned, 4, 9, 0),
        "pan 37 px": partial(panned, 5, 37, 4),
        "zoom": partial(zoomed, 6),
        "standing, fine": partial(textured, 7, 0.6),
        "standing, as pictures": partial(textured, 8, 1.0),
        "standing, soft": partial(textured, 9, 1.4),
        "text": page,
        "chequered 32 px": partial(squares, 32),
        "stripes 8 px": partial(squares, 8, across_only=True),
    }
    return clips + [Source(name, make) for name, make in hard.items()]


def small_sources() -> list[Source]:
    """Takes in the embedded model's own sizes."""
    sizes = [(224, 128)] * 6 + [(128, 128)] * 6
    return [
        Source(f"small take {number} {width}x{height}", partial(take, number, (width, height)))
        for number, (width, height) in enumerate(sizes)
    ]


def psnr(marked: FrameBatch, clean: FrameBatch) -> float:
    """Decibels, of all frames of a clip together."""
    errors = [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(marked, clean, strict=True)]
    return float(10 * np.log10(255**2 / mean(map(float, errors))))


def deliver(frames: FrameBatch, file: Path) -> None:
    """Write them as the worker does."""
    size = frames.shape[2], frames.shape[1]
    with VideoEncoder(file, size, Fraction(FPS), Output()) as encoder:
        for start in range(0, len(frames), 4):
            encoder.write(frames[start : start + 4])


def attack(file: Path, name: str) -> Path:
    """What somebody made of the file."""
    options, crf = ATTACKS[name]
    if crf is None:
        return file
    attacked = file.with_name("attacked.mp4")
    codec = ["-c:v", "libx264", "-preset", "medium", "-crf", str(crf), "-threads", "1"]
    run = [FFMPEG, "-y", "-loglevel", "error"]
    subprocess.run([*run, "-i", file, *options, *codec, attacked], check=True)
    if "re-muxed" in name:
        other = file.with_name("attacked.mkv")
        subprocess.run([*run, "-i", attacked, "-c", "copy", other], check=True)
        return other
    return attacked


def judged(clip: Path, short_id: int) -> Row:
    """What `read_mark` says to a clip, and how sure it is."""
    guess = best_guess(read_frames(clip))
    if guess is None:
        raise ValueError(f"{clip.name} has no frames")
    verdict = "read" if guess.short_id == short_id else "wrong"
    if guess.false_alarm > FALSE_ALARM:
        verdict = "none"
    return {"verdict": verdict, "confidence": round(guess.confidence, 1)}


def measure(numbered: tuple[int, Source]) -> Row:
    """One clip through everything."""
    number, source = numbered
    cv2.setNumThreads(1)
    clean = source.make()
    short_id = random.Random(number).getrandbits(32)  # noqa: S311 - no secret
    mark = InvisibleMark(short_id, (clean.shape[2], clean.shape[1]))
    marked = np.concatenate([mark.embed(clean[i : i + 4]) for i in range(0, len(clean), 4)])
    row: Row = {"clip": source.name, "psnr": round(psnr(marked, clean), 2)}
    with TemporaryDirectory() as folder:
        file, plain = Path(folder) / "marked.mp4", Path(folder) / "plain.mp4"
        deliver(marked, file)
        deliver(clean, plain)
        row["bytes"] = [file.stat().st_size, plain.stat().st_size]
        row["attacks"] = {name: judged(attack(file, name), short_id) for name in ATTACKS}
        row["unmarked"] = {
            name: judged(attack(plain, name), short_id)
            for name in ("as delivered", "half size, crf 28")
        }
    return row


def cost() -> dict[str, float]:
    """Seconds on one core for 121 frames of 1280x720 in batches of four."""
    cv2.setNumThreads(1)
    frames = panned(10, 5, 1)
    clip = np.concatenate([frames, frames, frames])[:LONG]
    started = time.process_time()
    mark = InvisibleMark(1, WIDE)
    marked = [mark.embed(clip[start : start + 4]) for start in range(0, LONG, 4)]
    embedded = time.process_time()
    best_guess(marked)
    read = time.process_time()
    best_guess([clip])
    return {
        "embed": round(embedded - started, 2),
        "read": round(read - embedded, 2),
        "read_unmarked": round(time.process_time() - read, 2),
    }


def counted(rows: list[Row], part: str) -> Iterator[tuple[str, dict[str, int]]]:
    """How many verdicts of each kind, for each attack."""
    verdicts = [row[part] for row in rows]
    for name in verdicts[0]:
        said = [row[name]["verdict"] for row in verdicts]
        counts = {kind: said.count(kind) for kind in ("read", "wrong", "none")}
        yield name, counts | {"of": len(said)}


def summary(rows: list[Row]) -> Row:
    """A table of one group of clips."""
    quality = [row["psnr"] for row in rows]
    growth = [marked / plain - 1 for marked, plain in (row["bytes"] for row in rows)]
    guesses = [reading["confidence"] for row in rows for reading in row["unmarked"].values()]
    sure = [
        reading["confidence"]
        for row in rows
        for reading in row["attacks"].values()
        if reading["verdict"] == "read"
    ]
    return {
        "psnr_min": min(quality),
        "psnr_mean": round(mean(quality), 1),
        "file_growth_median": round(float(np.median(growth)), 3),
        "read_confidence_least": min(sure),
        "unmarked_confidence_mean": round(mean(guesses), 1),
        "unmarked_confidence_most": max(guesses),
        "attacks": dict(counted(rows, "attacks")),
        "unmarked": dict(counted(rows, "unmarked")),
    }


def main() -> None:
    """Print the table, and write it with every clip's figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take one clip of so many")
    every = parser.parse_args().every
    report: Row = {"seconds": cost()}
    print("121 frames of 1280x720 on one core, seconds:", report["seconds"], flush=True)
    groups = {"720p": sources()[::every], "small": small_sources()[::every]}
    rows = []
    with get_context("spawn").Pool(2) as pool:
        for row in pool.imap(measure, enumerate([*groups["720p"], *groups["small"]])):
            verdicts = " ".join(reading["verdict"] for reading in row["attacks"].values())
            print(f"{row['clip']:24} {row['psnr']:5} dB  {verdicts}", flush=True)
            rows.append(row)
    split = len(groups["720p"])
    for group, part in (("720p", rows[:split]), ("small", rows[split:])):
        figures = summary(part)
        report[group] = figures | {"clips": part}
        least, average = figures["psnr_min"], figures["psnr_mean"]
        print(f"\n{group}: PSNR {least} at least, {average} dB in the mean; ")
        print(f"files grow by {figures['file_growth_median']:.1%} (median)")
        print(f"{'':34}read wrong none of")
        tables = {
            **figures["attacks"],
            **{f"unmarked, {k}": v for k, v in figures["unmarked"].items()},
        }
        for name, counts in tables.items():
            print(f"{name:34}" + "".join(f"{value:4} " for value in counts.values()))
        for name in ATTACKS:
            missed = [row["clip"] for row in part if row["attacks"][name]["verdict"] != "read"]
            if missed:
                print(f"not read, {name}: {', '.join(missed)}")
        print(f"least confidence of a reading: {figures['read_confidence_least']}")
        print(f"most confidence of an unmarked clip: {figures['unmarked_confidence_most']}")
    RESULTS.write_text(json.dumps(report | {"every": every}, indent=1) + "\n")


if __name__ == "__main__":
    main()
