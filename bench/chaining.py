"""How good takes are by each way to chain segments: tables and picture of docs/CHAINING.md.

    python -m bench.chaining                 # half an hour on two CPU cores
    python -m bench.chaining naive "9 frames, faded" --segments 4              # another table
    python -m bench.chaining naive "9 frames, faded" --segments 4 --first 24 --takes 48
    python -m bench.chaining naive "9 frames, faded" --still                   # nothing moves
    python -m bench.chaining --only-long     # the picture alone

Takes of the embedded model, 128x128, eight segments, two of each movement, from prompts that were
kept out of its training; and three takes of 60 s. The evaluator of training/ judges looks; it was
trained on drawn clips only. Colours are the medians of the product and of its background.
"""

import argparse
import json
import multiprocessing
import random
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure

from onetake.jobs.request import Job
from onetake.media.colour import delta_e, lab_of
from onetake.media.frames import FrameBatch, FrameStream
from onetake.models import catalogue, loader
from onetake.runtime.cancellation import Control
from onetake.runtime.settings import Settings
from onetake.runtime.stopwatch import Stopwatch
from onetake.seams.meter import SeamMeter
from onetake.takes import chain
from onetake.takes.planning import plan_job
from training.captions import MOVEMENTS, Scene, caption, names
from training.clips import draw as draw_clips
from training.clips import make_clips, random_scenes, with_movement
from training.judge import Judge, load_judge

RESULTS = Path(__file__).parent / "results"  # chaining.json; other sets of takes beside it
PICTURE = Path(__file__).parents[1] / "docs" / "chaining.png"
PLAIN = {"retries": 0, "colour_match": 0.0, "history_noise": 0.0}
GUIDED = {"guidance_scale": catalogue.MODELS["tiny"].sampling.guidance_scale}  # in every segment
DRAWN = "drawn, without seams"  # true clips, to compare the figures with
# A way: the job's options, and whether segments fade into each other.
WAYS: dict[str, tuple[dict[str, Any], bool]] = {
    "naive": (PLAIN | GUIDED | {"overlap_frames": 1}, False),
    "1 frame, faded": (PLAIN | {"overlap_frames": 1}, True),
    "5 frames, cut": (PLAIN | {"overlap_frames": 5}, False),
    "5 frames, faded": (PLAIN | {"overlap_frames": 5}, True),
    "9 frames, faded": (PLAIN | {"overlap_frames": 9}, True),
    "9, all guided": (PLAIN | GUIDED | {"overlap_frames": 9}, True),
    "17 frames, faded": (PLAIN | {"overlap_frames": 17}, True),
    "5, one retry": (PLAIN | {"overlap_frames": 5, "retries": 1}, True),
    "5, noise at 0.05": (PLAIN | {"overlap_frames": 5, "history_noise": 0.05}, True),
    "5, colours at 0.5": (PLAIN | {"overlap_frames": 5, "colour_match": 0.5}, True),
    DRAWN: (PLAIN, False),
}
SIDE, FPS, SEGMENT = 128, 16, 33
USUAL = 8  # segments of a take
LAST = 17  # frames that are judged
LOOKS = ("colour", "shape", "background")
Row = dict[str, Any]


