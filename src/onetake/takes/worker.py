"""What outlives a job: settings, policy, store, the one model that is loaded, metrics."""

import logging
import os
import time
from collections.abc import Mapping

from onetake.delivery.answered_jobs import AnsweredJobs
from onetake.delivery.quarantine import Quarantine
from onetake.delivery.storage import Store, open_job_store, open_store
from onetake.jobs.response import Result
from onetake.media.fetch.guard import is_public_host
from onetake.models import acceleration, choice, loader
from onetake.models.spec import ModelSpec, VideoModel
from onetake.models.weights import places
from onetake.runtime.metrics import Metrics
from onetake.runtime.profiles import PROFILES, Profile
from onetake.runtime.settings import Settings
from onetake.runtime.stopwatch import Stopwatch
from onetake.runtime.workdir import WorkDir
from onetake.trust.policy import read_policy
from onetake.trust.provenance.apply import signature_of

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
        self.metrics = Metrics()
        self.watch = Stopwatch()  # of the boot
        self._model: VideoModel | None = None
        self._profile = ""  # of the loaded model
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
        spec, profile = choice.default_model(self.settings)[0], PROFILES[self.settings.profile]
        if profile.distilled:
            spec = choice.few_step_form(spec, self.settings)
        return spec, profile

    def model(self, spec: ModelSpec, profile: Profile) -> VideoModel:
        """``spec``, loaded and tuned; the model that was loaded before is released."""
        if self._model is None or (self._model.spec, self._profile) != (spec, profile.name):
            self._model = None  # released first: two may not fit
            started = time.monotonic()
            eight_bit = acceleration.effect_of(spec, profile.techniques).eight_bit
            model = loader.load(spec, self.settings, self.watch, eight_bit=eight_bit)
            with self.watch.stage("tune"):
                self.tuning = acceleration.tune(model, profile.techniques)
            self._model, self._profile = model, profile.name
            seconds = time.monotonic() - started
            log.info("loaded %s (%s) in %.1f s", spec.name, model.placement, seconds)
            for name, chosen in self.tuning.items():
                log.info("%s: %s", name, chosen)
        return self._model

    def count(self, result: Result) -> None:
        """Add a take to the metrics, and its stages to the log."""
        self.metrics.count_stages(result.timings)
        for stage, seconds in result.timings.items():
            log.info("%s took %.3f s", stage, seconds)
        if result.card and result.card.energy_joules:
            self.metrics.count_joules(result.card.energy_joules)

    def answered_jobs(self, config: Mapping[str, object] | None = None) -> AnsweredJobs:
        """The answers in the worker's store, or in the bucket that a job brings as `s3Config`.

        Raises:
            JobError: the configuration is not whole, or leads to a private address.
        """
        store = self.store
        if config is not None:
            store = open_job_store(config, self.settings, is_public_host)
        return AnsweredJobs(store, self.settings.kept, self.workdir.path, self.quarantine)
