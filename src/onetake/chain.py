"""Segments into one take: each continues from the last frames of the one before.

The context is handed over in memory, as decoded frames, never through an encoded file. A segment
decodes its context again; those frames are dropped, exactly once.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from onetake.clip import FrameBatch, FrameStream, first_frames
from onetake.job import Progress
from onetake.plan import Plan, Segment
from onetake.spec import DenoiseRequest, VideoModel
from onetake.telemetry import Stopwatch


def generate_take(
    model: VideoModel,
    plan: Plan,
    first_frame: FrameBatch | None,
    clock: Stopwatch,
    on_progress: Callable[[Progress], None],
) -> FrameStream:
    """The take's generated frames, at the model's size and rate.

    Args:
        model: makes the segments.
        plan: what to make.
        first_frame: uint8 RGB (1, height, width, 3) at the generated size, or None.
        clock: counts `denoise` and `decode`.
        on_progress: called after each denoising step; may raise to stop.
    """
    return first_frames(_chain(model, plan, first_frame, clock, on_progress), plan.generated_frames)


def _chain(
    model: VideoModel,
    plan: Plan,
    context: FrameBatch | None,
    clock: Stopwatch,
    on_progress: Callable[[Progress], None],
) -> FrameStream:
    for segment in plan.segments:
        with clock.stage("denoise"):
            latents = model.denoise(
                _request(plan, segment, context), _step_reporter(plan, segment, on_progress)
            )
        dropped = 0
        tail: deque[FrameBatch] = deque(maxlen=plan.overlap_frames)  # single frames
        for batch in clock.through("decode", model.decode(latents)):
            overlap = min(len(batch), segment.overlap_frames - dropped)
            dropped += overlap
            tail.extend(batch)
            if len(batch) > overlap:
                yield batch[overlap:]
        context = np.stack(tail) if tail else None


def _request(plan: Plan, segment: Segment, context: FrameBatch | None) -> DenoiseRequest:
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
    )


def _step_reporter(
    plan: Plan, segment: Segment, on_progress: Callable[[Progress], None]
) -> Callable[[int], None]:
    def report(step: int) -> None:
        on_progress(
            Progress(
                stage="denoise",
                segment=segment.index + 1,
                segments=len(plan.segments),
                step=step + 1,
                steps=plan.num_inference_steps,
            )
        )

    return report
