"""What every row of the model table must keep."""

import pytest

from onetake.models.catalogue import MODELS
from onetake.models.choice import default_model
from onetake.models.device import card_name
from onetake.models.families import loader_of
from onetake.models.spec import ModelSpec
from onetake.models.weights.places import find_weights
from onetake.runtime.errors import SettingsError
from onetake.runtime.settings import Settings

SPECS = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)


@SPECS
def test_sizes_fit_the_tokens(spec: ModelSpec) -> None:
    """Every size is whole tokens, landscape first."""
    assert spec.segment.sizes[0][0] > spec.segment.sizes[0][1]
    for width, height in spec.segment.sizes:
        assert width % spec.segment.size_multiple == height % spec.segment.size_multiple == 0


@SPECS
def test_frame_counts_are_what_the_vae_makes(spec: ModelSpec) -> None:
    """Segments and overlaps are 4k+1 frames, and an overlap leaves room for new ones."""
    for count in (spec.segment.min_frames, spec.segment.max_frames, *spec.overlaps):
        assert count % spec.segment.frame_step == 1
    assert all(
        overlap < spec.segment.max_frames - spec.segment.frame_step for overlap in spec.overlaps
    )
    assert spec.default_overlap in (spec.overlaps or (0,))


@SPECS
def test_the_loader_exists(spec: ModelSpec) -> None:
    """The module that a row names can be imported and loads."""
    assert callable(loader_of(spec))


@SPECS
def test_missing_weights_are_missing(spec: ModelSpec, settings: Settings) -> None:
    """Only the embedded model is here without anything having been fetched."""
    assert (find_weights(spec, settings) is not None) == (spec.repo_id == "")


@pytest.mark.skipif(card_name() is not None, reason="this machine has a GPU")
def test_a_worker_without_a_gpu_says_why_it_is_tiny(settings: Settings) -> None:
    """In development the embedded model stands in, with the reason."""
    open_settings = settings.model_copy(update={"model": None})
    spec, note = default_model(open_settings)
    assert (spec.name, note) == ("tiny", "made by the embedded model, since there is no GPU")


@pytest.mark.skipif(card_name() is not None, reason="this machine has a GPU")
def test_production_never_falls_back(settings: Settings) -> None:
    """A production worker whose GPU is not seen refuses, unless the model was named."""
    production = settings.model_copy(update={"model": None, "job_take_url": "http://x/?y"})
    with pytest.raises(SettingsError, match="ONETAKE_MODEL: not set, and there is no GPU"):
        default_model(production)
    named = production.model_copy(update={"model": "tiny"})
    assert default_model(named)[0].name == "tiny"


def test_cached_models_are_found(settings: Settings, tmp_path) -> None:
    """RunPod's cached model is read at the revision that refs/main names."""
    spec = MODELS["wan2.2-ti2v-5b"]
    cached = tmp_path / "hub" / "models--Wan-AI--Wan2.2-TI2V-5B-Diffusers"
    snapshot = cached / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc123\n")
    (snapshot / "model_index.json").write_text("{}")
    with_cache = settings.model_copy(update={"hub_cache": tmp_path / "hub"})
    assert find_weights(spec, with_cache) == snapshot
