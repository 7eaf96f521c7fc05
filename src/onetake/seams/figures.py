"""What a report of a take's seams holds; it is written to JSON as it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SeamFigures:
    """What happens between the frame before ``at_frame`` and that frame.

    Ratios compare the seam with the pairs of frames around it: 1 means that no seam shows. None
    means that too little happens around it to compare with.
    """

    at_frame: int
    duplicate: float | None
    """Mean absolute difference over the median around; near 0, a frame is shown twice."""
    velocity: float | None
    """Mean optical flow over the median of 8 pairs either side; at 2 a frame may be missing."""
    pace: float | None
    """Median optical flow of the 8 pairs after, over that of the 8 before."""
    direction: float | None
    """Lowest cosine between the movement before, across and after; at -1 it turns back."""
    structure: float | None
    """1 - SSIM over the 95th percentile around."""
    warp: float | None
    """The difference that is left when movement is undone, over the 95th percentile around."""
    colour_step: float
    """Delta E (CIEDE2000, mean of a 3x3 grid) across the seam, less the median around."""
    sharpness_step: float | None
    """Laplacian energy of the 4 frames after, over that of the 4 before."""
    sharpness: float | None
    """The same of the 4 frames after, over the take's first frame's."""
    delta_e: float
    """Delta E of the 8 frames after against the take's first 8. Movement raises it too."""
    faults: tuple[str, ...]
    """Names of the figures that fail their bars, also of those that stand out of a still scene."""
    severity: float
    """The worst figure as a factor of its bar; above 1 the seam fails."""


@dataclass(frozen=True)
class Curves:
    """The take over time; each point is the mean of the frames up to the next point."""

    frame: tuple[int, ...]
    """The first frame of each point."""
    delta_e: tuple[float, ...]
    """CIEDE2000 against the first 8 frames, mean of a 3x3 grid."""
    sharpness: tuple[float, ...]
    """Laplacian energy over the first frame's; 1 everywhere if that frame is flat."""
    speed: tuple[float, ...]
    """Mean optical flow, pixels a frame of the reduced size."""
    l_std: tuple[float, ...]
    """Standard deviation of L*: contrast."""
    chroma: tuple[float, ...]
    """Mean distance from grey in a*b*."""


@dataclass(frozen=True)
class Drift:
    """Slopes of the curves by least squares, each in the curve's unit per 100 frames."""

    delta_e: float
    sharpness: float
    speed: float
    l_std: float
    chroma: float


@dataclass(frozen=True)
class Report:
    """A measured take."""

    num_frames: int
    seams: tuple[SeamFigures, ...]
    suspicions: tuple[SeamFigures, ...]
    """Other places that look like bad seams, worst first, at most 8."""
    curves: Curves
    drift: Drift
