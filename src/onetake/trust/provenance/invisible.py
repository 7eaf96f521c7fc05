"""The invisible mark: a job's short id hidden in the pixels of its take.

The mark is spread spectrum (Cox et al., "Secure spread spectrum watermarking for multimedia",
1997): a weak pattern of many waves is added to the luma, and a reader finds it by correlation. One
tile of the pattern is repeated over the picture. So a crop is a shift of the tile, and a scale is a
period that the reader searches for (Kutter, "Watermarking resisting to translation, rotation, and
scaling", 1998). The pattern does not change over time, so any part of a clip is enough. It is weak
on flat grounds and stronger in texture, which hides it (Podilchuk and Zeng, "Image-adaptive
watermarking using visual models", 1998).

It carries six symbols: the four bytes of the id and two bytes of a check. A symbol is one of 256
words over waves of its own. The reader weighs all words against each other: with soft decisions
over nearly orthogonal words, no further code is needed.

The mark shows where a take came from unless somebody hides that. It is no lock: whoever reads this
file can remove it. `invisible_reader` does not read mirrored or turned pictures.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from onetake.media.frames import FrameBatch

ID_BITS = 32
TILE = 128  # pixels, both ways
WAVELENGTHS = (7.0, 20.0)  # pixels; half size and x264's quantiser remove shorter waves
SYMBOLS = 6
_WORDS = 256
_SYNC_SHARE = 0.25  # of the waves: they carry no symbol and show where the tile starts

# Standard deviation of the mark, in levels of 255.
_FLAT = 0.75  # where nothing hides it, at 1280x720; a smaller picture needs more for the same bits
_FLAT_PIXELS = 1280 * 720
_BY_TEXTURE = 0.08  # added for each level of deviation of the pixels around
_MOST = 2.2  # this limit alone keeps every frame above 41 dB
_CELL = 4  # pixels, a side of the cells whose texture is measured
_AROUND = 5  # cells over which texture is measured
_NEARBY = 7  # cells of which the flattest counts

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Waves:
    """The waves of the mark; first those of the start, then those of each symbol in turn.

    ``across`` and ``down`` are int [n], periods in a tile; ``phases`` complex [n] of modulus 1;
    ``words`` complex [256, n of one symbol] of modulus 1: a symbol turns its waves by its word.
    """

    across: Ints
    down: Ints
    phases: Complexes
    words: Complexes
    sync: int  # how many belong to the start


@cache
def mark_waves() -> Waves:
    """The waves, drawn from SHAKE-256, which gives the same bytes everywhere."""
    half = TILE // 2
    down, across = np.mgrid[-half:half, 1:half]  # pixels are real, so half a plane is enough
    period = TILE / np.hypot(down, across)
    shortest, longest = WAVELENGTHS
    chosen = (period >= shortest) & (period <= longest)
    down, across = down[chosen], across[chosen]
    order = np.argsort(_random_bytes("order", 4 * len(down)).view("<u4"), kind="stable")
    each = round(len(order) * (1 - _SYNC_SHARE)) // SYMBOLS
    quarters = _random_bytes("words", _WORDS * each) % 4
    return Waves(
        across[order],
        down[order],
        np.exp(2j * np.pi / 256 * _random_bytes("phases", len(order))).astype(np.complex64),
        np.array([1, 1j, -1, -1j], np.complex64)[quarters].reshape(_WORDS, each),
        len(order) - SYMBOLS * each,
    )


def _random_bytes(purpose: str, count: int) -> npt.NDArray[np.uint8]:
    """Bytes that look random. They define the mark's format: with others no mark can be read."""
    stream = hashlib.shake_256(f"onetake invisible mark 1: {purpose}".encode())
    return np.frombuffer(stream.digest(count), np.uint8)


def symbols_of(short_id: int) -> bytes:
    """The bytes of the id, then those of a check that shows a wrong reading."""
    content = short_id.to_bytes(ID_BITS // 8, "big")
    return content + hashlib.sha256(content).digest()[: SYMBOLS - len(content)]


class InvisibleMark:
    """Marks the frames of one job. Equal frames are marked alike.

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
        waves = mark_waves()
        turns = np.ones(len(waves.across), np.complex64)
        turns[waves.sync :] = waves.words[list(symbols_of(short_id))].ravel()
        spectrum = np.zeros((TILE, TILE // 2 + 1), np.complex64)
        spectrum[waves.down, waves.across] = turns * waves.phases
        tile = np.fft.irfft2(spectrum)
        tile = (tile / tile.std()).astype(np.float32)
        repeats = -(-height // TILE), -(-width // TILE)
        self._pattern = np.tile(tile, repeats)[:height, :width].copy()
        self._flat = min(_MOST, _FLAT * (_FLAT_PIXELS / (width * height)) ** 0.25)

    def embed(self, frames: FrameBatch) -> FrameBatch:
        """A marked copy of the frames, uint8 RGB [n, height, width, 3]."""
        marked = np.empty(frames.shape, np.uint8)  # in OpenCV's layout, whatever that of ``frames``
        for frame, out in zip(frames, marked, strict=True):
            grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
            change = cv2.multiply(self._pattern, self._strength(grey), dtype=cv2.CV_16S)
            # The same change in all three channels changes luma alone. Sums stop at 0 and 255.
            cv2.add(frame, cv2.merge([change] * 3), out, dtype=cv2.CV_8U)
        return marked

    def _strength(self, grey: npt.NDArray[np.uint8]) -> Floats:
        """The mark's deviation at each pixel of a picture [height, width], in levels."""
        cells = [max(1, side // _CELL) for side in self._size]
        # Half the size shows texture as well, and faster.
        half = [side * _CELL // 2 for side in cells]
        small = cv2.resize(grey, half, interpolation=cv2.INTER_AREA).astype(np.float32)
        mean, square = (
            cv2.blur(cv2.resize(values, cells, interpolation=cv2.INTER_AREA), (_AROUND, _AROUND))
            for values in (small, small * small)
        )
        # An edge hides nothing on the flat ground beside it: the least deviation nearby counts.
        nearby = np.ones((_NEARBY, _NEARBY), np.uint8)
        deviation = np.sqrt(np.maximum(cv2.erode(square - mean * mean, nearby), 0))
        texture = cv2.blur(deviation, (_AROUND, _AROUND))
        strength = np.minimum(self._flat + _BY_TEXTURE * texture, _MOST)
        return np.asarray(cv2.resize(strength, self._size), np.float32)
