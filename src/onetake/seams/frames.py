"""Figures of one frame, and of the pair that it makes with the frame before; all of OpenCV.

Frames are reduced to a short side of 256 pixels first, which costs the figures nothing that eyes
would see and makes a 720p frame as cheap as a small one.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

SHORT_SIDE = 256  # pixels; smaller frames stay as they are
FLOW_NOISE = 0.1  # pixels a frame; slower movement is noise of the encoder or of the flow
_SMALL = 96  # pixels; the flow of smaller frames is searched at half of their size
_CELLS = 3  # of the colour grid, each way
_FLOW_CELLS = 6  # of the movement's grid, each way
_SSIM_SIGMA = 1.5
_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Floats = npt.NDArray[np.float32]
# One row a frame, of about half a kilobyte; the first five fields are of the pair with the frame
# before, and zero in the first row.
ROW = np.dtype([
    ("difference", "f4"),  # mean absolute difference of RGB values, of 255
    ("unlike", "f4"),  # 1 - SSIM of the grey pictures
    ("warp", "f4"),  # mean absolute difference that is left when the later is moved back, of 255
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
    """A frame as the next one is compared with it."""

    rgb: npt.NDArray[np.uint8]
    grey: npt.NDArray[np.uint8]
    mean: Floats  # local means and variances, for SSIM
    variance: Floats


class FrameMeter:
    """Fed with frames one after another; holds one reduced frame."""

    def __init__(self) -> None:
        # Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016, at a quarter of the
        # size: 6 ms a pair, where the finer preset takes 30 and gives the same ratios.
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._last: _Reduced | None = None
        self._size = (0, 0)  # width and height of reduced frames
        self._places = np.empty((2, 0, 0), np.float32)  # x and y of each pixel, for warping

    def row(self, frame: npt.NDArray[np.uint8]) -> Rows:
        """The figures of a uint8 RGB frame of shape (height, width, 3), as one row of ROW."""
        if self._last is None:
            height, width = frame.shape[:2]
            scale = min(1.0, SHORT_SIDE / min(height, width))
            self._size = round(width * scale), round(height * scale)
            if min(self._size) < _SMALL:
                self._search.setFinestScale(1)
        now = _reduced(frame, self._size)
        row = np.zeros((), ROW)
        lab = _lab(now.rgb)
        row["lab"] = _cell_means(lab, _CELLS)
        row["l_std"] = lab[..., 0].std()
        row["chroma"] = np.hypot(lab[..., 1], lab[..., 2]).mean()
        row["sharpness"] = np.square(cv2.Laplacian(now.grey, cv2.CV_32F)).mean()
        if self._last is not None:
            self._pair(self._last, now, row)
        self._last = now
        return row

    def _pair(self, last: _Reduced, now: _Reduced, row: Rows) -> None:
        row["difference"] = cv2.absdiff(last.rgb, now.rgb).mean()
        row["unlike"] = 1 - _ssim(last, now)
        none = np.empty(0, np.float32)  # no flow to start from
        flow = np.asarray(self._search.calc(last.grey, now.grey, none), np.float32)
        row["flow"] = _cell_means(flow, _FLOW_CELLS)
        coarse = flow[::4, ::4]  # the rest is interpolated
        magnitude = np.hypot(coarse[..., 0], coarse[..., 1])
        row["speed"] = (magnitude * (magnitude > FLOW_NOISE)).mean()
        if self._places.shape[1:] != flow.shape[:2]:
            self._places = np.indices(flow.shape[:2], np.float32)[::-1]
        x, y = self._places
        moved = cv2.remap(
            now.grey, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        row["warp"] = cv2.absdiff(last.grey, moved).mean()


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
    above = (2 * one.mean * other.mean + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    below = (one.mean**2 + other.mean**2 + _SSIM_C1) * (one.variance + other.variance + _SSIM_C2)
    return float((above / below).mean())


def _blur(values: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (11, 11), _SSIM_SIGMA), np.float32)


def _lab(rgb: npt.NDArray[np.uint8]) -> Floats:
    """CIELAB of sRGB in D65, from a quarter of the pixels: colours need no more."""
    values = rgb[::2, ::2].astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_RGB2LAB), np.float32)


def _cell_means(values: npt.NDArray[np.float32], cells: int) -> Floats:
    """The means over a grid of cells by cells."""
    return np.asarray(cv2.resize(values, (cells, cells), interpolation=cv2.INTER_AREA), np.float32)
