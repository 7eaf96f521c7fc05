"""Segments into one take: each continues from the last frames of the one before.

The context is handed over in memory, as decoded frames, never through an encoded file. A segment
decodes its context again; those frames are dropped, exactly once, and so is what it makes beyond
its part.
"""

import time
from collections import deque

import numpy as np

from onetake.clip import FrameBatch, FrameStream, first_frames
from onetake.control import Control
from onetake.plan import Plan
from onetake.result import Progress
from onetake.spec import DenoiseRequest, VideoModel
from onetake.storyboard import Segment
from onetake.telemetry import Stopwatch


def generate_take(
    model: VideoModel,
    plan: Plan,
    first_frame: FrameBatch | None,
    clock: Stopwatch,
    control: Control,
    last_frame: FrameBatch | None = None,
) -> FrameStream:
    """The take's generated frames, at the model's size and rate.

    Args:
        model: makes the segments.
        plan: what to make.
        first_frame: uint8 RGB (1, height, width, 3) at the generated size, or None.
        clock: counts `denoise` and `decode`.
        control: is told each step and each decoded latent, and may stop there.
        last_frame: as first_frame; for the segment that ends on it.

    Raises:
        StoppedError: by the control.
    """
    meter = _Meter(plan, control)
    chained = _chain(model, plan, first_frame, last_frame, clock, meter)
    return first_frames(chained, plan.generated_frames)


def _chain(
    model: VideoModel,
    plan: Plan,
    context: FrameBatch | None,
    last_frame: FrameBatch | None,
    clock: Stopwatch,
    meter: "_Meter",
) -> FrameStream:
    tail: deque[FrameBatch] = deque(maxlen=plan.overlap_frames)  # single frames of the take
    for segment in plan.segments:
        if segment.index:
            context = (
                np.stack([*tail][-segment.overlap_frames :]) if segment.overlap_frames else None
            )
        with clock.stage("denoise"):
            meter.start(segment)
            ending = last_frame if segment.ends_on else None
            request = _request(plan, segment, context, ending)
            latents = model.denoise(request, meter.denoised)
        ahead, kept = segment.overlap_frames, segment.kept_frames
        for batch in clock.through("decode", model.decode(latents)):
            meter.decoded(len(batch))
            own = batch[min(ahead, len(batch)) :][:kept]
            ahead -= min(ahead, len(batch))
            kept -= len(own)
            tail.extend(own)
            if len(own):
                yield own


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
        guidance_scale=plan.guidance_scale,
        flow_shift=plan.flow_shift,
        seed=segment.seed,
        context=context,
        last_frame=last_frame,
    )


class _Meter:
    """Counts denoising steps and decoded frames by their estimated shares of the time."""

    def __init__(self, plan: Plan, control: Control) -> None:
        self._plan, self._control = plan, control
        self._started = time.monotonic()

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
        fraction = (segment.index + done) / len(plan.segments)
        elapsed = time.monotonic() - self._started
        self._control.report(
            Progress(
                stage=stage,
                segment=segment.index + 1,
                segments=len(plan.segments),
                step=self._step,
                steps=plan.num_inference_steps,
                fraction=fraction,
                seconds_left=elapsed / fraction - elapsed,
            )
        )
