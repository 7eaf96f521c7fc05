"""A clip that is extended: what of it the first segment continues, and the clip before the take."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from onetake.jobs.plan import Plan
from onetake.media.frames import FrameBatch, FrameStream, stretch
from onetake.media.probe import MediaError, VideoFacts, read_frames
from onetake.runtime.errors import JobError


def end_of(file: Path, facts: VideoFacts, plan: Plan) -> FrameBatch:
    """The clip's last moments at the model's size and rate, (context_frames, height, width, 3).

    Raises:
        JobError: the clip is damaged.
    """
    back = [round(i * facts.fps / plan.generated_fps) for i in range(plan.context_frames)]
    last: deque[FrameBatch] = deque(_frames(file), maxlen=back[-1] + 1)
    chosen = [last[-1 - frames_ago] for frames_ago in reversed(back)]
    size = plan.generated_size
    return np.stack([np.asarray(stretch(Image.fromarray(frame[0]), size)) for frame in chosen])


def with_clip(file: Path, made: FrameStream) -> FrameStream:
    """The clip's own frames, then what was ``made`` but for its first: the clip's last again.

    Raises:
        JobError: the clip is damaged.
    """
    yield from _frames(file)
    first = next(made, None)
    if first is not None:
        yield first[1:]
    yield from made


def _frames(file: Path) -> Iterator[FrameBatch]:
    try:
        yield from read_frames(file)
    except MediaError as error:
        raise JobError("video", f"is {error}; give another") from None
