"""What happens at the seams of a take, measured on its frames as they pass."""

from collections.abc import Sequence

import numpy as np

from onetake.media.frames import FrameStream
from onetake.seams.figures import Report
from onetake.seams.frames import ROW, FrameMeter, Rows
from onetake.seams.report import Take


class SeamMeter:
    """Measures a take of uint8 RGB frames that passes through it.

    It holds one frame of 256 lines, and half a kilobyte of figures for each that has passed.
    """

    def __init__(self, seams: Sequence[int], num_frames: int) -> None:
        """Measure a take of ``num_frames``; each frame number in ``seams`` starts a later part.

        Raises:
            ValueError: a seam is outside the take.
        """
        for seam in seams:
            if not 0 < seam < num_frames:
                raise ValueError(f"{seam} is none of 1 to {num_frames - 1}")
        self._seams = list(seams)
        self._frame_meter = FrameMeter()
        self._rows: list[Rows] = []

    def through(self, stream: FrameStream) -> FrameStream:
        """The same stream; each batch is measured first."""
        for batch in stream:
            self._rows += [self._frame_meter.row(frame) for frame in batch]
            yield batch

    def report(self) -> Report:
        """The figures of the frames so far; seams that they did not reach are left out.

        Raises:
            ValueError: no frame has passed.
        """
        if not self._rows:
            raise ValueError("no frames to measure")
        return Take(np.array(self._rows, ROW)).report(self._seams)
