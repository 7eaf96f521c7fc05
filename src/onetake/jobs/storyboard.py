"""How a take is split into segments: arithmetic on generated frames.

A part is one prompt and its frames. If a part is longer than the model's limit, it is split into
segments of one length, so that one compiled shape serves them all.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from onetake.models.spec import ModelSpec
from onetake.runtime.errors import JobError


@dataclass(frozen=True)
class Part:
    """A part of a take. Frames are generated ones, counted from the take's first."""

    prompt: str
    seed: int | None  # None: derived from the job's
    start: int
    end: int
    cut: bool = False  # a new shot: it does not continue the part before


@dataclass(frozen=True)
class Segment:
    """One run of the model. Frame counts are generated frames, at the model's own rate."""

    index: int
    part: int
    prompt: str
    seed: int
    guidance_scale: float
    num_frames: int
    overlap_frames: int  # context from the segment before, dropped from the take
    start_frame: int  # of the take, where this segment's own frames begin
    kept_frames: int  # of the new ones; the surplus from rounding up is dropped
    ends_on: bool = False  # on a given last frame


def segments_of(  # noqa: PLR0913 - all that the arithmetic needs
    parts: Sequence[Part], spec: ModelSpec, overlap: int, seed: int, *,
    guidance: tuple[float, float], ends_on: bool, given: int, loop: bool = False,
) -> tuple[Segment, ...]:  # fmt: skip
    """The segments of all parts, as few as the model allows.

    Args:
        parts: of the take.
        spec: the model.
        overlap: frames that a segment continues from.
        seed: the job's.
        guidance: scales for a segment, and for one that continues the same prompt: its context
            already shows most of what the prompt asks for.
        ends_on: the take ends on a given frame; only a segment with a context can do that.
        given: frames that the first segment starts with: a picture, or the end of a clip. The last
            of them is the first of the take.
        loop: the frame that the take ends on is its own first one.
    """
    # Room for the last latent, which is dropped, and for rounding the rest to whole latents.
    spare = 2 * spec.segment.frame_step - 1 if loop else 0
    segments: list[Segment] = []
    for number, part in enumerate(parts):
        lead = 0 if part.cut else overlap if segments else max(0, given - 1)
        last = ends_on and number == len(parts) - 1
        at_least = 1 if not last or lead or (given and not segments and not loop) else 2
        padded = replace(part, end=part.end + spare) if last else part
        for kept, start, num_frames in _runs(padded, spec, lead, overlap, at_least):
            index = len(segments)
            first = start == part.start
            own_seed = part.seed if first else None
            lead = lead if first else overlap
            same_prompt = segments and lead and segments[-1].prompt == part.prompt
            segments.append(
                Segment(
                    index=index,
                    part=number,
                    prompt=part.prompt,
                    seed=segment_seed(seed, index) if own_seed is None else own_seed,
                    guidance_scale=guidance[1 if same_prompt else 0],
                    num_frames=num_frames,
                    overlap_frames=lead,
                    start_frame=start,
                    kept_frames=kept,
                )
            )
    return tuple(_ending(segments, spec, spare) if ends_on else segments)


def _ending(segments: list[Segment], spec: ModelSpec, spare: int) -> list[Segment]:
    """The segments, the last one only as long as what is kept of it: it ends on the given frame.

    The frames of its last latent all show the given frame, and no frames but these may be dropped.
    In a loop all of them are dropped, else the video would stand still where it starts over. The
    rest is whole latents, so the segment before may have to lend some frames.

    Raises:
        JobError: the take is shorter than the model's shortest segment.
    """
    *before, last = segments
    dropped = spec.segment.frame_step if spare else 0
    last = replace(last, kept_frames=last.kept_frames - spare)
    shortest = spec.segment.min_frames - (dropped or spec.segment.frame_step - 1)
    lent = max(0, shortest - last.overlap_frames - last.kept_frames, dropped - last.kept_frames)
    if spare:
        lent += -(last.kept_frames + lent) % spec.segment.frame_step
    if lent:
        if not before or before[-1].kept_frames <= lent:
            field, least = (
                ("loop", 2 * spec.segment.min_frames) if spare else ("last_image", shortest)
            )
            problem = f"needs a take of at least {least} generated frames; ask for a longer one"
            raise JobError(field, problem)
        before[-1] = replace(before[-1], kept_frames=before[-1].kept_frames - lent)
    kept = last.kept_frames + lent
    return [
        *before,
        replace(
            last,
            num_frames=_whole(
                max(kept + last.overlap_frames + dropped, spec.segment.min_frames), spec
            ),
            start_frame=last.start_frame - lent,
            kept_frames=kept,
            ends_on=True,
        ),
    ]


def _whole(frames: int, spec: ModelSpec) -> int:
    """``frames``, rounded up to a number of frames that the model can make."""
    return math.ceil((frames - 1) / spec.segment.frame_step) * spec.segment.frame_step + 1


def _runs(
    part: Part, spec: ModelSpec, lead: int, overlap: int, at_least: int
) -> Iterator[tuple[int, int, int]]:
    """(kept frames, first frame, generated frames) of each segment of a part."""
    total = part.end - part.start
    count = at_least
    if total + lead > spec.segment.max_frames:
        beyond = total + lead - spec.segment.max_frames
        count = max(count, 1 + math.ceil(beyond / (spec.segment.max_frames - overlap)))
    # count * num_frames - lead - (count - 1) * overlap >= total, with num_frames = step * k + 1
    needed = math.ceil((total + lead + (count - 1) * overlap) / count)
    shortest = max(needed, spec.segment.min_frames, overlap + 1)
    num_frames = _whole(shortest, spec)
    # Rounding up adds frames to each; with very many segments the last may not be needed.
    beyond = total - (num_frames - lead)
    count = max(at_least, 1 + max(0, math.ceil(beyond / (num_frames - overlap))))
    start = part.start
    for number in range(count):
        new = num_frames - (overlap if number else lead)
        kept = min(new, part.end - start)
        yield kept, start, num_frames
        start += kept


def segment_seed(seed: int, index: int) -> int:
    """The seed of segment ``index``: the job's own for the first, derived ones after it.

    One seed for all segments would repeat its artefacts in each.
    """
    if index == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:6])
