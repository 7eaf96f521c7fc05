"""Frames into the files of a take."""

from collections.abc import Callable, Mapping
from pathlib import Path

from onetake.delivery.publish import Files
from onetake.jobs.plan import Plan
from onetake.jobs.request import Output
from onetake.media.encoder import VideoEncoder, write_poster
from onetake.media.frames import FrameStream
from onetake.media.probe import MediaError, probe_video
from onetake.runtime.errors import StageError


def encode_take(
    frames: FrameStream, plan: Plan, output: Output, files: Files, metadata: Mapping[str, str]
) -> tuple[dict[str, str], int]:
    """Draw ``frames`` through the encoder; the first of them is the poster. Also counts them.

    Raises:
        EncodeError: ffmpeg stopped.
        StageError: the written file does not hold them.
    """
    with VideoEncoder(files.video, plan.size, plan.fps, output, metadata) as encoder:
        for batch in frames:
            if not encoder.frames_written:
                write_poster(batch[0], files.poster)
            encoder.write(batch)
    try:
        facts = probe_video(files.video)
    except MediaError as error:
        raise StageError("encode", f"the written video is {error}; send the job again") from error
    count = encoder.frames_written
    if (facts.num_frames, (facts.width, facts.height)) != (count, plan.size):
        raise StageError(
            "encode",
            "the written video is not as planned; send the job again",
            detail=f"{facts}, after {count} frames",
        )
    written = {
        "container": output.container,
        "codec": output.codec,
        "quality": output.quality,
        "encoder": encoder.choice.name,
        "reason": encoder.choice.reason,
    }
    return written, count


def with_parts(
    frames: FrameStream, plan: Plan, output: Output, files: Files, metadata: Mapping[str, str],
    send: Callable[[int, Path], None],
) -> FrameStream:  # fmt: skip
    """``frames``; each segment's also go into a file of their own, which is sent at its end.

    Raises:
        EncodeError: ffmpeg stopped.
    """
    at, rest = 0, None
    ends = [frame for frame, segment in plan.seams() if segment.index]
    for segment, end in enumerate([*ends, plan.num_frames], start=1):
        path = files.part(segment)
        with VideoEncoder(path, plan.size, plan.fps, output, metadata) as encoder:
            while at < end:
                batch = rest if rest is not None and len(rest) else next(frames, None)
                if batch is None:
                    return
                own, rest = batch[: end - at], batch[end - at :]
                at += len(own)
                encoder.write(own)
                yield own
        send(segment, path)
        path.unlink()
    yield from frames  # to the end, so that the decoder finishes
