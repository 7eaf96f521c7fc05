"""The story of a job, in nine steps.

    parse -> resolve -> plan -> fetch -> generate and chain -> finish -> encode -> store -> answer

Frames flow through steps 5 to 7 a few at a time, so memory does not grow with a take's length.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onetake import models, tuning
from onetake.card import card_meter
from onetake.chain import generate_take
from onetake.clip import FrameBatch, cover
from onetake.control import Control
from onetake.deliver import MAX_BASE64_BYTES, NO_LINKS, Files, encode_take, store_take, with_parts
from onetake.errors import DeviceError, StageError
from onetake.estimate import CARDS, DEFAULT_CARD
from onetake.extend import end_of, with_clip
from onetake.finish import finish
from onetake.inputs import load_image, load_video
from onetake.job import Job
from onetake.ledger import Ledger
from onetake.measured import add_figures, seam_meter
from onetake.media import VideoFacts
from onetake.plan import Plan, Terms, plan_take
from onetake.prompt import optimise
from onetake.result import Result, Safety, Seam
from onetake.settings import Settings
from onetake.spec import ModelSpec, VideoModel
from onetake.telemetry import Stopwatch, host_peak_gib, reset_host_peak
from onetake.worker import Worker

NOT_CHECKED = Safety(checked=False, reason="this version has no safety checker")

log = logging.getLogger("onetake")


# Of what is known of the input: an image's size, or what a clip holds.
PlanFor = Callable[[tuple[int, int] | VideoFacts | None], Plan]


def plan_job(
    job: Job, settings: Settings, *, planning: bool = False
) -> tuple[ModelSpec, str, PlanFor]:
    """Steps 2 and 3: the model, a note on it, and the plan as a function of the inputs' facts.

    Inputs are fetched after a first plan has found the job to be legal, and their facts may decide
    the size and the rate. With ``planning`` the model's weights need not be here.

    Raises:
        JobError: the job cannot be honoured.
    """
    profile = tuning.resolve(job.profile or settings.profile)
    spec, note = models.resolve(job.model, settings, need_weights=not planning)
    if profile.distilled:
        spec = models.few_step_form(spec, settings, need_weights=not planning)
    common = job.prompt.strip()
    prompts = [common]
    if job.segments:
        prompts = [", ".join(filter(None, (common, p.prompt.strip()))) for p in job.segments]
    if job.enable_prompt_optimization:
        prompts = [optimise(prompt, has_image=job.image is not None) for prompt in prompts]
    planned = partial(
        plan_take,
        job,
        spec,
        profile,
        Terms(settings.max_duration, settings.price_per_second, *_card_for(spec)),
        prompts=prompts,
        seed=secrets.randbelow(2**32) if job.seed < 0 else job.seed,
    )
    return spec, note, lambda source: planned(source=source)


def _card_for(spec: ModelSpec) -> tuple[str | None, float]:
    """The card that estimates are for, and its GiB: a full-size model is not meant for a CPU."""
    if (here := models.card_name()) or not spec.repo_id:
        return here, models.card_gib()
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
    clock = Stopwatch()
    reset_host_peak()
    # 1. Parse
    job = Job.parse(asked)
    # 2. Resolve the model and the profile
    spec, model_note, plan_for = plan_job(job, worker.settings)
    # 3. Plan
    plan = plan_for(None)
    with worker.workdir.job() as folder, card_meter(models.card_name()) as card_use:
        # 4. Fetch
        inputs = Inputs()
        if job.names_inputs:
            with clock.stage("fetch"):
                plan, inputs = _fetch(job, plan_for, worker.settings, folder)
        control.check()
        log.info("%d segments of %s", len(plan.segments), spec.name)
        with clock.stage("load"):
            model = worker.model(spec, tuning.PROFILES[plan.profile])
            model.peak_gib()  # starts a new peak
        files = Files(folder, name, job.output.container)

        meter = None

        def render() -> dict[str, str]:
            nonlocal meter
            # 5. Generate, each segment continuing the last
            frames = generate_take(model, plan, inputs.context, clock, control, inputs.last_frame)
            # 6. Finish
            frames = clock.through("finish", finish(frames, plan))
            if inputs.clip:
                frames = with_clip(inputs.clip, frames)
            meter = seam_meter(plan)
            frames = clock.through("measure", meter.through(frames))
            # 7. Encode
            with clock.stage("encode"):
                if job.partial_results:
                    frames = with_parts(frames, plan, job.output, files, ledger.store, control)
                return encode_take(frames, plan, job.output, files)

        written, lean_note = _twice_if_short(render, model)

        def result(links: dict[str, Any]) -> Result:
            # 9. Answer
            notes = [note for note in (model_note, lean_note) if note]
            notes += _notes(plan, job, model, links)
            made = _result(plan, model, clock, written, notes, links, worker)
            made.card = card_use()
            add_figures(made.seams, meter)
            return made

        # 8. Store
        try:
            with clock.stage("store"):
                links = store_take(ledger.store, job.output, files, control)
        except StageError as error:
            raise ledger.keep(files, asked, result(NO_LINKS), error) from error
        for stage, seconds in clock.timings().items():
            worker.counters.add(f"seconds_{stage}", seconds)
            log.info("%s took %.3f s", stage, seconds)
        made = result(links)
        if made.card and made.card.energy_joules:
            worker.counters.add("card_joules", made.card.energy_joules)
        return made


@dataclass(frozen=True)
class Inputs:
    """What was fetched: the frames that the take starts with, and those that it ends on."""

    context: FrameBatch | None = None
    last_frame: FrameBatch | None = None
    clip: Path | None = None


def _fetch(job: Job, plan_for: PlanFor, settings: Settings, folder: Path) -> tuple[Plan, Inputs]:
    """Step 4, and the plan with what the inputs are.

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
    return plan, Inputs(context, frame(last), clip)


