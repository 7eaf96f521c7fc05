"""How often `onetake seams` flags clean places, and which planted faults it finds.

    python -m bench.seams [clips a movement]

Drawn clips of all movements, 49 frames of 224x128, written and read as H.264.
"""

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from onetake.jobs.request import Output
from onetake.media.colour import lab_of, rgb_of
from onetake.media.encoder import VideoEncoder
from onetake.media.frames import FrameBatch
from onetake.media.probe import read_frames
from onetake.seams.frames import ROW, FrameMeter
from onetake.seams.report import Take
from training.captions import MOVEMENTS, names
from training.clips import draw, make_clips, random_scenes, with_movement

WIDTH, HEIGHT, FRAMES, MIDDLE = 224, 128, 49, 24
CLOSE = 4  # frames; a search found a fault if it names a place as near


def raised(frames: FrameBatch, lightness: float) -> FrameBatch:
    """The frames with L* raised."""
    return rgb_of(lab_of(frames) + np.float32([lightness, 0, 0]))


def blurred(frames: FrameBatch, sigma: float) -> FrameBatch:
    """The frames out of focus."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


# Each fault: the frames before and after the middle, from a clip and another one.
Fault = Callable[[FrameBatch, FrameBatch], tuple[FrameBatch, FrameBatch]]
FAULTS: dict[str, Fault] = {
    "a frame twice": lambda v, _: (v[:MIDDLE], v[MIDDLE - 1 :]),
    "a frame missing": lambda v, _: (v[:MIDDLE], v[MIDDLE + 1 :]),
    "3 frames missing": lambda v, _: (v[:MIDDLE], v[MIDDLE + 3 :]),
    "2 frames repeated": lambda v, _: (v[:MIDDLE], v[MIDDLE - 2 :]),
    "5 frames repeated": lambda v, _: (v[:MIDDLE], v[MIDDLE - 5 :]),
    "turned back": lambda v, _: (v[:MIDDLE], v[MIDDLE - 2 :: -1]),
    "2 L* brighter": lambda v, _: (v[:MIDDLE], raised(v[MIDDLE:], 2)),
    "4 L* brighter": lambda v, _: (v[:MIDDLE], raised(v[MIDDLE:], 4)),
    "blurred, sigma 0.8": lambda v, _: (v[:MIDDLE], blurred(v[MIDDLE:], 0.8)),
    "blurred, sigma 1.5": lambda v, _: (v[:MIDDLE], blurred(v[MIDDLE:], 1.5)),
    "a cut": lambda v, other: (v[:MIDDLE], other[MIDDLE:]),
}
OF_MOVEMENT = [name for name in FAULTS if "frame" in name or name == "turned back"]


def coded(frames: FrameBatch) -> FrameBatch:
    """The frames after H.264."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        with VideoEncoder(file, (WIDTH, HEIGHT), Fraction(16), Output()) as encoder:
            encoder.write(frames)
        return np.concatenate(list(read_frames(file)))


def measured(frames: FrameBatch) -> Take:
    """The take, ready for any seam."""
    meter = FrameMeter()
    return Take(np.array([meter.row(frame) for frame in frames], ROW))


def main() -> None:
    """Print a line for clean places and one for each fault."""
    rng = random.Random(11)  # noqa: S311 - clips, not secrets
    movements = names(MOVEMENTS) * int(sys.argv[1] if len(sys.argv) > 1 else 3)
    scenes = random_scenes(len(movements), rng)
    scenes = [with_movement(scene, name) for scene, name in zip(scenes, movements, strict=True)]
    drafts = make_clips(scenes, FRAMES, HEIGHT, WIDTH, rng)
    clips, moving = [], []
    for number in range(len(movements)):
        frames, _mask = draw(drafts.part(number, number + 1))
        clips.append(frames[0].permute(1, 2, 3, 0).contiguous().numpy())

    figures: Counter[str] = Counter()
    middles = places = flagged = suspicions = 0
    seconds = 0.0
    for clip in clips:
        frames = coded(clip)
        started = time.perf_counter()
        take = measured(frames)
        suspicions += len(take.report([]).suspicions)
        seconds += time.perf_counter() - started
        middle = take.measure(MIDDLE)
        middles += bool(middle.faults)
        moving.append(middle.velocity is not None and middle.duplicate is not None)
        for at in range(8, FRAMES - 8):
            seam = take.measure(at)
            places, flagged = places + 1, flagged + bool(seam.faults)
            figures.update(seam.faults)
    print(f"{seconds / len(clips) / FRAMES * 1000:.0f} ms a frame")
    print(f"clean: {len(clips)} clips, {middles} fail in the middle; {suspicions} suspicions")
    print(f"clean: {flagged} of {places} places fail: {dict(figures)}")
    for name, fault in FAULTS.items():
        tries = failures = hits = 0
        for number, clip in enumerate(clips):
            if name in OF_MOVEMENT and not moving[number]:
                continue
            before, after = fault(clip, clips[number - 5])
            take = measured(coded(np.concatenate([before, after])))
            seam, search = take.measure(MIDDLE), take.report([]).suspicions
            near = [place for place in search if abs(place.at_frame - MIDDLE) <= CLOSE]
            tries, failures, hits = tries + 1, failures + bool(seam.faults), hits + bool(near)
        print(f"{name}: fails in {failures} of {tries}, found by search in {hits}")


if __name__ == "__main__":
    main()
