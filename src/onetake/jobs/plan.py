"""From a job to a plan, by arithmetic alone.

The delivered size, rate and frame count are exactly what was asked. The generated ones are what
the model is good at: frames 4k+1, sides that are multiples of 32, its own rate. Finishing scales,
crops, resamples and trims the one to the other, and the plan says so in ``notes``.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from onetake.jobs.estimate import CPU, Estimate, known_card, stage_seconds
from onetake.jobs.request import Job
from onetake.jobs.sizes import clip_size, crop, delivered_size, generated_size, times
from onetake.jobs.storyboard import Part, Segment, segments_of
from onetake.media.probe import VideoFacts
from onetake.models.acceleration.schedule import forwards
from onetake.models.placement import fitting, peaks
from onetake.models.spec import ModelSpec
from onetake.runtime.errors import JobError
from onetake.runtime.profiles import Profile

DEFAULT_DURATION = 5.0  # seconds, as on RunPod's public endpoints
RETRIES, COLOUR_MATCH, HISTORY_NOISE = 0, 0.0, 0.0  # chosen by bench/chaining.py (docs/CHAINING.md)
_NTSC = {23.976: Fraction(24000, 1001), 29.97: Fraction(30000, 1001), 59.94: Fraction(60000, 1001)}


@dataclass(frozen=True)
class Plan:
    """What will be generated and delivered. Sizes are (width, height) in pixels."""

    model: str
    profile: str
    prompt: str
    negative_prompt: str
    num_inference_steps: int
    flow_shift: float
    seed: int
    size: tuple[int, int]
    fps: Fraction
    num_frames: int
    extends: bool  # a clip
    given_frames: int  # of the delivered ones, the clip's own but for its last
    context_frames: int  # generated frames that the first segment starts with
    generated_size: tuple[int, int]
    generated_fps: int
    generated_frames: int  # kept of what the segments make; the surplus is trimmed
    segments: tuple[Segment, ...]
    loops: bool  # the last segment ends on the take's first frame
    retries: int  # of each segment that continues another, at most
    colour_match: float  # 0 to 1: how far colours are drawn back to the first segment's
    history_noise: float  # deviations, on the latents that a further segment continues from
    notes: tuple[str, ...]
    estimate: Estimate

    @property
    def duration(self) -> float:
        """Delivered seconds."""
        return float(self.num_frames / self.fps)

    @property
    def overlap_frames(self) -> int:
        """The most frames that a segment hands to the next; 0 if none does."""
        return max(segment.overlap_frames for segment in self.segments)

    def seams(self) -> list[tuple[int, Segment]]:
        """Each segment but the first, after the delivered frame that starts it.

        The first too if it continues a clip. A segment that only lends its first frame to the
        blend of the last delivered one starts none.
        """
        rate, before = self.fps / self.generated_fps, self.given_frames
        starts = [
            (before + math.ceil(segment.start_frame * rate), segment)
            for segment in self.segments[1:]
        ]
        if self.extends:
            starts.insert(0, (before + 1, self.segments[0]))
        return [(frame, segment) for frame, segment in starts if frame < self.num_frames]

    def seam_frames(self) -> list[int]:
        """The delivered frame that starts each segment but the first."""
        return [frame for frame, _segment in self.seams()]

    def summary(self) -> dict[str, Any]:
        """The part of the plan that the caller did not ask for in so many words, for JSON."""
        storyboard = self.segments[-1].part > 0
        return {
            "generated_size": f"{self.generated_size[0]}*{self.generated_size[1]}",
            "generated_fps": self.generated_fps,
            "generated_frames": sum(segment.num_frames for segment in self.segments),
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.segments[0].guidance_scale,
            "flow_shift": self.flow_shift,
            "segments": [
                {
                    "num_frames": segment.num_frames,
                    "overlap_frames": segment.overlap_frames,
                    "seed": segment.seed,
                    "guidance_scale": segment.guidance_scale,
                    **({"prompt": segment.prompt} if storyboard else {}),
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
    prompts: Sequence[str],
    seed: int,
    source: tuple[int, int] | VideoFacts | None = None,
) -> Plan:
    """The plan for ``job``.

    Args:
        job: what was asked.
        spec: the model that will run it.
        profile: how it will run.
        terms: the worker's limits and price.
        prompts: of each part of the storyboard, or one; optimisation may have changed them.
        seed: the job's seed, drawn already.
        source: once it is known, (width, height) of the input image, whose ratio decides the size
            when the job leaves it open; or what the clip to extend holds.

    Raises:
        JobError: the model cannot do what is asked.
    """
    _check_supported(job, spec)
    if spec.distilled:
        _check_distilled(job, spec)
    guidance = spec.guidance_scale if job.guidance_scale is None else job.guidance_scale
    refused = job.negative_prompt.strip()
    continued = guidance
    if spec.continued_guidance is not None and job.guidance_scale is None and not refused:
        continued = spec.continued_guidance
    if refused and guidance <= 1:
        raise JobError(
            "negative_prompt",
            f"does nothing at guidance_scale {guidance:g}; leave it out or raise that above 1",
        )
    notes: list[str] = []
    clip = source if isinstance(source, VideoFacts) else None
    image_size = source if isinstance(source, tuple) else None
    size = clip_size(clip) if clip else delivered_size(job, spec, image_size)
    made_size = generated_size(size, spec)
    if made_size != size:
        fitted = "stretched" if clip else "scaled and cropped"
        notes.append(f"generated at {times(made_size)}, {fitted} to {times(size)}")
    if image_size and crop(image_size, size) > 0.01:  # noqa: PLR2004 - under 1% nobody sees it
        lost = round(100 * crop(image_size, size))
        notes.append(f"{lost}% of the image is outside the frame; leave size out to keep all of it")

    fps = clip.fps if clip else _rate(job, spec)
    num_frames = _delivered_frames(job, fps, terms.max_duration)
    lasting = float(num_frames / fps)
    if job.duration is not None and abs(lasting - job.duration) > 0.001:  # noqa: PLR2004 - seconds
        notes.append(f"{num_frames} whole frames at {float(fps):g} fps last {lasting:.3f} s")
    if fps != spec.native_fps:
        notes.append(f"generated at {spec.native_fps} fps, resampled to {float(fps):g} fps")
    overlap = job.overlap_frames or spec.default_overlap
    given = 1 if job.image else 0
    given_frames = 0
    if clip:
        # The take begins with the clip's last frame, which the clip itself delivers.
        given_frames, num_frames = clip.num_frames - 1, num_frames + 1
        there = math.floor(given_frames * spec.native_fps / fps) + 1
        given = max(count for count in (1, *spec.overlaps) if count <= min(overlap, there))
        notes.append("the video's sound is left out, if it has any")
    parts = _parts(job, spec, fps, num_frames, prompts)
    ends_on = job.loop or job.last_image is not None
    segments = segments_of(
        parts, spec, overlap, seed,
        guidance=(guidance, continued), ends_on=ends_on, given=given, loop=job.loop,
    )  # fmt: skip
    steps = job.num_inference_steps or spec.num_inference_steps
    retries = RETRIES if job.retries is None else job.retries
    runs = [
        forwards(steps, guided=segment.guidance_scale > 1, reuse="reuse" in profile.techniques)
        for segment in segments
    ]
    return Plan(
        model=spec.name,
        profile=profile.name,
        prompt="\n".join(prompts),
        negative_prompt=job.negative_prompt,
        num_inference_steps=steps,
        flow_shift=spec.flow_shift if job.flow_shift is None else job.flow_shift,
        seed=seed,
        size=size,
        fps=fps,
        num_frames=given_frames + num_frames,
        extends=clip is not None,
        given_frames=given_frames,
        context_frames=given,
        generated_size=made_size,
        generated_fps=spec.native_fps,
        generated_frames=parts[-1].end,
        segments=segments,
        loops=job.loop,
        retries=retries,
        colour_match=COLOUR_MATCH if job.colour_match is None else job.colour_match,
        history_noise=HISTORY_NOISE if job.history_noise is None else job.history_noise,
        notes=tuple(notes),
        estimate=_estimate(spec, profile, made_size, segments, runs, terms, retries),
    )


def _estimate(
    spec: ModelSpec,
    profile: Profile,
    size: tuple[int, int],
    segments: tuple[Segment, ...],
    runs: Sequence[int],
    terms: Terms,
    retries: int,
) -> Estimate:
    """Time, money and memory.

    Raises:
        JobError: the card has too little memory for a segment.
    """
    counts = [segment.num_frames for segment in segments]
    continued = sum(s.num_frames for s in segments if s.index and s.overlap_frames)
    denoise, decode = stage_seconds(spec, profile, size, counts, forwards=runs, card=terms.card)
    again = retries * continued / sum(counts)
    placement, peak = "cpu", None
    if terms.card:
        placement, peak = _placed(spec, profile, size, max(counts), terms.card_gib)
    return Estimate(
        seconds=denoise + decode,
        dollars=(denoise + decode) * terms.price_per_second,
        most_dollars=(denoise + decode) * (1 + again) * terms.price_per_second,
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
        f"{spec.name} needs {min(needed.values()):.1f} GiB for {frames} frames of {times(size)}, "
        f"and the card has {card_gib:.1f}; {hint}"
    )
    raise JobError("profile", problem, code="too_large")


def _check_supported(job: Job, spec: ModelSpec) -> None:
    for field in ("image", "last_image", "loop", "video"):
        if getattr(job, field) and not spec.takes_image:
            raise JobError(
                field, f"{spec.name} takes text alone; leave it out or ask for another model",
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
    field, duration = "duration", job.duration
    if job.segments:
        field, duration = "segments", sum(part.duration for part in job.segments)
    if duration is None:
        duration = min(DEFAULT_DURATION, max_duration)
    if duration > max_duration:
        raise JobError(
            field,
            f"{duration:g} is too large; the nearest legal value on this worker is "
            f"{max_duration:g} seconds",
        )
    return max(1, round(duration * fps))


def _parts(
    job: Job, spec: ModelSpec, fps: Fraction, num_frames: int, prompts: Sequence[str]
) -> list[Part]:
    """The parts of the storyboard, or the one that a job without it has.

    Raises:
        JobError: a part is shorter than a frame, or the model cannot continue into it.
    """
    rate = spec.native_fps / fps
    # The last delivered frame lies at (num_frames - 1) / fps; the frame after it is blended in.
    generated = math.ceil((num_frames - 1) * rate) + 1
    asked = job.segments or []
    durations = itertools.accumulate(part.duration for part in asked[:-1])
    starts = [0, *(round(ended * fps) for ended in durations)]
    parts = []
    for number, (prompt, start, end) in enumerate(
        zip(prompts, starts, [*starts[1:], num_frames], strict=True)
    ):
        if start >= end:
            problem = f"is shorter than a frame at {float(fps):g} fps; lengthen it"
            raise JobError(f"segments.{number}.duration", problem)
        own = asked[number] if asked else None
        cut = number > 0 and own is not None and (own.transition or job.transition) == "cut"
        if not (cut or spec.overlaps or number == 0):
            problem = f"{spec.name} cannot continue a segment; ask for cut, or for another model"
            raise JobError("transition", problem, code="unsupported")
        until = generated if end == num_frames else math.ceil(end * rate)
        part = Part(
            prompt=prompt,
            seed=None if own is None or own.seed < 0 else own.seed,
            start=math.ceil(start * rate),
            end=until,
            cut=cut,
        )
        if part.end - part.start > spec.max_frames and not spec.overlaps:
            raise _too_long(job, spec, fps, number)
        parts.append(part)
    return parts


def _too_long(job: Job, spec: ModelSpec, fps: Fraction, part: int) -> JobError:
    """The refusal of a part longer than the one segment that ``spec`` can make."""
    frames = math.floor((spec.max_frames - 1) * fps / spec.native_fps) + 1
    if job.num_frames is not None:
        field, longest = "num_frames", str(frames)
    else:
        field = f"segments.{part}.duration" if job.segments else "duration"
        longest = f"{math.floor(100 * frames / fps) / 100:g}"
    return JobError(
        field,
        f"{spec.name} cannot continue a segment; the nearest legal value is {longest}, or ask for "
        "another model",
        code="unsupported",
    )
