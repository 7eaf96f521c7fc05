"""The story of a job, in nine steps.

    parse -> resolve -> plan -> fetch -> generate and chain -> finish -> encode -> store -> answer

Frames flow through steps 5 to 7 a few at a time, so memory does not grow with a take's length.
"""

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onetake.delivery.answered_jobs import Ledger
from onetake.delivery.checkpoints import SavedSegments
from onetake.delivery.publish import NO_LINKS, Files, PartSender, store_take
from onetake.jobs.estimate import CARDS, DEFAULT_CARD
from onetake.jobs.plan import Plan, Terms, plan_take
from onetake.jobs.prompt_words import optimise
from onetake.jobs.request import Job
from onetake.jobs.response import Result, Safety
from onetake.media.fetch.clip import load_video
from onetake.media.fetch.picture import load_image
from onetake.media.frames import FrameBatch, cover
from onetake.media.probe import VideoFacts
from onetake.models import choice, device
from onetake.models.spec import ModelSpec, VideoModel
from onetake.runtime import profiles
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import DeviceError, JobError, StageError, StoppedError
from onetake.runtime.gpu_meter import card_meter
from onetake.runtime.host_memory import reset_host_peak
from onetake.runtime.settings import Settings
from onetake.runtime.stopwatch import Stopwatch
from onetake.seams.answer_figures import seam_meter
from onetake.takes.audit_record import about as facts_of
from onetake.takes.audit_record import note_part, write_down
from onetake.takes.chain import Chain, Inputs
from onetake.takes.describe import Rendered, cut_short, describe, request_notes
from onetake.takes.encoding import encode_take, with_parts
from onetake.takes.steps import finish
from onetake.takes.steps.extend import end_of, with_clip
from onetake.takes.worker import Worker
from onetake.trust.provenance.apply import Marking, draw_short_id, picture_ingredient
from onetake.trust.safety.check import BLOCKED, Safeguard

log = logging.getLogger("onetake")


# Of what is known of the input: an image's size, or what a clip holds.
PlanFor = Callable[[tuple[int, int] | VideoFacts | None], Plan]


def plan_job(
    job: Job, settings: Settings, *, planning: bool = False, seed: int | None = None
) -> tuple[ModelSpec, str, PlanFor]:
    """Steps 2 and 3: the model, a note on it, and the plan as a function of the inputs' facts.

    Inputs are fetched after a first plan has found the job to be legal, and their facts may decide
    the size and the rate. With ``planning`` the model's weights need not be here. ``seed`` is that
    of an earlier try, if there was one; else a job that names none has one drawn.

    Raises:
        JobError: the job cannot be honoured.
    """
    profile = profiles.resolve(job.profile or settings.profile)
    spec, note = choice.resolve(job.model, settings, need_weights=not planning)
    if profile.distilled:
        spec = choice.few_step_form(spec, settings, need_weights=not planning)
    common = job.prompt.strip()
    prompts = [common]
    if job.segments:
        prompts = [", ".join(filter(None, (common, p.prompt.strip()))) for p in job.segments]
    if job.enable_prompt_optimization:
        prompts = [optimise(prompt, has_image=job.image is not None) for prompt in prompts]
    if seed is None:
        seed = secrets.randbelow(2**32) if job.seed < 0 else job.seed
    planned = partial(
        plan_take,
        job,
        spec,
        profile,
        Terms(settings.max_duration, settings.price_per_second, *_card_for(spec)),
        prompts=prompts,
        seed=seed,
    )
    return spec, note, lambda source: planned(source=source)


def _card_for(spec: ModelSpec) -> tuple[str | None, float]:
    """The card that estimates are for, and its GiB: a full-size model is not meant for a CPU."""
    if (here := device.card_name()) or not spec.repo_id:
        return here, device.card_gib()
    return DEFAULT_CARD, CARDS[DEFAULT_CARD].gib


def make_take(worker: Worker, ledger: Ledger, name: str, asked: object, control: Control) -> Result:
    """One job, from what was asked to its result.

    Args:
        worker: the model and the settings.
        ledger: takes the files, and keeps them when the store does not.
        name: of the stored files.
        asked: the job's ``input``, as JSON gave it.
        control: is told each step, and may stop the job.

    Raises:
        OnetakeError: whose text a client may see.
    """
    try:
        return _make(worker, ledger, name, asked, control)
    except JobError as error:
        if error.code in BLOCKED:
            write_down(worker, name, asked, error.code)
        raise


