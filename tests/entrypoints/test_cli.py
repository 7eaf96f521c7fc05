"""The command line."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from onetake.delivery.answered_jobs import AnsweredJobs
from onetake.delivery.publish import TakeFiles
from onetake.delivery.quarantine import Quarantine
from onetake.delivery.storage.local import LocalStore
from onetake.entrypoints.cli import app
from onetake.jobs.request import schema
from onetake.jobs.response import Result
from onetake.runtime.errors import StageError
from tests.support.takes import frames_of

QUICK = ["--steps", "2", "--size", "128*96", "--duration", "1", "--seed", "3"]


@pytest.fixture
def onetake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run `onetake ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(part) for part in arguments])


def test_generate_writes_the_file_that_was_named(onetake, tmp_path: Path) -> None:
    """The video is at the path of -o, its poster beside it, and stdout says what it is."""
    ran = onetake("generate", "--prompt", "a red bottle", *QUICK, "-o", tmp_path / "my clip.mp4")
    assert ran.exit_code == 0, ran.output
    assert "1 s, 128x96, 16 fps, tiny, seed 3" in ran.stdout.replace("\n", "")
    assert "segment 1 of 1" in ran.stderr
    assert len(frames_of((tmp_path / "my clip.mp4").as_uri())) == 16
    assert (tmp_path / "my clip.poster.jpg").is_file()


def test_generate_json_prints_the_result_alone(onetake, tmp_path: Path) -> None:
    """Stdout is one JSON document; a local image is taken, the container is the suffix's."""
    Image.new("RGB", (96, 96), "red").save(tmp_path / "in.png")
    ran = onetake("generate", "--image", "in.png", *QUICK, "-o", "clip.webm", "--json")
    result = json.loads(ran.stdout)
    assert result["output"]["container"] == "webm"
    assert result["video_url"] == (tmp_path / "clip.webm").as_uri()


def test_recover_delivers_what_was_kept(onetake, tmp_path: Path, monkeypatch) -> None:
    """A kept take goes to the store, its link is printed, and nothing is kept any more."""
    generated = onetake("generate", "--prompt", "a can", *QUICK, "-o", "made/clip.mp4", "--json")
    monkeypatch.setenv("ONETAKE_KEEP_DIR", str(tmp_path / "kept"))
    store = LocalStore(tmp_path / "outputs")
    ledger = AnsweredJobs(store, tmp_path / "kept", tmp_path, Quarantine(store, tmp_path))
    result = Result.model_validate_json(generated.stdout)
    files = TakeFiles(tmp_path / "made", "clip", "mp4")
    with pytest.raises(StageError, match="kept as clip"):
        ledger.keep(files, {}, result, StageError("store", "x"))
    ran = onetake("recover")
    assert ran.stdout.strip() == f"clip: {(tmp_path / 'outputs' / 'clip.mp4').as_uri()}"
    assert len(frames_of((tmp_path / "outputs" / "clip.mp4").as_uri())) == 16
    assert list((tmp_path / "kept").iterdir()) == []


def test_the_input_picture_is_left_alone(onetake, tmp_path: Path) -> None:
    """Naming the video after the picture does not overwrite the picture."""
    Image.new("RGB", (96, 96), "red").save(tmp_path / "product.jpg")
    before = (tmp_path / "product.jpg").read_bytes()
    onetake("generate", "--image", "product.jpg", *QUICK, "-o", "product.mp4")
    assert (tmp_path / "product.mp4").is_file()
    assert (tmp_path / "product.jpg").read_bytes() == before


