"""Frames into a video file; the only module that starts ffmpeg.

Frames come in as sRGB and are written as limited-range yuv420p in BT.709, tagged so, at exactly the
requested rate. A thread feeds ffmpeg, so the next frames are decoded while these are encoded.
"""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any, NoReturn, Self

import ffmpeg
import imageio_ffmpeg
from PIL import Image

from onetake.media.formats import VideoFormat
from onetake.media.frames import FrameBatch
from onetake.runtime.errors import EncodeError, StageError

QUEUED_BATCHES = 4  # a second of 24 fps is 6 batches of one latent each
STALL_SECONDS = 120.0  # in which ffmpeg takes no batch, or does not end after the last one
STDERR_LINES = 20
_COLOURS = {
    "color_primaries": "bt709",
    "color_trc": "bt709",
    "colorspace": "bt709",
    "range": "tv",
}
# The place of each quality in an encoder's `values`.
_QUALITY = {"draft": 0, "standard": 1, "high": 2}


@dataclass(frozen=True)
class _Encoder:
    """One of ffmpeg's encoders."""

    name: str
    option: str  # of constant quality
    values: tuple[int, int, int]  # of that option, on the encoder's own scale
    extra: tuple[tuple[str, str | int], ...] = ()  # further options


# In order of preference: the GPU's own encoder, then the software one.
_ENCODERS = {
    "h264": (
        _Encoder("h264_nvenc", "cq", (30, 23, 18), (("preset", "p5"), ("rc", "vbr"))),
        _Encoder("libx264", "crf", (26, 19, 15), (("preset", "fast"),)),
    ),
    "hevc": (
        _Encoder("hevc_nvenc", "cq", (32, 25, 20), (("preset", "p5"), ("rc", "vbr"))),
        _Encoder("libx265", "crf", (28, 21, 17), (("preset", "fast"),)),
    ),
    "av1": (
        _Encoder("av1_nvenc", "cq", (38, 30, 24), (("preset", "p5"), ("rc", "vbr"))),
        _Encoder("libsvtav1", "crf", (42, 30, 22), (("preset", 8),)),
    ),
}


@dataclass(frozen=True)
class EncoderChoice:
    """The encoder that is used, and why."""

    encoder: _Encoder
    reason: str

    @property
    def name(self) -> str:
        """ffmpeg's name of it."""
        return self.encoder.name


def choose_encoder(video_format: VideoFormat, size: tuple[int, int]) -> EncoderChoice:
    """The GPU's encoder if it runs at ``size`` (width, height), else the software one.

    Raises:
        EncodeError: there is no ffmpeg that starts.
    """
    hardware, software = _ENCODERS[video_format.codec]
    if _runs(hardware.name, size):
        return EncoderChoice(hardware, "the card and this ffmpeg have it")
    return EncoderChoice(software, f"{hardware.name} does not run on this machine at this size")


@cache
def _runs(name: str, size: tuple[int, int]) -> bool:
    """Whether an encoder encodes a few grey frames; tried once for each size in a process."""
    grey = f"color=gray:size={size[0]}x{size[1]}:rate=24:duration=0.2"
    trial = ffmpeg.input(grey, format="lavfi")
    process = _start(trial.output("-", vcodec=name, pix_fmt="yuv420p", format="null"))
    process.communicate()
    return bool(process.returncode == 0)


def _start(command: Any) -> Any:
    """The process of ffmpeg, started with all three streams piped."""
    try:
        return command.run_async(
            cmd=imageio_ffmpeg.get_ffmpeg_exe(), pipe_stdin=True, pipe_stdout=True, pipe_stderr=True
        )
    except (OSError, RuntimeError) as error:
        raise EncodeError(
            "ffmpeg does not start; check IMAGEIO_FFMPEG_EXE or leave it unset",
            command=command.compile(),
            stderr=str(error),
        ) from error


