"""The invisible mark: it is read after what is often done to a video, and it is hardly visible."""

import subprocess
from collections.abc import Callable
from fractions import Fraction

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from onetake.jobs.request import Output
from onetake.media.encoder import VideoEncoder
from onetake.media.frames import FrameBatch
from onetake.media.probe import read_frames
from onetake.trust.provenance.invisible import InvisibleMark
from onetake.trust.provenance.invisible_reader import FALSE_ALARM, best_guess, read_mark

SIZE = 640, 384
SHORT_ID = 0xC0FFEE42


def psnr(one: FrameBatch, other: FrameBatch) -> float:
    """The difference in decibels; more is closer."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.fixture(scope="module")
def clean() -> FrameBatch:
    """A ball that rolls over a soft ground, 24 frames."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    ground = np.stack([90 + x / 6, 120 + y / 8, 180 - x / 9], axis=-1)
    ground += 12 * np.sin(x / 37 + np.sin(y / 23))[..., None]
    frames = np.repeat(ground[None], 24, axis=0)
    for number, frame in enumerate(frames):
        frame[np.hypot(x - 120 - 12 * number, y - 200) < 70] = (205, 60, 40)
    return frames.round().astype(np.uint8)


@pytest.fixture(scope="module")
def marked(clean: FrameBatch) -> FrameBatch:
    """The same clip with a mark."""
    return InvisibleMark(SHORT_ID, SIZE).embed(clean)


@pytest.fixture(scope="module")
def copied(
    marked: FrameBatch, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[FrameBatch]]:
    """A function that delivers the marked clip, encodes it again and reads its frames."""
    folder = tmp_path_factory.mktemp("marked")
    with VideoEncoder(folder / "delivered.mp4", SIZE, Fraction(24), Output()) as encoder:
        encoder.write(marked)

    def copy(crf: int, *options: str) -> list[FrameBatch]:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
        command += ["-i", folder / "delivered.mp4", *options, "-threads", "1"]
        codec = ["-c:v", "libx264", "-preset", "medium", "-crf", str(crf)]
        subprocess.run([*command, *codec, folder / "copy.mp4"], check=True)
        return list(read_frames(folder / "copy.mp4"))

    return copy


def test_read_after_encoding_again(copied: Callable[..., list[FrameBatch]]) -> None:
    """At crf 28 x264 leaves enough of the mark for a reading as sure as promised."""
    reading = read_mark(copied(28))
    assert reading is not None
    assert reading.short_id == SHORT_ID
    assert reading.false_alarm <= FALSE_ALARM
    assert reading.scale == pytest.approx((1, 1), abs=0.01)


def test_read_at_half_size(copied: Callable[..., list[FrameBatch]]) -> None:
    """The reader finds the scale of the copy from the picture."""
    reading = read_mark(copied(23, "-vf", "scale=iw/2:ih/2"))
    assert reading is not None
    assert reading.short_id == SHORT_ID
    assert reading.scale == pytest.approx((0.5, 0.5), abs=0.01)


def test_read_after_a_crop(copied: Callable[..., list[FrameBatch]]) -> None:
    """The mark is read after a tenth is cut off both sides, not around the centre."""
    reading = read_mark(copied(23, "-vf", "crop=576:346:11:27"))
    assert reading is not None
    assert reading.short_id == SHORT_ID


def test_unmarked_reads_none(clean: FrameBatch) -> None:
    """A clean clip, a flat one and a clip without frames give no reading."""
    assert read_mark([clean[:12]]) is None
    assert read_mark([np.full((1, 128, 128, 3), 127, np.uint8)]) is None
    assert read_mark([]) is None


def test_a_guess_is_known_to_be_one(clean: FrameBatch) -> None:
    """The best guess for an unmarked clip does not claim to be sure."""
    guess = best_guess([clean[:1, :128, :128]])
    assert guess is not None
    assert guess.false_alarm > 1000 * FALSE_ALARM


def test_another_id_is_another_mark(clean: FrameBatch) -> None:
    """An id that differs in one bit and the highest id are both read right."""
    for short_id in (SHORT_ID ^ 1, 2**32 - 1):
        reading = read_mark([InvisibleMark(short_id, SIZE).embed(clean[:2])])
        assert reading is not None
        assert reading.short_id == short_id


@pytest.mark.parametrize("short_id", [-1, 2**32])
def test_an_id_has_32_bits(short_id: int) -> None:
    """An id of more bits or a negative one is refused."""
    with pytest.raises(ValueError, match="32 bits"):
        InvisibleMark(short_id, SIZE)


@pytest.mark.parametrize("size", [SIZE, (1280, 720), (128, 128), (16, 18)])
def test_hardly_there(clean: FrameBatch, size: tuple[int, int]) -> None:
    """The mark keeps 38 dB or more on a soft clip and on noise at every size."""
    soft = cv2.resize(clean[0], size)[None]
    rough = np.random.default_rng(0).integers(0, 256, soft.shape, np.uint8)
    for frames in (soft, rough):
        assert psnr(InvisibleMark(SHORT_ID, size).embed(frames), frames) >= 38


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_do_not_wrap(level: int) -> None:
    """The mark stops at black and at white, and the half that is left is read."""
    flat = np.full((2, SIZE[1], SIZE[0], 3), level, np.uint8)
    marked = InvisibleMark(SHORT_ID, SIZE).embed(flat)
    change = np.abs(marked.astype(int) - level)
    assert 0 < change.max() < 16
    reading = read_mark([marked])
    assert reading is not None
    assert reading.short_id == SHORT_ID


def test_the_same_frame_is_marked_alike(clean: FrameBatch, marked: FrameBatch) -> None:
    """Batch size, memory layout and a new object change nothing, and the input stays as it was."""
    before = clean.copy()
    mark = InvisibleMark(SHORT_ID, SIZE)
    channels_first = np.ascontiguousarray(clean[:3].transpose(0, 3, 1, 2))
    assert np.array_equal(mark.embed(clean[:1]), marked[:1])
    assert np.array_equal(mark.embed(channels_first.transpose(0, 2, 3, 1)), marked[:3])
    assert np.array_equal(mark.embed(clean[23:]), marked[23:])
    assert mark.embed(clean[:0]).shape == (0, *clean.shape[1:])
    assert np.array_equal(clean, before)
