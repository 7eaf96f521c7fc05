"""The story of a job, in nine steps.

    parse -> resolve -> plan -> fetch -> generate and chain -> finish -> encode -> store -> answer

Frames flow through steps 5 to 7 a few at a time, so memory does not grow with a take's length.
"""

import base64
import hashlib
import logging
import re
import secrets
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onetake import models, tuning
from onetake.chain import generate_take
from onetake.clip import FrameStream, cover
from onetake.encode import CONTENT_TYPES, VideoEncoder, choose_encoder, write_poster
from onetake.errors import DeviceError, JobError, OnetakeError, StageError
from onetake.estimate import DEFAULT_CARD
from onetake.finish import finish
from onetake.inputs import load_image
from onetake.job import Job, Output, Progress, Result, Safety, Seam
from onetake.plan import Plan, Terms, plan_take
from onetake.prompt import optimise
from onetake.settings import Settings
from onetake.spec import ModelSpec, VideoModel
from onetake.storage import Store, open_store
from onetake.telemetry import Stopwatch, host_peak_gib, reset_host_peak

MAX_BASE64_BYTES = 5 << 20  # an answer of RunPod's /run may have 10 MB, and base64 adds a third
NOT_CHECKED = Safety(checked=False, reason="this version has no safety checker")

log = logging.getLogger("onetake")


class Worker:
    """The settings, the store and the one model that is loaded."""

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        self.settings = settings
        self.store = store or open_store(settings)
        self._model: VideoModel | None = None

    def boot(self) -> None:
        """Load the default model, so that the first job need not.

        Raises:
            SettingsError: there is none.
            EncodeError: there is no ffmpeg that runs.
        """
        choose_encoder(Output())
        self.model(models.default_model(self.settings)[0])

    def model(self, spec: ModelSpec) -> VideoModel:
        """``spec``, loaded; one that was loaded before is let go."""
        if self._model is None or self._model.spec is not spec:
            self._model = None  # first let go, then load: two may not fit
            self._model = models.load(spec, self.settings)
            log.info("loaded %s (%s)", spec.name, self._model.placement)
        return self._model

    def answer(
        self, job_id: object, asked: object, on_progress: Callable[[Progress], None] | None = None
    ) -> dict[str, Any]:
        """The result as JSON, or ``{"error": "<code>: <sentence>"}``; never raises an Exception.

        ``refresh_worker`` beside an error asks RunPod to replace this worker.
        """
        name = safe_name(str(job_id))
        try:
            return make_take(self, name, asked, on_progress).model_dump(mode="json")
        except JobError as error:
            log.info("job %s refused: %s", name, error)
            return {"error": str(error)}
        except OnetakeError as error:
            # The traceback ends with the error's own sentence; what only we may know comes first.
            log.exception("job %s failed\n%s", name, error.detail)
            refused: dict[str, Any] = {"error": str(error)}
            if isinstance(error, DeviceError):
                refused["refresh_worker"] = True
            return refused
        except Exception:
            log.exception("job %s failed unexpectedly", name)
            return {"error": "internal_error: the worker failed; send the job again"}


PlanFor = Callable[[tuple[int, int] | None], Plan]  # of the input image's size, once it is known


def plan_job(
    job: Job, settings: Settings, *, planning: bool = False
) -> tuple[ModelSpec, str, PlanFor]:
    """Steps 2 and 3: the model, a note on it, and the plan as a function of the image's size.

    The image is fetched after a first plan has found the job to be legal, and its ratio may
    decide the size. With ``planning`` the model's weights need not be here.

    Raises:
        JobError: the job cannot be honoured.
    """
    spec, note = models.resolve(job.model, settings, need_weights=not planning)
    profile = tuning.resolve(job.profile)
    prompt = job.prompt.strip()
    if job.enable_prompt_optimization:
        prompt = optimise(prompt, has_image=job.image is not None)
    planned = partial(
        plan_take,
        job,
        spec,
        profile,
        Terms(settings.max_duration, settings.price_per_second, _card_for(spec)),
        prompt=prompt,
        seed=secrets.randbelow(2**32) if job.seed < 0 else job.seed,
    )
    return spec, note, lambda image_size: planned(image_size=image_size)


def _card_for(spec: ModelSpec) -> str | None:
    """The card that estimates are for: a full-size model is not meant for a CPU."""
    return models.card_name() or (DEFAULT_CARD if spec.repo_id else None)


