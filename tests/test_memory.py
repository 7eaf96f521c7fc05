"""What a job takes of the card, and what is refused for it."""

import pytest

from onetake.errors import JobError
from onetake.job import Job
from onetake.memory import RESIDENT, STREAMED, TEXT_STREAMED, fitting, peaks
from onetake.models import MODELS
from onetake.plan import Terms, plan_take
from onetake.tuning import PROFILES

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
    ) as told:
        placed("exact", 8)
    assert told.value.code == "too_large"
    with pytest.raises(JobError, match="ask for a smaller model"):
        placed("lean", 3)


def test_memory_grows_with_the_picture_and_the_length() -> None:
    """Shorter and smaller segments take less; beyond the decoder's share, length does not count."""
    whole = peaks(SPEC, PROFILES["exact"], (1280, 704), 121)[STREAMED]
    assert peaks(SPEC, PROFILES["exact"], (832, 480), 121)[STREAMED] < whole
    assert peaks(SPEC, PROFILES["lean"], (1280, 704), 33)[STREAMED] < whole
    assert fitting({RESIDENT: 20.0, STREAMED: 5.0}, 16) == (STREAMED, 5.0)
