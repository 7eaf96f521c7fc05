"""A job's short id hidden in its picture, and read back from a copy that was encoded again.

The mark is spread spectrum (Cox et al., "Secure spread spectrum watermarking for multimedia",
1997): a weak pattern of many waves is added to the luma, and a reader finds it by correlation. One
tile of it is repeated over the picture, so that a crop is a shift of the tile and a scale is a
period to be found (Kutter, "Watermarking resisting to translation, rotation, and scaling", 1998).
It stands still in time, so that any part of a clip is enough. It is weak on flat grounds and
stronger in texture, which hides it (Podilchuk and Zeng, "Image-adaptive watermarking using visual
models", 1998).

What is carried is the id's four bytes and two of a check, a symbol each. A symbol is one of 256
words over waves of its own, and the reader weighs all of them against each other: soft decisions
over nearly orthogonal words need no further code.

The mark says where a take came from when nobody hides that. It is no lock: who reads this file can
take it out. Mirrored and turned pictures are not read.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from onetake.media.frames import FrameBatch

FALSE_ALARM = 1e-6  # at most, for a whole clip; what is less sure is not a reading
ID_BITS = 32
_TILE = 128  # pixels, both ways
_WAVELENGTHS = (7.0, 20.0)  # pixels; longer than half a size and x264's quantiser take away
_SYMBOLS, _WORDS = 6, 256
_SYNC_SHARE = 0.25  # of the waves: they carry nothing, and tell where the tile starts

# Standard deviation of the mark, in levels of 255.
_FLAT = 0.75  # where nothing hides it, at 1280x720; a smaller picture needs more for the same bits
_FLAT_PIXELS = 1280 * 720
_BY_TEXTURE = 0.08  # more for each level that the pixels around deviate
_MOST = 2.2  # which alone keeps every frame above 41 dB
_CELL = 4  # pixels, a side of the cells whose texture is measured
_AROUND, _NEARBY = 5, 7  # cells: over which it is measured, and of which the flattest counts

_NEAR = 11  # pixels around each one that the reader compares it with
_LEAST_DEVIATION = 0.5  # levels; flatter grounds are not amplified further
_PAD = 2  # samples of the spectrum for each that it has of its own
_LEAST_NOISE = 1e-3  # of the spectrum, where there is none
_NOISE_BINS = 19  # of the padded spectrum, over which its noise is measured
_MOST_WEIGHT = 2.0  # of one wave, in deviations of the noise: what stands out is not the mark
_SCALES = (0.4, 2.1)  # of the copy against the marked picture
_COARSE, _FINE = 2, 4  # steps a pixel, of the tile's start
_CANDIDATES = 6  # scales that are looked at closely
_ROUNDS = 3  # of halving the step of both scales
_KEPT_WORDS = 6  # of each symbol of an id: all their combinations are tried, each with its check

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What a clip says.

    Args:
        short_id: 32 bits.
        confidence: correlation of the clip with the whole mark, in standard deviations of what an
            unmarked clip gives.
        false_alarm: an upper bound of the probability that an unmarked clip reads as anything with
            such a confidence. `best_guess` explains it.
        scale: (across, down) of the clip against the picture that was marked.
    """

    short_id: int
    confidence: float
    false_alarm: float
    scale: tuple[float, float]


@dataclass(frozen=True)
class _Waves:
    """The mark's waves, in the order of what they carry: first those of the start.

    ``across`` and ``down`` are int [n], periods in a tile; ``phases`` complex [n] of modulus 1;
    ``words`` complex [256, n of one symbol] of the same, by which a symbol turns its waves.
    """

    across: Ints
    down: Ints
    phases: Complexes
    words: Complexes
    sync: int  # so many belong to the start


