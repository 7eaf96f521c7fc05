"""Segments into one take: each continues from the last frames of the segment before it.

The context is handed over in memory, as decoded frames, never through an encoded file. A segment
decodes its context again: those frames are cross-faded with the ones that stand there, and frames
beyond its part are dropped. A segment that the gate refuses is made again with another seed.
"""

import logging
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onetake.delivery.checkpoints import Checkpoints
from onetake.jobs.plan import Plan
from onetake.jobs.storyboard import Segment, segment_seed
from onetake.media.frames import FrameBatch, FrameStream, first_frames
from onetake.models.spec import DenoiseRequest, VideoModel
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import OnetakeError, StoppedError
from onetake.runtime.progress import Progress
from onetake.runtime.stopwatch import Stopwatch
from onetake.seams.cross_fade import LOOKED_AT, cross_fade

if TYPE_CHECKING:
    from onetake.seams.gate import Verdict
    from onetake.takes.colour_match import ColourMatch

log = logging.getLogger("onetake")

_UNFORESEEN = OnetakeError("internal_error", "the worker failed")


@dataclass
class ChainInputs:
    """Frames that the job brings, uint8 RGB at the generated size."""

    context: FrameBatch | None = None  # (4j+1, height, width, 3): what the take starts with
    last_frame: FrameBatch | None = None  # (1, height, width, 3): what it ends on


@dataclass
class Tries:
    """How often a segment was made, and the gate's verdict on the try that was taken."""

    count: int
    seconds: float  # of the tries that were not taken
    verdict: "Verdict"


class Chain:
    """A take in the making.

    Args:
        model: makes the segments.
        plan: what to make.
        clock: counts `denoise` and `decode`.
        control: gets each step and each decoded latent, and may stop there.
        inputs: frames that the job brings.
        checkpoints: keeps denoised segments, and gives back those of an earlier try.
        last_try: no try in less of the card's memory follows.
    """

    def __init__(
        self, model: VideoModel, plan: Plan, clock: Stopwatch, control: Control,
        inputs: ChainInputs | None = None, checkpoints: Checkpoints | None = None, *,
        last_try: bool = True,
    ) -> None:  # fmt: skip
        self._model, self._plan, self._clock = model, plan, clock
        self._inputs = inputs or ChainInputs()
        self._checkpoints, self._last_try = checkpoints, last_try
        self._progress = _ProgressReporter(plan, control)
        self._colours = _colours(plan)
        self._first: FrameBatch | None = None  # of the take
        self.tries: dict[int, Tries] = {}  # by the segment's index, if the gate looked at it
        self.failure: OnetakeError | None = None  # ended the take after a whole segment
        self.finished = 0  # segments

    def frames(self) -> FrameStream:
        """The take's generated frames, at the model's size and rate.

        If a segment after the first fails, the stream ends and `failure` says why.

        Raises:
            OnetakeError: the first segment failed, or the job was stopped or timed out.
        """
        return first_frames(self._chain(), self._plan.generated_frames)

    def _chain(self) -> FrameStream:
        held: FrameBatch | None = None  # the end of the take so far, into which the next is faded
        for segment in self._plan.segments:
            context = self._inputs.context if not segment.index else None
            if segment.index and segment.overlap_frames and held is not None:
                context = held[-segment.overlap_frames :]
            try:
                frames = self._segment_frames(segment, context, held)
                joined = self._joined(frames, segment, held)
                held = yield from _all_but_last(joined, self._needed_after(segment))
            except Exception as error:
                if not segment.index or self._is_final(error):
                    raise
                log.exception("segment %d failed", segment.index + 1)
                self.failure = error if isinstance(error, OnetakeError) else _UNFORESEEN
                return
            self.finished += 1

    def _is_final(self, error: Exception) -> bool:
        """Whether the earlier segments are of no use now: the job is over, or is tried again."""
        if isinstance(error, StoppedError):
            return True
        short = isinstance(error, OnetakeError) and error.code == "out_of_memory"
        return short and not self._last_try

    def _needed_after(self, segment: Segment) -> int:
        """How many of the take's last frames the next segment's joint and gate look at."""
        following = self._plan.segments[segment.index + 1 :][:1]
        overlap = following[0].overlap_frames if following else 0
        return max(overlap, LOOKED_AT) if overlap and self._plan.chaining.retries else overlap

    def _joined(
        self, frames: FrameStream, segment: Segment, held: FrameBatch | None
    ) -> FrameStream:
        """The segment's own frames behind ``held``, which fades into them."""
        ahead, kept = segment.overlap_frames, segment.kept_frames
        again: list[FrameBatch] = []
        try:
            for batch in frames:
                lead, rest = batch[:ahead], batch[ahead:]
                ahead -= len(lead)
                again.append(lead)
                if not ahead and held is not None:
                    overlap = segment.overlap_frames
                    yield held[: len(held) - overlap]
                    yield cross_fade(held[len(held) - overlap :], np.concatenate(again))
                    held = None
                own = rest[:kept]
                if self._colours and len(own):
                    own = self._colours.matched(own, segment.index)
                kept -= len(own)
                if self._first is None and len(own):
                    self._first = own[:1]
                yield own
        except Exception:  # the frames before it are still delivered
            if held is not None:
                yield held
            raise

    def _segment_frames(
        self, segment: Segment, context: FrameBatch | None, held: FrameBatch | None
    ) -> FrameStream:
        """All frames of the segment, its context's among them."""
        self._progress.start(segment)
        latents = self._checkpoints.load(segment.index, self._model) if self._checkpoints else None
        gated = self._plan.chaining.retries and segment.index and segment.overlap_frames
        if latents is None and gated and held is not None:
            latents, frames = self._best_try(segment, context, held)
            self._keep(segment, latents)
            yield frames
            return
        if latents is None:
            latents = self._denoised(segment, context)
            self._keep(segment, latents)
        yield from self._decoded(latents)

    def _best_try(
        self, segment: Segment, context: FrameBatch | None, held: FrameBatch
    ) -> tuple[Any, FrameBatch]:
        """Latents and frames of the first try that passes the gate, else of the best."""
        from onetake.seams.gate import examine  # noqa: PLC0415 - OpenCV, which one segment does without

        overlap = segment.overlap_frames
        same = segment.prompt == self._plan.segments[segment.index - 1].prompt
        tries: list[tuple[Verdict, float, Any, FrameBatch]] = []
        while not tries or (len(tries) <= self._plan.chaining.retries and not tries[-1][0].passes):
            if tries:
                log.info("segment %d again: %s", segment.index + 1, ", ".join(tries[-1][0].faults))
                self._progress.start(segment)
            started = time.monotonic()
            seed = segment_seed(segment.seed, len(tries))
            latents = self._denoised(replace(segment, seed=seed), context)
            frames = np.concatenate(list(self._decoded(latents)))
            with self._clock.stage("gate"):
                faded = cross_fade(held[-overlap:], frames[:overlap])
                before = np.concatenate([held[:-overlap], faded])
                after = frames[overlap : overlap + segment.kept_frames]
                verdict = examine(before, after, same_prompt=same)
            tries.append((verdict, time.monotonic() - started, latents, frames))
        verdict, taken, latents, frames = min(tries, key=lambda one: one[0].severity)
        spent = sum(seconds for _, seconds, _, _ in tries) - taken
        self.tries[segment.index] = Tries(len(tries), spent, verdict)
        return latents, frames

    def _denoised(self, segment: Segment, context: FrameBatch | None) -> Any:
        end = self._first if self._plan.chaining.loops else self._inputs.last_frame
        last = end if segment.ends_on else None
        with self._clock.stage("denoise"):
            request = _request(self._plan, segment, context, last)
            return self._model.denoise(request, self._progress.denoised)

    def _decoded(self, latents: Any) -> FrameStream:
        for batch in self._clock.through("decode", self._model.decode(latents)):
            self._progress.decoded(len(batch))
            yield batch

    def _keep(self, segment: Segment, latents: Any) -> None:
        if self._checkpoints and len(self._plan.segments) > 1:
            with self._clock.stage("save"):
                self._checkpoints.save(segment.index, self._model, latents)


