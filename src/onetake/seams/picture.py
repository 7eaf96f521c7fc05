"""A report as one picture: curves over time, and under them the frames around each place."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from onetake.media.frames import FrameStream
from onetake.seams.figures import Report, SeamFigures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE, AFTER = 3, 3  # frames shown of each place
_DPI = 100
# Lengths are pixels; charts and strips are _WIDTH wide.
_LEFT, _WIDTH, _RIGHT, _HEAD = 180, 1196, 24, 90
_CHART, _BETWEEN, _AXIS = 100, 36, 66  # a chart, the space to the next, the space under the last
_THUMB, _GAP, _LINE = (190, 140), 8, 17  # a frame at most; between two; a line of text
_GREY = "#6b7280"
_COLOURS = {"passes": "#1a7f45", "fails": "#c62828", "suspect": "#d97706"}
# Each chart: its title, its curves with their names and colours, and what its scale always holds.
_CHARTS = (
    ("movement, pixels a frame", {"speed": ("", "#2563eb")}, (0.0, 0.5)),
    ("colour, delta E from the start", {"delta_e": ("", "#9333ea")}, (0.0, 2.0)),
    ("sharpness over the first frame's", {"sharpness": ("", "#0f766e")}, (0.8, 1.2)),
    (
        "contrast and chroma in Lab",
        {"l_std": ("contrast", "#1f2328"), "chroma": ("chroma", "#db2777")},
        (0.0, 10.0),
    ),
)

Strips = dict[int, list[Image.Image]]
_Places = list[tuple[SeamFigures, str]]  # each with its verdict, a key of _COLOURS


def strips(stream: FrameStream, places: Iterable[SeamFigures]) -> Strips:
    """The frames around each place, small; ``stream`` is read to its end."""
    thumbs: Strips = {place.at_frame: [] for place in places}
    frames = (frame for batch in stream for frame in batch)
    for number, frame in enumerate(frames):
        for at_frame, strip in thumbs.items():
            if at_frame - BEFORE <= number < at_frame + AFTER:
                strip.append(ImageOps.contain(Image.fromarray(frame), _THUMB))
    return thumbs


def draw(report: Report, thumbs: Strips, title: str, fps: float) -> "Figure":
    """The picture, 1400 pixels wide; ``thumbs`` are what `strips` returned. Needs matplotlib."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    places = [(place, "fails" if place.faults else "passes") for place in report.seams]
    places += [(place, "suspect") for place in report.suspicions]
    rows = [
        max((5 + len(place.faults)) * _LINE, thumbs[place.at_frame][0].height + 3 * _LINE)
        for place, _ in places
    ]
    under_charts = _HEAD + len(_CHARTS) * (_CHART + _BETWEEN) - _BETWEEN + _AXIS
    width, height = _LEFT + _WIDTH + _RIGHT, under_charts + sum(rows)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.text(_LINE / width, 1 - 30 / height, title, size=15, va="center", parse_math=False)

    def axes_at(top: int, tall: int) -> "Axes":
        bottom = 1 - (top + tall) / height
        return figure.add_axes((_LEFT / width, bottom, _WIDTH / width, tall / height))

    for index in range(len(_CHARTS)):
        axes = axes_at(_HEAD + index * (_CHART + _BETWEEN), _CHART)
        _draw_chart(axes, index, report, places, fps)
    top = under_charts
    for (place, verdict), row in zip(places, rows, strict=True):
        axes = axes_at(top, row)
        axes.set(xlim=(0, _WIDTH), ylim=(row, 0))  # pixels, from the top
        _draw_strip(axes, place, verdict, thumbs[place.at_frame], fps)
        top += row
    return figure


def _draw_chart(axes: "Axes", index: int, report: Report, places: _Places, fps: float) -> None:
    """Curves over seconds, with a line at each place; the first chart tells what lines mean."""
    title, curves, scale = _CHARTS[index]
    for place, verdict in places:
        axes.axvline(
            place.at_frame / fps,
            color=_COLOURS[verdict],
            linestyle="--" if verdict == "suspect" else "-",
            label="" if index else verdict,
        )
    for key, (name, colour) in curves.items():
        seconds = [frame / fps for frame in report.curves.frame]
        axes.plot(seconds, getattr(report.curves, key), color=colour, label=name, linewidth=2)
    axes.update_datalim([(0, value) for value in scale])
    axes.autoscale_view()
    axes.set_xlim(0, report.num_frames / fps)
    axes.set_title(title, loc="left", size=10)
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_GREY, labelsize=9, labelbottom=index == len(_CHARTS) - 1)
    if index == len(_CHARTS) - 1:
        axes.set_xlabel("seconds", color=_GREY, size=9)
    lines = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))  # one of each name
    if lines:
        axes.legend(
            lines.values(), lines.keys(), loc="lower right", bbox_to_anchor=(1, 1),
            ncols=len(lines), frameon=False, fontsize=9,
        )  # fmt: skip


def _draw_strip(
    axes: "Axes", place: SeamFigures, verdict: str, thumbs: list[Image.Image], fps: float
) -> None:
    """What a place is and which figures fail; its frames, with a bar where the later part starts.

    ``axes`` count pixels from the top left corner.
    """
    axes.set_axis_off()
    colour = _COLOURS[verdict]
    left = _LINE - _LEFT
    axes.text(left, 0, f"frame {place.at_frame}", size=12, va="top")
    axes.text(left, 1.4 * _LINE, f"{place.at_frame / fps:.2f} s", size=9, color=_GREY, va="top")
    axes.text(left, 2.5 * _LINE, verdict, size=11, color=colour, va="top")
    for line, name in enumerate(place.faults):
        value = getattr(place, name)
        figure = "in a still scene" if value is None else f"{value:.2f}"
        text = f"{name.replace('_', ' ')} {figure}"
        axes.text(left, (3.9 + line) * _LINE, text, size=9, va="top")
    x = 0.0
    for number, thumb in enumerate(thumbs, start=max(0, place.at_frame - BEFORE)):
        if number == place.at_frame:
            axes.vlines(x, 0, thumb.height, colors=colour, linewidth=4)
            x += _GAP
        axes.imshow(thumb, extent=(x, x + thumb.width, thumb.height, 0), aspect="auto")
        axes.text(x, thumb.height + 4, str(number), size=9, color=_GREY, va="top")
        x += thumb.width + _GAP
