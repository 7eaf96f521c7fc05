"""From a job to a plan, by arithmetic alone.

The delivered size, rate and frame count are exactly what was asked. The generated ones are what
the model is good at: frames 4k+1, sides that are multiples of 32, its own rate. Finishing scales,
crops, resamples and trims the one to the other, and the plan says so in ``notes``.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from onetake.errors import JobError
from onetake.estimate import CPU, Estimate, known_card, stage_seconds
from onetake.job import MAX_SIDE, Job
from onetake.memory import fitting, peaks
from onetake.schedule import forwards
from onetake.spec import ModelSpec, Profile

DEFAULT_DURATION = 5.0  # seconds, as on RunPod's public endpoints
MAX_RATIO = 3.0  # between the sides; beyond it no model here was trained
MAX_CROP = 0.06  # of the picture: a size the model knows is worth losing this much of the edges
_NTSC = {23.976: Fraction(24000, 1001), 29.97: Fraction(30000, 1001), 59.94: Fraction(60000, 1001)}


@dataclass(frozen=True)
class Segment:
    """One run of the model. Frame counts are generated frames, at the model's own rate."""

    index: int
    prompt: str
    seed: int
    num_frames: int
    overlap_frames: int  # context from the segment before, dropped from the take
    start_frame: int  # of the take, where this segment's own frames begin

    @property
    def new_frames(self) -> int:
        """Frames that this segment adds to the take."""
        return self.num_frames - self.overlap_frames


@dataclass(frozen=True)
class Plan:
    """What will be generated and delivered. Sizes are (width, height) in pixels."""

    model: str
    profile: str
    prompt: str
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float
    flow_shift: float
    seed: int
    size: tuple[int, int]
    fps: Fraction
    num_frames: int
    generated_size: tuple[int, int]
    generated_fps: int
    generated_frames: int  # kept of what the segments make; the surplus is trimmed
    segments: tuple[Segment, ...]
    notes: tuple[str, ...]
    estimate: Estimate

    @property
    def duration(self) -> float:
        """Delivered seconds."""
        return float(self.num_frames / self.fps)

    @property
    def overlap_frames(self) -> int:
        """Frames that each segment hands to the next; 0 for a single segment."""
        return self.segments[-1].overlap_frames

    def seam_frames(self) -> list[int]:
        """The delivered frame that starts each segment but the first.

        A segment that only lends its first frame to the blend of the last delivered one starts
        none.
        """
        starts = (
            math.ceil(segment.start_frame * self.fps / self.generated_fps)
            for segment in self.segments[1:]
        )
        return [start for start in starts if start < self.num_frames]

    def summary(self) -> dict[str, Any]:
        """The part of the plan that the caller did not ask for in so many words, for JSON."""
        return {
            "generated_size": f"{self.generated_size[0]}*{self.generated_size[1]}",
            "generated_fps": self.generated_fps,
            "generated_frames": sum(segment.num_frames for segment in self.segments),
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "flow_shift": self.flow_shift,
            "segments": [
                {
                    "num_frames": segment.num_frames,
                    "overlap_frames": segment.overlap_frames,
                    "seed": segment.seed,
                }
                for segment in self.segments
            ],
            "estimate": self.estimate.summary(),
        }


@dataclass(frozen=True)
class Terms:
    """What the worker brings to a plan: its limits, its price and its card (None: the CPU)."""

    max_duration: float
    price_per_second: float
    card: str | None = None
    card_gib: float = math.inf


