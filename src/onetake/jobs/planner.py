"""From a job to a plan, by arithmetic alone.

The delivered size, rate and frame count are exactly what the job asks for. The generated ones are
what the model is good at: frames 4k+1, sides that are multiples of 32, its own rate. Finishing
scales, crops, resamples and trims the generated frames; the plan's ``notes`` say where.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NoReturn

from onetake.jobs.estimate import CPU, Estimate, known_card, stage_seconds
from onetake.jobs.plan import Chaining, Plan
from onetake.jobs.request import Job
from onetake.jobs.sizes import clip_size, crop, delivered_size, generated_size, times
from onetake.jobs.storyboard import Part, Segment, segments_of
from onetake.media.probe import VideoFacts
from onetake.models.acceleration import Effect, effect_of, leanest_profile
from onetake.models.placement import fitting, peaks
from onetake.models.spec import ModelSpec
from onetake.runtime.errors import JobError
from onetake.runtime.profiles import Profile

DEFAULT_DURATION = 5.0  # seconds, as on RunPod's public endpoints
RETRIES, COLOUR_MATCH, HISTORY_NOISE = 0, 0.0, 0.0  # chosen by bench/chaining.py (docs/CHAINING.md)
_NTSC = {23.976: Fraction(24000, 1001), 29.97: Fraction(30000, 1001), 59.94: Fraction(60000, 1001)}
_UNSEEN_CROP = 0.01  # of a picture; nobody sees a smaller loss
_UNSEEN_SECONDS = 0.001


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
        job: the request.
        spec: the model that will run it.
        profile: how it will run.
        terms: the worker's limits and price.
        prompts: of each part of the storyboard, or one; optimisation may have changed them.
        seed: the job's seed, already drawn.
        source: (width, height) of the input image, whose ratio decides the size if the job leaves
            it open; or the facts of the clip to extend. None before the input is fetched.

    Raises:
        JobError: the model cannot do what the job asks for.
    """
    _check_supported(job, spec)
    if spec.sampling.distilled:
        _check_distilled(job, spec)
    guidance = _guidance(job, spec)
    clip = source if isinstance(source, VideoFacts) else None
    image_size = source if isinstance(source, tuple) else None
    size = clip_size(clip) if clip else delivered_size(job, spec, image_size)
    fps = clip.fps if clip else _rate(job, spec)
    num_frames = _delivered_frames(job, fps, terms.max_duration)
    model_size = generated_size(size, spec)
    notes = _notes(job, spec, size, fps, num_frames, model_size, source)

    overlap = job.overlap_frames or spec.default_overlap
    context_frames, clip_frames = int(bool(job.image)), 0
    if clip:
        # The take begins with the clip's last frame, which the clip itself delivers.
        clip_frames, num_frames = clip.num_frames - 1, num_frames + 1
        available = math.floor(clip_frames * spec.segment.native_fps / fps) + 1
        most = min(overlap, available)
        context_frames = max(count for count in (1, *spec.overlaps) if count <= most)
    parts = _parts(job, spec, fps, num_frames, prompts)
    segments = segments_of(
        parts, spec, overlap, seed, guidance=guidance,
        ends_on=job.loop or job.last_image is not None, given=context_frames, loop=job.loop,
    )  # fmt: skip
    chaining = Chaining(
        loops=job.loop,
        retries=RETRIES if job.retries is None else job.retries,
        colour_match=COLOUR_MATCH if job.colour_match is None else job.colour_match,
        history_noise=HISTORY_NOISE if job.history_noise is None else job.history_noise,
    )
    steps = job.num_inference_steps or spec.sampling.num_inference_steps
    estimate = _estimate(spec, profile, model_size, segments, steps, terms, chaining.retries)
    return Plan(
        model=spec.name,
        profile=profile.name,
        prompt="\n".join(prompts),
        negative_prompt=job.negative_prompt,
        num_inference_steps=steps,
        flow_shift=spec.sampling.flow_shift if job.flow_shift is None else job.flow_shift,
        seed=seed,
        size=size,
        fps=fps,
        num_frames=clip_frames + num_frames,
        extends=clip is not None,
        given_frames=clip_frames,
        context_frames=context_frames,
        generated_size=model_size,
        generated_fps=spec.segment.native_fps,
        generated_frames=parts[-1].end,
        segments=segments,
        chaining=chaining,
        notes=tuple(notes),
        estimate=estimate,
    )


def _guidance(job: Job, spec: ModelSpec) -> tuple[float, float]:
    """The scales of a first segment, and of one that continues the same prompt.

    Raises:
        JobError: there is a negative prompt, and it would do nothing.
    """
    sampling, negative_prompt = spec.sampling, job.negative_prompt.strip()
    guidance = sampling.guidance_scale if job.guidance_scale is None else job.guidance_scale
    if negative_prompt and guidance <= 1:
        raise JobError(
            "negative_prompt",
            f"does nothing at guidance_scale {guidance:g}; leave it out or raise that above 1",
        )
    own_scale = job.guidance_scale is not None
    if sampling.continued_guidance is None or own_scale or negative_prompt:
        return guidance, guidance
    return guidance, sampling.continued_guidance


