"""What happens at the seams of a take, measured on its frames as they pass by."""

from collections.abc import Sequence

import numpy as np

from onetake.media.frames import FrameStream
from onetake.seams.figures import Curves, Drift, Report, SeamFigures
from onetake.seams.frames import ROW, FrameMeter, Rows
from onetake.seams.report import BARS, Take

__all__ = ["BARS", "Curves", "Drift", "Report", "SeamFigures", "SeamMeter"]


class SeamMeter:
    """Measures a take of uint8 RGB frames that passes through it.

    It holds one frame of 256 lines and half a kilobyte of figures for each that went by.
    """

    def __init__(self, seams: Sequence[int], num_frames: int) -> None:
        """Measure before each frame of ``seams``, which start later parts.

        Raises:
            ValueError: a seam is outside of the take.
        """
        for seam in seams:
            if not 0 < seam < num_frames:
                raise ValueError(f"{seam} is none of 1 to {num_frames - 1}")
        self._seams = list(seams)
        self._frames = FrameMeter()
        self._rows: list[Rows] = []

    def through(self, stream: FrameStream) -> FrameStream:
        """The same stream; each batch is measured before it is passed on."""
        for batch in stream:
            self._rows += [self._frames.row(frame) for frame in batch]
            yield batch

    def report(self) -> Report:
        """The figures of what has passed; seams that it did not reach are left out.

        Raises:
            ValueError: not a frame has passed.
        """
        if not self._rows:
            raise ValueError("no frames to measure")
        return Take(np.array(self._rows, ROW)).report(self._seams)
