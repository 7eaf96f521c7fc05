"""What a job takes of the card, and what is refused for it."""

import json
from pathlib import Path
from typing import Any

import pytest

from onetake.jobs.planner import Terms, plan_take
from onetake.jobs.request import Job
from onetake.models.acceleration import Effect, effect_of
from onetake.models.catalogue import MODELS
from onetake.models.placement import RESIDENT, STREAMED, TEXT_STREAMED, fitting, peaks
from onetake.runtime.errors import JobError
from onetake.runtime.profiles import PROFILES

RESULTS = Path(__file__).parents[2] / "bench" / "results"
SPEC = MODELS["wan2.2-ti2v-5b"]


def placed(profile: str, card_gib: float) -> str:
    """Where the default job's model is on a card of this size."""
    terms = Terms(120, 0.0, "NVIDIA GeForce RTX 4090", card_gib)
    job = Job.parse({"prompt": "a red ball"})
    plan = plan_take(job, SPEC, PROFILES[profile], terms, prompts=["a red ball"], seed=1)
    assert plan.estimate.peak_gib is not None
    assert plan.estimate.peak_gib < card_gib
    return plan.estimate.placement


@pytest.mark.parametrize(
    ("profile", "card_gib", "placement"),
    [
        ("exact", 80, RESIDENT), ("exact", 24, TEXT_STREAMED), ("exact", 16, STREAMED),
        ("balanced", 24, RESIDENT), ("lean", 80, STREAMED),
    ],
)  # fmt: skip
def test_a_card_holds_what_fits(profile: str, card_gib: float, placement: str) -> None:
    """The fastest placement is taken that the card has room for."""
    assert placed(profile, card_gib) == placement


def test_what_cannot_fit_is_refused() -> None:
    """Before the job, with what it needs and the profile that would fit."""
    with pytest.raises(
        JobError, match=r"GiB for 121 frames .* has 8\.0; profile lean needs"
    ) as refusal:
        placed("exact", 8)
    assert refusal.value.code == "too_large"
    with pytest.raises(JobError, match="ask for a smaller model"):
        placed("lean", 3)


def test_memory_grows_with_the_picture_and_the_length() -> None:
    """Shorter and smaller segments take less; beyond the decoder's share, length does not count."""
    whole = peaks(SPEC, Effect(), (1280, 704), 121)[STREAMED]
    assert peaks(SPEC, Effect(), (832, 480), 121)[STREAMED] < whole
    assert peaks(SPEC, Effect(streamed=True), (1280, 704), 33)[STREAMED] < whole
    assert fitting({RESIDENT: 20.0, STREAMED: 5.0}, 16) == (STREAMED, 5.0)


def measured(name: str) -> list[dict[str, Any]]:
    """The rows of a file of bench/results."""
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    return rows


def test_the_prediction_agrees_with_what_cards_measured() -> None:
    """Within 10% for every model, profile, size and length that was measured on a card."""
    points = [
        (SPEC.name, row["profile"], row["placement"], tuple(row["size"]), row["frames"],
         max(row["job_gib"], row["decode_gib"]))
        for row in measured("memory")
    ]  # fmt: skip
    for row in measured("models"):
        if row["way"] == "stock":
            continue
        spec = MODELS[row["model"]]
        job = (spec.segment.sizes[0], spec.segment.max_frames, row["job"]["peak_gib"])
        placement = row["placement"].removesuffix(", tiled decode")
        points.append((spec.name, row["way"], placement, *job))
    for row in measured("profiles"):
        if row["profile"] in {"exact", "balanced"}:
            job = (SPEC.segment.sizes[0], SPEC.segment.max_frames, row["peak_gib"])
            points.append((SPEC.name, row["profile"], row["placement"], *job))
    assert len(points) >= 30
    for model, profile, placement, size, frames, peak in points:
        effect = effect_of(MODELS[model], PROFILES[profile].techniques)
        predicted = peaks(MODELS[model], effect, size, frames)[placement]
        assert predicted == pytest.approx(peak, rel=0.1), (model, profile, size, frames)
