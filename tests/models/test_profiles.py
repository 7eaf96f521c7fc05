"""What each profile keeps of the picture, and what it refuses; figures are bench/quality.py's."""

from dataclasses import replace
from statistics import mean

import pytest
import torch

from bench import quality
from onetake.jobs.request import Job
from onetake.models import catalogue
from onetake.models.families.wan.few_steps import FewStepScheduler
from onetake.runtime import profiles
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings
from onetake.takes.planning import plan_job
from onetake.takes.story import make_take
from onetake.takes.worker import Worker

CLIPS = 8


@pytest.fixture(scope="module")
def requests_and_truth() -> tuple[list[quality.DenoiseRequest], list[tuple[int, ...]]]:
    """Short clips of combinations that training left out, and what should be seen in them."""
    requests, truth = quality.requests(CLIPS, 12)
    return [replace(request, num_frames=17) for request in requests], truth


@pytest.fixture(scope="module")
def exact(
    requests_and_truth: tuple[list[quality.DenoiseRequest], object],
) -> list[quality.FrameBatch]:
    """What the exact profile makes of them."""
    make, _spec = quality.ours("exact")
    return [make(request) for request in requests_and_truth[0]]


def test_exact_is_stock_diffusers(
    requests_and_truth: tuple[list[quality.DenoiseRequest], object], exact: list[quality.FrameBatch]
) -> None:
    """Its frames are the stock's, whose VAE is in float32, to 45 dB."""
    make = quality.stock()
    assert min(quality.psnr(exact[i], make(requests_and_truth[0][i])) for i in range(3)) > 45


@pytest.mark.parametrize("name", ["balanced", quality.E4M3])
def test_balanced_keeps_the_picture(
    name: str,
    requests_and_truth: tuple[list[quality.DenoiseRequest], list[tuple[int, ...]]],
    exact: list[quality.FrameBatch],
) -> None:
    """To 25 dB of exact in either kind of 8 bits, and the prompt is followed as well."""
    make, _spec = quality.ours(name)
    clips = [make(request) for request in requests_and_truth[0]]
    decibels = [quality.psnr(*pair) for pair in zip(clips, exact, strict=True)]
    assert min(decibels) > 25
    # One attribute of one clip is 3 points.
    assert (
        quality.accuracy(clips, requests_and_truth[1])
        >= quality.accuracy(exact, requests_and_truth[1]) - 0.04
    )


def test_balanced_keeps_it_in_fifty_steps(
    requests_and_truth: tuple[list[quality.DenoiseRequest], object],
) -> None:
    """Where most forwards are left out, frames are those of all forwards to 25 dB."""
    requests = [replace(request, num_inference_steps=50) for request in requests_and_truth[0][:2]]
    (full, _), (some, _) = quality.ours("exact"), quality.ours("balanced")
    assert mean(quality.psnr(some(r), full(r)) for r in requests) > 25


def test_turbo_follows_the_prompt(
    requests_and_truth: tuple[list[quality.DenoiseRequest], list[tuple[int, ...]]],
) -> None:
    """Its four steps show what the prompts say, nearly always."""
    make, spec = quality.ours("turbo")
    few = {"num_inference_steps": spec.sampling.num_inference_steps, "guidance_scale": 1.0}
    clips = [make(replace(request, **few)) for request in requests_and_truth[0]]
    assert quality.accuracy(clips, requests_and_truth[1]) >= 0.85


def test_a_job_chooses_its_profile(worker: Worker) -> None:
    """The answer names the weights that ran, their steps, and what each technique chose."""
    job = {"prompt": "a red ball", "size": "64*64", "num_frames": 17, "profile": "turbo"}
    result = make_take(worker, worker.answered_jobs(), "turbo", job, Control())
    assert (result.model, result.profile) == ("tiny-turbo", "turbo")
    assert result.plan["num_inference_steps"] == 4
    assert set(result.tuning) == set(profiles.PROFILES["turbo"].techniques)
    again = make_take(
        worker, worker.answered_jobs(), "exact", {**job, "profile": "exact"}, Control()
    )
    assert (again.model, again.plan["num_inference_steps"]) == ("tiny", 12)


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"num_inference_steps": 30}, "tiny-turbo was distilled to 4; leave it out"),
        ({"guidance_scale": 5}, "tiny-turbo was distilled to 1; leave it out"),
        ({"flow_shift": 5}, "tiny-turbo was distilled to 3; leave it out"),
        ({"negative_prompt": "red"}, "tiny-turbo runs without guidance; leave it out"),
        ({"model": "wan2.1-t2v-1.3b"}, "wan2.1-t2v-1.3b has none; only wan2.2-ti2v-5b, tiny"),
    ],
)
def test_turbo_refuses_what_it_cannot_honour(extra: dict[str, object], sentence: str) -> None:
    """Steps, guidance and shift are those of the distillation, and models without one say so."""
    job = Job.parse({"prompt": "a red ball", "profile": "turbo", **extra})
    with pytest.raises(JobError, match=sentence):
        plan_job(job, Settings(model="tiny"), planning=True)[2](None)


def test_the_operator_chooses_the_default(settings: Settings) -> None:
    """A worker boots for its own profile, which is a job's if that names none."""
    chosen = settings.model_copy(update={"profile": "turbo"})
    spec, profile = Worker(chosen).default()
    assert (spec.name, profile.name) == ("tiny-turbo", "turbo")
    plan = plan_job(Job.parse({"prompt": "a red ball"}), chosen)[2](None)
    assert (plan.model, plan.profile) == ("tiny-turbo", "turbo")


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_the_settings_know_every_profile(name: str) -> None:
    """What the environment may name is what there is."""
    assert Settings(profile=name).profile == name


def test_few_steps_draw_fresh_noise_from_the_seed() -> None:
    """Each level is the clean clip brought to the next one's noise, the same for the same seed."""
    levels, clean = (
        catalogue.MODELS["wan2.2-ti2v-5b-turbo"].sampling.sigmas,
        torch.full((1, 4, 2, 2), 0.5),
    )

    def sample(seed: int) -> list[torch.Tensor]:
        scheduler = FewStepScheduler(levels, torch.Generator().manual_seed(seed))
        scheduler.set_timesteps(3)
        x, path = torch.ones_like(clean), []
        for timestep, level in zip(scheduler.timesteps, levels, strict=True):
            x = scheduler.step((x - clean) / level, timestep, x, return_dict=False)[0]
            path.append(x)
        return path

    path, expected = sample(1), torch.Generator().manual_seed(1)
    for x, level in zip(path, (*levels[1:], 0.0), strict=True):
        noise = torch.randn(clean.shape, generator=expected)
        assert torch.allclose(x, (1 - level) * clean + level * noise, atol=1e-6)
    assert torch.equal(path[1], sample(1)[1])
    assert not torch.equal(path[1], sample(2)[1])
