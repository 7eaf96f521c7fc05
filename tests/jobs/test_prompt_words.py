"""Prompt optimisation: what is missing is added, what is there is kept."""

import pytest

from onetake.jobs.prompt_words import CAMERA, LIGHT, PICTURED, STYLE, SUBJECT, optimise


def test_a_bare_prompt_gets_camera_light_and_style() -> None:
    """The three missing parts follow the user's words."""
    assert optimise("a red bottle.", has_image=False) == f"a red bottle, {CAMERA}, {LIGHT}, {STYLE}"


@pytest.mark.parametrize(
    "prompt",
    [
        "a red bottle, camera orbits, golden hour light, cinematic",
        "Handheld close-up of a watch under neon, documentary",
        "一个红色瓶子，镜头推近，柔光，电影感",  # noqa: RUF001 - as Chinese is written
    ],
)
def test_a_full_prompt_stays(prompt: str) -> None:
    """A prompt that says everything comes back unchanged, in Chinese too."""
    assert optimise(prompt, has_image=False) == prompt


@pytest.mark.parametrize(
    "prompt",
    ["a bottle from Japan", "a little panda", "a red truck", "a pullover", "lightweight sunglasses",
     "a delightful jar of sunscreen"],
)  # fmt: skip
def test_words_within_words_do_not_count(prompt: str) -> None:
    """A panda is no pan, and lightweight is no light."""
    assert optimise(prompt, has_image=False) == f"{prompt}, {CAMERA}, {LIGHT}, {STYLE}"


@pytest.mark.parametrize("prompt", ["Ring on velvet", "King on a throne", "a zooming car"])
def test_a_subject_is_not_taken_for_a_movement(prompt: str) -> None:
    """Nouns in -ing are subjects."""
    assert optimise(prompt, has_image=True).startswith(prompt)


@pytest.mark.parametrize("prompt", ["", "zooming in slowly", "the camera tilts up"])
def test_an_image_is_the_subject_of_a_movement(prompt: str) -> None:
    """A prompt without a subject is about the picture, or about a product without one."""
    assert optimise(prompt, has_image=True).startswith(PICTURED)
    assert optimise(prompt, has_image=False).startswith(SUBJECT)


def test_optimising_twice_changes_nothing() -> None:
    """An optimised prompt says everything."""
    once = optimise("a red bottle", has_image=False)
    assert optimise(once, has_image=False) == once
