"""The command line."""

import json
from pathlib import Path

import pytest
from PIL import Image
from test_take import frames_of
from typer.testing import CliRunner

from onetake.cli import app
from onetake.job import schema

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
    assert (tmp_path / "my clip.jpg").is_file()


def test_generate_json_prints_the_result_alone(onetake, tmp_path: Path) -> None:
    """Stdout is one JSON document; a local image is taken, the container is the suffix's."""
    Image.new("RGB", (96, 96), "red").save(tmp_path / "in.png")
    ran = onetake("generate", "--image", "in.png", *QUICK, "-o", "clip.webm", "--json")
    result = json.loads(ran.stdout)
    assert result["output"]["container"] == "webm"
    assert result["video_url"] == (tmp_path / "clip.webm").as_uri()


def test_a_job_file_is_overridden_by_options(onetake, tmp_path: Path) -> None:
    """--job takes a request, in RunPod's envelope or bare; options win."""
    (tmp_path / "job.json").write_text(json.dumps({"input": {"prompt": "a can", "duration": 9}}))
    ran = onetake("plan", "--job", "job.json", "--duration", "1", "--json")
    assert json.loads(ran.stdout)["duration"] == 1


def test_plan_tells_segments_memory_and_time(onetake) -> None:
    """A plan for a model whose weights are not here runs nothing and tells all."""
    asked = ["--prompt", "a", "--model", "wan2.2-ti2v-5b", "--duration", "12", "--seed", "1"]
    told = json.loads(onetake("plan", *asked, "--json").stdout)
    assert [segment["num_frames"] for segment in told["plan"]["segments"]] == [101, 101, 101]
    assert told["seams_at"] == [101, 197]
    assert told["plan"]["estimate"]["card"] == "NVIDIA GeForce RTX 4090"
    assert told["plan"]["estimate"]["seconds"] > 60
    shown = onetake("plan", *asked).stdout
    assert "resident_gib" in shown
    assert "1280" in shown


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
