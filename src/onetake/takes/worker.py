"""What outlives a job: the settings, the store, the one model that is loaded, the counts."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from onetake.delivery.answered_jobs import Ledger
from onetake.delivery.quarantine import Quarantine
from onetake.delivery.storage import Store, open_job_store, open_store
from onetake.jobs.request import Output
from onetake.jobs.response import Result
from onetake.media.encoder import VideoEncoder
from onetake.media.fetch.guard import is_public_host
from onetake.media.probe import MediaError, probe_video
from onetake.models import acceleration, choice, loader
from onetake.models.spec import ModelSpec, VideoModel
from onetake.models.weights import places
from onetake.runtime import profiles
from onetake.runtime.errors import SettingsError, StageError
from onetake.runtime.metrics import Counters
from onetake.runtime.profiles import Profile
from onetake.runtime.settings import Settings
from onetake.runtime.stopwatch import Stopwatch
from onetake.runtime.workdir import WorkDir
from onetake.trust.policy import read_policy
from onetake.trust.provenance.apply import signature_of
from onetake.trust.safety.pictures import nudity
from onetake.trust.safety.prompts import categories_of

_GIB = 1 << 30
MIN_FREE_GIB = 1.0  # of the work folder: a take of an hour at the highest quality

log = logging.getLogger("onetake")


class Worker:
    """One process's worker. Its model is used by one thread at a time."""

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        """Open the store and the work folder.

        Raises:
            SettingsError: one of them, or the policy, cannot be used.
        """
        self.settings = settings
        self.policy = read_policy(settings.policy)
        self.signature = signature_of(self.policy)
        self.store = store or open_store(settings)
        self.workdir = WorkDir(settings.work_dir)
        self.quarantine = Quarantine(self.store, self.workdir.path)
        if settings.compiled:  # torch looks here when it compiles; Triton's cache is below it
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.compiled))
        self.counters = Counters()
        self.watch = Stopwatch()  # of the boot
        self._model: VideoModel | None = None
        self._profile = ""  # that the model is tuned for
        self.tuning: dict[str, str] = {}  # what each of its techniques chose, and why

    def boot(self) -> None:
        """Load the default model, so that the first job need not.

        Raises:
            SettingsError: there is none, or its files are damaged.
        """
        places.read_default_ahead(self.settings)
        with self.watch.stage("find the card"):
            spec, profile = self.default()
        self.model(spec, profile)

    def default(self) -> tuple[ModelSpec, Profile]:
        """What a job runs that names neither model nor profile.

        Raises:
            SettingsError: it is not here.
        """
        spec, profile = choice.default_model(self.settings)[0], self.settings.profile
        if profiles.PROFILES[profile].distilled:
            spec = choice.few_step_form(spec, self.settings)
        return spec, profiles.PROFILES[profile]

    def model(self, spec: ModelSpec, profile: Profile) -> VideoModel:
        """``spec``, loaded and tuned; one that was loaded before is let go."""
        if self._model is None or (self._model.spec, self._profile) != (spec, profile.name):
            self._model = None  # first let go, then load: two may not fit
            started = time.monotonic()
            model = loader.load(spec, self.settings, self.watch, eight_bit=profile.eight_bit)
            with self.watch.stage("tune"):
                self.tuning = acceleration.tune(model, profile.techniques)
            self._model, self._profile = model, profile.name
            seconds = time.monotonic() - started
            log.info("loaded %s (%s) in %.1f s", spec.name, model.placement, seconds)
            for name, choice in self.tuning.items():
                log.info("%s: %s", name, choice)
        return self._model

    def count(self, made: Result) -> None:
        """Add a take to the counters, and its stages to the log."""
        for stage, seconds in made.timings.items():
            self.counters.add(f"seconds_{stage}", seconds)
            log.info("%s took %.3f s", stage, seconds)
        if made.card and made.card.energy_joules:
            self.counters.add("card_joules", made.card.energy_joules)

    def ledger(self, config: Mapping[str, object] | None = None) -> Ledger:
        """The answers in the worker's store, or in the bucket that a job brings as `s3Config`.

        Raises:
            JobError: the configuration is not whole, or leads to a private address.
        """
        store = self.store
        if config is not None:
            store = open_job_store(config, self.settings, is_public_host)
        return Ledger(store, self.settings.kept, self.workdir.path, self.quarantine)

    def checks(self) -> list[Callable[[], None]]:
        """What must hold before jobs are taken; each raises an OnetakeError if it does not."""
        return [
            self.check_disk, self.check_encoder, self.check_store, self.check_safety,
            self.check_model,
        ]  # fmt: skip

    def check_disk(self) -> None:
        """There is room for a take.

        Raises:
            SettingsError: there is not.
        """
        free = shutil.disk_usage(self.workdir.path).free / _GIB
        if free < MIN_FREE_GIB:
            problem = f"has {free:.1f} GiB free, and {MIN_FREE_GIB:g} are needed"
            raise SettingsError("ONETAKE_WORK_DIR", problem)

    def check_encoder(self) -> None:
        """The encoder of the default output writes a video that can be read back.

        Raises:
            EncodeError: it does not run.
            StageError: what it wrote is not what it was given.
        """
        grey = np.full((12, 128, 128, 3), 128, np.uint8)
        with self.workdir.job() as folder:
            file = folder / "probe.mp4"
            with VideoEncoder(file, (128, 128), Fraction(24), Output()) as encoder:
                encoder.write(grey)
            try:
                written = probe_video(file).num_frames
            except MediaError as error:
                raise StageError("encode", f"a trial video is {error}; mend ffmpeg") from error
        if written != len(grey):
            problem = f"a trial video has {written} of {len(grey)} frames; mend ffmpeg"
            raise StageError("encode", problem)

    def check_store(self) -> None:
        """A file can be put into the store, and deleted.

        Raises:
            StageError: the store refuses or cannot be reached.
        """
        with self.workdir.job() as folder:
            probe = folder / "probe"
            probe.write_bytes(b"onetake")
            key = f"fitness/{self.workdir.path.name}"
            self.store.put(probe, key, "text/plain")
            self.store.delete(key)

    def check_safety(self) -> None:
        """Prompts and pictures can be checked; the lists and classifiers are read for it.

        Raises:
            StageError: they find something where there is nothing.
        """
        grey = np.full((128, 128, 3), 128, np.uint8)
        if categories_of("a red bottle", self.policy) or nudity(grey) >= self.policy.frames:
            problem = "a red bottle or a grey picture is blocked; raise frames, or mend the brands"
            raise StageError("check", problem)

    def check_model(self) -> None:
        """The default model makes frames; its first ones, which are the slowest.

        Raises:
            StageError: it makes none, or DeviceError: the card fails.
        """
        model = self.model(*self.default())
        with self.watch.stage("warm up"):
            loader.warm_up(model)
        stages = ", ".join(
            f"{name} {seconds:.1f}" for name, seconds in self.watch.timings().items()
        )
        log.info("ready; seconds of the boot: %s", stages)
