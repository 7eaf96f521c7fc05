"""The embedded model's training in parts: short ones, each done once, on the same GPUs."""

from pathlib import Path

import pytest
import torch

from training import run


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules that would have run, in order; none does."""
    modules: list[str] = []

    def launch(module: str, *_arguments: str, processes: int = 1) -> int:
        assert processes >= 1
        modules.append(module)
        return 0

    monkeypatch.setattr(run, "launch", launch)
    return modules


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_parts_are_short(gpus: int) -> None:
    """None is asked for more than eight minutes, nor less than its set-up leaves steps in."""
    seconds = [float(part.options[1]) for part in run.parts(gpus) if part.module != "judge"]
    assert max(seconds) <= run.LONGEST_PART
    assert min(seconds) >= run.FIRST_SET_UP
    assert sum(seconds) * min(gpus, 2) < 3600


def test_parts_are_done_one_at_a_time(tmp_path: Path, launched: list[str]) -> None:
    """Each call does what is next, and the last one goes on to the assets and the table."""
    for _ in run.parts(1):
        assert run.main(tmp_path, 1) == 0
    trained = [part.module for part in run.parts(1)]
    assert launched == [*trained, "export", "evaluate"]


def test_a_failed_part_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code is told, and nothing of it is noted."""
    monkeypatch.setattr(run, "launch", lambda *_given, **_named: 3)
    assert run.main(tmp_path, 1) == 3
    assert not (tmp_path / "parts.json").exists()


def test_a_training_keeps_its_gpus(
    tmp_path: Path, launched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun on one GPU is not gone on with on two; what was finished on one counts."""
    for _ in range(2):
        run.main(tmp_path, 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert run.main(tmp_path, 1) == 0
    assert launched == ["train_vae", "judge", "train_transformer"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert run.main(tmp_path, 1) == 1
    assert len(launched) == 3
