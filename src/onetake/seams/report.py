"""From rows of figures to a report.

A seam is compared with the pairs of frames around it, 16 on either side; pairs that cross a known
seam are left out. In a still scene a ratio would divide noise by noise. It is None there, and the
verdict compares the seam with the noise instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from onetake.media.colour import delta_e
from onetake.seams.figures import Curves, Drift, Report, SeamFigures
from onetake.seams.frames import Rows

WINDOW = 16  # pairs either side that a seam is compared with
NEAR = 8  # pairs either side for movement and colour; also the frames that colour drifts from
CLOSE = 4  # frames either side for sharpness
MAX_POINTS = 240  # of a curve
MAX_SUSPICIONS = 8
SUSPICIOUS = 1.15  # severity; every pair of a take is tried, so the bars alone are too strict
# The least and the most that a figure may be: the bars of the project's notes on chaining, and for
# the last three the smallest change that people see.
BARS: dict[str, tuple[float, float]] = {
    "duplicate": (0.3, np.inf),
    "velocity": (0.7, 1.4),
    "structure": (0, 1.2),
    "warp": (0, 1.2),
    "direction": (0.5, np.inf),  # a turn of 60 degrees
    "colour_step": (-np.inf, 1.0),
    "sharpness_step": (0.85, 1.18),
}
# What H.264 at usual quality makes of a still scene.
_NOISE = {"difference": 0.25, "unlike": 0.004, "warp": 0.25, "speed": 0.05}
_STILL = 0.05  # pixels a frame; slower movement has no direction
_STEADY = 0.6  # share of the movement that the pairs of a side have in common; else no direction
_STOPPED = 0.2  # of the movement on the other side; below it, movement ended and did not turn
FLAT = 1.0  # Laplacian energy; below it nothing in the picture could be sharp

Series = npt.NDArray[np.floating]


@dataclass
class Take:
    """The rows of a take, and what all of its seams need."""

    rows: Rows
    from_start: Series = field(init=False)  # delta E of each frame
    steps: Series = field(init=False)  # delta E of each pair, at its later frame

    def __post_init__(self) -> None:
        lab = self.rows["lab"]
        self.from_start = self._delta_e(lab, self.start)
        self.steps = self._delta_e(lab, np.concatenate([lab[:1], lab[:-1]]))

    @property
    def start(self) -> Series:
        """The colours that the take begins with."""
        return np.asarray(self.rows["lab"][:NEAR].mean(0))

    @staticmethod
    def _delta_e(one: Series, other: Series) -> Series:
        return np.asarray(delta_e(one, other).mean((-2, -1)))

    def report(self, seams: Sequence[int]) -> Report:
        """All figures; seams outside the take are left out."""
        inside = sorted({seam for seam in seams if 0 < seam < len(self.rows)})
        series = self._series()
        step = -(-len(self.rows) // MAX_POINTS)
        starts = range(0, len(self.rows), step)
        points = {
            name: tuple(_rounded(values[start : start + step].mean()) for start in starts)
            for name, values in series.items()
        }
        return Report(
            num_frames=len(self.rows),
            seams=tuple(self.measure(seam, inside) for seam in inside),
            suspicions=self._suspicions(inside),
            curves=Curves(frame=tuple(starts), **points),
            drift=Drift(
                **{name: _rounded(100 * _slope(values)) for name, values in series.items()}
            ),
        )

    def _series(self) -> dict[str, Series]:
        sharpness = self.rows["sharpness"]
        flat = sharpness[0] < FLAT
        speed = self.rows["speed"].copy()
        speed[:1] = speed[1:2] if len(speed) > 1 else 0  # the first frame has no pair
        return {
            "delta_e": self.from_start,
            "sharpness": np.ones_like(sharpness) if flat else sharpness / sharpness[0],
            "speed": speed,
            "l_std": self.rows["l_std"],
            "chroma": self.rows["chroma"],
        }

    def _suspicions(self, seams: list[int]) -> tuple[SeamFigures, ...]:
        inner = range(CLOSE, len(self.rows) - CLOSE + 1)  # an end has no other side to compare
        places = (self.measure(at, seams, search=True) for at in inner)
        worst_first = sorted(
            (place for place in places if place.severity > SUSPICIOUS),
            key=lambda place: -place.severity,
        )
        suspicions: list[SeamFigures] = []
        for place in worst_first:  # a fault shows in the pairs beside it too
            others = [*seams, *(suspicion.at_frame for suspicion in suspicions)]
            if all(abs(place.at_frame - other) > CLOSE for other in others):
                suspicions.append(place)
        return tuple(suspicions[:MAX_SUSPICIONS])

    def measure(self, at: int, seams: Sequence[int] = (), *, search: bool = False) -> SeamFigures:
        """The figures of the place before frame ``at``.

        In a ``search`` a speed that also occurs nearby is no fault: movement may come and go.
        """
        pairs = np.arange(max(1, at - WINDOW), min(len(self.rows), at + WINDOW + 1))
        pairs = pairs[~np.isin(pairs, [at, *seams])]
        near = pairs[abs(pairs - at) <= NEAR]
        row = self.rows[at]
        figures: dict[str, float | None] = {}
        judged: dict[str, float] = {}  # the same, but against the noise where the ratio is None
        # 1. Ratios. A frame shown twice stands out from the calmer side too.
        before, after = self._sides("difference", at, pairs)
        figures["duplicate"], judged["duplicate"] = _ratio(row, "difference", min(before, after))
        speeds = self.rows[near]["speed"]
        figures["velocity"], judged["velocity"] = _ratio(row, "speed", _percentile(speeds, 50))
        for name, key in (("structure", "unlike"), ("warp", "warp")):
            base = _percentile(self.rows[pairs][key], 95)
            figures[name], judged[name] = _ratio(row, key, base)
        before, after = self._sides("speed", at, near)
        figures["pace"], _ = _over(after, before, _NOISE["speed"])
        if search:
            usual = np.clip(row["speed"], _percentile(speeds, 5), _percentile(speeds, 95))
            _, speed = _ratio(row, "speed", float(usual))
            # Flow of slow movement comes and goes; where it goes, frames also differ less.
            judged["velocity"] = max(speed, min(1.0, figures["duplicate"] or 0.0))
        # 2. Direction.
        figures["direction"] = self._direction(at, near)
        judged["direction"] = 1.0 if figures["direction"] is None else figures["direction"]
        # 3. Colour and sharpness.
        colour_step = judged["colour_step"] = float(self.steps[at]) - _percentile(
            self.steps[near], 50
        )
        sharp = self.rows["sharpness"]
        energy = float(sharp[at : at + CLOSE].mean())
        figures["sharpness_step"], judged["sharpness_step"] = _over(
            energy, float(sharp[max(0, at - CLOSE) : at].mean()), FLAT
        )
        figures["sharpness"], _ = _over(energy, float(sharp[0]), FLAT)
        lab = self.rows["lab"][at : at + NEAR].mean(0)
        factors = {name: over_bar(name, value) for name, value in judged.items()}
        return SeamFigures(
            at_frame=int(at),
            colour_step=_rounded(colour_step),
            delta_e=_rounded(self._delta_e(lab, self.start)),
            faults=tuple(name for name, factor in factors.items() if factor > 1),
            severity=_rounded(max(factors.values())),
            **{name: None if value is None else _rounded(value) for name, value in figures.items()},
        )

    def _sides(self, key: str, at: int, pairs: npt.NDArray[np.intp]) -> tuple[float, float]:
        """The medians before and after; at an end of the take both are of its one side."""
        before, after = self.rows[pairs[pairs < at]][key], self.rows[pairs[pairs > at]][key]
        sides = [_percentile(side, 50) for side in (before, after) if len(side)] or [0.0]
        return sides[0], sides[-1]

    def _direction(self, at: int, near: npt.NDArray[np.intp]) -> float | None:
        """The lowest cosine between the movement of the picture's parts before, across and after.

        Movement is a vector for each cell of a grid. So zooms and turns have a direction too,
        although their mean over the picture is zero.
        """
        flow = self.rows["flow"].reshape(len(self.rows), -1)
        before, after = flow[near[near < at]], flow[near[near > at]]
        if min(_steadiness(before), _steadiness(after)) < _STEADY:
            return None
        one, other, across = before.mean(0), after.mean(0), flow[at]
        moving = max(_STILL, _STOPPED * max(_strength(one), _strength(other)))
        if min(_strength(one), _strength(other)) < moving:
            return None
        lowest = _cosine(one, other)
        if _strength(across) > moving:
            lowest = min(lowest, max(_cosine(across, one), _cosine(across, other)))
        return lowest


def _cosine(one: Series, other: Series) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def _steadiness(flow: Series) -> float:
    """How much of the pairs' movement is left in their mean: 1 if all go the same way."""
    usual = np.linalg.norm(flow, axis=-1).mean() if len(flow) else 0.0
    return float(np.linalg.norm(flow.mean(0)) / usual) if usual > 0 else 0.0


def _strength(flow: Series) -> float:
    """Root mean square of a grid of vectors, pixels a frame."""
    return float(np.sqrt(2 * np.square(flow).mean()))


def _percentile(values: Series, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else 0.0


def _ratio(row: Rows, key: str, base: float) -> tuple[float | None, float]:
    return _over(float(row[key]), base, _NOISE[key])


def _over(value: float, base: float, noise: float) -> tuple[float | None, float]:
    """The ratio to show, None where ``base`` is only noise, and the ratio to judge by."""
    if base >= noise:
        return value / base, value / base
    return None, max(1.0, value / (2 * noise))  # twice: noise comes and goes


def over_bar(name: str, value: float) -> float:
    """A figure of `BARS` as a factor of its bar; at most 1 passes."""
    low, high = BARS[name]
    if name == "direction":
        return (1 - value) / (1 - low)
    return max(value / high, low / max(value, low / 10) if low > 0 else 0.0)


def _slope(values: Series) -> float:
    """Change per frame, by least squares."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0]) if len(values) > 1 else 0.0


def _rounded(value: float | Series) -> float:
    """Four decimals: people read reports too."""
    return round(float(value), 4)