@cache
def _waves() -> _Waves:
    """All drawn from SHAKE-256, which is the same everywhere and for ever."""
    half = _TILE // 2
    down, across = np.mgrid[-half:half, 1:half]  # the other half plane follows: pixels are real
    period = _TILE / np.hypot(down, across)
    shortest, longest = _WAVELENGTHS
    chosen = (period >= shortest) & (period <= longest)
    down, across = down[chosen], across[chosen]
    order = np.argsort(_drawn("order", 4 * len(down)).view("<u4"), kind="stable")
    each = round(len(order) * (1 - _SYNC_SHARE)) // _SYMBOLS
    quarters = _drawn("words", _WORDS * each) % 4
    return _Waves(
        across[order],
        down[order],
        np.exp(2j * np.pi / 256 * _drawn("phases", len(order))).astype(np.complex64),
        np.array([1, 1j, -1, -1j], np.complex64)[quarters].reshape(_WORDS, each),
        len(order) - _SYMBOLS * each,
    )


def _drawn(what: str, count: int) -> npt.NDArray[np.uint8]:
    """Bytes that look random, and are the mark's format: others do not read this one."""
    stream = hashlib.shake_256(f"onetake invisible mark 1: {what}".encode())
    return np.frombuffer(stream.digest(count), np.uint8)


