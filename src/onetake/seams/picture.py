"""A report as one picture: curves over time, and the frames around each place. Pillow alone."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from onetake.media.frames import FrameStream
from onetake.seams.figures import Report, SeamFigures

BEFORE, AFTER = 3, 3  # frames shown of each place
_WIDTH, _MARGIN, _LEFT = 1400, 28, 214  # pixels
_CHART, _GAP = 92, 14
_THUMB = (186, 140)  # at most
_SCALE = 2  # charts are drawn larger, because Pillow draws lines without smoothing
_INK, _FAINT, _GRID, _PAPER = "#1f2328", "#6b7280", "#e5e7eb", "#ffffff"
_PASS, _FAIL, _SUSPECT = "#1a7f45", "#c62828", "#d97706"
# Each chart: its name, its curves with their colours, and values that its scale always holds.
_CHARTS: tuple[tuple[str, tuple[tuple[str, str], ...], tuple[float, ...]], ...] = (
    ("movement\npixels a frame", (("speed", "#2563eb"),), (0.0, 0.5)),
    ("colour\ndelta E from the start", (("delta_e", "#9333ea"),), (0.0, 2.0)),
    ("sharpness\nover the first frame's", (("sharpness", "#0f766e"),), (0.8, 1.2)),
    (
        "contrast, chroma\nof L*, from grey",
        (("l_std", "#1f2328"), ("chroma", "#db2777")),
        (0.0, 10.0),
    ),
)

Strips = dict[int, list[Image.Image]]


def strips(stream: FrameStream, places: Iterable[SeamFigures]) -> Strips:
    """The frames around each place, small; all frames are drawn from ``stream``."""
    wanted = {
        place.at_frame: range(place.at_frame - BEFORE, place.at_frame + AFTER) for place in places
    }
    found: Strips = {at: [] for at in wanted}
    number = 0
    for batch in stream:
        for frame in batch:
            for at, span in wanted.items():
                if number in span:
                    found[at].append(_thumb(frame))
            number += 1
    return found


def draw(report: Report, frames: Strips, title: str, fps: float) -> Image.Image:
    """The picture; ``frames`` are those that `strips` gave for the places to be shown."""
    places = [place for place in (*report.seams, *report.suspicions) if frames.get(place.at_frame)]
    words = max((len(place.faults) for place in places), default=0) * 16 + 74
    thumbs = max((image.height for strip in frames.values() for image in strip), default=0) + 34
    row = max(words, thumbs)
    curves = 64 + len(_CHARTS) * (_CHART + _GAP) + 20
    page = Image.new("RGB", (_WIDTH, curves + len(places) * row + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN, 20), title, _INK, _font(24))
    for index, (label, names, within) in enumerate(_CHARTS):
        top = 64 + index * (_CHART + _GAP)
        head, _, unit = label.partition("\n")
        for line, (text, (_, colour)) in enumerate(zip(head.split(", "), names, strict=True)):
            pen.text((_MARGIN, top + 4 + 22 * line), text, colour, _font(17))
        pen.text((_MARGIN, top + 6 + 22 * len(names)), unit, _FAINT, _font(13))
        low, high = _span(report, names, within)
        pen.text((_LEFT - 8, top), f"{high:.3g}", _FAINT, _font(12), anchor="ra")
        pen.text((_LEFT - 8, top + _CHART), f"{low:.3g}", _FAINT, _font(12), anchor="rd")
        page.paste(_chart(report, names, (low, high), fps), (_LEFT, top))
    _seconds(pen, report.num_frames / fps, curves - 34)
    suspicions = {place.at_frame for place in report.suspicions}
    for index, place in enumerate(places):
        top = curves + index * row
        verdict, colour = ("fails", _FAIL) if place.faults else ("passes", _PASS)
        if place.at_frame in suspicions:
            verdict, colour = "suspect", _SUSPECT
        _words(pen, place, top, fps, verdict, colour)
        _strip(page, pen, place, frames[place.at_frame], top, colour)
    return page


def _chart(
    report: Report, names: Sequence[tuple[str, str]], span: tuple[float, float], fps: float
) -> Image.Image:
    """Curves over the whole width, with a line at each place."""
    width, height = (_WIDTH - _LEFT - _MARGIN) * _SCALE, _CHART * _SCALE
    image = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(image)
    low, high = span

    def at(frame: float, value: float) -> tuple[float, float]:
        x = frame / report.num_frames * width
        return x, (height - 1) * (1 - (value - low) / (high - low))

    for share in (0.0, 0.5, 1.0):
        y = round(share * (height - 1))
        pen.line([(0, y), (width, y)], _GRID, _SCALE)
    for second in _ticks(report.num_frames / fps):
        x, _ = at(second * fps, low)
        pen.line([(x, 0), (x, height)], _GRID, _SCALE)
    for place in report.suspicions:
        x, _ = at(place.at_frame, low)
        for y in range(0, height, 12 * _SCALE):
            pen.line([(x, y), (x, y + 6 * _SCALE)], _SUSPECT, _SCALE)
    for place in report.seams:
        x, _ = at(place.at_frame, low)
        pen.line([(x, 0), (x, height)], _FAIL if place.faults else _PASS, _SCALE)
    for name, colour in names:
        points = zip(report.curves.frame, getattr(report.curves, name), strict=True)
        pen.line([at(frame + 0.5, value) for frame, value in points], colour, 4, joint="curve")
    return image.resize((width // _SCALE, _CHART), Image.Resampling.LANCZOS)


def _span(
    report: Report, names: Sequence[tuple[str, str]], within: tuple[float, ...]
) -> tuple[float, float]:
    """The lowest and the highest value of a chart's scale."""
    values = [value for name, _ in names for value in getattr(report.curves, name)]
    low, high = min(*values, *within), max(*values, *within)
    return low, high + 0.06 * (high - low)


