"""Damaged weights are named at boot, not met in the middle of a job."""

import shutil
from pathlib import Path

import pytest

from onetake.models.weights.manifest import check_weights
from onetake.models.weights.places import embedded_weights
from onetake.runtime.errors import SettingsError

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the embedded model's files."""
    return Path(shutil.copytree(embedded_weights(), tmp_path / "tiny"))


def test_whole_weights_pass(weights: Path) -> None:
    """The embedded model is whole, and damage is what the others here find."""
    check_weights(weights)
    (weights / TRANSFORMER).unlink()
    with pytest.raises(SettingsError):
        check_weights(weights)


def test_a_cut_file_is_named_with_its_size(weights: Path) -> None:
    """A download that ended early has too few bytes."""
    file = weights / TRANSFORMER
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(SettingsError, match=f"{TRANSFORMER} has .* of .* bytes"):
        check_weights(weights)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs", b"\x10" + bytes(30)])
def test_what_is_no_safetensors_file_is_named(content: bytes, weights: Path) -> None:
    """An empty file, a pointer to a large file, and zeros."""
    (weights / TRANSFORMER).write_bytes(content)
    with pytest.raises(SettingsError, match=f"{TRANSFORMER} is damaged"):
        check_weights(weights)


def test_a_missing_shard_is_named(weights: Path) -> None:
    """The index of a sharded component lists every file that must be there."""
    index = weights / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "part-1-of-2.safetensors"}}')
    with pytest.raises(SettingsError, match="part-1-of-2"):
        check_weights(weights)