def one(way: str, number: int, segments: int, still: bool) -> Row:  # noqa: FBT001 - by starmap
    """Make and measure one take in this process."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options, faded = WAYS[way]
    rng = random.Random(number)  # noqa: S311 - prompts, not secrets
    movements = names(MOVEMENTS)
    (scene,) = random_scenes(1, rng, keep_out=True)
    scene = with_movement(scene, "still" if still else movements[number % len(movements)])
    overlap = options.get("overlap_frames") or catalogue.MODELS["tiny"].default_overlap
    frames = SEGMENT + (segments - 1) * (SEGMENT - overlap)
    request = {
        "prompt": caption(scene, rng, full=True), "model": "tiny", "size": f"{SIDE}*{SIDE}",
        "num_frames": frames, "seed": number, **options,
    }  # fmt: skip
    settings = Settings()
    _spec, _note, plan_for = plan_job(Job.parse(request), settings)
    plan = plan_for(None)
    if not faded:
        chain.cross_fade = lambda before, _after: before  # type: ignore[assignment]
    segments_chain = chain.Chain(_loaded(settings), plan, Stopwatch(), Control())
    meter = SeamMeter(plan.seam_frames(), plan.num_frames)
    stream = _drawn(scene, plan.num_frames, rng) if way == DRAWN else segments_chain.frames()
    take = np.concatenate(list(meter.through(stream)))
    chain.cross_fade = _FADE
    report = meter.report()
    return {
        "way": way, "take": number, "movement": movements[scene.movement],
        "missing": plan.generated_frames - len(take),
        "seams": [asdict(seam) for seam in report.seams],
        "made": sum(tries.count for tries in segments_chain.tries.values())
        or len(plan.segments) - 1,
        **_looks(take, scene),
    }  # fmt: skip


def long_take(way: str) -> Row:
    """The curves of a take of 60 s, and where its seams are."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options, faded = WAYS[way]
    request = {
        "prompt": "a red bottle on a grey background, camera slowly orbits", "model": "tiny",
        "size": f"{SIDE}*{SIDE}", "duration": LONG, "seed": 1, **options,
    }  # fmt: skip
    plan = plan_job(Job.parse(request), Settings())[2](None)
    meter = SeamMeter(plan.seam_frames(), plan.num_frames)
    if not faded:
        chain.cross_fade = lambda before, _after: before  # type: ignore[assignment]
    segments_chain = chain.Chain(_loaded(Settings()), plan, Stopwatch(), Control())
    for _batch in meter.through(segments_chain.frames()):
        pass
    chain.cross_fade = _FADE
    report = meter.report()
    return {"way": way, "seams": plan.seam_frames(), "curves": asdict(report.curves)}


def draw(rows: list[Row]) -> None:
    """A panel for each curve, a line for each way."""
    titles = {
        "delta_e": "delta E from the start", "sharpness": "sharpness over the first frame's",
        "speed": "optical flow, pixels a frame", "chroma": "mean chroma",
    }  # fmt: skip
    figure = Figure(figsize=(9, 7), layout="constrained")
    panels = figure.subplots(len(titles), sharex=True)
    for panel, (key, title) in zip(panels, titles.items(), strict=True):
        for row in rows:
            seconds = np.array(row["curves"]["frame"]) / FPS
            panel.plot(seconds, row["curves"][key], label=row["way"])
        for seam in rows[-1]["seams"]:
            panel.axvline(seam / FPS, color="0.85", linewidth=0.6, zorder=0)
        panel.set_title(title, fontsize=9, loc="left")
    panels[-1].set_xlabel("seconds")
    panels[-1].legend(loc="lower right")
    figure.savefig(PICTURE, dpi=90)


_FADE = chain.cross_fade
_LOWEST, _HIGHEST = 0.7, 1.4  # of the velocity, as `onetake seams` has it
_SURE = 0.9  # share of the product in a pixel, by the evaluator's mask
LONG = 60  # seconds
LONG_WAYS = ("naive", "9 frames, faded", "9, all guided")


def _loaded(settings: Settings, kept: list[Any] = []) -> Any:  # noqa: B006 - kept on purpose
    if not kept:
        kept.append(loader.load(catalogue.MODELS["tiny"], settings))
    return kept[0]


def _judge(kept: list[Judge] = []) -> Judge:  # noqa: B006 - kept on purpose
    if not kept:
        kept.append(load_judge())
    return kept[0]


def _drawn(scene: Scene, frames: int, rng: random.Random) -> FrameStream:
    pixels, _mask = draw_clips(make_clips([scene], frames, SIDE, SIDE, rng))
    yield pixels[0].permute(1, 2, 3, 0).contiguous().numpy()