def _colours(plan: Plan) -> "ColourMatch | None":
    if not plan.chaining.colour_match or len(plan.segments) == 1:
        return None
    from onetake.takes.colour_match import ColourMatch  # noqa: PLC0415 - OpenCV again

    return ColourMatch(plan.chaining.colour_match, plan.segments[0].num_frames)


def _all_but_last(
    stream: FrameStream, count: int
) -> Generator[FrameBatch, None, FrameBatch | None]:
    """The stream without its last ``count`` frames, which are returned; all of it if it fails."""
    held: FrameBatch | None = None
    try:
        for batch in stream:
            held = batch if held is None else np.concatenate([held, batch])
            passed = max(0, len(held) - count)
            if passed:
                yield held[:passed]
                held = held[passed:]
    except Exception:
        if held is not None:
            yield held
        raise
    return held


def _request(
    plan: Plan, segment: Segment, context: FrameBatch | None, last_frame: FrameBatch | None
) -> DenoiseRequest:
    width, height = plan.generated_size
    return DenoiseRequest(
        prompt=segment.prompt,
        negative_prompt=plan.negative_prompt,
        width=width,
        height=height,
        num_frames=segment.num_frames,
        num_inference_steps=plan.num_inference_steps,
        guidance_scale=segment.guidance_scale,
        flow_shift=plan.flow_shift,
        seed=segment.seed,
        context=context,
        last_frame=last_frame,
        context_noise=plan.chaining.history_noise if segment.index else 0.0,
    )


class _ProgressReporter:
    """Reports denoising steps and decoded frames by their estimated shares of the time."""

    def __init__(self, plan: Plan, control: Control) -> None:
        self._plan, self._control = plan, control
        self._started = time.monotonic()
        self._fraction = 0.0

    def start(self, segment: Segment) -> None:
        self._segment, self._step, self._frames = segment, 0, 0
        self._control.check()

    def denoised(self, step: int) -> None:
        self._step = step + 1
        self._report("denoise")

    def decoded(self, frames: int) -> None:
        self._frames += frames
        self._report("decode")

    def _report(self, stage: str) -> None:
        plan, segment = self._plan, self._segment
        share = plan.estimate.denoise_share
        done = share * self._step / plan.num_inference_steps
        done += (1 - share) * self._frames / segment.num_frames
        # A segment that is made again does not set the progress back.
        self._fraction = max(self._fraction, (segment.index + done) / len(plan.segments))
        elapsed = time.monotonic() - self._started
        self._control.report(
            Progress(
                stage=stage,
                segment=segment.index + 1,
                segments=len(plan.segments),
                step=self._step,
                steps=plan.num_inference_steps,
                fraction=self._fraction,
                seconds_left=elapsed / self._fraction - elapsed,
            )
        )
