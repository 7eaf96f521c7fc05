"""Faults that were seen once: each would show here again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from onetake.models.spec import ModelSpec, VideoModel
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import DeviceError
from onetake.runtime.profiles import Profile
from onetake.runtime.progress import Progress
from onetake.runtime.settings import Settings
from onetake.runtime.units import GIB
from onetake.takes import story
from onetake.takes.worker import Worker
from onetake.trust.policy import Audit, Policy
from onetake.trust.provenance.audit import AuditLog
from tests.support.takes import QUICK, reply_to

CHAINED = {**QUICK, "duration": 4}  # three segments


@pytest.mark.parametrize("segment", [2, 3])
def test_a_timeout_in_a_later_segment_is_final(worker: Worker, segment: int) -> None:
    """Nothing is stored when the time is up, and the answer is the one line about it."""

    def run_out(progress: Progress) -> None:
        if progress.segment == segment:
            control._deadline = 0.0

    control = Control(run_out, timeout=600)
    reply = reply_to(worker, CHAINED, control)
    assert list(reply) == ["error"]
    assert reply["error"].startswith("timeout: the job was ended after 600 s, ")
    assert f"segment {segment} of 3" in reply["error"]
    assert not worker.settings.output_dir.exists()


def test_reading_the_card_s_peak_changes_nothing(
    tiny: VideoModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak is the same however often it is read, until somebody starts a new one."""
    peak = [3 * GIB]
    monkeypatch.setattr(tiny, "_device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _device: peak[0])
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda _device: peak.__setitem__(0, 0)
    )
    assert [tiny.peak_gib(), tiny.peak_gib()] == [3, 3]
    tiny.reset_peak()
    assert tiny.peak_gib() == 0


class ShortOnce:
    """The embedded model, whose card is full once, when it denoises the third segment."""

    def __init__(self, model: VideoModel) -> None:
        self.model = model
        self.denoised = 0

    def __getattr__(self, name: str) -> Any:
        """Everything else is the model's."""
        return getattr(self.model, name)

    def lean(self) -> bool:
        """There is a way to need less, and nothing to change for it."""
        return True

    def denoise(self, request: Any, on_step: Callable[[int], None]) -> Any:
        """The model's, but for the third time."""
        self.denoised += 1
        if self.denoised == 3:
            raise DeviceError("out_of_memory", "the card has too little memory")
        return self.model.denoise(request, on_step)


def test_a_second_try_repeats_no_parts_and_no_records(worker: Worker) -> None:
    """Each segment is sent once and written down once, although the take is rendered twice."""
    worker.policy = Policy(audit=Audit(enabled=True))
    worker._model = ShortOnce(worker._model)
    last: list[Progress] = []
    reply = reply_to(worker, {**CHAINED, "partial_results": True}, Control(last.append))
    assert reply.get("error") is None
    assert worker._model.denoised == 4
    assert [part.segment for part in last[-1].parts] == [1, 2, 3]
    outcomes = [record["outcome"] for record in AuditLog(worker.settings.audit_log).records()]
    assert outcomes == ["part", "part", "part", "passed"]


def test_the_card_is_metered_from_the_first_segment_on(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its energy is counted after the inputs are fetched and the model is loaded."""
    events: list[str] = []
    load, fetch = worker.model, story.fetch_inputs

    def loading(spec: ModelSpec, profile: Profile) -> VideoModel:
        events.append("load")
        return load(spec, profile)

    def fetching(job: Any, settings: Settings, folder: Path) -> dict[str, Any]:
        events.append("fetch")
        return fetch(job, settings, folder)

    @contextmanager
    def metering(_name: str | None) -> Iterator[Callable[[], None]]:
        events.append("meter")
        yield lambda: events.append("read")

    monkeypatch.setattr(worker, "model", loading)
    monkeypatch.setattr(story, "fetch_inputs", fetching)
    monkeypatch.setattr(story, "card_meter", metering)
    (tmp_path / "inputs").mkdir()
    Image.new("RGB", (128, 96), "red").save(tmp_path / "inputs" / "red.png")
    request = {**QUICK, "image": str(tmp_path / "inputs" / "red.png"), "duration": 1}
    assert "video_url" in reply_to(worker, request)
    assert events == ["fetch", "load", "meter", "read"]