def _make(worker: Worker, ledger: Ledger, name: str, asked: object, control: Control) -> Result:
    clock = Stopwatch()
    reset_host_peak()
    # 1. Parse
    job = Job.parse(asked)
    saved = SavedSegments(worker.settings.kept / "segments", name, asked)
    # 2. Resolve the model and the profile
    spec, model_note, plan_for = plan_job(job, worker.settings, seed=saved.seed)
    # 3. Plan, and check what is asked
    plan = plan_for(None)
    with clock.stage("check"):
        safeguard = Safeguard(worker.policy, job)
    with (
        worker.workdir.job() as folder,
        card_meter(device.card_name()) as card_use,
        _forgotten_if_unwanted(saved, control),
    ):
        # 4. Fetch
        inputs, clip = Inputs(), None
        if job.names_inputs:
            with clock.stage("fetch"):
                plan, inputs, clip = _fetch(job, plan_for, worker.settings, folder)
            with clock.stage("check"):
                for field, frame in _pictures(job, inputs):
                    safeguard.look_at(field, frame)
        control.check()
        log.info("%d segments of %s", len(plan.segments), spec.name)
        with clock.stage("load"):
            model = worker.model(spec, profiles.PROFILES[plan.profile])
            model.peak_gib()  # starts a new peak
        files = Files(folder, name, job.output.container)

        if len(plan.segments) > 1:
            saved.begin(plan.seed)
        short_id = draw_short_id(worker.policy)
        making = _Making(
            job, plan, model, inputs, clip, files, saved, clock, control, safeguard,
            PartSender(
                ledger.store, control, safeguard.clean,
                partial(note_part, worker, name, asked, short_id),
            ),
            partial(Marking, worker.policy, worker.signature, plan, model.revision, short_id),
        )  # fmt: skip
        rendered, lean_note = _twice_if_short(making)

        def result(links: dict[str, Any]) -> Result:
            # 9. Answer
            notes = [note for note in (model_note, lean_note) if note]
            made = describe(rendered, model, clock, notes, links, worker)
            made.notes += request_notes(plan, job, model, links)
            made.card = card_use()
            made.error = cut_short(rendered, saved.name)
            return made

        # 8. Store, or keep back
        try:
            with clock.stage("store"):
                if rendered.safety.verdict == "flagged":
                    links = NO_LINKS
                    ledger.hold(files, asked, result(links), noted=worker.settings.production)
                else:
                    links = store_take(ledger.store, job.output, files, control)
        except StageError as error:
            if rendered.chain.failure:  # its segments are kept, from which more can be made
                raise
            raise _kept(worker, ledger, files, asked, result(NO_LINKS), error) from error
        if not rendered.chain.failure:
            saved.clear()
        made = result(links)
        outcome = "cut_short" if made.error else made.safety.verdict or "done"
        if not write_down(worker, name, asked, outcome, **facts_of(made, files.video)):
            made.notes.append("the audit log could not be written")
        worker.count(made)
        return made


@contextmanager
def _forgotten_if_unwanted(saved: SavedSegments, control: Control) -> Iterator[None]:
    """What is saved of a job is let go when nobody wants it, or nobody may have it."""
    try:
        yield
    except StoppedError:
        if control.stopped and not control.handed_back:
            saved.clear()
        raise
    except JobError as error:
        if error.code in BLOCKED:
            saved.clear()
        raise


def _kept(
    worker: Worker, ledger: Ledger, files: Files, asked: object, made: Result, error: StageError
) -> StageError:
    """Keep a take that the store refuses, and write it down while its file is here."""
    write_down(worker, files.name, asked, "kept", **facts_of(made, files.video))
    return ledger.keep(files, asked, made, error)


def _pictures(job: Job, inputs: Inputs) -> Iterator[tuple[str, FrameBatch]]:
    """The frames that the take starts from and ends on, by their fields."""
    if inputs.context is not None:
        yield "video" if job.video else "image", inputs.context[-1]
    if inputs.last_frame is not None:
        yield "last_image", inputs.last_frame[0]


