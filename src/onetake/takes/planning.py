"""From a job to its model and its plan."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from onetake.jobs.estimate import CARDS, DEFAULT_CARD
from onetake.jobs.plan import Plan
from onetake.jobs.planner import Terms, plan_take
from onetake.jobs.prompt_words import optimise
from onetake.jobs.request import Job
from onetake.media.probe import VideoFacts
from onetake.models import choice, device
from onetake.models.spec import ModelSpec
from onetake.runtime.profiles import profile_named
from onetake.runtime.settings import Settings

# Of the facts of the input: an image's size, or what a clip holds; None while they are not known.
PlanFor = Callable[[tuple[int, int] | VideoFacts | None], Plan]


class Planning(NamedTuple):
    """The model of a job, a note on it, and the plan as a function of the inputs' facts."""

    spec: ModelSpec
    note: str
    plan_for: PlanFor


def plan_job(
    job: Job, settings: Settings, *, planning: bool = False, seed: int | None = None
) -> Planning:
    """Resolve the model and the profile of ``job``, and get ready to plan it.

    A job is planned twice if it has inputs: before they are fetched, so that a wrong job costs no
    download, and after, since their facts may decide the size and the rate.

    Args:
        job: the request.
        settings: the worker's.
        planning: the model's weights need not be here.
        seed: of an earlier try; else a job that names none gets a random one.

    Raises:
        JobError: the job cannot be made; the plan's own errors come from ``plan_for``.
    """
    profile = profile_named(job.profile or settings.profile)
    spec, note = choice.resolve(job.model, settings, need_weights=not planning)
    if profile.distilled:
        spec = choice.few_step_form(spec, settings, need_weights=not planning)
    if seed is None:
        seed = secrets.randbelow(2**32) if job.seed < 0 else job.seed
    plan = partial(
        plan_take,
        job,
        spec,
        profile,
        Terms(settings.max_duration, settings.price_per_second, *_card_for(spec)),
        prompts=_prompts(job),
        seed=seed,
    )
    return Planning(spec, note, lambda source: plan(source=source))


def _prompts(job: Job) -> list[str]:
    """The prompt of each part, the common one in front."""
    common = job.prompt.strip()
    prompts = [common]
    if job.segments:
        prompts = [", ".join(filter(None, (common, p.prompt.strip()))) for p in job.segments]
    if job.enable_prompt_optimization:
        prompts = [optimise(prompt, has_image=job.image is not None) for prompt in prompts]
    return prompts


def _card_for(spec: ModelSpec) -> tuple[str | None, float]:
    """The card that estimates are for, and its GiB: a full-size model is not meant for a CPU."""
    if (card := device.card_name()) or not spec.repo_id:
        return card, device.card_gib()
    return DEFAULT_CARD, CARDS[DEFAULT_CARD].gib