def test_a_file_is_written_whatever_the_job_says(onetake, tmp_path: Path) -> None:
    """A job that asks for base64 still gives the file that -o names, brackets and all."""
    job = {"prompt": "a can", "output": {"delivery": "base64", "quality": "draft"}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    ran = onetake("generate", "--job", "job.json", *QUICK, "-o", "x[red]y.mp4")
    assert (tmp_path / "x[red]y.mp4").is_file()
    assert "x[red]y.mp4: 1 s" in ran.stdout


def test_a_job_file_is_overridden_by_options(onetake, tmp_path: Path) -> None:
    """--job takes a request, in RunPod's envelope or bare; options win over it."""
    job = {"prompt": "a can", "num_frames": 99, "steps": 7, "resolution": "720p"}
    (tmp_path / "job.json").write_text(json.dumps({"input": job}))
    ran = onetake("plan", "--job", "job.json", *QUICK, "--json")
    answer = json.loads(ran.stdout)
    assert (answer["duration"], answer["plan"]["num_inference_steps"]) == (1, 2)
    assert (answer["width"], answer["height"]) == (128, 96)


def test_a_plan_for_a_picture_has_its_ratio(onetake, tmp_path: Path) -> None:
    """What is planned is what would be made."""
    Image.new("RGB", (100, 160)).save(tmp_path / "in.png")
    answer = json.loads(onetake("plan", "--image", "in.png", "--json").stdout)
    assert answer["height"] > answer["width"]


@pytest.mark.parametrize("content", ['{"input": 5}', "[1]", '{"input": ["a"]}'])
def test_a_job_file_that_holds_no_request(content: str, onetake, tmp_path: Path) -> None:
    """Valid JSON that is no request is refused in a sentence."""
    (tmp_path / "job.json").write_text(content)
    ran = onetake("generate", "--job", "job.json", "-o", "a.mp4")
    assert "--job: job.json holds no request" in ran.stderr.replace("\n", " ")


def test_wrong_settings_are_one_line_everywhere(onetake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only a table is shown."""
    monkeypatch.setenv("ONETAKE_MAX_DURATION", "long")
    assert onetake("models").stderr.startswith("invalid_settings: ONETAKE_MAX_DURATION: ")


def test_plan_tells_segments_memory_and_time(onetake) -> None:
    """A plan for a model whose weights are not here runs nothing and tells all."""
    options = ["--prompt", "a", "--model", "wan2.2-ti2v-5b", "--duration", "12", "--seed", "1"]
    answer = json.loads(onetake("plan", *options, "--json").stdout)
    assert [segment["num_frames"] for segment in answer["plan"]["segments"]] == [105, 105, 105]
    assert answer["seams_at"] == [105, 201]
    assert answer["plan"]["estimate"]["card"] == "NVIDIA GeForce RTX 4090"
    assert answer["plan"]["estimate"]["seconds"] > 60
    shown = onetake("plan", *options).stdout
    assert "peak_gib" in shown
    assert "1280" in shown


def test_plan_sets_hosted_prices_beside_its_own(onetake) -> None:
    """Each hosted price has its page and date; a plan for the embedded model has none beside it."""
    options = ["--prompt", "a", "--duration", "5"]
    real = [*options, "--model", "wan2.2-ti2v-5b"]
    answer = json.loads(onetake("plan", *real, "--json").stdout)
    assert [(p["dollars"], p["seconds"]) for p in answer["hosted"]] == [(0.3, 5)]
    assert all(price["source"] and price["date"] for price in answer["hosted"])
    ours = f"this plan: ${answer['plan']['estimate']['dollars']:.2f} for 5 s"
    last = onetake("plan", *real).stdout.splitlines()[-1]
    assert last.startswith("hosted: $0.30 for 5 s (RunPod")
    assert last.endswith(ours)
    assert json.loads(onetake("plan", *options, "--model", "tiny", "--json").stdout)["hosted"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--prompt", ""], "invalid_input: prompt: is empty"),
        (["--prompt", "a", "--size", "big"], "invalid_input: size: 'big' is not width*height"),
        (["--image", "none.png"], "invalid_input: --image: none.png cannot be read"),
        (["--job", "none.json"], "invalid_input: --job: none.json is no readable JSON file"),
    ],
)
def test_errors_are_one_line(arguments: list[str], sentence: str, onetake) -> None:
    """A wrong call says what to do on stderr, and exits with 1."""
    ran = onetake("generate", *arguments, "-o", "a.mp4")
    assert ran.exit_code == 1
    assert ran.stderr.startswith(sentence)
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == ""


def test_a_suffix_that_is_no_container(onetake) -> None:
    """The file's name decides the container, so a wrong one is refused."""
    ran = onetake("generate", "--prompt", "a", "-o", "clip")
    assert "output.container: '' is not one of mp4, mov, webm" in ran.stderr
    ran = onetake("generate", "--prompt", "a", "-o", "clip.avi")
    assert "output.container: 'avi' is not one of mp4, mov, webm" in ran.stderr


def test_models_lists_every_model(onetake) -> None:
    """The table names the models and where weights are."""
    shown = onetake("models").stdout
    assert "tiny" in shown
    assert "here" in shown
    assert "missing" in shown


def test_schema_is_the_request_s(onetake) -> None:
    """The exported schema is JSON."""
    assert json.loads(onetake("schema").stdout) == schema()


def test_bench_sets_stock_beside_us(onetake, tmp_path: Path) -> None:
    """A row for each length and way, in a table, as JSON and as CSV; a slip costs one line."""
    options = ["--model", "tiny", "--size", "64*64", "--steps", "1", "--repeat", "1"]
    options += ["--profile", "turbo", "--technique", "timesteps", "--profile-trace", tmp_path]
    ended = onetake("bench", *options, "--frames", "5", "--frames", "9", "-o", tmp_path)
    assert ended.exit_code == 0, ended.output
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert [(row["way"], row["frames"], row["steps"]) for row in rows] == [
        ("stock", 5, 1), ("stock", 9, 1), ("turbo", 5, 4), ("turbo", 9, 4),
        ("timesteps", 5, 1), ("timesteps", 9, 1),
    ]  # fmt: skip
    assert {file.name for file in tmp_path.glob("*-64x64-*.json")} >= {"turbo-64x64-9.json"}
    assert (tmp_path / "bench.png").stat().st_size > 0
    for row in rows:
        assert row["total"] == pytest.approx(row["denoise"] + row["decode"])
    assert len((tmp_path / "bench.csv").read_text().splitlines()) == len(rows) + 1
    wrong = onetake("bench", "--model", "tiny", "--frames", "18")
    assert (wrong.exit_code, "--frames: 18 is none of 5" in wrong.output) == (1, True)