def _symbols(short_id: int) -> bytes:
    """The id's bytes, and as many more as tell it from one that was read wrong."""
    told = short_id.to_bytes(ID_BITS // 8, "big")
    return told + hashlib.sha256(told).digest()[: _SYMBOLS - len(told)]


class InvisibleMark:
    """Marks the frames of one job; the same frame is always marked alike.

    Args:
        short_id: 32 bits, unsigned.
        size: of the frames, (width, height).

    Raises:
        ValueError: the id has more bits.
    """

    def __init__(self, short_id: int, size: tuple[int, int]) -> None:
        if not 0 <= short_id < 1 << ID_BITS:
            raise ValueError(f"{short_id} has no {ID_BITS} bits")
        self._size = width, height = size
        waves = _waves()
        turns = np.ones(len(waves.across), np.complex64)
        turns[waves.sync :] = waves.words[list(_symbols(short_id))].ravel()
        spectrum = np.zeros((_TILE, _TILE // 2 + 1), np.complex64)
        spectrum[waves.down, waves.across] = turns * waves.phases
        tile = np.fft.irfft2(spectrum)
        tile = (tile / tile.std()).astype(np.float32)
        repeats = -(-height // _TILE), -(-width // _TILE)
        self._pattern = np.tile(tile, repeats)[:height, :width].copy()
        self._flat = min(_MOST, _FLAT * (_FLAT_PIXELS / (width * height)) ** 0.25)

    def embed(self, frames: FrameBatch) -> FrameBatch:
        """The frames marked, uint8 RGB [n, height, width, 3]; the given ones stay as they are."""
        marked = np.empty(frames.shape, np.uint8)  # in OpenCV's layout, whatever the given one
        for frame, out in zip(frames, marked, strict=True):
            grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
            change = cv2.multiply(self._pattern, self._strength(grey), dtype=cv2.CV_16S)
            # The same in all three channels is a change of luma alone; sums stop at 0 and 255.
            cv2.add(frame, cv2.merge([change] * 3), out, dtype=cv2.CV_8U)
        return marked

    def _strength(self, grey: npt.NDArray[np.uint8]) -> Floats:
        """The mark's deviation at each pixel."""
        cells = [max(1, side // _CELL) for side in self._size]
        # Half the size tells texture as well, and faster.
        half = [side * _CELL // 2 for side in cells]
        small = cv2.resize(grey, half, interpolation=cv2.INTER_AREA).astype(np.float32)
        mean, square = (
            cv2.blur(cv2.resize(values, cells, interpolation=cv2.INTER_AREA), (_AROUND, _AROUND))
            for values in (small, small * small)
        )
        # An edge beside a flat ground hides nothing there: the least deviation nearby counts.
        nearby = np.ones((_NEARBY, _NEARBY), np.uint8)
        deviation = np.sqrt(np.maximum(cv2.erode(square - mean * mean, nearby), 0))
        texture = cv2.blur(deviation, (_AROUND, _AROUND))
        strength = np.minimum(self._flat + _BY_TEXTURE * texture, _MOST)
        return np.asarray(cv2.resize(strength, self._size), np.float32)


def read_mark(frames: Iterable[FrameBatch]) -> Reading | None:
    """The id in a clip of uint8 RGB frames [n, height, width, 3], or None when there is none.

    Memory does not grow with the clip. It may have been encoded again, cropped, scaled by 0.4 to
    2.1, cut and played at another rate.
    """
    found = best_guess(frames)
    return found if found is not None and found.false_alarm <= FALSE_ALARM else None


def best_guess(frames: Iterable[FrameBatch]) -> Reading | None:
    """What `read_mark` judges: the most likely id, however unlikely; None without frames.

    The waves' phases are drawn evenly and know nothing of the picture. So against an unmarked one
    the correlation is a sum of cosines of even phases, with weights that the picture gives, and its
    confidence z has exp(-z*z / 2) as a bound, whatever the picture (Hoeffding, "Probability
    inequalities for sums of bounded random variables", 1963; the mean of exp(t cos) is at most
    exp(t*t / 4)). ``false_alarm`` is that times all ids, scales
    and starts that could be tried.
    """
    mean = _mean_picture(frames)
    if mean is None:
        return None
    picture = _Picture(mean)
    scales = list(_scales(max(mean.shape)))
    # Near each scale there are so many that a search may come by, across and down.
    tried = len(scales) * (2 ** (_ROUNDS + 1) - 1) ** 2 * (_FINE * _TILE) ** 2
    best = 0.0, 0, (0.0, 0.0)
    false_alarm = 1.0
    for scale, step in _candidates(picture, scales):
        best = max(best, _decoded(*_refined(picture, scale, step)))
        bound = math.log(tried) + ID_BITS * math.log(2) - best[0] ** 2 / 2
        false_alarm = math.exp(min(0.0, bound))
        if false_alarm <= FALSE_ALARM:
            break
    confidence, short_id, exact = best
    return Reading(short_id, confidence, false_alarm, exact)


def _mean_picture(frames: Iterable[FrameBatch]) -> Floats | None:
    """What stands still in a clip, float [height, width], each pixel against those around it.

    Dividing by their deviation gives flat grounds, where the mark is clearest, their due.
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
    """A mean picture's spectrum at the waves of the mark, for any scale of it.

    Values are divided by the noise around them, so that a picture's own strong waves count no more
    than others.
    """

    def __init__(self, mean: Floats) -> None:
        self._mean = mean
        self._height, self._width = (_PAD * side for side in mean.shape)
        self._spectrum = np.fft.rfft2(mean, (self._height, self._width))
        level = np.log(np.abs(self._spectrum) + _LEAST_NOISE)
        # The geometric mean, which a few strong lines do not raise. Mirrored at the edges of the
        # half plane, which has the same statistics there.
        size = _NOISE_BINS, _NOISE_BINS
        around = cv2.blur(level, size, borderType=cv2.BORDER_REFLECT)
        self._noise: Floats = np.exp(np.asarray(around, np.float32))

    def near(self, scale: float) -> Complexes:
        """The waves [n] at one scale, by the nearest sample of the spectrum."""
        at = self._at(scale, scale)
        return _limited(self._spectrum[at] / self._noise[at])

    def exactly(self, across: float, down: float) -> Complexes:
        """The waves [n] at a scale across and one down."""
        waves = _waves()
        height, width = self._mean.shape
        columns = np.arange(waves.across.max() + 1)
        rows = np.arange(waves.down.min(), waves.down.max() + 1)
        by_column = np.outer(np.arange(width), columns) * (-2 * np.pi / (_TILE * across))
        by_row = np.outer(rows, np.arange(height)) * (-2 * np.pi / (_TILE * down))
        real = self._mean @ np.cos(by_column).astype(np.float32)
        imaginary = self._mean @ np.sin(by_column).astype(np.float32)
        values = np.exp(1j * by_row).astype(np.complex64) @ (real + np.complex64(1j) * imaginary)
        found: Complexes = values[waves.down - rows[0], waves.across]
        return _limited(found / self._noise[self._at(across, down)])

    def _at(self, across: float, down: float) -> tuple[Ints, Ints]:
        waves = _waves()
        rows = np.rint(waves.down * (self._height / (_TILE * down))).astype(np.int64)
        columns = np.rint(waves.across * (self._width / (_TILE * across))).astype(np.int64)
        return rows % self._height, columns


def _limited(values: npt.NDArray[np.complexfloating]) -> Complexes:
    """No wave counts for more than _MOST_WEIGHT; a fence or the encoder's blocks make such ones."""
    weight = _MOST_WEIGHT / np.maximum(np.abs(values), _MOST_WEIGHT)
    return np.asarray(values * weight, np.complex64)


def _scales(side: int) -> Iterator[tuple[float, float]]:
    """Scales to try in a picture of this longer side, and the step to the next one.

    Half a step moves the picture's ends by an eighth of the shortest wave.
    """
    step = _WAVELENGTHS[0] / (2 * side)  # of the inverse, in which steps are even
    least, most = _SCALES
    for index in range(math.ceil((1 / most - 1) / step), math.floor((1 / least - 1) / step) + 1):
        scale = 1 / (1 + index * step)
        yield scale, step * scale**2


def _candidates(
    picture: _Picture, scales: list[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    """The scales where the start is found most clearly, best first, with their steps."""
    clear = [_start(picture.near(scale), _COARSE)[0] for scale, _ in scales]
    taken: list[int] = []
    for index in map(int, np.argsort(clear)[::-1]):
        if all(abs(index - other) > 1 for other in taken):
            taken.append(index)
            yield scales[index]
        if len(taken) == _CANDIDATES:
            return


def _start(values: Complexes, steps: int) -> tuple[float, float, float]:
    """How clearly the tile's start is found (deviations), and how far right and down it is.

    The correlation with every start at once, by the Fourier transform; in pixels of the tile,
    ``steps`` to one of them.
    """
    waves = _waves()
    side = steps * _TILE
    sync = slice(waves.sync)
    product = np.zeros((side, side // 2 + 1), np.complex64)
    product[waves.down[sync], waves.across[sync]] = values[sync] * waves.phases[sync].conj()
    correlation = np.fft.irfft2(product, (side, side))
    row, column = np.unravel_index(int(correlation.argmax()), correlation.shape)
    # irfft2 divides by all samples and adds each wave's mirror.
    peak = float(correlation[row, column]) * side**2 / 2
    return peak / _deviation(values[sync]), float(column / steps), float(row / steps)


def _deviation(values: Complexes) -> float:
    """Of the correlation, when the values' phases are even: cosines have a variance of a half."""
    return math.sqrt(float(np.square(np.abs(values)).sum()) / 2) + 1e-9


def _refined(picture: _Picture, scale: float, step: float) -> tuple[Complexes, tuple[float, float]]:
    """The waves at the clearest scales across and down near one, shifted to the tile's start."""

    def measured(scales: tuple[float, float]) -> tuple[float, Complexes, tuple[float, float]]:
        values = picture.exactly(*scales)
        clear, right, below = _start(values, _FINE)
        waves = _waves()
        turn = (waves.across * right + waves.down * below) * (2 * np.pi / _TILE)
        return clear, values * np.exp(1j * turn).astype(np.complex64), scales

    best = measured((scale, scale))
    for _ in range(_ROUNDS):
        step /= 2
        for right, below in ((step, 0.0), (0.0, step)):
            across, down = best[2]
            tries = [measured((across + s * right, down + s * below)) for s in (-1, 1)]
            best = max(best, *tries, key=lambda one: one[0])
    return best[1:]


def _decoded(
    values: Complexes, scale: tuple[float, float]
) -> tuple[float, int, tuple[float, float]]:
    """The confidence of the id that fits the waves best, the id, and the scale."""
    waves = _waves()
    told = values * waves.phases.conj()
    scores = (told[waves.sync :].reshape(_SYMBOLS, -1) @ waves.words.conj().T).real
    likely = np.argsort(scores[: ID_BITS // 8])[:, -_KEPT_WORDS:]
    ids = [int.from_bytes(bytes(word), "big") for word in product(*likely.tolist())]
    symbols = np.array([list(_symbols(short_id)) for short_id in ids])
    sums = scores[np.arange(_SYMBOLS), symbols].sum(axis=1)
    best = int(sums.argmax())
    total = float(told[: waves.sync].real.sum() + sums[best])
    return total / _deviation(values), ids[best], scale