def _looks(take: FrameBatch, scene: Scene) -> Row:
    """The evaluator's answers for both ends, and how colours and sharpness differ there."""
    ends = {"first": take[:LAST], "last": take[-LAST:]}
    row: Row = {}
    colours, sharp = {}, {}
    for name, part in ends.items():
        video = torch.from_numpy(part).permute(3, 0, 1, 2)[None].float() / 255
        names_of = _judge().name(video)
        row[name] = {look: int(names_of[look][0]) == getattr(scene, look) for look in LOOKS}
        colours[name] = _colours(part)
        sharp[name] = np.mean([
            np.square(cv2.Laplacian(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), cv2.CV_32F)).mean()
            for f in part
        ])  # fmt: skip
    pairs = [delta_e(colours["first"][i], colours["last"][i]) for i in range(2)]
    return row | {
        "delta_e": [float(value) for value in pairs],
        "sharpness": float(sharp["last"] / sharp["first"]),
    }


@torch.no_grad()
def _colours(part: FrameBatch) -> list[Any]:
    """Median Lab of the product and of its background: movement does not change them."""
    pixels = torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255
    share = _judge().looks(pixels)["mask"].sigmoid()
    share = torch.nn.functional.interpolate(share, size=part.shape[1:3])[:, 0].numpy()
    lab = lab_of(part)
    parts = lab[share > _SURE], lab[share < 1 - _SURE]
    return [np.median(one if len(one) else lab.reshape(-1, 3), axis=0) for one in parts]


def summary(rows: list[Row]) -> Row:
    """One row of the table; a mean is None where too little moves to measure."""
    seams = [seam for row in rows for seam in row["seams"]]

    def figures(key: str) -> list[float]:
        return [seam[key] for seam in seams if seam[key] is not None]

    velocity, structure = figures("velocity"), figures("structure")
    drift = [max(row["delta_e"]) for row in rows]

    def right(end: str) -> float:
        return mean(mean(row[end][look] for look in LOOKS) for row in rows)

    def mean_of(values: list[Any]) -> float | None:
        return mean(values) if values else None

    return {
        "missing or twice": sum(abs(row["missing"]) for row in rows)
        + sum("duplicate" in seam["faults"] and seam["velocity"] is not None for seam in seams),
        "velocity": mean_of(velocity),
        "inside 0.7 to 1.4": mean_of([_LOWEST <= v <= _HIGHEST for v in velocity]),
        "structure": mean_of(structure), "structure, worst": max(structure, default=None),
        "seams that pass": mean(not seam["faults"] for seam in seams),
        "delta E": mean(drift), "delta E, worst": max(drift),
        "sharpness": mean(row["sharpness"] for row in rows),
        "right at first": right("first"), "right at last": right("last"),
        "made a seam": mean(row["made"] / len(row["seams"]) for row in rows),
    }  # fmt: skip


def main(ways: list[str], first: int, takes: int, segments: int, *, still: bool) -> None:
    """Measure all ways; results are written after each."""
    name = "chaining" + (f"_{segments}" if segments != USUAL else "")
    name += (f"_from_{first}" if first else "") + ("_still" if still else "")
    results = RESULTS / f"{name}.json"
    before = json.loads(results.read_text()) if results.is_file() else {}
    table: dict[str, Row] = before.get("ways", {})
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for way in ways:
            numbers = range(first, first + takes)
            rows = pool.starmap(one, [(way, n, segments, still) for n in numbers], chunksize=1)
            table[way] = summary(rows)
            figures = {key: value for key, value in table[way].items() if value is not None}
            print(way, {key: round(value, 3) for key, value in figures.items()}, flush=True)
            about = {"takes": takes, "segments": segments, "size": SIDE}
            results.write_text(json.dumps({**about, "ways": table}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ways", nargs="*", default=list(WAYS))
    parser.add_argument("--first", type=int, default=0, help="number of the first take")
    parser.add_argument("--takes", type=int, default=24)
    parser.add_argument("--still", action="store_true", help="prompts ask for no movement")
    parser.add_argument("--segments", type=int, default=USUAL)
    parser.add_argument("--only-long", action="store_true", help="the takes of 60 s alone")
    options = parser.parse_args()
    if not options.only_long:
        main(options.ways, options.first, options.takes, options.segments, still=options.still)
    others = options.segments != USUAL or options.first or options.still
    if options.only_long or not others:
        with multiprocessing.get_context("spawn").Pool(2) as two:
            draw(two.map(long_take, LONG_WAYS))