def _fetch(
    job: Job, plan_for: PlanFor, settings: Settings, folder: Path
) -> tuple[Plan, Inputs, Path | None]:
    """Step 4: the plan with what the inputs are, their frames, and the clip to extend.

    Raises:
        JobError: one cannot be had or used.
    """
    clip, facts = None, None
    if job.video:
        clip, facts = load_video(job.video, "video", settings, folder)
    first, last = (
        load_image(source, field, settings) if source else None
        for field, source in (("image", job.image), ("last_image", job.last_image))
    )
    picture = first or last
    plan = plan_for(facts or (picture.size if picture else None))

    def frame(image: Image.Image | None) -> FrameBatch | None:
        return np.array(cover(image, plan.generated_size))[None] if image else None

    context = end_of(clip, facts, plan) if clip and facts else frame(first)
    return plan, Inputs(context, frame(last)), clip


@dataclass(frozen=True)
class _Making:
    """What steps 5 to 7 work with."""

    job: Job
    plan: Plan
    model: VideoModel
    inputs: Inputs
    clip: Path | None  # to extend
    files: Files
    saved: SavedSegments
    clock: Stopwatch
    control: Control
    safeguard: Safeguard
    parts: PartSender
    marked: Callable[[], Marking]

    def render(self, *, last_try: bool) -> Rendered:
        """The take in its file. With another try to come, memory that runs out is an error.

        Raises:
            OnetakeError: it cannot be made.
        """
        job, plan, clock = self.job, self.plan, self.clock
        # 5. Generate, each segment continuing the last
        chain = Chain(
            self.model, plan, clock, self.control, self.inputs, self.saved, last_try=last_try
        )
        # 6. Finish, measure, look at, mark
        frames = clock.through("finish", finish(chain.frames(), plan))
        if self.clip:
            frames = with_clip(self.clip, frames)
        meter, marking = seam_meter(plan), self.marked()
        frames = clock.through("measure", meter.through(frames))
        with self.safeguard.watch(plan) as watch:
            frames = clock.through("mark", marking.over(watch.through(frames)))
            # 7. Encode, and sign
            with clock.stage("encode"):
                about = marking.metadata
                if job.partial_results:
                    send = self.parts.send
                    frames = with_parts(frames, plan, job.output, self.files, about, send)
                written, count = encode_take(frames, plan, job.output, self.files, about)
        if chain.failure is None and count != plan.num_frames:
            problem = "the written video is not as planned; send the job again"
            raise StageError("encode", problem, detail=f"{count} frames of {plan.num_frames}")
        with clock.stage("check"):
            safety = self._verdict()
        with clock.stage("mark"):
            given = [picture_ingredient(*picture) for picture in _pictures(job, self.inputs)]
            marking.finish(self.files.video, self.files.sidecar, given)
        made = replace(plan, num_frames=count)
        return Rendered(chain, made, written, meter, safety, marking)

    def _verdict(self) -> Safety:
        """That on the take. What left early of one that may not leave is taken back.

        Raises:
            JobError: it is blocked.
        """
        try:
            safety = self.safeguard.verdict()
        except JobError:
            self.parts.withdraw()
            raise
        if safety.verdict == "flagged":
            self.parts.withdraw()
        return safety


def _twice_if_short(making: _Making) -> tuple[Rendered, str]:
    """Render; when the card's memory runs out, once more in less of it. Also gives a note.

    Where there is no less, the segments that are saved are rendered, if there are any.
    """
    model = making.model
    try:
        return making.render(last_try=False), ""
    except DeviceError as error:
        if error.code != "out_of_memory":
            raise
        short = error.with_traceback(None)
        short.__cause__ = short.__context__ = None
    # Here nothing holds the failed try's tensors any more: its traceback is gone.
    device.free()
    before, note = model.placement, ""
    if model.lean():
        note = f"the card's memory ran out ({before}), so it was made with {model.placement}"
        log.warning("out of memory (%s); once more with %s", before, model.placement)
        device.free()
    elif not making.saved.count:
        raise short
    return making.render(last_try=True), note
