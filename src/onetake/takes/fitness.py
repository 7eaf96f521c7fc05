"""What must hold before a worker takes jobs."""

import logging
import shutil
from collections.abc import Callable
from fractions import Fraction
from functools import partial, update_wrapper

import numpy as np

from onetake.media.encoder import VideoEncoder
from onetake.media.formats import VideoFormat
from onetake.media.probe import MediaError, probe_video
from onetake.models.loader import warm_up
from onetake.runtime.errors import SettingsError, StageError
from onetake.runtime.units import GIB
from onetake.takes.worker import Worker
from onetake.trust.safety.pictures import nudity
from onetake.trust.safety.prompts import categories_of

MIN_FREE_GIB = 1.0  # of the work folder: a take of an hour at the highest quality

log = logging.getLogger("onetake")


def check_disk(worker: Worker) -> None:
    """There is room for a take.

    Raises:
        SettingsError: there is not.
    """
    free = shutil.disk_usage(worker.workdir.path).free / GIB
    if free < MIN_FREE_GIB:
        problem = f"has {free:.1f} GiB free, and {MIN_FREE_GIB:g} are needed"
        raise SettingsError("ONETAKE_WORK_DIR", problem)


def check_encoder(worker: Worker) -> None:
    """The encoder of the default output writes a video that can be read back.

    Raises:
        EncodeError: it does not run.
        StageError: the video does not hold the frames that were sent.
    """
    grey = np.full((12, 128, 128, 3), 128, np.uint8)
    with worker.workdir.job() as folder:
        file = folder / "probe.mp4"
        with VideoEncoder(file, (128, 128), Fraction(24), VideoFormat()) as encoder:
            encoder.write(grey)
        try:
            written = probe_video(file).num_frames
        except MediaError as error:
            raise StageError("encode", f"a trial video is {error}; mend ffmpeg") from error
    if written != len(grey):
        problem = f"a trial video has {written} of {len(grey)} frames; mend ffmpeg"
        raise StageError("encode", problem)


def check_store(worker: Worker) -> None:
    """A file can be put into the store, and deleted.

    Raises:
        StageError: the store refuses or cannot be reached.
    """
    with worker.workdir.job() as folder:
        probe = folder / "probe"
        probe.write_bytes(b"onetake")
        key = f"fitness/{worker.workdir.path.name}"
        worker.store.put(probe, key, "text/plain")
        worker.store.delete(key)


def check_safety(worker: Worker) -> None:
    """Prompts and pictures can be checked; the lists and classifiers are read for it.

    Raises:
        StageError: they report something harmless.
    """
    grey, policy = np.full((128, 128, 3), 128, np.uint8), worker.policy
    if categories_of("a red bottle", policy) or nudity(grey) >= policy.frames:
        problem = "a red bottle or a grey picture is blocked; raise frames, or mend the brands"
        raise StageError("check", problem)


def check_model(worker: Worker) -> None:
    """The default model makes frames; its first ones, which are the slowest.

    Raises:
        StageError: it makes none.
        DeviceError: the card fails.
    """
    model = worker.model(*worker.default())
    with worker.watch.stage("warm up"):
        warm_up(model)
    timings = worker.watch.timings().items()
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in timings)
    log.info("ready; seconds of the boot: %s", stages)


CHECKS: tuple[Callable[[Worker], None], ...] = (
    check_disk,
    check_encoder,
    check_store,
    check_safety,
    check_model,
)


def checks_of(worker: Worker) -> list[Callable[[], None]]:
    """The checks, ready to be called; each raises an OnetakeError if it does not hold."""
    # RunPod's SDK logs their names.
    return [update_wrapper(partial(check, worker), check) for check in CHECKS]
