"""The encoder, read back with another library: what a player will find in the file."""

import os
import signal
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from onetake.media import encoder as encoder_module
from onetake.media.encoder import VideoEncoder, choose_encoder, write_poster
from onetake.media.formats import VideoFormat
from onetake.runtime.errors import EncodeError

SIZE = (320, 180)


def moving_square(count: int) -> Iterator[np.ndarray]:
    """A red square that moves 4 pixels a frame over grey, in batches of four."""
    frames = np.full((count, SIZE[1], SIZE[0], 3), 90, np.uint8)
    for index in range(count):
        frames[index, 60:120, 4 * index : 4 * index + 60] = (220, 40, 30)
    return (frames[start : start + 4] for start in range(0, count, 4))


def written(
    path: Path, video_format: VideoFormat, fps: Fraction = Fraction(24), count: int = 21
) -> Path:
    """A file of ``count`` frames."""
    with VideoEncoder(path, SIZE, fps, video_format) as encoder:
        for batch in moving_square(count):
            encoder.write(batch)
    assert encoder.frames_written == count
    return path


def top_level_boxes(path: Path) -> list[str]:
    """The names of an MP4's outer boxes, in order."""
    data, names, at = path.read_bytes(), [], 0
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        names.append(name.decode())
        at += size
    return names


@pytest.mark.parametrize(
    ("container", "codec", "decoder"),
    [
        ("mp4", "h264", "h264"),
        ("mov", "h264", "h264"),
        ("mp4", "hevc", "hevc"),
        ("mp4", "av1", "libdav1d"),
        ("webm", "av1", "libdav1d"),
    ],
)
def test_the_file_holds_what_was_written(
    container: str, codec: str, decoder: str, tmp_path: Path
) -> None:
    """Codec, size, rate, frame count, pixel format and colour tags are as promised."""
    video_format = VideoFormat(container=container, codec=codec)
    with av.open(written(tmp_path / f"a.{container}", video_format)) as file:
        stream = file.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
        assert stream.codec_context.codec.name == decoder
        assert (stream.width, stream.height, stream.average_rate) == (*SIZE, 24)
        assert stream.codec_context.pix_fmt == "yuv420p"
        context = stream.codec_context
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert tags == (1, 1, 1, 1), "BT.709 three times, limited range"
    assert len(frames) == 21
    for sent, decoded in zip(np.concatenate(list(moving_square(21))), frames, strict=True):
        assert np.abs(sent.astype(int) - decoded).mean() < 4


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_it_plays_before_it_is_loaded(container: str, tmp_path: Path) -> None:
    """The index comes before the frames."""
    path = written(tmp_path / f"a.{container}", VideoFormat(container=container))
    boxes = top_level_boxes(path)
    assert boxes.index("moov") < boxes.index("mdat")


@pytest.mark.parametrize("fps", [Fraction(16), Fraction(24000, 1001), Fraction(60)])
def test_the_rate_is_exact(fps: Fraction, tmp_path: Path) -> None:
    """Rates are kept as fractions, and so is the duration."""
    with av.open(written(tmp_path / "a.mp4", VideoFormat(), fps)) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == fps
        assert stream.frames == 21
        assert float(stream.duration * stream.time_base) == pytest.approx(21 / fps, abs=1e-4)


def test_apple_players_know_the_hevc_file(tmp_path: Path) -> None:
    """HEVC is tagged hvc1."""
    assert b"hvc1" in written(tmp_path / "a.mp4", VideoFormat(codec="hevc")).read_bytes()


def test_quality_is_honoured(tmp_path: Path) -> None:
    """Each quality makes a larger file than the one below it."""
    sizes = [
        written(tmp_path / f"{quality}.mp4", VideoFormat(quality=quality)).stat().st_size
        for quality in ("draft", "standard", "high")
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_the_encoder_that_is_chosen_runs(codec: str) -> None:
    """The GPU's encoder is chosen exactly where it really encodes."""
    choice = choose_encoder(VideoFormat(codec=codec), SIZE)
    hardware = encoder_module._ENCODERS[codec][0].name
    assert (choice.name == hardware) == encoder_module._runs(hardware, SIZE)
    assert encoder_module._runs(choice.name, SIZE)


def test_a_stalled_encoder_does_not_hang_the_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When ffmpeg takes no more frames it is ended, and the take fails with its error."""
    monkeypatch.setattr(encoder_module, "STALL_SECONDS", 0.3)
    path = tmp_path / "a.mp4"
    batch = np.concatenate(list(moving_square(40)))

    def stall() -> None:
        with VideoEncoder(path, SIZE, Fraction(24), VideoFormat()) as encoder:
            encoder.write(batch)
            os.kill(encoder._process.pid, signal.SIGSTOP)
            for _ in range(20):
                encoder.write(batch)

    with pytest.raises(EncodeError):
        stall()
    assert not path.exists()


def test_an_ffmpeg_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong IMAGEIO_FFMPEG_EXE is an error that names the variable."""
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/none/ffmpeg")
    with pytest.raises(EncodeError, match="check IMAGEIO_FFMPEG_EXE"):
        choose_encoder(VideoFormat(), (640, 640))


def test_a_failing_encoder_says_why_in_the_log_only(tmp_path: Path) -> None:
    """The error keeps the command and ffmpeg's last words; its sentence holds neither."""
    path = tmp_path / "none" / "a.mp4"
    with pytest.raises(EncodeError) as raised:
        written(path, VideoFormat())
    assert "No such file or directory" in raised.value.stderr
    assert "libx264" in raised.value.command or "h264_nvenc" in raised.value.command
    assert "none" not in str(raised.value)
    assert raised.value.detail.endswith(raised.value.stderr)


def test_an_encoder_killed_midway_stops_the_take(tmp_path: Path) -> None:
    """When ffmpeg dies, writing fails soon, nothing hangs and no file is left."""
    path = tmp_path / "a.mp4"
    batch = next(moving_square(4))

    def kill_midway() -> None:
        with VideoEncoder(path, SIZE, Fraction(24), VideoFormat()) as encoder:
            encoder.write(batch)
            encoder._process.kill()
            encoder._process.wait()
            for _ in range(100):
                encoder.write(batch)

    with pytest.raises(EncodeError):
        kill_midway()
    assert not path.exists()


def test_a_take_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """An error among the frames ends ffmpeg and removes what it wrote."""
    path = tmp_path / "a.mp4"
    encoder = VideoEncoder(path, SIZE, Fraction(24), VideoFormat())

    def fail_midway() -> None:
        with encoder:
            encoder.write(next(moving_square(4)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    assert encoder._process.returncode is not None
    assert not path.exists()


def test_the_poster_is_the_frame(tmp_path: Path) -> None:
    """The poster is a JPEG of the frame that was given."""
    frame = next(moving_square(4))[0]
    write_poster(frame, tmp_path / "a.jpg")
    with av.open(tmp_path / "a.jpg") as file:
        decoded = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(frame.astype(int) - decoded).mean() < 3
