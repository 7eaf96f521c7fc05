"""Seams, measured on drawn clips: clean places pass, planted faults are found."""

import json
import random
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from onetake.entrypoints.cli import app
from onetake.jobs.request import Output
from onetake.media.colour import delta_e, lab_of, rgb_of
from onetake.media.encoder import VideoEncoder
from onetake.media.frames import FrameBatch
from onetake.seams.figures import Report, SeamFigures
from onetake.seams.meter import SeamMeter
from training.captions import MOVEMENTS, names
from training.clips import draw, make_clips, random_scenes, with_movement

MIDDLE = 12


@pytest.fixture(scope="module")
def clips() -> dict[str, FrameBatch]:
    """A small clip of 24 frames for each movement."""
    rng = random.Random(4)  # noqa: S311 - clips, not secrets
    movements = names(MOVEMENTS)
    scenes = random_scenes(len(movements), rng)
    scenes = [with_movement(s, name) for s, name in zip(scenes, movements, strict=True)]
    # A turntable's outline narrows and widens again: slow, it does not turn round in the middle.
    spin = movements.index("spin")
    scenes[spin] = replace(scenes[spin], speed=0)
    drafts = make_clips(scenes, 2 * MIDDLE, 96, 160, rng)
    drawn = {}
    for number, name in enumerate(movements):
        frames, _mask = draw(drafts.part(number, number + 1))  # one by one: twice as fast
        drawn[name] = frames[0].permute(1, 2, 3, 0).contiguous().numpy()
    return drawn


def measured(frames: FrameBatch, *seams: int) -> Report:
    """The report of a take that comes in batches of four."""
    meter = SeamMeter(seams, len(frames))
    passed = list(meter.through(frames[i : i + 4] for i in range(0, len(frames), 4)))
    assert np.array_equal(np.concatenate(passed), frames)
    return meter.report()


def seam_of(before: FrameBatch, after: FrameBatch) -> SeamFigures:
    """The figures where two parts meet."""
    (seam,) = measured(np.concatenate([before, after]), len(before)).seams
    return seam


def brighter(frames: FrameBatch, lightness: float) -> FrameBatch:
    """The same frames with L* raised."""
    return rgb_of(lab_of(frames) + np.float32([lightness, 0, 0]))


