"""From a take in its file to the answer."""

from dataclasses import dataclass
from typing import Any

from onetake.delivery.publish import MAX_BASE64_BYTES
from onetake.jobs.plan import Plan
from onetake.jobs.response import Result, Safety, Seam
from onetake.models import device
from onetake.runtime.host_memory import host_peak_gib
from onetake.takes.chain import Chain
from onetake.takes.context import TakeContext
from onetake.takes.steps.measure import add_figures


@dataclass(frozen=True)
class Rendered:
    """A take in its file."""

    chain: Chain
    plan: Plan  # with the number of frames that were written
    written: dict[str, str]  # the answer's `output`
    safety: Safety


def describe(context: TakeContext, rendered: Rendered, links: dict[str, Any]) -> Result:
    """The answer to a take. ``links`` are the answer's fields of that name, None where it waits."""
    plan, tries, clock = rendered.plan, rendered.chain.tries, context.clock
    price = context.worker.settings.price_per_second
    seams = [
        Seam(
            at_frame=frame,
            at_seconds=round(float(frame / plan.fps), 3),
            overlap_frames=segment.overlap_frames if segment.index else plan.context_frames,
            tries=tries[segment.index].count if segment.index in tries else 1,
        )
        for frame, segment in plan.seams()
    ]
    if context.meter:
        add_figures(seams, context.meter)
    return Result(
        **links,
        cost=round(clock.total * price, 6),
        seed=plan.seed,
        prompt=plan.prompt,
        width=plan.size[0],
        height=plan.size[1],
        num_frames=plan.num_frames,
        fps=round(float(plan.fps), 3),
        duration=round(plan.duration, 3),
        model=plan.model,
        revision=context.model.revision,
        profile=plan.profile,
        tuning=context.worker.tuning,
        plan=plan.summary(),
        seams=seams,
        output=rendered.written,
        safety=rendered.safety,
        marks=context.marking.summary(beside="video_base64" not in links),
        timings=clock.timings(),
        memory={
            "host_peak_gib": _rounded(host_peak_gib()),
            "card_peak_gib": _rounded(context.model.peak_gib()),
            "card_steady_gib": _rounded(device.card_steady_gib()),
        },
        card=context.card_use(),
        notes=[
            *context.notes,
            *context.marking.notes,
            *_notes_on_tries(rendered.chain, price),
            *_notes_on_request(context, links),
        ],
        error=_cut_short(context, rendered),
    )


def _cut_short(context: TakeContext, rendered: Rendered) -> str | None:
    """Why a take ends before its last segment, and how to go on from there."""
    failure, chain = rendered.chain.failure, rendered.chain
    if failure is None:
        return None
    return (
        f"{failure.code}: segment {chain.finished + 1} of {len(rendered.plan.segments)} failed "
        f"({failure.sentence}); what was made before is in video_url, and the same fields with "
        f"resume {context.checkpoints.name} go on from there"
    )


def _notes_on_tries(chain: Chain, price: float) -> list[str]:
    """A note for each segment that was made more than once."""
    notes = []
    for index, tries in chain.tries.items():
        if tries.count > 1:
            verdict = ", ".join(tries.verdict.faults) or "it is without a fault"
            more = f"{tries.seconds:.1f} s and ${tries.seconds * price:.4f} more"
            notes.append(f"segment {index + 1} was made {tries.count} times, {more}: {verdict}")
    return notes


def _notes_on_request(context: TakeContext, links: dict[str, Any]) -> list[str]:
    """Where the take differs from the request."""
    plan, model = context.plan, context.model
    notes = list(plan.notes)
    texts = dict.fromkeys(("prompt", segment.prompt) for segment in plan.segments)
    for field, text in (*texts, ("negative_prompt", plan.negative_prompt)):
        tokens, limit = model.count_tokens(text), model.spec.sampling.max_sequence_length
        if tokens > limit:
            notes.append(f"{field} has {tokens} tokens, of which {plan.model} reads {limit}")
    if context.job.output.delivery == "base64" and links["video_url"]:
        notes.append(f"over {MAX_BASE64_BYTES >> 20} MiB, the most that base64 carries: stored")
    if links["video_url"] and not links["poster_url"]:
        notes.append("the poster could not be stored")
    return notes


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
