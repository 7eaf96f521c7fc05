"""Figures of one frame, and of the pair that it makes with the frame before, by OpenCV.

Frames are first reduced to a short side of 256 pixels. The figures lose nothing visible by that,
and a 720p frame costs as little as a small one.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from onetake.media.colour import lab_of

SHORT_SIDE = 256  # pixels; smaller frames keep their size
FLOW_NOISE = 0.1  # pixels a frame; slower movement is noise of the encoder or of the flow
_SMALL = 96  # pixels; the flow of smaller frames is searched at half their size
_CELLS = 3  # rows and columns of the colour grid
_FLOW_CELLS = 6  # rows and columns of the movement grid
_SSIM_SIGMA = 1.5
_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Floats = npt.NDArray[np.float32]
# One row a frame, about half a kilobyte. The first five fields belong to the pair with the frame
# before; they are zero in the first row.
ROW = np.dtype([
    ("difference", "f4"),  # mean absolute difference of RGB values, of 255
    ("unlike", "f4"),  # 1 - SSIM of the grey pictures
    ("warp", "f4"),  # mean absolute difference of grey, the later frame moved back, of 255
    ("speed", "f4"),  # mean magnitude of the optical flow, pixels a frame of the reduced size
    ("flow", "f4", (_FLOW_CELLS, _FLOW_CELLS, 2)),  # its mean over each cell of a grid
    ("lab", "f4", (_CELLS, _CELLS, 3)),  # mean CIELAB of each cell
    ("l_std", "f4"),  # standard deviation of L*: contrast
    ("chroma", "f4"),  # mean distance from grey in a*b*
    ("sharpness", "f4"),  # mean square of the grey picture's Laplacian
])  # fmt: skip
Rows = npt.NDArray[np.void]


@dataclass(frozen=True)
class _Reduced:
    """What is kept of a frame to compare the next one with it."""

    rgb: npt.NDArray[np.uint8]
    grey: npt.NDArray[np.uint8]
    mean: Floats  # local means and variances, for SSIM
    variance: Floats


class FrameMeter:
    """Measures frames one after another; it holds one reduced frame."""

    def __init__(self) -> None:
        # Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016, at a quarter of the
        # size: 6 ms a pair, where the finer preset takes 30 and gives the same ratios.
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._previous: _Reduced | None = None
        self._size = (0, 0)  # width and height of reduced frames
        self._pixels = np.empty((2, 0, 0), np.float32)  # x and y of each pixel, for warping

    def row(self, frame: npt.NDArray[np.uint8]) -> Rows:
        """The figures of a uint8 RGB frame of shape (height, width, 3), as one row of ROW."""
        if self._previous is None:
            height, width = frame.shape[:2]
            scale = min(1.0, SHORT_SIDE / min(height, width))
            self._size = round(width * scale), round(height * scale)
            if min(self._size) < _SMALL:
                self._search.setFinestScale(1)
        current = _reduced(frame, self._size)
        row = np.zeros((), ROW)
        lab = lab_of(current.rgb[::2, ::2])  # a quarter of the pixels: colours need no more
        row["lab"] = _cell_means(lab, _CELLS)
        row["l_std"] = lab[..., 0].std()
        row["chroma"] = np.hypot(lab[..., 1], lab[..., 2]).mean()
        row["sharpness"] = np.square(cv2.Laplacian(current.grey, cv2.CV_32F)).mean()
        if self._previous is not None:
            self._measure_pair(self._previous, current, row)
        self._previous = current
        return row

    def _measure_pair(self, previous: _Reduced, current: _Reduced, row: Rows) -> None:
        row["difference"] = cv2.absdiff(previous.rgb, current.rgb).mean()
        row["unlike"] = 1 - _ssim(previous, current)
        no_start = np.empty(0, np.float32)  # the search could start from an earlier flow
        flow = np.asarray(self._search.calc(previous.grey, current.grey, no_start), np.float32)
        row["flow"] = _cell_means(flow, _FLOW_CELLS)
        coarse = flow[::4, ::4]  # the rest is interpolated
        magnitude = np.hypot(coarse[..., 0], coarse[..., 1])
        row["speed"] = (magnitude * (magnitude > FLOW_NOISE)).mean()
        if self._pixels.shape[1:] != flow.shape[:2]:
            self._pixels = np.indices(flow.shape[:2], np.float32)[::-1]
        x, y = self._pixels
        moved = cv2.remap(
            current.grey, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        row["warp"] = cv2.absdiff(previous.grey, moved).mean()


def _reduced(frame: npt.NDArray[np.uint8], size: tuple[int, int]) -> _Reduced:
    rgb = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    values = grey.astype(np.float32)
    mean = _blur(values)
    return _Reduced(rgb, grey, mean, _blur(values * values) - mean * mean)


def _ssim(one: _Reduced, other: _Reduced) -> float:
    """Mean structural similarity; Wang et al., "Image quality assessment", 2004."""
    product = one.grey.astype(np.float32) * other.grey
    covariance = _blur(product) - one.mean * other.mean
    numerator = (2 * one.mean * other.mean + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    light = one.mean**2 + other.mean**2 + _SSIM_C1
    contrast = one.variance + other.variance + _SSIM_C2
    return float((numerator / (light * contrast)).mean())


def _blur(values: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (11, 11), _SSIM_SIGMA), np.float32)


def _cell_means(values: npt.NDArray[np.float32], cells: int) -> Floats:
    """Means over each cell of a grid with so many rows and columns."""
    return np.asarray(cv2.resize(values, (cells, cells), interpolation=cv2.INTER_AREA), np.float32)
