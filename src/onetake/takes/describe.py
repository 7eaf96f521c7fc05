"""From a take in its file to the answer."""

from dataclasses import dataclass
from typing import Any

from onetake.delivery.publish import MAX_BASE64_BYTES
from onetake.jobs.plan import Plan
from onetake.jobs.request import Job
from onetake.jobs.response import Result, Safety, Seam
from onetake.models import device
from onetake.models.spec import VideoModel
from onetake.runtime.host_memory import host_peak_gib
from onetake.runtime.stopwatch import Stopwatch
from onetake.seams.answer_figures import Idle, Meter, add_figures
from onetake.takes.chain import Chain
from onetake.takes.worker import Worker
from onetake.trust.provenance.apply import Marking


@dataclass(frozen=True)
class Rendered:
    """A take in its file."""

    chain: Chain
    plan: Plan  # with the frames that there are
    written: dict[str, str]
    meter: Meter | Idle
    safety: Safety
    marking: Marking


def cut_short(rendered: Rendered, name: str) -> str | None:
    """What to say of a take that ended before its last segment; it is resumed by ``name``."""
    failure, chain = rendered.chain.failure, rendered.chain
    if failure is None:
        return None
    return (
        f"{failure.code}: segment {chain.finished + 1} of {len(rendered.plan.segments)} failed "
        f"({failure.sentence}); what was made before is in video_url, and the same fields with "
        f"resume {name} go on from there"
    )


def describe(
    rendered: Rendered,
    model: VideoModel,
    clock: Stopwatch,
    notes: list[str],
    links: dict[str, Any],
    worker: Worker,
) -> Result:
    """The answer to a take whose links are known."""
    plan, tries = rendered.plan, rendered.chain.tries
    made = Result(
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
                tries=tries[segment.index].count if segment.index in tries else 1,
            )
            for frame, segment in plan.seams()
        ],
        output=rendered.written,
        safety=rendered.safety,
        marks=rendered.marking.summary(beside="video_base64" not in links),
        timings=clock.timings(),
        memory={
            "host_peak_gib": _rounded(host_peak_gib()),
            "card_peak_gib": _rounded(model.peak_gib()),
            "card_steady_gib": _rounded(device.card_steady_gib()),
        },
        notes=notes
        + rendered.marking.notes
        + _tries(rendered.chain, worker.settings.price_per_second),
    )
    add_figures(made.seams, rendered.meter)
    return made


def _tries(chain: Chain, price: float) -> list[str]:
    """A note for each segment that was made more than once."""
    notes = []
    for index, tries in chain.tries.items():
        if tries.count > 1:
            verdict = ", ".join(tries.verdict.faults) or "it is without a fault"
            more = f"{tries.seconds:.1f} s and ${tries.seconds * price:.4f} more"
            notes.append(f"segment {index + 1} was made {tries.count} times, {more}: {verdict}")
    return notes


def request_notes(plan: Plan, job: Job, model: VideoModel, links: dict[str, Any]) -> list[str]:
    """What the caller should know of what became of the request."""
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
    return notes


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