def plan_take(
    job: Job,
    spec: ModelSpec,
    profile: Profile,
    terms: Terms,
    *,
    prompt: str,
    seed: int,
    image_size: tuple[int, int] | None = None,
) -> Plan:
    """The plan for ``job``.

    Args:
        job: what was asked.
        spec: the model that will run it.
        profile: how it will run.
        terms: the worker's limits and price.
        prompt: the prompt to use, which optimisation may have changed.
        seed: the job's seed, drawn already.
        image_size: (width, height) of the input image once it is known; its ratio decides the
            size when the job leaves it open.

    Raises:
        JobError: the model cannot do what is asked.
    """
    _check_supported(job, spec)
    if spec.distilled:
        _check_distilled(job, spec)
    guidance = spec.guidance_scale if job.guidance_scale is None else job.guidance_scale
    if job.negative_prompt.strip() and guidance <= 1:
        raise JobError(
            "negative_prompt",
            f"does nothing at guidance_scale {guidance:g}; leave it out or raise that above 1",
        )
    notes: list[str] = []
    size = _delivered_size(job, spec, image_size)
    generated_size = _generated_size(size, spec)
    if generated_size != size:
        notes.append(f"generated at {_times(generated_size)}, scaled and cropped to {_times(size)}")
    if image_size and _crop(image_size, size) > 0.01:  # noqa: PLR2004 - under 1% nobody sees it
        lost = round(100 * _crop(image_size, size))
        notes.append(f"{lost}% of the image is outside the frame; leave size out to keep all of it")

    fps = _rate(job, spec)
    num_frames = _delivered_frames(job, fps, terms.max_duration)
    lasting = float(num_frames / fps)
    if job.duration is not None and abs(lasting - job.duration) > 0.001:  # noqa: PLR2004 - seconds
        notes.append(f"{num_frames} whole frames at {float(fps):g} fps last {lasting:.3f} s")
    if fps != spec.native_fps:
        notes.append(f"generated at {spec.native_fps} fps, resampled to {float(fps):g} fps")
    # The last delivered frame lies at (num_frames - 1) / fps; the frame after it is blended in.
    generated_frames = math.ceil((num_frames - 1) * spec.native_fps / fps) + 1
    if generated_frames > spec.max_frames and not spec.overlaps:
        raise _too_long(job, spec, fps)
    segments = _segments(job, spec, generated_frames, prompt, seed)
    steps = job.num_inference_steps or spec.num_inference_steps
    runs = forwards(steps, guided=guidance > 1, reuse="reuse" in profile.techniques)
    return Plan(
        model=spec.name,
        profile=profile.name,
        prompt=prompt,
        negative_prompt=job.negative_prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        flow_shift=spec.flow_shift if job.flow_shift is None else job.flow_shift,
        seed=seed,
        size=size,
        fps=fps,
        num_frames=num_frames,
        generated_size=generated_size,
        generated_fps=spec.native_fps,
        generated_frames=generated_frames,
        segments=segments,
        notes=tuple(notes),
        estimate=_estimate(spec, profile, generated_size, segments, runs, terms),
    )


def _estimate(
    spec: ModelSpec,
    profile: Profile,
    size: tuple[int, int],
    segments: tuple[Segment, ...],
    runs: int,
    terms: Terms,
) -> Estimate:
    """Time, money and memory.

    Raises:
        JobError: the card has too little memory for a segment.
    """
    counts = [segment.num_frames for segment in segments]
    denoise, decode = stage_seconds(spec, profile, size, counts, forwards=runs, card=terms.card)
    placement, peak = "cpu", None
    if terms.card:
        placement, peak = _placed(spec, profile, size, max(counts), terms.card_gib)
    return Estimate(
        seconds=denoise + decode,
        dollars=(denoise + decode) * terms.price_per_second,
        peak_gib=peak,
        placement=placement,
        card=known_card(terms.card) if terms.card else CPU,
        denoise_share=denoise / (denoise + decode),
    )


def _placed(
    spec: ModelSpec, profile: Profile, size: tuple[int, int], frames: int, card_gib: float
) -> tuple[str, float]:
    """Where the parts will be, and the card's peak in GiB."""
    needed = peaks(spec, profile, size, frames)
    found = fitting(needed, card_gib)
    if found:
        return found
    least = min(peaks(spec, replace(profile, streamed=True), size, frames).values())
    hint = "ask for a smaller model"
    if fitting({"": least}, card_gib):
        hint = f"profile lean needs {least:.1f}"
    problem = (
        f"{spec.name} needs {min(needed.values()):.1f} GiB for {frames} frames of {_times(size)}, "
        f"and the card has {card_gib:.1f}; {hint}"
    )
    raise JobError("profile", problem, code="too_large")


def _check_supported(job: Job, spec: ModelSpec) -> None:
    for field in ("segments", "last_image", "video"):
        if getattr(job, field) is not None:
            raise JobError(field, "is not served yet; leave it out", code="unsupported")
    if job.image and not spec.takes_image:
        raise JobError(
            "image", f"{spec.name} takes text alone; leave it out or ask for another model",
            code="unsupported",
        )  # fmt: skip
    if job.overlap_frames is not None and job.overlap_frames not in spec.overlaps:
        legal = ", ".join(map(str, spec.overlaps)) or "none, for it cannot continue a segment"
        raise JobError(
            "overlap_frames", f"{job.overlap_frames} is not one that {spec.name} takes: {legal}"
        )


def _check_distilled(job: Job, spec: ModelSpec) -> None:
    """Refuse what distilled weights have no room for."""
    fixed = {
        "num_inference_steps": spec.num_inference_steps,
        "guidance_scale": spec.guidance_scale,
        "flow_shift": spec.flow_shift,
    }
    for field, value in fixed.items():
        if getattr(job, field) not in {None, value}:
            problem = f"{spec.name} was distilled to {value:g}; leave it out"
            raise JobError(field, problem)
    if job.negative_prompt.strip():
        problem = f"does nothing, since {spec.name} runs without guidance; leave it out"
        raise JobError("negative_prompt", problem)


def _delivered_size(
    job: Job, spec: ModelSpec, image_size: tuple[int, int] | None
) -> tuple[int, int]:
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
            f"{_times(size)} is {ratio:.2f} times as long as wide; at most {MAX_RATIO:g} is legal, "
            f"such as {nearest} by {min(size)}",
        )
    return size