def _seconds(pen: ImageDraw.ImageDraw, duration: float, top: int) -> None:
    """The axis of time below the charts."""
    for second in _ticks(duration):
        x = _LEFT + second / duration * (_WIDTH - _LEFT - _MARGIN)
        pen.text((x, top), f"{second:g} s", _FAINT, _font(13), anchor="ma" if second else "la")


def _ticks(duration: float) -> list[float]:
    """About eight round seconds."""
    step = next(
        s for s in (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 36000) if s * 9 > duration
    )
    return [float(tick) for tick in np.arange(0, duration, step)]


def _words(
    pen: ImageDraw.ImageDraw, place: SeamFigures, top: int, fps: float, verdict: str, colour: str
) -> None:
    """What a place is and which of its figures fail."""
    pen.text((_MARGIN, top), f"frame {place.at_frame}", _INK, _font(17))
    pen.text((_MARGIN, top + 24), f"{place.at_frame / fps:.2f} s", _FAINT, _font(13))
    pen.text((_MARGIN, top + 44), verdict, colour, _font(15))
    for line, name in enumerate(place.faults):
        value = getattr(place, name)
        figure = "in a still scene" if value is None else f"{value:.2f}"
        text = f"{name.replace('_', ' ')} {figure}"
        pen.text((_MARGIN, top + 66 + 16 * line), text, _INK, _font(13))


def _strip(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    place: SeamFigures,
    images: list[Image.Image],
    top: int,
    colour: str,
) -> None:
    """The frames, with a bar where the later part starts."""
    first = max(0, place.at_frame - BEFORE)
    left = _LEFT
    for number, image in enumerate(images, start=first):
        if number == place.at_frame:
            pen.rectangle((left + 1, top, left + 4, top + image.height + 18), colour)
            left += 12
        page.paste(image, (left, top))
        pen.text((left, top + image.height + 3), str(number), _FAINT, _font(13))
        left += image.width + 6


def _thumb(frame: npt.NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(frame)
    scale = min(_THUMB[0] / image.width, _THUMB[1] / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
