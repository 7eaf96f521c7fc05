"""The story of a job, in nine steps.

    1 parse -> 2 resolve the model -> 3 plan -> 4 fetch inputs -> 5 generate and chain
    -> 6 finish -> 7 encode -> 8 store -> 9 answer

Frames flow through steps 5 to 7 a few at a time, so memory does not grow with a take's length.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from onetake.delivery.answered_jobs import AnsweredJobs
from onetake.delivery.checkpoints import Checkpoints
from onetake.delivery.publish import NO_LINKS, PartSender, TakeFiles, store_take
from onetake.jobs.response import Result, Safety
from onetake.models import device
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import DeviceError, JobError, StageError, StoppedError
from onetake.runtime.gpu_meter import card_meter
from onetake.runtime.host_memory import reset_host_peak
from onetake.runtime.profiles import PROFILES
from onetake.runtime.stopwatch import Stopwatch
from onetake.takes.audit_record import facts_of, note_part, write_down
from onetake.takes.chain import Chain, ChainInputs
from onetake.takes.context import TakeContext
from onetake.takes.describe import Rendered, describe
from onetake.takes.encoding import encode_take
from onetake.takes.inputs import chain_inputs, fetch_inputs, pictures_of, source_of
from onetake.takes.planning import plan_job
from onetake.takes.steps import request_model, through_steps
from onetake.takes.worker import Worker
from onetake.trust.provenance.apply import Marking, draw_short_id, picture_ingredient
from onetake.trust.safety.check import BLOCKED, Safeguard

log = logging.getLogger("onetake")


def make_take(
    worker: Worker, answered: AnsweredJobs, name: str, request: object, control: Control
) -> Result:
    """One job, from its request to its result.

    Args:
        worker: the model and the settings.
        answered: takes the files, and keeps them if the store does not.
        name: of the stored files.
        request: the job's ``input``, as JSON gave it.
        control: is told each step, and may stop the job.

    Raises:
        OnetakeError: whose text a client may see.
    """
    clock = Stopwatch()
    reset_host_peak()
    with _blocks_written_down(worker, name, request):
        # 1. Parse
        job = request_model().parse(request)
        checkpoints = Checkpoints(worker.settings.kept / "segments", name, request)
        # 2. Resolve the model and the profile
        spec, model_note, plan_for = plan_job(job, worker.settings, seed=checkpoints.seed)
        # 3. Plan, and check the prompts
        plan = plan_for(None)
        with clock.stage("check"):
            safeguard = Safeguard(worker.policy, job)
        with worker.workdir.job() as folder, _unwanted_forgotten(checkpoints, control):
            # 4. Fetch the inputs, plan again with what they are, and check the pictures
            inputs, given = {}, ChainInputs()
            if any(job.inputs()):
                with clock.stage("fetch"):
                    inputs = fetch_inputs(job, worker.settings, folder)
                    plan = plan_for(source_of(inputs))
                    given = chain_inputs(inputs, plan)
                with clock.stage("check"):
                    for field, frame in pictures_of(given, extends=plan.extends):
                        safeguard.look_at(field, frame)
            control.check()
            log.info("%d segments of %s", len(plan.segments), spec.name)
            with clock.stage("load"):
                model = worker.model(spec, PROFILES[plan.profile])
                model.reset_peak()
            if len(plan.segments) > 1:
                checkpoints.begin(plan.seed)
            short_id = draw_short_id(worker.policy)
            noted = partial(note_part, worker, name, request, short_id)
            new_marking = partial(
                Marking, worker.policy, worker.signature, plan, model.revision, short_id
            )
            with card_meter(device.card_name()) as card_use:
                context = TakeContext(
                    worker=worker,
                    answered=answered,
                    name=name,
                    request=request,
                    job=job,
                    plan=plan,
                    model=model,
                    inputs=inputs,
                    files=TakeFiles(folder, name, job.output.container),
                    checkpoints=checkpoints,
                    clock=clock,
                    control=control,
                    safeguard=safeguard,
                    parts=PartSender(answered.store, control, safeguard.clean, noted),
                    card_use=card_use,
                    notes=[model_note] if model_note else [],
                    marking=new_marking(),
                )
                # 5 to 7. Generate, finish, encode
                rendered = _rendered(context, given, new_marking)
                # 8. Store, or keep back
                links = _stored(context, rendered)
                # 9. Answer
                return _answered(context, rendered, links)


def _rendered(
    context: TakeContext, given: ChainInputs, new_marking: Callable[[], Marking]
) -> Rendered:
    """The take in its file. If the card's memory runs out, it is made once more in less of it.

    If there is no way to use less, the segments that are kept are rendered, if there are any.

    Raises:
        OnetakeError: it cannot be made.
    """
    model = context.model
    try:
        return _render(context, given, last_try=False)
    except DeviceError as error:
        if error.code != "out_of_memory":
            raise
        short = error.with_traceback(None)
        short.__cause__ = short.__context__ = None
    # Here nothing holds the failed try's tensors any more: its traceback is gone.
    device.free()
    before = model.placement
    if model.lean():
        note = f"the card's memory ran out ({before}), so it was made with {model.placement}"
        context.notes.append(note)
        log.warning("out of memory (%s); once more with %s", before, model.placement)
        device.free()
    elif not context.checkpoints.count:
        raise short
    context.marking = new_marking()
    return _render(context, given, last_try=True)


def _render(context: TakeContext, given: ChainInputs, *, last_try: bool) -> Rendered:
    """Steps 5 to 7. With another try to come, memory that runs out is an error.

    Raises:
        OnetakeError: the take cannot be made.
    """
    plan, clock = context.plan, context.clock
    with ExitStack() as context.closing:
        # 5. Generate, each segment continuing the last
        chain = Chain(
            context.model, plan, clock, context.control, given, context.checkpoints,
            last_try=last_try,
        )  # fmt: skip
        # 6. Finish: scale, extend, measure, look at, mark
        frames, _sound = through_steps(context, clock.through("finish", chain.frames()))
        # 7. Encode, and sign
        with clock.stage("encode"):
            output, metadata = context.job.output, context.marking.metadata
            written, count = encode_take(frames, plan, output, context.files, metadata)
    if chain.failure is None and count != plan.num_frames:
        problem = "the written video is not as planned; send the job again"
        raise StageError("encode", problem, detail=f"{count} frames of {plan.num_frames}")
    with clock.stage("check"):
        safety = _verdict(context)
    with clock.stage("mark"):
        pictures = pictures_of(given, extends=plan.extends)
        ingredients = [picture_ingredient(*picture) for picture in pictures]
        context.marking.finish(context.files.video, context.files.sidecar, ingredients)
    return Rendered(chain, replace(plan, num_frames=count), written, safety)


def _verdict(context: TakeContext) -> Safety:
    """The verdict on the take. Parts of a take that may not leave are deleted again.

    Raises:
        JobError: it is blocked.
    """
    try:
        safety = context.safeguard.verdict()
    except JobError:
        context.parts.withdraw()
        raise
    if safety.verdict == "flagged":
        context.parts.withdraw()
    return safety


def _stored(context: TakeContext, rendered: Rendered) -> dict[str, Any]:
    """The links of the take. A flagged one goes into quarantine and has none.

    Raises:
        StageError: the store takes nothing; a whole take is kept for later.
    """
    answered, files, worker = context.answered, context.files, context.worker
    try:
        with context.clock.stage("store"):
            if rendered.safety.verdict == "flagged":
                result = describe(context, rendered, NO_LINKS)
                answered.hold(files, context.request, result, noted=worker.settings.production)
                return NO_LINKS
            return store_take(answered.store, context.job.output, files, context.control)
    except StageError as error:
        if rendered.chain.failure:  # its segments are kept, from which more can be made
            raise
        result = describe(context, rendered, NO_LINKS)
        facts = facts_of(result, files.video)
        write_down(worker, context.name, context.request, "kept", **facts)
        answered.keep(files, context.request, result, error)


def _answered(context: TakeContext, rendered: Rendered, links: dict[str, Any]) -> Result:
    """The answer; it is counted, and written down if the policy has a log."""
    worker, result = context.worker, describe(context, rendered, links)
    if not rendered.chain.failure:
        context.checkpoints.clear()
    outcome = "cut_short" if result.error else result.safety.verdict or "done"
    facts = facts_of(result, context.files.video)
    if not write_down(worker, context.name, context.request, outcome, **facts):
        result.notes.append("the audit log could not be written")
    worker.count(result)
    return result


@contextmanager
def _blocks_written_down(worker: Worker, name: str, request: object) -> Iterator[None]:
    """A job that the policy blocks gets a record of its own."""
    try:
        yield
    except JobError as error:
        if error.code in BLOCKED:
            write_down(worker, name, request, error.code)
        raise


@contextmanager
def _unwanted_forgotten(checkpoints: Checkpoints, control: Control) -> Iterator[None]:
    """Kept segments are deleted if nobody wants the take any more, or nobody may have it."""
    try:
        yield
    except StoppedError:
        if control.stopped and not control.handed_back:
            checkpoints.clear()
        raise
    except JobError as error:
        if error.code in BLOCKED:
            checkpoints.clear()
        raise