def _notes(
    job: Job, spec: ModelSpec, size: tuple[int, int], fps: Fraction, num_frames: int,
    model_size: tuple[int, int], source: tuple[int, int] | VideoFacts | None,
) -> list[str]:  # fmt: skip
    """Where the delivered take differs from what the model makes, or from what the job sent."""
    notes: list[str] = []
    clip = isinstance(source, VideoFacts)
    if model_size != size:
        change = "stretched" if clip else "scaled and cropped"
        notes.append(f"generated at {times(model_size)}, {change} to {times(size)}")
    if isinstance(source, tuple) and crop(source, size) > _UNSEEN_CROP:
        lost = round(100 * crop(source, size))
        notes.append(f"{lost}% of the image is outside the frame; leave size out to keep all of it")
    seconds = float(num_frames / fps)
    if job.duration is not None and abs(seconds - job.duration) > _UNSEEN_SECONDS:
        notes.append(f"{num_frames} whole frames at {float(fps):g} fps last {seconds:.3f} s")
    if fps != spec.segment.native_fps:
        rate = spec.segment.native_fps
        notes.append(f"generated at {rate} fps, resampled to {float(fps):g} fps")
    if clip:
        notes.append("the video's sound is left out, if it has any")
    return notes


def _estimate(
    spec: ModelSpec, profile: Profile, size: tuple[int, int], segments: tuple[Segment, ...],
    steps: int, terms: Terms, retries: int,
) -> Estimate:  # fmt: skip
    """Time, money and memory.

    Raises:
        JobError: the card has too little memory for a segment.
    """
    effect = effect_of(spec, profile.techniques)
    runs = [_forwards(effect, steps, guided=segment.guidance_scale > 1) for segment in segments]
    counts = [segment.num_frames for segment in segments]
    continued = sum(s.num_frames for s in segments if s.index and s.overlap_frames)
    denoise, decode = stage_seconds(spec, effect, size, counts, forwards=runs, card=terms.card)
    retried = retries * continued / sum(counts)
    placement, peak = "cpu", None
    if terms.card:
        placement, peak = _placed(spec, effect, size, max(counts), terms.card_gib)
    return Estimate(
        seconds=denoise + decode,
        dollars=(denoise + decode) * terms.price_per_second,
        most_dollars=(denoise + decode) * (1 + retried) * terms.price_per_second,
        peak_gib=peak,
        placement=placement,
        card=known_card(terms.card) if terms.card else CPU,
        denoise_share=denoise / (denoise + decode),
    )


def _forwards(effect: Effect, steps: int, *, guided: bool) -> int:
    """Runs of the transformer for one segment."""
    return effect.forwards(steps, guided) if effect.forwards else steps * (1 + guided)


def _placed(
    spec: ModelSpec, effect: Effect, size: tuple[int, int], frames: int, card_gib: float
) -> tuple[str, float]:
    """Where the parts will be, and the card's peak in GiB.

    Raises:
        JobError: no placement fits the card.
    """
    needed = peaks(spec, effect, size, frames)
    if row := fitting(needed, card_gib):
        return row
    least = min(peaks(spec, replace(effect, streamed=True), size, frames).values())
    hint, leanest = "ask for a smaller model", leanest_profile(spec)
    if leanest and fitting({"": least}, card_gib):
        hint = f"profile {leanest} needs {least:.1f}"
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
    """Refuse what distilled weights cannot do."""
    fixed = {
        "num_inference_steps": spec.sampling.num_inference_steps,
        "guidance_scale": spec.sampling.guidance_scale,
        "flow_shift": spec.sampling.flow_shift,
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
        return Fraction(spec.segment.native_fps)
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
    """The parts of the storyboard; a job without one has one part.

    Raises:
        JobError: a part is shorter than a frame, or the model cannot continue into it.
    """
    rate = spec.segment.native_fps / fps
    # The last delivered frame lies at (num_frames - 1) / fps; the frame after it is blended in.
    generated = math.ceil((num_frames - 1) * rate) + 1
    storyboard = job.segments or []
    ends = itertools.accumulate(shot.duration for shot in storyboard[:-1])
    starts = [0, *(round(seconds * fps) for seconds in ends)]
    parts = []
    for number, (prompt, start, end) in enumerate(
        zip(prompts, starts, [*starts[1:], num_frames], strict=True)
    ):
        if start >= end:
            problem = f"is shorter than a frame at {float(fps):g} fps; lengthen it"
            raise JobError(f"segments.{number}.duration", problem)
        shot = storyboard[number] if storyboard else None
        cut = number > 0 and shot is not None and (shot.transition or job.transition) == "cut"
        if not (cut or spec.overlaps or number == 0):
            problem = f"{spec.name} cannot continue a segment; ask for cut, or for another model"
            raise JobError("transition", problem, code="unsupported")
        generated_end = generated if end == num_frames else math.ceil(end * rate)
        part = Part(
            prompt=prompt,
            seed=None if shot is None or shot.seed < 0 else shot.seed,
            start=math.ceil(start * rate),
            end=generated_end,
            cut=cut,
        )
        if part.end - part.start > spec.segment.max_frames and not spec.overlaps:
            _refuse_length(job, spec, fps, number)
        parts.append(part)
    return parts


def _refuse_length(job: Job, spec: ModelSpec, fps: Fraction, part: int) -> NoReturn:
    """Refuse a part longer than the one segment that ``spec`` can make.

    Raises:
        JobError: always.
    """
    frames = math.floor((spec.segment.max_frames - 1) * fps / spec.segment.native_fps) + 1
    if job.num_frames is not None:
        field, longest = "num_frames", str(frames)
    else:
        field = f"segments.{part}.duration" if job.segments else "duration"
        longest = f"{math.floor(100 * frames / fps) / 100:g}"
    raise JobError(
        field,
        f"{spec.name} cannot continue a segment; the nearest legal value is {longest}, or ask for "
        "another model",
        code="unsupported",
    )
