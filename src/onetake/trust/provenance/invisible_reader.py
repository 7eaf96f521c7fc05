"""Reads the short id of an invisible mark from a clip that may have been encoded again.

`invisible` describes the mark. The reader looks for the scale of the picture and for the start of
the tile, then weighs the words of each symbol against each other.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from onetake.media.frames import FrameBatch
from onetake.trust.provenance.invisible import (
    ID_BITS,
    SYMBOLS,
    TILE,
    WAVELENGTHS,
    Complexes,
    Floats,
    Ints,
    mark_waves,
    symbols_of,
)

FALSE_ALARM = 1e-6  # at most, for a whole clip; a guess that is less sure is no reading
_NEAR = 11  # pixels around each one that it is compared with
_LEAST_DEVIATION = 0.5  # levels; flatter grounds are not amplified further
_PAD = 2  # padding: samples of the spectrum for each one of the picture's own
_LEAST_NOISE = 1e-3  # of the spectrum, where there is none
_NOISE_BINS = 19  # of the padded spectrum, over which its noise is measured
_MOST_WEIGHT = 2.0  # of one wave, in deviations of the noise: a stronger one is not the mark's
_SCALES = (0.4, 2.1)  # of the copy against the marked picture
_COARSE, _FINE = 2, 4  # steps a pixel when the start of the tile is searched
_CANDIDATES = 6  # scales that are looked at closely
_ROUNDS = 3  # how often the step of both scales is halved
_KEPT_WORDS = 6  # of each symbol of an id: all their combinations are tried, each with its check


@dataclass(frozen=True)
class Reading:
    """What a clip says.

    Args:
        short_id: 32 bits.
        confidence: correlation of the clip with the whole mark, in standard deviations of what an
            unmarked clip gives.
        false_alarm: an upper bound of the probability that an unmarked clip gives any reading of
            this confidence. `best_guess` explains it.
        scale: (across, down) of the clip against the picture that was marked.
    """

    short_id: int
    confidence: float
    false_alarm: float
    scale: tuple[float, float]


def read_mark(frames: Iterable[FrameBatch]) -> Reading | None:
    """The id in a clip of uint8 RGB frames [n, height, width, 3], or None if there is none.

    Memory does not grow with the clip. The clip may have been encoded again, cropped, scaled by
    0.4 to 2.1, cut, or played at another rate.
    """
    guess = best_guess(frames)
    return guess if guess is not None and guess.false_alarm <= FALSE_ALARM else None


def best_guess(frames: Iterable[FrameBatch]) -> Reading | None:
    """The most likely id, however unlikely, which `read_mark` judges; None without frames.

    The phases of the waves are drawn evenly and do not depend on the picture. So in an unmarked
    picture the correlation is a sum of cosines of even phases, with weights that the picture gives.
    Whatever the picture, its confidence z has the bound exp(-z*z / 2) (Hoeffding, "Probability
    inequalities for sums of bounded random variables", 1963; the mean of exp(t cos) is at most
    exp(t*t / 4)). ``false_alarm`` is this bound times all ids, scales and starts that could be
    tried.
    """
    mean = _mean_picture(frames)
    if mean is None:
        return None
    picture = _Picture(mean)
    scales = list(_scales(max(mean.shape)))
    # Near each scale, the search can reach this many others across and down.
    tried = len(scales) * (2 ** (_ROUNDS + 1) - 1) ** 2 * (_FINE * TILE) ** 2
    best = 0.0, 0, (0.0, 0.0)
    false_alarm = 1.0
    for scale, step in _candidates(picture, scales):
        best = max(best, _decoded(*_refined(picture, scale, step)))
        bound = math.log(tried) + ID_BITS * math.log(2) - best[0] ** 2 / 2
        false_alarm = math.exp(min(0.0, bound))
        if false_alarm <= FALSE_ALARM:
            break
    confidence, short_id, exact_scale = best
    return Reading(short_id, confidence, false_alarm, exact_scale)


def _mean_picture(frames: Iterable[FrameBatch]) -> Floats | None:
    """What does not move in a clip, float [height, width], each pixel against those around it.

    The division by their deviation gives more weight to flat grounds, where the mark is clearest.
    """
    total: Floats | None = None
    count = 0
    for frame in (frame for batch in frames for frame in batch):
        grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.float32)
        values = grey - np.asarray(cv2.blur(grey, (_NEAR, _NEAR)), np.float32)
        variance = np.asarray(cv2.blur(values * values, (_NEAR, _NEAR)), np.float32)
        values /= np.sqrt(np.maximum(variance, 0)) + np.float32(_LEAST_DEVIATION)
        total = np.zeros_like(grey) if total is None else total
        total += values
        count += 1
    return None if total is None else total / np.float32(count)


class _Picture:
    """The spectrum of a mean picture at the waves of the mark, for any scale of the picture.

    Values are divided by the noise around them, so that the picture's own strong waves count no
    more than others.
    """

    def __init__(self, mean: Floats) -> None:
        self._mean = mean
        self._height, self._width = (_PAD * side for side in mean.shape)
        self._spectrum = np.fft.rfft2(mean, (self._height, self._width))
        level = np.log(np.abs(self._spectrum) + _LEAST_NOISE)
        # The geometric mean: a few strong lines do not raise it. It is mirrored at the edges of
        # the half plane, where the statistics are the same.
        bins = _NOISE_BINS, _NOISE_BINS
        around = cv2.blur(level, bins, borderType=cv2.BORDER_REFLECT)
        self._noise: Floats = np.exp(np.asarray(around, np.float32))

    def near(self, scale: float) -> Complexes:
        """The waves [n] at one scale, by the nearest sample of the spectrum."""
        samples = self._nearest_samples(scale, scale)
        return _limited(self._spectrum[samples] / self._noise[samples])

    def exactly(self, across: float, down: float) -> Complexes:
        """The waves [n] at one scale across and another down."""
        waves = mark_waves()
        height, width = self._mean.shape
        columns = np.arange(waves.across.max() + 1)
        rows = np.arange(waves.down.min(), waves.down.max() + 1)
        by_column = np.outer(np.arange(width), columns) * (-2 * np.pi / (TILE * across))
        by_row = np.outer(rows, np.arange(height)) * (-2 * np.pi / (TILE * down))
        real = self._mean @ np.cos(by_column).astype(np.float32)
        imaginary = self._mean @ np.sin(by_column).astype(np.float32)
        plane = np.exp(1j * by_row).astype(np.complex64) @ (real + np.complex64(1j) * imaginary)
        values: Complexes = plane[waves.down - rows[0], waves.across]
        return _limited(values / self._noise[self._nearest_samples(across, down)])

    def _nearest_samples(self, across: float, down: float) -> tuple[Ints, Ints]:
        """Rows and columns [n] of the spectrum."""
        waves = mark_waves()
        rows = np.rint(waves.down * (self._height / (TILE * down))).astype(np.int64)
        columns = np.rint(waves.across * (self._width / (TILE * across))).astype(np.int64)
        return rows % self._height, columns


def _limited(values: npt.NDArray[np.complexfloating]) -> Complexes:
    """The values, none over _MOST_WEIGHT; fences and the encoder's blocks make stronger waves."""
    weight = _MOST_WEIGHT / np.maximum(np.abs(values), _MOST_WEIGHT)
    return np.asarray(values * weight, np.complex64)


