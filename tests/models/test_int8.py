"""The 8-bit form of a model: half the bytes, the same frames to the eye, adapters fused in."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file
from torch._dynamo.utils import counters
from typer.testing import CliRunner

from onetake.entrypoints.cli import app
from onetake.models.catalogue import MODELS
from onetake.models.families.wan import int8
from onetake.models.families.wan import model as wan
from onetake.models.families.wan.loading import load_pipeline
from onetake.models.loader import load
from onetake.models.spec import VideoModel
from onetake.models.weights import places
from onetake.models.weights.manifest import WeightsManifest, check_weights, verify
from onetake.models.weights.places import embedded_weights, find_weights, small_form
from onetake.runtime.errors import SettingsError
from onetake.runtime.settings import Settings
from tests.support.frames import frames, psnr

SPEC = MODELS["wan2.2-ti2v-5b"]  # its place in the table, with the embedded model's files
LAYER = "blocks.3.attn1.to_q"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model in 8 bits."""
    folder = tmp_path_factory.mktemp("weights") / f"tiny{places.SMALL}"
    int8.quantise(MODELS["tiny"], embedded_weights(), "r", folder, [], lambda _step: None)
    return folder


def test_it_makes_the_same_frames(small: Path, tiny: VideoModel) -> None:
    """The 8-bit model's frames are the original's to 30 dB, and far nearer than another seed's."""
    loaded = wan.load(MODELS["tiny"], (small,), "r")
    actual, expected = frames(loaded), frames(tiny)
    other = frames(tiny, seed=4)
    assert psnr(actual, expected) > max(30, psnr(other, expected) + 10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles for a CPU with g++")
def test_compiled_layers_keep_the_usual_product() -> None:
    """Torch has a kernel for int8 weights, made for single tokens: this form does not get it."""
    layer = int8.Int8Linear((64, 32), bias=True)
    layer.load_state_dict(
        {"weight": torch.ones(32, 64, dtype=torch.int8), "scale": torch.ones(32).bfloat16(),
         "bias": torch.ones(32).bfloat16()}, assign=True,
    )  # fmt: skip
    before = counters["inductor"]["woq_matcher_count"]
    with torch.no_grad():
        product = torch.compile(layer)(torch.ones(1, 300, 64).bfloat16())
    assert (product == 65).all()
    assert counters["inductor"]["woq_matcher_count"] == before


def test_linear_layers_take_half_the_bytes(small: Path) -> None:
    """The transformer and the text encoder shrink to little over a half; the VAE does not."""
    for component, limit in (("transformer", 0.6), ("text_encoder", 0.6), ("vae", 1.01)):
        sizes = [
            sum(file.stat().st_size for file in (folder / component).glob("*.safetensors"))
            for folder in (small, embedded_weights())
        ]
        assert sizes[0] < limit * sizes[1]


def test_loading_gives_what_diffusers_gives() -> None:
    """Every parameter and buffer has the value and type that `from_pretrained` gives it."""
    from diffusers import WanPipeline  # noqa: PLC0415 - seconds

    stock = WanPipeline.from_pretrained(
        embedded_weights(), dtype=torch.bfloat16, local_files_only=True
    )
    ours = load_pipeline(embedded_weights(), torch.device("cpu"))
    for component in ("transformer", "text_encoder", "vae"):
        expected, actual = (getattr(p, component).state_dict() for p in (stock, ours))
        assert expected.keys() == actual.keys()
        for name, value in expected.items():
            assert actual[name].dtype == value.dtype
            assert torch.equal(actual[name], value)


def test_an_adapter_is_fused_before(tmp_path: Path) -> None:
    """A LoRA at half strength is in the 8-bit weights, and its name in the revision."""
    generator = torch.Generator().manual_seed(1)
    down, up = (torch.randn(shape, generator=generator) * 0.1 for shape in ((4, 256), (256, 4)))
    adapter = tmp_path / "brand.safetensors"
    key = f"transformer.{LAYER}"
    save_file({f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}, adapter)
    folder = tmp_path / "small"
    manifest = int8.quantise(
        MODELS["tiny"], embedded_weights(), "r", folder, [(adapter, 0.5)], lambda _step: None
    )
    assert manifest.revision == "r+brand:0.5"
    state = load_file(folder / "transformer" / "model.safetensors")
    actual = state[f"{LAYER}.weight"].float() * state[f"{LAYER}.scale"].float()[:, None]
    file = embedded_weights() / "transformer" / "diffusion_pytorch_model.safetensors"
    expected = load_file(file)[f"{LAYER}.weight"].float() + 0.5 * up @ down
    assert (actual - expected).abs().max() < 0.01 * expected.abs().max()


@pytest.mark.parametrize(("card", "chosen"), [(16.0, "small"), (24.0, "original")])
def test_the_card_decides(
    card: float, chosen: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 8-bit form is taken where the original has no room, or by a profile that wishes it."""
    original = tmp_path / SPEC.name
    shutil.copytree(embedded_weights(), original)
    shutil.copytree(small, small_form(original))
    monkeypatch.setattr(places, "card_gib", lambda: card)
    expected = {"small": small_form(original), "original": original}[chosen]
    settings = Settings(weights_dir=tmp_path, hub_cache=tmp_path)
    assert find_weights(SPEC, settings) == expected
    assert find_weights(SPEC, settings, eight_bit=True) == small_form(original)


def test_an_altered_byte_is_named(small: Path, tmp_path: Path) -> None:
    """One flipped bit in the middle of a file is found by its hash alone."""
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    manifest = WeightsManifest.read(folder)
    assert manifest is not None
    assert verify(folder, lambda _count: None) == manifest.size
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    check_weights(folder)
    with pytest.raises(SettingsError, match=r"vae/.*\.safetensors was altered"):
        verify(folder, lambda _count: None)


def test_a_file_of_another_revision_is_named(small: Path, tmp_path: Path) -> None:
    """A shard that the manifest does not know, and one of another length, are found at boot."""
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    place = folder / "transformer"
    shutil.copy(place / "model.safetensors", place / "more.safetensors")
    with pytest.raises(SettingsError, match=r"transformer/more\.safetensors is not part of"):
        check_weights(folder)
    (place / "more.safetensors").replace(place / "model.safetensors")
    (folder / "model_index.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"model_index\.json has 2 of"):
        check_weights(folder)


def test_the_commands_do_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`quantise`, `list` and `verify` on a folder, and the name of a file that was cut."""
    monkeypatch.setenv("ONETAKE_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("ONETAKE_HUB_CACHE", str(tmp_path))
    shutil.copytree(embedded_weights(), tmp_path / SPEC.name)

    def said(*words: str) -> tuple[int, str]:
        ended = CliRunner().invoke(app, ["weights", *words], env={"COLUMNS": "120"})
        return ended.exit_code, ended.output

    code, text = said("quantise", SPEC.name)
    assert (code, f"{SPEC.name}-int8" in text) == (0, True)
    code, text = said("list")
    assert (code, text.count(SPEC.name), text.count("int8")) == (0, 3, 1)
    assert said("verify", SPEC.name)[0] == 0
    file = small_form(tmp_path / SPEC.name) / "text_encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    code, text = said("verify", SPEC.name)
    assert (code, "text_encoder/model.safetensors has" in text) == (1, True)


def test_the_boot_is_timed() -> None:
    """`onetake boot --dry-run` runs the checks and prints where the time went."""
    ended = CliRunner().invoke(app, ["boot", "--dry-run"], env={"ONETAKE_MODEL": "tiny"})
    assert ended.exit_code == 0
    for stage in ("import", "load", "warm up", "checks", "total"):
        assert stage in ended.output


def test_load_reads_the_small_form(small: Path, tmp_path: Path) -> None:
    """A worker that has nothing but the 8-bit form loads it, and its revision says so."""
    shutil.copytree(small, small_form(tmp_path / SPEC.name))
    settings = Settings(weights_dir=tmp_path, hub_cache=tmp_path)
    model = load(SPEC, settings)
    assert model.revision.endswith("-int8")


@pytest.fixture(scope="module")
def two_experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with its transformer twice, in the layout of A14B."""
    folder = tmp_path_factory.mktemp("weights") / SPEC.name
    one = load_pipeline(embedded_weights(), torch.device("cpu"))
    components = {**one.components, "transformer_2": one.transformer}
    WanPipeline(**components, expand_timesteps=True, boundary_ratio=0.875).save_pretrained(folder)
    return folder


def test_both_experts_are_loaded_and_quantised(two_experts: Path, tmp_path: Path) -> None:
    """The second has its own files, in either form, and the step between them is kept."""
    small_folder = tmp_path / "small"
    int8.quantise(SPEC, two_experts, "r", small_folder, [], lambda _step: None)
    for folder in (two_experts, small_folder):
        pipeline = load_pipeline(folder, torch.device("cpu"))
        assert pipeline.config.boundary_ratio == 0.875
        first, second = pipeline.transformer.state_dict(), pipeline.transformer_2.state_dict()
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert (small_folder / "transformer_2" / "model.safetensors").is_file()


def test_an_adapter_for_two_experts_is_refused(
    two_experts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A LoRA file is for one of them, and does not say for which."""
    monkeypatch.setenv("ONETAKE_WEIGHTS_DIR", str(two_experts.parent))
    file = tmp_path / "style.safetensors"
    file.write_bytes(b"")
    ended = CliRunner().invoke(app, ["weights", "quantise", SPEC.name, "--lora", str(file)])
    assert ended.exit_code == 1
    assert "has two experts" in ended.output
