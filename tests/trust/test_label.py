"""The visible mark: words or a logo."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onetake.trust.policy import Marks, Policy
from onetake.trust.provenance.label import Label


@pytest.mark.parametrize("size", [(128, 96), (96, 128), (640, 360)])
def test_words_stand_in_the_corner(size: tuple[int, int]) -> None:
    """The words are visible on any ground, and the rest of the frame does not change."""
    width, height = size
    for ground in (0, 128, 255):
        frames = np.full((2, height, width, 3), ground, np.uint8)
        marked = Label(size, words="AI generated").over(frames)
        assert marked.shape == frames.shape
        assert (frames == ground).all()  # the input is not changed
        changed = (marked != ground).any(axis=(0, 3))
        assert changed[height // 2 :, width // 4 :].sum() > 30
        assert not changed[: height // 2].any()


def test_a_policy_takes_what_can_be_drawn() -> None:
    """A policy refuses the letters that its font draws as an empty box."""
    assert Policy(marks=Marks(label="AI generated, 100% (c) Ag-9!")).marks.label
    drawn = {Label((640, 360), words=letter)._alpha.tobytes() for letter in "生成é"}
    assert len(drawn) == 1  # an empty box
    for letter in "生成é":
        with pytest.raises(ValueError, match="its font lacks"):
            Marks(label=f"AI {letter}")


def test_a_logo_keeps_its_colours(tmp_path: Path) -> None:
    """A logo keeps its colours, its transparency and its place."""
    logo = np.zeros((40, 80, 4), np.uint8)
    logo[:, :40] = (200, 30, 30, 255)
    Image.fromarray(logo).save(tmp_path / "logo.png")
    frames = np.full((1, 360, 640, 3), 90, np.uint8)
    marked = Label((640, 360), logo=tmp_path / "logo.png").over(frames)[0]
    rows, columns = np.nonzero((marked != 90).any(axis=2))
    assert (rows.max() - rows.min(), columns.max() - columns.min()) == pytest.approx(
        (30, 30), abs=3
    )
    middle = marked[(rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2]
    assert np.abs(middle.astype(int) - (200, 30, 30)).max() < 8