def _scales(side: int) -> Iterator[tuple[float, float]]:
    """Scales to try in a picture of this longer side, each with the step to the next.

    Half a step moves the ends of the picture by an eighth of the shortest wave.
    """
    step = WAVELENGTHS[0] / (2 * side)  # of the inverse, in which steps are even
    least, most = _SCALES
    for index in range(math.ceil((1 / most - 1) / step), math.floor((1 / least - 1) / step) + 1):
        scale = 1 / (1 + index * step)
        yield scale, step * scale**2


def _candidates(
    picture: _Picture, scales: list[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    """The scales at which the start of the tile is clearest, best first, with their steps."""
    clearness = [_start(picture.near(scale), _COARSE)[0] for scale, _ in scales]
    taken: list[int] = []
    for index in map(int, np.argsort(clearness)[::-1]):
        if all(abs(index - other) > 1 for other in taken):
            taken.append(index)
            yield scales[index]
        if len(taken) == _CANDIDATES:
            return


def _start(values: Complexes, steps: int) -> tuple[float, float, float]:
    """How clear the start of the tile is (in deviations), and how far right and down it lies.

    The Fourier transform gives the correlation with every start at once. Distances are in pixels of
    the tile, ``steps`` steps to each.
    """
    waves = mark_waves()
    side = steps * TILE
    sync = slice(waves.sync)
    cross_spectrum = np.zeros((side, side // 2 + 1), np.complex64)
    cross_spectrum[waves.down[sync], waves.across[sync]] = values[sync] * waves.phases[sync].conj()
    correlation = np.fft.irfft2(cross_spectrum, (side, side))
    row, column = np.unravel_index(int(correlation.argmax()), correlation.shape)
    # irfft2 divides by the number of samples and adds the mirror of each wave.
    peak = float(correlation[row, column]) * side**2 / 2
    return peak / _deviation(values[sync]), float(column / steps), float(row / steps)


def _deviation(values: Complexes) -> float:
    """Of the correlation, if the phases are even: the variance of a cosine is a half."""
    return math.sqrt(float(np.square(np.abs(values)).sum()) / 2) + 1e-9


def _refined(picture: _Picture, scale: float, step: float) -> tuple[Complexes, tuple[float, float]]:
    """The waves, shifted to the start of the tile, at the clearest scales near this one.

    The second value is those scales, (across, down).
    """

    def tried(scales: tuple[float, float]) -> tuple[float, Complexes, tuple[float, float]]:
        values = picture.exactly(*scales)
        clearness, right, below = _start(values, _FINE)
        waves = mark_waves()
        turn = (waves.across * right + waves.down * below) * (2 * np.pi / TILE)
        return clearness, values * np.exp(1j * turn).astype(np.complex64), scales

    best = tried((scale, scale))
    for _ in range(_ROUNDS):
        step /= 2
        for right, below in ((step, 0.0), (0.0, step)):
            across, down = best[2]
            others = [tried((across + sign * right, down + sign * below)) for sign in (-1, 1)]
            best = max(best, *others, key=lambda one: one[0])
    return best[1:]


def _decoded(
    values: Complexes, scale: tuple[float, float]
) -> tuple[float, int, tuple[float, float]]:
    """The confidence of the id that fits the waves best, that id, and the scale."""
    waves = mark_waves()
    turns = values * waves.phases.conj()
    scores = (turns[waves.sync :].reshape(SYMBOLS, -1) @ waves.words.conj().T).real
    likely = np.argsort(scores[: ID_BITS // 8])[:, -_KEPT_WORDS:]
    ids = [int.from_bytes(bytes(word), "big") for word in product(*likely.tolist())]
    symbols = np.array([list(symbols_of(short_id)) for short_id in ids])
    sums = scores[np.arange(SYMBOLS), symbols].sum(axis=1)
    best = int(sums.argmax())
    total = float(turns[: waves.sync].real.sum() + sums[best])
    return total / _deviation(values), ids[best], scale