def make_take(
    worker: Worker,
    name: str,
    asked: object,
    on_progress: Callable[[Progress], None] | None = None,
) -> Result:
    """One job, from what was asked to its result.

    Args:
        worker: the model and the store.
        name: of the stored files, and the job's in the log.
        asked: the job's ``input``, as JSON gave it.
        on_progress: called after each denoising step; may raise to stop the job.

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
    # 4. Fetch
    first_frame = None
    if job.image:
        with clock.stage("fetch"):
            image = load_image(job.image, "image", worker.settings)
            plan = plan_for(image.size)
            first_frame = np.array(cover(image, plan.generated_size))[None]
    log.info("job %s: %d segments of %s", name, len(plan.segments), spec.name)
    with clock.stage("load"):
        model = worker.model(spec)
        model.peak_gib()  # starts a new peak
    # 5. Generate, each segment continuing the last
    report = on_progress or (lambda _progress: None)
    frames = generate_take(model, plan, first_frame, clock, report)
    # 6. Finish
    frames = clock.through("finish", finish(frames, plan))
    with tempfile.TemporaryDirectory(prefix="onetake-") as folder:
        # 7. Encode
        video = Path(folder) / f"take.{job.output.container}"
        poster = video.with_suffix(".jpg")
        with clock.stage("encode"):
            written = _encode(frames, plan, job, video, poster)
        # 8. Store
        with clock.stage("store"):
            links = _store(worker.store, name, job, video, poster)
    # 9. Answer
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
        model=spec.name,
        revision=model.revision,
        profile=plan.profile,
        plan=plan.summary(),
        seams=[
            Seam(
                at_frame=frame,
                at_seconds=round(float(frame / plan.fps), 3),
                overlap_frames=plan.overlap_frames,
            )
            for frame in plan.seam_frames()
        ],
        output=written,
        safety=NOT_CHECKED,
        timings=clock.timings(),
        memory={
            "host_peak_gib": _rounded(host_peak_gib()),
            "card_peak_gib": _rounded(model.peak_gib()),
        },
        notes=_notes(plan, job, model, model_note, links),
    )


def _encode(frames: FrameStream, plan: Plan, job: Job, video: Path, poster: Path) -> dict[str, str]:
    """Draw ``frames`` through the encoder; the first of them is the poster."""
    output = job.output
    with VideoEncoder(video, plan.size, plan.fps, output) as encoder:
        for batch in frames:
            if not encoder.frames_written:
                write_poster(batch[0], poster)
            encoder.write(batch)
    if encoder.frames_written != plan.num_frames:
        raise StageError(
            "encode",
            "the take has the wrong length; send the job again",
            detail=f"{encoder.frames_written} frames written, {plan.num_frames} planned",
        )
    return {
        "container": output.container,
        "codec": output.codec,
        "quality": output.quality,
        "encoder": encoder.choice.name,
        "reason": encoder.choice.reason,
    }


def _store(store: Store, name: str, job: Job, video: Path, poster: Path) -> dict[str, Any]:
    """The result's links; a small video goes into the answer itself when the job asks for that."""
    if job.output.delivery == "base64" and video.stat().st_size <= MAX_BASE64_BYTES:
        encoded = base64.b64encode(video.read_bytes()).decode()
        return {"video_url": None, "result": None, "poster_url": None, "video_base64": encoded}
    container = job.output.container
    link = store.put(video, f"{name}.{container}", CONTENT_TYPES[container])
    try:
        poster_link = store.put(poster, f"{name}.poster.jpg", "image/jpeg")
    except StageError as error:  # a finished take is not given up for its poster
        log.warning("job %s: no poster: %s\n%s", name, error, error.detail)
        poster_link = None
    return {"video_url": link, "result": link, "poster_url": poster_link}


def _notes(
    plan: Plan, job: Job, model: VideoModel, model_note: str, links: dict[str, Any]
) -> list[str]:
    notes = [*plan.notes, model_note] if model_note else list(plan.notes)
    for field, text in (("prompt", plan.prompt), ("negative_prompt", plan.negative_prompt)):
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


def safe_name(job_id: str) -> str:
    """``job_id`` as a file name; what had to be changed is told apart by a digest."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", job_id)[:80]
    if name == job_id:
        return name
    digest = hashlib.sha256(job_id.encode(errors="surrogatepass")).hexdigest()
    return f"{name}-{digest[:8]}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