def blurred(frames: FrameBatch) -> FrameBatch:
    """The same frames out of focus."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in frames])


@pytest.mark.parametrize("movement", names(MOVEMENTS))
def test_a_clean_place_passes(clips, movement: str) -> None:
    """An uncut clip that is split in its middle passes every bar, and nothing is suspected."""
    report = measured(clips[movement], MIDDLE)
    assert report.seams[0].faults == ()
    assert report.seams[0].severity <= 1
    assert report.suspicions == ()


FAULTS: dict[str, Callable[[FrameBatch], tuple[FrameBatch, FrameBatch]]] = {
    "duplicate": lambda v: (v[:MIDDLE], v[MIDDLE - 1 :]),
    "velocity": lambda v: (v[:MIDDLE], v[MIDDLE + 1 :]),  # a frame is missing
    "structure": lambda v: (v[:MIDDLE], v[MIDDLE + 3 :]),
    "warp": lambda v: (v[:MIDDLE], brighter(v[MIDDLE:], 3)),
    "direction": lambda v: (v[:MIDDLE], v[MIDDLE - 2 :: -1]),
    "colour_step": lambda v: (v[:MIDDLE], brighter(v[MIDDLE:], 3)),
    "sharpness_step": lambda v: (v[:MIDDLE], blurred(v[MIDDLE:])),
}


@pytest.mark.parametrize("movement", ["left", "zoom out", "pan right"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(clips, fault: str, movement: str) -> None:
    """The figure that a fault is about fails, at a seam that is known and by a search."""
    before, after = FAULTS[fault](clips[movement])
    assert fault in seam_of(before, after).faults
    (suspicion,) = measured(np.concatenate([before, after])).suspicions
    assert abs(suspicion.at_frame - len(before)) <= 1


def test_a_repeated_overlap_is_a_step_back(clips) -> None:
    """Two frames that are shown again look right by every figure but the direction."""
    seam = seam_of(clips["pan right"][:MIDDLE], clips["pan right"][MIDDLE - 2 :])
    assert "direction" in seam.faults
    assert seam.direction < -0.9
    assert 0.7 < seam.velocity < 1.4


def test_a_cut_fails_nearly_everything(clips) -> None:
    """Another scene differs in structure, colour and movement."""
    seam = seam_of(clips["pan left"][:MIDDLE], clips["zoom in"][MIDDLE:])
    assert {"structure", "warp", "colour_step"} <= set(seam.faults)
    assert seam.severity > 5


def test_a_change_of_speed_is_told(clips) -> None:
    """Pace is the speed after over the speed before, and no verdict: movement may end."""
    pan = clips["pan right"]
    assert seam_of(pan[:MIDDLE:2], pan[MIDDLE:]).pace == pytest.approx(0.5, abs=0.1)


def test_a_still_scene_has_no_ratios(clips) -> None:
    """Noise is not divided by noise; what happens in a still scene stands out all the same."""
    still = np.repeat(clips["left"][:1], 2 * MIDDLE, axis=0)
    calm = seam_of(still[:MIDDLE], still[MIDDLE:])
    figures = (calm.duplicate, calm.velocity, calm.pace, calm.direction, calm.structure, calm.warp)
    assert set(figures) == {None}
    assert calm.faults == ()
    jump = seam_of(still[:MIDDLE], np.roll(still[MIDDLE:], 2, axis=2))
    assert jump.structure is None
    assert {"velocity", "structure"} <= set(jump.faults)


def test_drift_has_a_slope(clips) -> None:
    """A take that brightens by a tenth of L* a frame drifts by about as much delta E."""
    still = clips["left"][:1]
    drifting = np.concatenate([brighter(still, 0.1 * step) for step in range(100)])
    report = measured(drifting, 50)
    assert 6 < report.drift.delta_e < 12
    assert report.curves.delta_e[-1] == pytest.approx(report.drift.delta_e, rel=0.2)
    assert report.seams[0].delta_e == pytest.approx(report.drift.delta_e / 2, rel=0.2)
    assert report.seams[0].faults == report.suspicions == ()


def test_curves_are_decimated_and_frames_not_kept() -> None:
    """A long take has curves of at most 240 points and leaves no frame in the meter."""
    meter = SeamMeter([250], 500)
    noise = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3), np.uint8)
    for batch in meter.through(noise for _ in range(500)):
        del batch
    curves = meter.report().curves
    assert len(curves.frame) == len(curves.speed) == 167
    assert sum(row.nbytes for row in meter._rows) < 500 * 512


def test_an_unfinished_take_is_measured_as_far_as_it_went(clips) -> None:
    """Seams that did not pass are left out; seams outside of the take are refused."""
    meter = SeamMeter([10, 30], 40)
    list(meter.through(iter([clips["left"][:20]])))
    assert [seam.at_frame for seam in meter.report().seams] == [10]
    with pytest.raises(ValueError, match="40 is none of 1 to 39"):
        SeamMeter([40], 40)


# L*, a*, b* twice and their difference, as Sharma, Wu and Dalal published them.
@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_delta_e_is_the_published_one(one, other, difference: float) -> None:
    """CIEDE2000 gives the published figures, both ways round."""
    assert delta_e(np.array(one), np.array(other)) == pytest.approx(difference, abs=1e-4)
    assert delta_e(np.array(other), np.array(one)) == pytest.approx(difference, abs=1e-4)


@pytest.fixture
def onetake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run `onetake ...` in a folder with an MP4 in which a frame is doubled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: CliRunner().invoke(app, [str(part) for part in arguments])


@pytest.fixture
def doubled(clips, tmp_path: Path) -> Path:
    """An MP4 in which the frame in the middle is the one before again."""
    path = tmp_path / "clip.mp4"
    with VideoEncoder(path, (160, 96), Fraction(16), Output()) as encoder:
        for part in FAULTS["duplicate"](clips["pan right"]):
            encoder.write(part)
    return path


def test_the_command_finds_the_place_by_itself(onetake, doubled: Path) -> None:
    """A doubled frame of an MP4 is found and named, and the picture shows it."""
    ran = onetake("seams", doubled.name, "-o", "seams.png")
    assert ran.exit_code == 0, ran.output
    assert "1 suspicious place." in ran.stdout
    assert re.search(rf"^ *{MIDDLE} .* suspect", ran.stdout, re.MULTILINE)
    with Image.open(doubled.parent / "seams.png") as picture:
        assert picture.size[0] == 1400


def test_the_command_measures_the_seams_that_are_named(onetake, doubled: Path) -> None:
    """Seams come from options and from an answer, with or without RunPod's envelope."""
    answer = {"seams": [{"at_frame": 8}], "output": {"container": "mp4"}}
    (doubled.parent / "plain.json").write_text(json.dumps(answer))
    (doubled.parent / "runpod.json").write_text(json.dumps({"output": answer}))
    for file in ("plain.json", "runpod.json"):
        ran = onetake("seams", doubled.name, "--result", file, "--at", MIDDLE, "--json")
        report = json.loads(ran.stdout)
        assert [seam["at_frame"] for seam in report["seams"]] == [8, MIDDLE]
        assert [bool(seam["faults"]) for seam in report["seams"]] == [False, True]
        assert report["suspicions"] == []
    ran = onetake("seams", doubled.name, "--at", MIDDLE)
    assert "0 of 1 seams pass." in ran.stdout


def test_a_picture_needs_matplotlib(onetake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it `-o` is refused in one line before the clip is opened."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = onetake("seams", "none.mp4", "-o", "seams.png")
    assert ran.exit_code == 1
    problem = "--output: needs matplotlib; install onetake[charts]"
    assert ran.stderr.strip() == f"invalid_input: {problem}"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["none.mp4"], "none.mp4: cannot be read; check its name"),
        (["notes.txt"], "notes.txt: is no MP4, MOV or WebM video"),
        (["cut.mp4"], "cut.mp4: is damaged or cut off"),
        (["clip.mp4", "--at", "0"], "a later part of clip.mp4 starts at one of 1 to 24"),
        (["clip.mp4", "--result", "notes.txt"], "notes.txt is no answer's JSON"),
        (["clip.mp4", "-o", "none/x.png"], "none/x.png cannot be written"),
    ],
)
def test_the_command_refuses_in_one_line(
    onetake, doubled: Path, arguments: list[str], problem: str
) -> None:
    """What is wrong is one line on stderr, with exit code 1."""
    (doubled.parent / "notes.txt").write_text("a text that is long enough")
    (doubled.parent / "cut.mp4").write_bytes(doubled.read_bytes()[:-500])
    ran = onetake("seams", *arguments)
    assert ran.exit_code == 1
    (line,) = ran.stderr.strip().splitlines()
    assert problem in line
