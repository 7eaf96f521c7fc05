"""What comes next is one file and one row: a toy of each kind is added, and a take runs through."""

import json
from pathlib import Path

import pytest

from onetake.delivery import storage
from onetake.entrypoints.pod.shapes import request_schemas
from onetake.entrypoints.runpod.answer import answer
from onetake.jobs import tables
from onetake.media import fetch
from onetake.models import acceleration
from onetake.models.catalogue import MODELS
from onetake.models.families import quantiser_of, stock_loader_of
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import SettingsError
from onetake.runtime.profiles import PROFILES, Profile
from onetake.runtime.settings import Settings
from onetake.takes import steps
from onetake.takes.planning import plan_job
from onetake.takes.worker import Worker
from tests.support.takes import frames_of
from tests.support.toys import family
from tests.support.toys.store import OBJECTS

TOYS = Path(family.__file__).parent
REQUEST = {"prompt": "a red bottle", "model": "toy", "duration": 4, "size": "128*64", "seed": 1}


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Worker:
    """A worker with a toy of each kind, each added by one row."""
    monkeypatch.setitem(MODELS, "toy", family.ROW)
    monkeypatch.setattr(storage, "STORES", ("tests.support.toys.store", *storage.STORES))
    monkeypatch.setattr(steps, "STEPS", (*steps.STEPS, "tests.support.toys.tint"))
    monkeypatch.setitem(fetch.KINDS, "palette", "tests.support.toys.palette")
    monkeypatch.setitem(PROFILES, "halved", Profile("halved", "Half the steps", ("halving",)))
    # Its file lies in the folder of the toys, as if that were part of the package.
    monkeypatch.setattr(acceleration, "__path__", [*acceleration.__path__, str(TOYS)])
    (tmp_path / "models" / "toy").mkdir(parents=True)
    (tmp_path / "models" / "toy" / "model_index.json").write_text("{}")
    monkeypatch.setenv("ONETAKE_PROFILE", "halved")
    settings = Settings(
        model="toy", weights_dir=tmp_path / "models", output_dir=Path("memory:"),
        work_dir=tmp_path / "work", keep_dir=tmp_path / "kept",
    )  # fmt: skip
    return Worker(settings)


def test_a_take_runs_through_a_toy_of_each_kind(grown: Worker) -> None:
    """The toy family makes it, the toy step tints it with the toy input, the toy store has it."""
    reply = answer(grown, {"id": "grown", "input": {**REQUEST, "tint": "#c03020"}}, Control())
    assert reply.get("error") is None
    assert (reply["model"], reply["profile"]) == ("toy", "halved")
    assert reply["tuning"] == {"halving": "every second step of toy"}
    assert reply["video_url"] == "memory://grown.mp4"
    assert reply["timings"]["tint"] >= 0
    frames = frames_of(OBJECTS["grown.mp4"])
    assert frames.shape == (32, 64, 128, 3)
    assert abs(frames.reshape(-1, 3).mean(0) - (0xC0, 0x30, 0x20)).max() < 4
    assert len(reply["seams"]) > 0


def test_what_a_toy_adds_is_asked_planned_and_described(grown: Worker) -> None:
    """The new field is refused, parsed and in the schema; the plan asks the technique."""
    wrong = answer(grown, {"id": "wrong", "input": {**REQUEST, "tint": "red"}}, Control())
    assert wrong["error"] == "invalid_input: tint: is not a colour such as #c03020"
    assert "tint" in request_schemas()["Job"]["properties"]
    assert "toy" in {row[0] for row in tables.models()}
    assert "halved" in {row[0] for row in tables.profiles()}
    job = steps.request_model().parse({**REQUEST, "guidance_scale": 2})
    planned = {
        name: plan_job(job.model_copy(update={"profile": name}), grown.settings).plan_for(None)
        for name in ("halved", "exact")
    }
    half, whole = (planned[name].estimate for name in ("halved", "exact"))
    assert half.seconds < whole.seconds


def test_what_a_family_does_not_offer_is_refused(grown: Worker) -> None:
    """The toy family has no 8-bit form and no rival, and the commands that need one say so."""
    model = grown.settings.model
    for hook, lacking in ((quantiser_of, "8-bit form"), (stock_loader_of, "stock form")):
        with pytest.raises(SettingsError) as raised:
            hook(MODELS[str(model)])
        sentence = f"invalid_settings: model: toy has no {lacking}; name another model"
        assert str(raised.value) == sentence


def test_without_the_toys_nothing_of_them_is_there() -> None:
    """The rows are all that names a toy."""
    assert "tint" not in steps.request_model().model_fields
    assert "toy" not in json.dumps([tables.models(), tables.profiles()])
