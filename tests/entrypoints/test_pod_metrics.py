"""`GET /metrics` of a pod."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from onetake.entrypoints.pod import desk, server
from onetake.models.spec import VideoModel
from onetake.runtime.settings import Settings
from tests.support.pods import Served, serving
from tests.support.takes import QUICK

WAIT = 60  # seconds for anything here
KEY = {"Authorization": "Bearer lock"}
JOB = {**QUICK, "duration": 1}


@pytest.fixture(autouse=True)
def _no_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that leaves waits for no client."""
    monkeypatch.setattr(desk, "LAST_LOOK", 0.0)


@pytest.fixture
def pod(settings: Settings, tiny: VideoModel) -> Iterator[Served]:
    """A pod with a key, which fetches no private addresses."""
    changes = {"api_key": SecretStr("lock"), "allow_private_inputs": False}
    with serving(settings.model_copy(update=changes), tiny, []) as own:
        yield own


def post(pod: Served, path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The answer to a job."""
    url = f"{pod.url}/{path}"
    return requests.post(url, json={"input": fields}, headers=KEY, timeout=WAIT).json()


def text_of(pod: Served) -> str:
    """The answer of `/metrics`."""
    answer = requests.get(f"{pod.url}/metrics", headers=KEY, timeout=WAIT)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def figures_of(pod: Served) -> dict[str, float]:
    """Each figure by its name and its label."""
    families = text_string_to_metric_families(text_of(pod))
    samples = [sample for family in families for sample in family.samples]
    return {" ".join([s.name, *s.labels.values()]): s.value for s in samples}


def test_jobs_and_their_seconds_are_counted(pod: Served) -> None:
    """A done job, two refused ones and a kept take are in the figures, and nothing private is."""
    assert post(pod, "runsync", JOB)["status"] == "COMPLETED"
    unreachable = {**JOB, "image": "http://127.0.0.1:9/a.png"}
    assert post(pod, "runsync", unreachable)["status"] == "FAILED"  # in the queue
    assert post(pod, "run", {"promt": "a"})["error"].startswith("unknown_field: ")  # before it
    kept = pod.pod.worker.settings.kept
    kept.mkdir()
    (kept / "a.json").write_text("{}")
    figures, text = figures_of(pod), text_of(pod)
    assert figures["onetake_jobs_total done"] == 1
    assert figures["onetake_jobs_total refused"] == 2
    assert figures["onetake_jobs_total failed"] == 0
    assert figures["onetake_stage_seconds_total denoise"] > 0
    assert (figures["onetake_kept_takes"], figures["onetake_queue_length"]) == (1, 0)
    assert figures["onetake_audit_failures_total"] == 0
    for private in (JOB["prompt"], "lock", str(kept), "127.0.0.1"):
        assert private not in text


def test_the_queue_is_counted_while_a_job_runs(
    settings: Settings, tiny: VideoModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The running job does not count, those behind it do, and a cancelled one is stopped."""
    started, go_on = threading.Event(), threading.Event()

    class WaitingRunner(server.Runner):
        async def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
            started.set()
            await asyncio.to_thread(go_on.wait, WAIT)
            return await super().__call__(job)

    monkeypatch.setattr(server, "Runner", WaitingRunner)
    with serving(settings, tiny, []) as pod:
        post(pod, "run", JOB)
        assert started.wait(WAIT)
        assert figures_of(pod)["onetake_queue_length"] == 0
        for waiting in (1, 2):
            post(pod, "run", JOB)
            assert figures_of(pod)["onetake_queue_length"] == waiting
        last = post(pod, "run", JOB)["id"]
        requests.post(f"{pod.url}/cancel/{last}", headers=KEY, timeout=WAIT)
        assert figures_of(pod)["onetake_jobs_total stopped"] == 1
        go_on.set()
        assert post(pod, "runsync", JOB)["status"] == "COMPLETED"
        assert figures_of(pod)["onetake_queue_length"] == 0


def test_it_needs_the_key(pod: Served) -> None:
    """Without the key there are no figures, and OpenAPI names the route."""
    assert requests.get(f"{pod.url}/metrics", timeout=WAIT).status_code == 401
    document = requests.get(f"{pod.url}/openapi.json", headers=KEY, timeout=WAIT).json()
    assert "text/plain" in document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
