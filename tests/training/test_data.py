"""What the embedded model's transformer is shown: clips that rest, contexts that have drifted."""

import random

import torch

from training.clips import STATE, make_clips, random_scenes, with_movement
from training.data import TINT, tinted
from training.train_transformer import drift_left

X, SCALE = STATE.index("x"), STATE.index("scale")


def test_drift_returns_slowly() -> None:
    """Given latents keep all of it, the last one none, and what has no context never had any."""
    clean = torch.zeros(3, 9, dtype=torch.bool)
    clean[1, :3] = True
    clean[2, 0] = clean[2, -1] = True  # a first and a last image
    left = drift_left(clean)
    assert torch.equal(left[0], torch.zeros(9))
    assert torch.equal(left[1, :3], torch.ones(3))
    assert torch.allclose(left[1, 2:], torch.linspace(1, 0, 7))
    assert torch.allclose(left[2], torch.linspace(1, 0, 9))


def test_colours_drift_alike_in_all_frames() -> None:
    """A grey clip is tinted by at most `TINT`, each frame by the same, each clip otherwise."""
    torch.manual_seed(0)
    grey = torch.full((2, 3, 4, 32, 48), 128, dtype=torch.uint8)
    shift = tinted(grey).float() - 128
    assert 0 < shift.abs().max() <= 255 * TINT + 0.5
    assert torch.equal(shift, shift[:, :, :1].expand_as(shift))
    assert not torch.equal(shift[0], shift[1])


def test_late_clips_rest_anywhere_near_the_edge() -> None:
    """Those of one scale end up at many places, whole in the frame; fresh ones at the same one."""
    (scene,) = random_scenes(1, random.Random(1))  # noqa: S311 - clips, not secrets
    scenes = [with_movement(scene, "right")] * 300
    ends = {}
    for share in (0.0, 1.0):
        rng = random.Random(2)  # noqa: S311 - as above
        clips = make_clips(scenes, 120, 128, 128, rng, late_share=share)
        reach = clips.state[:, -1, X] / (0.5 - 0.85 * clips.state[:, -1, SCALE])
        ends[share] = reach[clips.state[:, 0, X] < 0.6 * clips.state[:, -1, X]]
    assert ends[0.0].min() > 0.99
    assert ends[1.0].min() > 0.7
    assert 0.8 < ends[1.0].median() < 0.95
    assert ends[1.0].max() <= 1
