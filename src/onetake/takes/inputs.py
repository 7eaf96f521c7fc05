"""The inputs of a take: fetched, then as frames at the model's size."""

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onetake.jobs.plan import Plan
from onetake.jobs.request import Job
from onetake.media import fetch
from onetake.media.fetch.clip import Clip
from onetake.media.frames import FrameBatch, cover, stretch
from onetake.media.probe import MediaError, VideoFacts, read_frames
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings
from onetake.takes.chain import ChainInputs


def fetch_inputs(job: Job, settings: Settings, folder: Path) -> dict[str, Any]:
    """Each input of ``job`` by its field: a `PIL.Image.Image`, a `Clip`, or what its kind gives.

    Raises:
        JobError: one cannot be fetched or used.
    """
    # Clips first: the plan follows them, whatever pictures there are.
    inputs = sorted(job.inputs(), key=lambda one: one.kind != "clip")
    return {
        field: fetch.load(kind, source, field, settings, folder) for field, kind, source in inputs
    }


def source_of(inputs: Mapping[str, Any]) -> tuple[int, int] | VideoFacts | None:
    """What the plan must know: the facts of a clip, else the size of a picture, if there is one."""
    if "video" in inputs:
        facts: VideoFacts = inputs["video"].facts
        return facts
    picture: Image.Image | None = inputs.get("image") or inputs.get("last_image")
    return picture.size if picture else None


def chain_inputs(inputs: dict[str, Any], plan: Plan) -> ChainInputs:
    """The frames that the take starts from and ends on. Their pictures are taken out of ``inputs``.

    Raises:
        JobError: the clip is damaged.
    """
    # A picture may have 64 million pixels, of which nobody needs more than this frame.
    context = _frame(inputs.pop("image", None), plan)
    if "video" in inputs:
        context = _end_of(inputs["video"], plan)
    return ChainInputs(context, _frame(inputs.pop("last_image", None), plan))


def pictures_of(inputs: ChainInputs, *, extends: bool) -> Iterator[tuple[str, FrameBatch]]:
    """The frames that the take starts from and ends on, by their fields; (height, width, 3)."""
    if inputs.context is not None:
        yield "video" if extends else "image", inputs.context[-1]
    if inputs.last_frame is not None:
        yield "last_image", inputs.last_frame[0]


def frames_of_clip(file: Path) -> Iterator[FrameBatch]:
    """All frames of the clip to extend.

    Raises:
        JobError: it is damaged.
    """
    try:
        yield from read_frames(file)
    except MediaError as error:
        raise JobError("video", f"is {error}; give another") from None


def _frame(picture: Image.Image | None, plan: Plan) -> FrameBatch | None:
    return np.array(cover(picture, plan.generated_size))[None] if picture else None


def _end_of(clip: Clip, plan: Plan) -> FrameBatch:
    """The clip's last moments at the model's size and rate, (context_frames, height, width, 3)."""
    fps = clip.facts.fps
    frames_ago = [round(i * fps / plan.generated_fps) for i in range(plan.context_frames)]
    last = deque(frames_of_clip(clip.file), maxlen=frames_ago[-1] + 1)
    chosen = [last[-1 - ago] for ago in reversed(frames_ago)]
    size = plan.generated_size
    return np.stack([np.asarray(stretch(Image.fromarray(frame[0]), size)) for frame in chosen])