def _open_size(job: Job, spec: ModelSpec, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """The size when only its ratio, its short side or neither is given."""
    if not (job.resolution or job.aspect_ratio or image_size):
        return spec.default_size
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
    short = float(str(job.resolution)[:-1]) if job.resolution else min(spec.default_size)
    width, height = (short * ratio, short) if ratio >= 1 else (short, short / ratio)
    if max(width, height) > MAX_SIDE:
        raise JobError(
            "resolution",
            f"{job.resolution} is {_even(max(width, height))} pixels long at this ratio; at most "
            f"{MAX_SIDE} are legal, so ask for a lower one",
        )
    return _even(width), _even(height)


def _generated_size(size: tuple[int, int], spec: ModelSpec) -> tuple[int, int]:
    """A size the model is good at, or one of the same area in the asked ratio."""
    best = min(spec.sizes, key=lambda known: _crop(known, size))
    if _crop(best, size) <= MAX_CROP:
        return best
    area = spec.sizes[0][0] * spec.sizes[0][1]
    width = math.sqrt(area * size[0] / size[1])
    multiple = spec.size_multiple
    return (
        max(multiple, round(width / multiple) * multiple),
        max(multiple, round(area / width / multiple) * multiple),
    )


def _rate(job: Job, spec: ModelSpec) -> Fraction:
    if job.fps is None:
        return Fraction(spec.native_fps)
    return _NTSC.get(round(job.fps, 3)) or Fraction(job.fps).limit_denominator(1001)


def _delivered_frames(job: Job, fps: Fraction, max_duration: float) -> int:
    longest = math.floor(max_duration * fps)
    if job.num_frames is not None:
        if job.duration is not None and round(job.duration * fps) != job.num_frames:
            raise JobError(
                "num_frames",
                f"{job.num_frames} frames at {float(fps):g} fps are not {job.duration:g} s, which "
                f"are {round(job.duration * fps)}; keep one of the two",
            )
        if job.num_frames > longest:
            raise JobError(
                "num_frames", f"{job.num_frames} is too large; the nearest legal value is {longest}"
            )
        return job.num_frames
    duration = min(DEFAULT_DURATION, max_duration) if job.duration is None else job.duration
    if duration > max_duration:
        raise JobError(
            "duration",
            f"{duration:g} is too large; the nearest legal value on this worker is "
            f"{max_duration:g} seconds",
        )
    return max(1, round(duration * fps))


def _segments(job: Job, spec: ModelSpec, total: int, prompt: str, seed: int) -> tuple[Segment, ...]:
    """As few segments as the model allows, of one length, so that one compiled shape serves all."""
    overlap = job.overlap_frames or spec.default_overlap
    if total <= spec.max_frames:
        count, overlap = 1, 0
    else:
        count = 1 + math.ceil((total - spec.max_frames) / (spec.max_frames - overlap))
    # count * num_frames - (count - 1) * overlap >= total, with num_frames = frame_step * k + 1
    needed = math.ceil((total + (count - 1) * overlap) / count)
    shortest = max(needed, spec.min_frames, overlap + 1)
    num_frames = math.ceil((shortest - 1) / spec.frame_step) * spec.frame_step + 1
    # What rounding up added to each may make the last of very many needless.
    count = 1 + max(0, math.ceil((total - num_frames) / (num_frames - overlap)))
    return tuple(
        Segment(
            index=index,
            prompt=prompt,
            seed=segment_seed(seed, index),
            num_frames=num_frames,
            overlap_frames=overlap if index else 0,
            start_frame=index * (num_frames - overlap) + (overlap if index else 0),
        )
        for index in range(count)
    )


def _too_long(job: Job, spec: ModelSpec, fps: Fraction) -> JobError:
    """The refusal of a take longer than the one segment that ``spec`` can make."""
    frames = math.floor((spec.max_frames - 1) * fps / spec.native_fps) + 1
    if job.num_frames is not None:
        field, longest = "num_frames", str(frames)
    else:
        field, longest = "duration", f"{math.floor(100 * frames / fps) / 100:g}"
    return JobError(
        field,
        f"{spec.name} cannot continue a segment; the nearest legal value is {longest}, or ask for "
        "another model",
        code="unsupported",
    )


def segment_seed(seed: int, index: int) -> int:
    """The seed of segment ``index``: the job's own for the first, derived ones after it.

    One seed for all segments would repeat its artefacts in each.
    """
    if index == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:6])


def _crop(source: tuple[int, int], target: tuple[int, int]) -> float:
    """The part of ``source`` that is lost when it is scaled and cropped to cover ``target``."""
    ratio = (source[0] * target[1]) / (source[1] * target[0])
    return 1 - min(ratio, 1 / ratio)


def _even(value: float | Fraction) -> int:
    return max(2, round(value / 2) * 2)


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}*{size[1]}"