class VideoEncoder:
    """Writes one video file. Use it as a context manager: leaving it finishes the file.

    If the body raises, ffmpeg is ended and no file is left.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: Fraction, video_format: VideoFormat,
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """For frames of ``size`` (width, height); ``metadata`` are the container's tags."""
        self.choice = choose_encoder(video_format, size)
        self.frames_written = 0
        self._path = path
        self._command = _command(path, size, fps, video_format, self.choice.encoder, metadata)
        self._queue: queue.Queue[FrameBatch | None] = queue.Queue(QUEUED_BATCHES)
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)

    def __enter__(self) -> Self:
        self._process = _start(self._command)
        self._process.stdout.close()  # the video goes to a file
        self._threads = [
            threading.Thread(target=self._feed, args=(self._process.stdin,), daemon=True),
            threading.Thread(target=self._drain, args=(self._process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def write(self, batch: FrameBatch) -> None:
        """Hand over uint8 RGB frames of shape (f, height, width, 3).

        Raises:
            EncodeError: ffmpeg has stopped, or takes no more frames.
        """
        if self._process.poll() is not None:
            self._fail()
        self.frames_written += len(batch)
        try:
            self._queue.put(batch, timeout=STALL_SECONDS)
        except queue.Full:
            self._fail()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.kill()
        # Ends a stalled ffmpeg, so nothing here waits for ever.
        watchdog = threading.Timer(STALL_SECONDS, self._process.kill)
        watchdog.start()
        self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._process.wait()
        watchdog.cancel()
        if kind is not None:
            self._path.unlink(missing_ok=True)
        elif self._process.returncode != 0:
            self._fail()

    def _feed(self, stdin: IO[bytes]) -> None:
        # The queue is emptied even after ffmpeg has stopped, so that nobody waits for it.
        broken = False
        while (batch := self._queue.get()) is not None:
            if not broken:
                try:
                    stdin.write(batch.tobytes())
                except OSError:
                    broken = True
        with contextlib.suppress(OSError):
            stdin.close()

    def _drain(self, stderr: IO[bytes]) -> None:
        with stderr:
            for line in stderr:
                self._stderr.append(line.decode(errors="replace").rstrip())

    def _fail(self) -> NoReturn:
        self._process.kill()
        self._threads[1].join()
        self._path.unlink(missing_ok=True)
        raise EncodeError(
            "the video encoder stopped; send the job again or ask for another output.codec",
            command=self._command.compile(),
            stderr="\n".join(self._stderr),
        )


def _command(
    path: Path, size: tuple[int, int], fps: Fraction, video_format: VideoFormat, encoder: _Encoder,
    metadata: Mapping[str, str],
) -> Any:  # fmt: skip
    """ffmpeg's command line, with raw frames expected on its stdin."""
    frames = ffmpeg.input(
        "pipe:",
        format="rawvideo",
        pix_fmt="rgb24",
        video_size=size,
        framerate=str(fps),
    )
    frames = frames.filter("scale", out_color_matrix="bt709", out_range="tv", flags="accurate_rnd")
    frames = frames.filter("format", "yuv420p").filter("setparams", **_COLOURS)
    options: dict[str, Any] = dict(encoder.extra)
    options[encoder.option] = encoder.values[_QUALITY[video_format.quality]]
    for number, (tag, value) in enumerate(metadata.items()):
        options[f"metadata:g:{number}"] = f"{tag}={value}"
    if video_format.container != "webm":
        options["movflags"] = "+faststart"  # plays before it is loaded whole
        if video_format.codec == "hevc":
            options["tag:v"] = "hvc1"  # Apple's players know HEVC by this name only
    return frames.output(
        str(path), vcodec=encoder.name, format=video_format.container, loglevel="error", **options
    ).overwrite_output()


def write_poster(frame: FrameBatch, path: Path) -> None:
    """A JPEG of one frame, uint8 RGB (height, width, 3).

    Raises:
        StageError: the file cannot be written.
    """
    try:
        Image.fromarray(frame).save(path, "JPEG", quality=90)
    except OSError as error:
        raise StageError("encode", "the poster cannot be written", detail=str(error)) from error
