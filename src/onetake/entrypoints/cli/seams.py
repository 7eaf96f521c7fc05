"""`onetake seams`: what happens at the seams of any video."""

import importlib.util
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import track
from rich.table import Table

from onetake.entrypoints.cli.console import JsonOption, err, out, refusals
from onetake.media.probe import MediaError, VideoFacts, probe_video, read_frames
from onetake.runtime.errors import JobError

if TYPE_CHECKING:
    from onetake.seams.figures import Report, SeamFigures

_SMALLEST = 16  # pixels; the optical flow needs as many
# Each figure's column; `pace` and `sharpness` are in the JSON only.
_COLUMNS = {
    "duplicate": "dupl.", "velocity": "veloc.", "direction": "direct.", "structure": "struct.",
    "warp": "warp", "colour_step": "colour", "sharpness_step": "sharp.", "delta_e": "ΔE",
}  # fmt: skip


def seams(
    clip: Annotated[Path, typer.Argument(help="An MP4, MOV or WebM file.")],
    at: Annotated[
        list[int] | None, typer.Option(help="Frame that starts a later part; may be repeated.")
    ] = None,
    result: Annotated[
        Path | None, typer.Option(help="Take the seams from an answer's JSON file.")
    ] = None,
    as_json: JsonOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A picture of curves and frames, as PNG.")
    ] = None,
) -> None:
    """Measure a video's seams, and find other places that look like bad ones."""
    # OpenCV, which no other command needs.
    from onetake.seams.meter import SeamMeter  # noqa: PLC0415

    with refusals():
        if output and not importlib.util.find_spec("matplotlib"):
            raise JobError("--output", "needs matplotlib; install onetake[charts]")
        facts = _facts(clip)
        named = [*(at or []), *(_seams_in_answer(result) if result else [])]
        meter = SeamMeter(_checked(named, clip, facts), facts.num_frames)
        with _readable(clip):
            frames = meter.through(read_frames(clip))
            for _ in track(frames, "measuring", facts.num_frames, console=err, transient=True):
                pass
            report = meter.report()
        if output:
            _draw(clip, facts, report, output)
    if as_json:
        answer = {"file": clip.name, "fps": float(facts.fps), **asdict(report)}
        print(json.dumps(answer, indent=2))
        return
    if report.seams or report.suspicions:
        out.print(_table(clip, facts, report))
    out.print(_summary(report), highlight=False)


@contextmanager
def _readable(clip: Path) -> Iterator[None]:
    """If the clip cannot be read, say so with its name.

    Raises:
        JobError: in the place of what the reader raised.
    """
    try:
        yield
    except MediaError as error:
        raise JobError(clip.name, f"is {error}") from None
    except OSError:
        raise JobError(clip.name, "cannot be read; check its name") from None
    except ValueError:  # from the meter: there are packets, but no frame
        raise JobError(clip.name, "is without a picture") from None


def _facts(clip: Path) -> VideoFacts:
    """What a clip's file says of it.

    Raises:
        JobError: it cannot be read, or is too small to measure.
    """
    with _readable(clip):
        facts = probe_video(clip)
    if min(facts.width, facts.height) < _SMALLEST:
        raise JobError(clip.name, f"is too small; a side needs {_SMALLEST} pixels")
    return facts


def _checked(seams: list[int], clip: Path, facts: VideoFacts) -> list[int]:
    """The same seams in order, each once.

    Raises:
        JobError: the clip has no such frame.
    """
    for seam in seams:
        if not 0 < seam < facts.num_frames:
            legal = f"a later part of {clip.name} starts at one of 1 to {facts.num_frames - 1}"
            raise JobError("--at", f"{seam} is no frame to start at; {legal}")
    return sorted(set(seams))


def _seams_in_answer(result: Path) -> list[int]:
    """The seams of an answer, with or without RunPod's envelope.

    Raises:
        JobError: the file holds none.
    """
    try:
        content = json.loads(result.read_text())
        answer = content if "seams" in content else content["output"]
        return [int(seam["at_frame"]) for seam in answer["seams"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise JobError("--result", f"{result.name} is no answer's JSON with its seams") from None


def _draw(clip: Path, facts: VideoFacts, report: "Report", output: Path) -> None:
    """Read the clip again, now that the places are known, and draw them.

    Raises:
        JobError: the picture cannot be written.
    """
    from onetake.seams import picture  # noqa: PLC0415 - as above

    with _readable(clip):
        strips = picture.strips(read_frames(clip), (*report.seams, *report.suspicions))
    figure = picture.draw(report, strips, _title(clip, report, facts), float(facts.fps))
    try:
        with warnings.catch_warnings():  # matplotlib's font lacks the letters of some file names
            warnings.simplefilter("ignore", UserWarning)
            figure.savefig(output, format=output.suffix.lstrip("."))
    except (OSError, ValueError):
        raise JobError("--output", f"{output} cannot be written; give a .png") from None


def _title(clip: Path, report: "Report", facts: VideoFacts) -> str:
    return f"{clip.name}: {report.num_frames} frames at {float(facts.fps):g} fps"


def _table(clip: Path, facts: VideoFacts, report: "Report") -> Table:
    """A row for each place; figures that fail their bar are red."""
    caption = "-: too little moves there to compare"
    columns = ("frame", "s", *_COLUMNS.values(), "verdict")
    table = Table(*columns, title=_title(clip, report, facts), caption=caption)
    table.box, table.pad_edge = SIMPLE_HEAD, False  # all of it in 80 columns
    table.padding = 0, 0
    for place in (*report.seams, *report.suspicions):
        cells = []
        for name in _COLUMNS:
            value = getattr(place, name)
            cell = "-" if value is None else f"{value:.2f}"
            cells.append(f"[red]{cell}[/red]" if name in place.faults else cell)
        table.add_row(
            str(place.at_frame),
            f"{place.at_frame / float(facts.fps):.2f}",
            *cells,
            _verdict(place, report),
        )
    return table


def _verdict(place: "SeamFigures", report: "Report") -> str:
    if place not in report.seams:
        return "[yellow]suspect[/yellow]"
    return "[red]fails[/red]" if place.faults else "[green]passes[/green]"


def _summary(report: "Report") -> str:
    """The verdict in a sentence, and how the take drifts."""
    passed = sum(not seam.faults for seam in report.seams)
    seams = f"{passed} of {len(report.seams)} seams pass. " if report.seams else ""
    count = len(report.suspicions) or "No"
    other = "other " if report.seams else ""
    plural = "" if count == 1 else "s"
    drift, end = report.drift, report.curves
    return (
        f"{seams}{count} {other}suspicious place{plural}.\n"
        f"At the end: delta E {end.delta_e[-1]:.2f}, {end.sharpness[-1]:.2f} of the first frame's "
        f"sharpness.\nA hundred frames change: delta E {drift.delta_e:+.2f}, sharpness "
        f"{drift.sharpness:+.2f}, movement {drift.speed:+.2f} pixels, contrast {drift.l_std:+.2f}, "
        f"chroma {drift.chroma:+.2f}."
    )