def _result(
    plan: Plan,
    model: VideoModel,
    clock: Stopwatch,
    written: dict[str, str],
    notes: list[str],
    links: dict[str, Any],
    worker: Worker,
) -> Result:
    return Result(
        **links,
        cost=round(clock.total * worker.settings.price_per_second, 6),
        seed=plan.seed,
        prompt=plan.prompt,
        width=plan.size[0],
        height=plan.size[1],
        num_frames=plan.num_frames,
        fps=round(float(plan.fps), 3),
        duration=round(plan.duration, 3),
        model=plan.model,
        revision=model.revision,
        profile=plan.profile,
        tuning=worker.tuning,
        plan=plan.summary(),
        seams=[
            Seam(
                at_frame=frame,
                at_seconds=round(float(frame / plan.fps), 3),
                overlap_frames=segment.overlap_frames if segment.index else plan.context_frames,
            )
            for frame, segment in plan.seams()
        ],
        output=written,
        safety=NOT_CHECKED,
        timings=clock.timings(),
        memory={
            "host_peak_gib": _rounded(host_peak_gib()),
            "card_peak_gib": _rounded(model.peak_gib()),
            "card_steady_gib": _rounded(models.card_steady_gib()),
        },
        notes=notes,
    )


def _twice_if_short(
    render: Callable[[], dict[str, str]], model: VideoModel
) -> tuple[dict[str, str], str]:
    """Render; when the card's memory runs out, once more in less of it. Also gives a note."""
    try:
        return render(), ""
    except DeviceError as error:
        if error.code != "out_of_memory":
            raise
        short = error.with_traceback(None)
        short.__cause__ = short.__context__ = None
    # Here nothing holds the failed try's tensors any more: its traceback is gone.
    models.free()
    before = model.placement
    if not model.lean():
        raise short
    log.warning("out of memory (%s); once more with %s", before, model.placement)
    models.free()
    return render(), f"the card's memory ran out ({before}), so it was made with {model.placement}"


def _notes(plan: Plan, job: Job, model: VideoModel, links: dict[str, Any]) -> list[str]:
    notes = list(plan.notes)
    texts = dict.fromkeys(("prompt", segment.prompt) for segment in plan.segments)
    for field, text in (*texts, ("negative_prompt", plan.negative_prompt)):
        tokens, read = model.count_tokens(text), model.spec.max_sequence_length
        if tokens > read:
            notes.append(f"{field} has {tokens} tokens, of which {plan.model} reads {read}")
    if job.output.delivery == "base64" and links["video_url"]:
        notes.append(f"over {MAX_BASE64_BYTES >> 20} MiB, the most that base64 carries: stored")
    if links["video_url"] and not links["poster_url"]:
        notes.append("the poster could not be stored")
    if job.enable_safety_checker:
        notes.append("nothing was checked: " + NOT_CHECKED.reason)
    return notes


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
