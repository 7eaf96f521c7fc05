"""The delivered size, and the size a model generates for it. Sizes are (width, height)."""

import math
from fractions import Fraction

from onetake.jobs.limits import MAX_SIDE, MIN_SIDE
from onetake.jobs.request import Job
from onetake.media.probe import VideoFacts
from onetake.models.spec import ModelSpec
from onetake.runtime.errors import JobError

MAX_RATIO = 3.0  # between the sides; beyond it no model here was trained
MAX_CROP = 0.06  # of the picture: to use a size the model knows, this much of the edges may go


def delivered_size(
    job: Job, spec: ModelSpec, image_size: tuple[int, int] | None
) -> tuple[int, int]:
    """The size that the job names; else one in the image's ratio, else the model's default.

    Raises:
        JobError: it is too long or too wide.
    """
    if job.size:
        size = job.sides_of_size()
    elif job.width and job.height:
        size = job.width, job.height
    else:
        size = _open_size(job, spec, image_size)
    ratio = max(size) / min(size)
    if ratio > MAX_RATIO:
        nearest = _even(min(size) * MAX_RATIO)
        raise JobError(
            "size",
            f"{times(size)} is {ratio:.2f} times as long as wide; at most {MAX_RATIO:g} is legal, "
            f"such as {nearest} by {min(size)}",
        )
    return size


def clip_size(clip: VideoFacts) -> tuple[int, int]:
    """The size of a clip that is extended.

    Raises:
        JobError: a video of this size cannot be delivered.
    """
    size = clip.width, clip.height
    odd = any(side % 2 or not MIN_SIDE <= side <= MAX_SIDE for side in size)
    if odd or max(size) > MAX_RATIO * min(size):
        problem = (
            f"has {clip.width}x{clip.height} pixels; even sides from {MIN_SIDE} to {MAX_SIDE}, one "
            f"at most {MAX_RATIO:g} times the other, are legal: scale it first"
        )
        raise JobError("video", problem)
    return size


def _open_size(job: Job, spec: ModelSpec, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """The size, if the job names only its ratio, its short side or neither."""
    if not (job.resolution or job.aspect_ratio or image_size):
        return spec.segment.default_size
    if job.aspect_ratio:
        across, down = map(int, job.aspect_ratio.split(":"))
    else:
        across, down = image_size or (16, 9)
    ratio = Fraction(across, down)
    if not 1 / MAX_RATIO <= ratio <= MAX_RATIO:  # only an image can be that long
        raise JobError(
            "image",
            f"is {float(max(ratio, 1 / ratio)):.1f} times as long as wide; at most {MAX_RATIO:g} "
            "is legal: crop it, or say which size to crop it to",
        )
    short = float(str(job.resolution)[:-1]) if job.resolution else min(spec.segment.default_size)
    width, height = (short * ratio, short) if ratio >= 1 else (short, short / ratio)
    if max(width, height) > MAX_SIDE:
        raise JobError(
            "resolution",
            f"{job.resolution} is {_even(max(width, height))} pixels long at this ratio; at most "
            f"{MAX_SIDE} are legal, so ask for a lower one",
        )
    return _even(width), _even(height)


def generated_size(size: tuple[int, int], spec: ModelSpec) -> tuple[int, int]:
    """A size the model is good at, else one of the same area in the ratio of ``size``."""
    best = min(spec.segment.sizes, key=lambda candidate: crop(candidate, size))
    if crop(best, size) <= MAX_CROP:
        return best
    area = spec.segment.sizes[0][0] * spec.segment.sizes[0][1]
    width = math.sqrt(area * size[0] / size[1])
    multiple = spec.segment.size_multiple
    return (
        max(multiple, round(width / multiple) * multiple),
        max(multiple, round(area / width / multiple) * multiple),
    )


def crop(source: tuple[int, int], target: tuple[int, int]) -> float:
    """The part of ``source`` that is lost when it is scaled and cropped to cover ``target``."""
    ratio = (source[0] * target[1]) / (source[1] * target[0])
    return 1 - min(ratio, 1 / ratio)


def _even(value: float | Fraction) -> int:
    return max(2, round(value / 2) * 2)


def times(size: tuple[int, int]) -> str:
    """A size as a request writes it, such as 1280*720."""
    return f"{size[0]}*{size[1]}"
