"""Frames into the files of a take."""

from collections.abc import Mapping

from onetake.delivery.publish import TakeFiles
from onetake.jobs.plan import Plan
from onetake.jobs.request import Output
from onetake.media.encoder import VideoEncoder, write_poster
from onetake.media.frames import FrameStream
from onetake.media.probe import MediaError, probe_video
from onetake.runtime.errors import StageError


def encode_take(
    frames: FrameStream, plan: Plan, output: Output, files: TakeFiles, metadata: Mapping[str, str]
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
