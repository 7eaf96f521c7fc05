"""Denoised segments that outlive their job."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from onetake.delivery.checkpoints import Checkpoints
from onetake.models.families.wan.model import WanModel
from onetake.runtime.errors import JobError

REQUEST = {"prompt": "a red bottle", "duration": 5}


@pytest.fixture
def latents() -> torch.Tensor:
    """As a model makes them."""
    return torch.randn(1, 48, 3, 4, 6)


def saved(root: Path, request: Any = REQUEST, name: str = "job") -> Checkpoints:
    """What a job finds."""
    return Checkpoints(root, name, request)


def test_they_come_back_to_the_bit(tmp_path: Path, tiny: WanModel, latents: torch.Tensor) -> None:
    """A job of the same name and fields finds its seed and its segments."""
    first = saved(tmp_path)
    assert (first.seed, first.load(0, tiny)) == (None, None)
    first.begin(7)
    first.save(0, tiny, latents)
    again = saved(tmp_path)
    assert again.seed == 7
    torch.testing.assert_close(again.load(0, tiny), latents, rtol=0, atol=0)
    assert again.load(1, tiny) is None
    assert (first.count, again.count) == (1, 1)


def test_another_name_may_resume_them(
    tmp_path: Path, tiny: WanModel, latents: torch.Tensor
) -> None:
    """With the same fields, and the id of the job that failed."""
    first = saved(tmp_path)
    first.begin(7)
    first.save(0, tiny, latents)
    other = saved(tmp_path, {**REQUEST, "resume": "job"}, "other")
    assert (other.seed, other.load(0, tiny) is not None) == (7, True)
    other.clear()
    with pytest.raises(JobError, match="nothing is kept"):
        saved(tmp_path, {**REQUEST, "resume": "job"}, "other")


def test_another_request_of_that_name_starts_anew(tmp_path: Path, tiny: WanModel) -> None:
    """Its fields decide, and what the other one left is deleted."""
    first = saved(tmp_path)
    first.begin(7)
    first.save(0, tiny, torch.zeros(1))
    other = saved(tmp_path, {**REQUEST, "duration": 6})
    assert (other.seed, other.load(0, tiny)) == (None, None)
    assert not (tmp_path / "job").exists()


def test_words_are_not_kept(tmp_path: Path) -> None:
    """The mark of a request tells nothing of it."""
    saved(tmp_path).begin(7)
    (about,) = (tmp_path / "job").iterdir()
    assert "bottle" not in about.read_text()


def test_a_damaged_file_is_made_again(tmp_path: Path, tiny: WanModel) -> None:
    """Half a file, or none that is safetensors, is as if there were none."""
    first = saved(tmp_path)
    first.begin(7)
    first.save(0, tiny, torch.zeros(64))
    (file,) = (tmp_path / "job").glob("*.latents")
    file.write_bytes(file.read_bytes()[:40])
    assert first.load(0, tiny) is None


def test_old_ones_go_when_a_job_ends(tmp_path: Path) -> None:
    """What nobody came back for within a week is deleted."""
    for name in ("old", "young"):
        saved(tmp_path, name=name).begin(1)
    long_ago = time.time() - 8 * 24 * 3600
    os.utime(tmp_path / "old" / "about.json", (long_ago, long_ago))
    saved(tmp_path).clear()
    assert [folder.name for folder in tmp_path.iterdir()] == ["young"]


def test_a_full_disk_fails_no_job(tmp_path: Path, tiny: WanModel) -> None:
    """Where nothing can be written the job goes on without."""
    (tmp_path / "file").write_text("")
    first = saved(tmp_path / "file")
    first.begin(7)
    first.save(0, tiny, torch.zeros(1))
    assert (first.seed, first.count) == (7, 0)
