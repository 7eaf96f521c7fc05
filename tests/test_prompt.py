"""Prompt optimisation: what is missing is added, what is there is kept."""

import pytest

from onetake.prompt import CAMERA, LIGHT, STYLE, SUBJECT, optimise


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


def test_words_within_words_do_not_count() -> None:
    """Japan is no pan, and a pushchair's light is no lighting of the scene."""
    assert CAMERA in optimise("a bottle from Japan", has_image=False)
    assert LIGHT in optimise("a delightful bottle", has_image=False)


@pytest.mark.parametrize("prompt", ["", "zooming in slowly", "the camera tilts up"])
def test_an_image_is_the_subject_of_a_movement(prompt: str) -> None:
    """With an image, a prompt without a subject is about the picture."""
    assert optimise(prompt, has_image=True).startswith(SUBJECT)


def test_optimising_twice_changes_nothing() -> None:
    """An optimised prompt says everything."""
    once = optimise("a red bottle", has_image=False)
    assert optimise(once, has_image=False) == once
