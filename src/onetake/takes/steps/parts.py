"""Each segment's own video, stored while the rest of the take is made."""

from onetake.media.encoder import VideoEncoder
from onetake.media.frames import FrameStream
from onetake.takes.context import FrameStage, TakeContext

TIMED = "encode"


def stage(context: TakeContext) -> FrameStage | None:
    """Needed if the job asks for partial results."""
    if not context.job.partial_results:
        return None
    return FrameStage(lambda frames: _with_parts(context, frames))


def _with_parts(context: TakeContext, frames: FrameStream) -> FrameStream:
    """The frames; each segment's also go into a file of their own, which is sent at its end.

    Raises:
        EncodeError: ffmpeg stopped.
    """
    plan, output = context.plan, context.job.output
    at, rest = 0, None
    ends = [frame for frame, segment in plan.seams() if segment.index]
    for segment, end in enumerate([*ends, plan.num_frames], start=1):
        path = context.files.part(segment)
        metadata = context.marking.metadata
        with VideoEncoder(path, plan.size, plan.fps, output, metadata) as encoder:
            while at < end:
                batch = rest if rest is not None and len(rest) else next(frames, None)
                if batch is None:
                    return
                own, rest = batch[: end - at], batch[end - at :]
                at += len(own)
                encoder.write(own)
                yield own
        context.parts.send(segment, path)
        path.unlink()
    yield from frames  # to the end, so that the decoder finishes
