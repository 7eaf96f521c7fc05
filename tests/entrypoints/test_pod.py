"""The pod's server over real HTTP: RunPod's own client, forms, files, limits, the end."""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import runpod
from PIL import Image
from pydantic import SecretStr
from typer.testing import CliRunner

from onetake.entrypoints.cli import app
from onetake.entrypoints.pod import api, desk, guard
from onetake.entrypoints.pod.desk import Desk, State
from onetake.entrypoints.pod.refusal import failure
from onetake.entrypoints.pod.server import files_url, listen
from onetake.jobs.response import Result
from onetake.models.spec import VideoModel
from onetake.runtime.errors import SettingsError, StageError
from onetake.runtime.settings import Settings
from onetake.trust.policy import Policy
from tests.support.frames import psnr
from tests.support.pods import Served, serving
from tests.support.runpod_queue import worker_process
from tests.support.servers import await_answer, free_port, rclone
from tests.support.takes import frames_of

ROOT = Path(__file__).parents[2]
QUICK = {
    "prompt": "a red bottle on white", "num_inference_steps": 2, "size": "128*96", "duration": 1,
}  # fmt: skip
LONG = {**QUICK, "num_inference_steps": 100, "duration": 60}
UNREACHABLE = {**QUICK, "image": "http://127.0.0.1:9/a.png"}
WAIT = 60  # seconds for anything here


@pytest.fixture(autouse=True)
def _no_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that leaves waits for no client, unless a test says so."""
    monkeypatch.setattr(desk, "LAST_LOOK", 0.0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, tiny: VideoModel) -> Iterator[Served]:
    """One pod for most tests, with a real boot."""
    folder = tmp_path_factory.mktemp("pod")
    settings = Settings(
        model="tiny", output_dir=folder / "outputs", work_dir=folder / "work", max_duration=60
    )
    with serving(settings, tiny) as pod:
        yield pod


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    """The shared pod; after the test, jobs that it cancelled have stopped."""
    yield shared
    post(f"{shared.url}/runsync", {"input": UNREACHABLE})


@pytest.fixture
def endpoint(served: Served, monkeypatch: pytest.MonkeyPatch) -> runpod.Endpoint:
    """RunPod's client, with only its address changed."""
    monkeypatch.setattr(runpod, "endpoint_url_base", f"{served.url}/v2")
    return runpod.Endpoint("any", api_key="none")


@pytest.fixture
def pod(settings: Settings, tiny: VideoModel, request: pytest.FixtureRequest) -> Iterator[Served]:
    """A pod for one test, with the settings that it names."""
    with serving(settings.model_copy(update=getattr(request, "param", {})), tiny, []) as own:
        yield own


def post(url: str, body: object = None, **more: Any) -> requests.Response:
    """A POST of JSON."""
    return requests.post(url, json=body, timeout=WAIT, **more)


def get(url: str, **more: Any) -> requests.Response:
    """A GET."""
    return requests.get(url, timeout=WAIT, **more)


def error_of(answer: requests.Response) -> str:
    """The one line of a refusal, in which nothing is private."""
    assert set(answer.json()) == {"error"}
    for private in ("Traceback", "/work", "/tmp", "127.0.0.1", "File "):  # noqa: S108 - looked for
        assert private not in answer.text
    return answer.json()["error"]


def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` is true."""
    ends = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)  # HTTP has no event to await


def in_progress(url: str) -> None:
    """Wait until a job runs."""
    until(lambda: get(f"{url}/health").json()["jobs"]["inProgress"])


def stopped_jobs(served: Served) -> float | None:
    """How many jobs the worker has stopped so far."""
    value = served.pod.worker.metrics.registry.get_sample_value
    return value("onetake_jobs_total", {"outcome": "stopped"})


class TestRunPodsClient:
    """RunPod's own client against the pod."""

    def test_run_answers_at_once_and_the_result_comes(self, endpoint: runpod.Endpoint) -> None:
        """The output is the worker's result, and its link is the video."""
        job = endpoint.run({"input": QUICK})
        assert job.status() in {"IN_QUEUE", "IN_PROGRESS", "COMPLETED"}
        output = job.output(timeout=WAIT)
        assert set(output) == set(Result.model_fields) - {"error"}
        video = get(output["video_url"])
        assert video.headers["content-type"] == "video/mp4"
        assert frames_of(video.content).shape == (16, 96, 128, 3)
        assert job.status() == "COMPLETED"

    def test_run_sync_waits(self, endpoint: runpod.Endpoint) -> None:
        """One call, one result."""
        assert endpoint.run_sync({"input": QUICK}, timeout=WAIT)["num_frames"] == 16

    def test_a_stream_tells_each_update_once(self, endpoint: runpod.Endpoint) -> None:
        """Fractions grow, and the last update is the result."""
        job = endpoint.run({"input": {**QUICK, "num_inference_steps": 8, "duration": 2}})
        *progress, result = job.stream()
        fractions = [update["fraction"] for update in progress]
        assert fractions
        assert fractions == sorted(set(fractions))
        assert result["num_frames"] == 32
        assert job.output() == result

    def test_cancel_stops_the_job_in_progress(
        self, endpoint: runpod.Endpoint, served: Served
    ) -> None:
        """It ends within a step, leaves no file, stays cancelled, and the next job runs."""
        before = stopped_jobs(served)
        job = endpoint.run({"input": LONG})
        next(job.stream())
        assert job.cancel() == {**job.cancel(), "status": "CANCELLED"}
        assert endpoint.run_sync({"input": QUICK}, timeout=WAIT)["num_frames"] == 16
        assert stopped_jobs(served) == before + 1
        assert job.status() == "CANCELLED"
        assert not list(served.pod.worker.settings.output_dir.glob(f"{job.job_id}*"))

    def test_jobs_are_made_in_order(self, endpoint: runpod.Endpoint) -> None:
        """The second waits for the first, and a job cancelled while it waits never runs."""
        first, second = endpoint.run({"input": LONG}), endpoint.run({"input": LONG})
        next(first.stream())
        assert (first.status(), second.status()) == ("IN_PROGRESS", "IN_QUEUE")
        jobs = endpoint.health()["jobs"]
        assert (jobs["inProgress"], jobs["inQueue"]) == (1, 1)
        assert second.cancel() == {"id": second.job_id, "status": "CANCELLED"}
        assert "executionTime" in first.cancel()

    def test_health_counts(self, endpoint: runpod.Endpoint) -> None:
        """The counts have RunPod's names, and a finished job is counted."""
        before = endpoint.health()["jobs"]["completed"]
        endpoint.run_sync({"input": QUICK}, timeout=WAIT)
        health = endpoint.health()
        assert health["jobs"] == {**health["jobs"], "completed": before + 1, "inQueue": 0}
        assert health["workers"] == {
            "idle": 1, "initializing": 0, "ready": 1, "running": 0, "throttled": 0, "unhealthy": 0,
        }  # fmt: skip


def test_the_times_are_milliseconds(served: Served) -> None:
    """They fit the result's own timings, and the answer is the same without `/v2/...`."""
    status = post(f"{served.url}/runsync", {"input": QUICK}).json()
    assert status["executionTime"] >= status["output"]["timings"]["total"] * 1000
    assert 0 <= status["delayTime"] < WAIT * 1000
    assert post(f"{served.url}/status/{status['id']}").json() == status
    assert get(f"{served.url}/v2/any/status/{status['id']}").json() == status


def test_runsync_answers_before_the_end(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its wait it says where the job is, and the job goes on."""
    monkeypatch.setattr(api, "RUNSYNC_WAIT", 0.01)
    status = post(f"{served.url}/runsync", {"input": LONG}).json()
    assert status["status"] in {"IN_QUEUE", "IN_PROGRESS"}
    assert post(f"{served.url}/cancel/{status['id']}").json()["status"] == "CANCELLED"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "invalid_input: body: is no JSON object; see /openapi.json"),
        (b"[1]", "invalid_input: body: is no JSON object"),
        (b"[" * 100_000, "invalid_input: body: is no JSON object"),
        (b"\xff", "invalid_input: body: is no JSON object"),
        (b"{}", "invalid_input: input: is not an object"),
        (b'{"input": {"promt": "a"}}', "unknown_field: promt: is no field of a job; did you mean"),
        (b'{"input": {"prompt": "\\ud800"}}', "invalid_input: prompt: "),
        (b'{"input": {"prompt": "a", "duration": 61}}', "invalid_input: duration: "),
        (b'{"input": {"prompt": "a"}, "webhook": "http://a"}', "unknown_field: webhook: is no"),
        (b'{"input": {"prompt": "a"}, "s3Config": {}}', "invalid_input: s3Config.accessId: is"),
    ],
)
@pytest.mark.parametrize("path", ["run", "runsync"])
def test_a_wrong_request_is_refused_before_the_queue(
    served: Served, path: str, body: bytes, error: str
) -> None:
    """It gets the worker's own sentence at once, and no job is made."""
    jobs_before = len(served.pod.desk._entries)
    answer = requests.post(f"{served.url}/{path}", data=body, timeout=WAIT)
    assert answer.status_code == 422
    assert error_of(answer).startswith(error)
    assert len(served.pod.desk._entries) == jobs_before


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "status"), ("POST", "stream"), ("POST", "cancel")]
)
def test_an_unknown_id_is_not_found(served: Served, method: str, path: str) -> None:
    """One line, which does not repeat the id."""
    answer = requests.request(method, f"{served.url}/{path}/none", timeout=WAIT)
    assert answer.status_code == 404
    assert error_of(answer).startswith("not_found: no job has this id; results are kept for 30 min")


def test_what_is_not_served_is_said_in_one_line(served: Served) -> None:
    """Other paths, and other methods of known ones."""
    nowhere, wrong = get(f"{served.url}/admin"), get(f"{served.url}/run")
    assert (nowhere.status_code, wrong.status_code) == (404, 405)
    assert error_of(nowhere).startswith("not_found: ")
    assert error_of(wrong).startswith("method_not_allowed: ")


def test_a_job_that_fails_says_why(served: Served) -> None:
    """An input that cannot be fetched: FAILED on RunPod's routes, status 422 on ours."""
    status = post(f"{served.url}/runsync", {"input": UNREACHABLE}).json()
    assert status["status"] == "FAILED"
    assert status["error"].startswith("input_forbidden: image: its URL leads to a private address")
    assert get(f"{served.url}/stream/{status['id']}").json()["error"] == status["error"]
    answer = post(f"{served.url}/generate", UNREACHABLE)
    assert answer.status_code == 422
    assert error_of(answer) == status["error"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("store_failed: the bucket could not be reached", 500),
        ("internal_error: the worker failed; send the job again", 500),
        ("timeout: the job was ended after 600 s", 500),
        ("input_unreachable: image: its URL answered 404", 422),
    ],
)
def test_whose_fault_it_is_decides_the_status(error: str, status: int) -> None:
    """The caller's fault is 422, ours is 500, and the line is the same."""
    answer = failure(error)
    assert answer.status_code == status
    assert json.loads(answer.body) == {"error": error}


@pytest.mark.parametrize(("decide", "verdict"), [("approve", "approved"), ("reject", "rejected")])
def test_a_take_that_is_kept_back_is_told_when_it_is_decided(
    served: Served, monkeypatch: pytest.MonkeyPatch, decide: str, verdict: str
) -> None:
    """The job's status has the decision, and links once it is approved."""
    monkeypatch.setattr(served.pod.worker, "policy", Policy(brands=("Otterline",)))
    request = {"input": {**QUICK, "prompt": "an Otterline bottle"}}
    job = post(f"{served.url}/runsync", request).json()
    assert (job["output"]["safety"]["verdict"], job["output"]["video_url"]) == ("flagged", None)
    getattr(served.pod.worker.quarantine, decide)(job["id"])
    output = get(f"{served.url}/status/{job['id']}").json()["output"]
    assert set(output) == set(job["output"])
    assert output["safety"]["verdict"] == verdict
    if decide == "approve":
        assert frames_of(get(output["video_url"]).content).shape == (16, 96, 128, 3)
    else:
        assert output["video_url"] is None


class TestGenerate:
    """`POST /generate`."""

    def test_a_take_that_is_kept_back_has_no_link_to_go_to(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer is the result instead of the file."""
        monkeypatch.setattr(served.pod.worker, "policy", Policy(brands=("Otterline",)))
        answer = post(f"{served.url}/generate", {**QUICK, "prompt": "an Otterline bottle"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        result = answer.json()
        assert (result["safety"]["verdict"], result["video_url"]) == ("flagged", None)

    def test_it_answers_the_video(self, served: Served) -> None:
        """The MP4 itself, of the size that `resolution` names."""
        fields = {**QUICK, "size": None, "resolution": "128x96", "fps": 8}
        answer = post(f"{served.url}/generate", fields)
        assert answer.headers["content-type"] == "video/mp4"
        assert frames_of(answer.content).shape == (8, 96, 128, 3)

    def test_it_answers_the_result(self, served: Served) -> None:
        """JSON for a client that accepts it, with any other field of a job."""
        fields = {**QUICK, "seed": 5, "output": {"delivery": "base64"}}
        headers = {"Accept": "application/json"}
        result = post(f"{served.url}/generate", fields, headers=headers).json()
        assert set(result) == set(Result.model_fields) - {"error"}
        assert result["seed"] == 5
        assert result["video_base64"]

    def test_it_takes_a_form_with_a_file(
        self, served: Served, picture: Image.Image, encoded: Callable[..., bytes]
    ) -> None:
        """The uploaded picture is the first frame, and numbers are read from text."""
        form = {"duration": "1", "fps": "16", "resolution": "160x120", "num_inference_steps": "2"}
        form["output"] = '{"container": "webm", "codec": "av1"}'
        files = {"input_image": ("in.png", encoded(picture))}
        answer = requests.post(f"{served.url}/generate", data=form, files=files, timeout=WAIT)
        assert answer.headers["content-type"] == "video/webm"
        first = frames_of(answer.content)[0]
        assert psnr(first, np.asarray(picture.resize((160, 120)))) > 20

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({"prompt": "a", "duration": "long"}, "invalid_input: duration: 'long' is not a"),
            ({"prompt": "a", "resolution": "128x97"}, "invalid_input: size: height 97 is not"),
            ({"prompt": "a", "mask": "b"}, "unknown_field: mask: is no field of a job"),
        ],
    )
    def test_a_wrong_form_is_refused(
        self, served: Served, form: dict[str, str], error: str
    ) -> None:
        """In the parser's words."""
        files = {name: (None, value) for name, value in form.items()}
        answer = requests.post(f"{served.url}/generate", files=files, timeout=WAIT)
        assert answer.status_code == 422
        assert error_of(answer).startswith(error)

    def test_a_broken_form_is_refused(self, served: Served) -> None:
        """A body that is no form gets one line."""
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        body = b"--b\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n--b--\r\n"
        answer = requests.post(f"{served.url}/generate", data=body, headers=headers, timeout=WAIT)
        assert answer.status_code == 400
        assert error_of(answer) == "invalid_input: the form cannot be read; check it"

    def test_a_client_that_hangs_up_cancels_its_job(self, served: Served) -> None:
        """The next job does not wait for it."""
        before = stopped_jobs(served)
        body = json.dumps(LONG).encode()
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            head = f"POST /generate HTTP/1.1\r\nHost: pod\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            in_progress(served.url)
        assert post(f"{served.url}/generate", QUICK).status_code == 200
        assert stopped_jobs(served) == before + 1

    def test_a_cancelled_job_has_no_video(self, served: Served) -> None:
        """A client that still waits gets one line."""
        answers: list[requests.Response] = []
        client = threading.Thread(
            target=lambda: answers.append(post(f"{served.url}/generate", LONG))
        )
        client.start()
        in_progress(served.url)
        (entry,) = served.pod.desk.unfinished()
        post(f"{served.url}/cancel/{entry.id}")
        client.join()
        assert answers[0].status_code == 409
        assert error_of(answers[0]).startswith("cancelled: ")

    def test_a_video_in_a_bucket_is_led_to(self, settings: Settings, tiny: VideoModel) -> None:
        """With a bucket the answer leads to its signed link, without the pod's key."""
        folder = settings.output_dir
        (folder / "clips").mkdir(parents=True)
        with rclone(folder, "key", "secret") as endpoint:
            bucket = Settings(
                BUCKET_ENDPOINT_URL=endpoint, BUCKET_ACCESS_KEY_ID="key",
                BUCKET_SECRET_ACCESS_KEY="secret", BUCKET_NAME="clips",  # noqa: S106 - the test's
                model="tiny", work_dir=settings.work_dir,
            )  # fmt: skip
            with serving(bucket, tiny, []) as own:
                answer = post(f"{own.url}/generate", QUICK)
        assert answer.history[0].status_code == 303
        assert len(frames_of(answer.content)) == 16


class TestFiles:
    """`GET /files/{name}`."""

    def test_a_range_of_a_file(self, served: Served) -> None:
        """A player can seek, and the poster is a picture."""
        output = post(f"{served.url}/runsync", {"input": QUICK}).json()["output"]
        whole = get(output["video_url"]).content
        part = get(output["video_url"], headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole[10:20])
        assert get(output["poster_url"]).headers["content-type"] == "image/jpeg"

    @pytest.mark.parametrize(
        "name",
        ["secret.txt", "../secret.mp4", "%2e%2e%2fsecret.mp4", "..%5csecret.mp4", ".hidden.mp4",
         "kept/secret.mp4", "%2fetc%2fpasswd", "job.json", "none.mp4", "a.mp4%00.jpg", ""],
    )  # fmt: skip
    def test_nothing_else_is_served(self, served: Served, name: str) -> None:
        """No other folder, no hidden file, no name that a job does not give."""
        folder = served.pod.worker.settings.output_dir
        (folder / "kept").mkdir(exist_ok=True, parents=True)
        for secret in ("secret.txt", "../secret.mp4", ".hidden.mp4", "kept/secret.mp4", "job.json"):
            (folder / secret).write_text("secret")
        request = requests.Request("GET", served.url).prepare()
        request.url = f"{served.url}/files/{name}"  # as it is: requests would tidy it
        with requests.Session() as session:
            answer = session.send(request, timeout=WAIT)
        assert answer.status_code == 404
        assert error_of(answer).startswith("not_found: ")


class TestKey:
    """A pod with a key."""

    @pytest.mark.parametrize("pod", [{"api_key": SecretStr("lock")}], indirect=True)
    def test_all_but_ping_needs_it(self, pod: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every route needs the key, also unknown ones; RunPod's client sends it."""
        key = {"Authorization": "lock"}
        paths = get(f"{pod.url}/openapi.json", headers=key).json()["paths"]
        assert get(f"{pod.url}/ping").status_code in {200, 204}
        del paths["/ping"]
        routes = [(method, path) for path, ways in paths.items() for method in ways]
        for method, path in [*routes, ("get", "/openapi.json"), ("get", "/none")]:
            for wrong in ({}, {"Authorization": "Bearer lok"}, {"Authorization": "l\xf6ck"}):
                answer = requests.request(method, pod.url + path, headers=wrong, timeout=WAIT)
                assert answer.status_code == 401, path
                assert error_of(answer).startswith("unauthorized: send the key")
        monkeypatch.setattr(runpod, "endpoint_url_base", f"{pod.url}/v2")
        assert runpod.Endpoint("any", api_key="lock").health()["jobs"]["completed"] == 0
        with pytest.raises(RuntimeError, match="401 Unauthorized"):
            runpod.Endpoint("any", api_key="lok").health()

    def test_a_pod_open_to_all_needs_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a key it does not start, and says so in one line."""
        monkeypatch.setenv("ONETAKE_HOST", "0.0.0.0")  # noqa: S104 - refused
        with pytest.raises(SettingsError, match="ONETAKE_API_KEY: not set"):
            listen(Settings())
        ran = CliRunner().invoke(app, ["serve"])
        assert ran.exit_code == 1
        assert ran.stderr.startswith("invalid_settings: ONETAKE_API_KEY: not set; a pod that")
        assert ran.stderr.count("\n") == 1

    def test_without_one_other_sites_may_not_ask(self, served: Served) -> None:
        """A page of another site makes no videos here."""
        answer = get(f"{served.url}/health", headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
        assert error_of(answer).startswith("forbidden: another site's page")


class TestLimits:
    """Size of bodies, rate of requests, length of the queue."""

    @pytest.mark.parametrize("pod", [{"max_body": 1000}], indirect=True)
    @pytest.mark.parametrize("path", ["run", "generate"])
    @pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
    def test_a_large_body_is_not_read(self, pod: Served, path: str, kind: str) -> None:
        """It is refused with a length in its header, and without one in chunks."""
        headers = {"Content-Type": kind}
        start = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + b"a" * 500
        for body in (start * 2, iter([start, start])):
            answer = requests.post(f"{pod.url}/{path}", data=body, headers=headers, timeout=WAIT)
            assert answer.status_code == 413
            assert error_of(answer).startswith("body_too_large: at most 1,000 bytes are taken")

    @pytest.mark.parametrize("pod", [{"rate_limit": 3}], indirect=True)
    def test_a_client_may_not_ask_too_often(self, pod: Served) -> None:
        """With three requests a minute, the fourth must wait; pings are free."""
        answers = [get(f"{pod.url}/health") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert error_of(answers[3]).startswith("too_many_requests: ")
        assert 15 <= int(answers[3].headers["Retry-After"]) <= 20
        assert get(f"{pod.url}/ping").status_code in {200, 204}

    def test_the_rate_is_each_client_s_and_comes_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At sixty a minute a client gets a token each second; old clients are forgotten."""
        now = 0.0
        monkeypatch.setattr(guard.time, "monotonic", lambda: now)
        monkeypatch.setattr(guard, "MOST_CLIENTS", 2)
        rate = guard.Rate(60)
        assert [rate.wait("a") for _ in range(61)] == [*[0] * 60, pytest.approx(1)]
        assert rate.wait("b") == 0
        now = 1.0
        assert (rate.wait("a"), rate.wait("a")) == (0, pytest.approx(1))
        rate.wait("c")
        assert sorted(rate._buckets) == ["a", "c"]

    @pytest.mark.parametrize("pod", [{"max_queue": 0}], indirect=True)
    def test_a_full_queue_takes_no_more(self, pod: Served) -> None:
        """The refusal says when to come back, and a cancelled job makes room."""
        first = post(f"{pod.url}/run", {"input": LONG}).json()
        for path, body in (("run", {"input": LONG}), ("generate", LONG)):
            answer = post(f"{pod.url}/{path}", body)
            assert answer.status_code == 429
            assert error_of(answer).startswith("queue_full: 0 jobs are waiting")
            assert int(answer.headers["Retry-After"]) >= 1
        post(f"{pod.url}/cancel/{first['id']}")
        second = post(f"{pod.url}/run", {"input": LONG})
        assert second.json()["status"] == "IN_QUEUE"
        post(f"{pod.url}/cancel/{second.json()['id']}")


class TestDesk:
    """Cases that would take half an hour or a broken card."""

    def test_results_are_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They go after their time or when there are too many; waiting jobs stay."""
        monkeypatch.setattr(desk, "MOST_KEPT", 2)
        own = Desk(Settings())
        entries = [own.submit({}) for _ in range(5)]
        for entry in entries[:4]:
            own.cancel(entry)
        own._forget()
        assert list(own._entries.values()) == entries[2:]
        monkeypatch.setattr(desk, "KEPT_SECONDS", 0)
        own._forget()
        assert list(own._entries.values()) == entries[4:]

    def test_a_take_cut_short_has_a_link_and_an_error(self) -> None:
        """The output of a failed job is the take up to the segment that failed."""

        async def make(_job: dict[str, Any]) -> dict[str, Any]:
            return {"video_url": "u", "error": "out_of_memory: segment 2 of 3 failed"}

        async def status_of_one() -> dict[str, Any]:
            own = Desk(Settings())
            entry = own.submit({"input": {}})
            working = asyncio.create_task(own.work(make))
            await entry.ended.wait()
            own.leave()
            await working
            return entry.status()

        status = asyncio.run(status_of_one())
        assert (status["status"], status["output"]) == ("FAILED", {"video_url": "u"})
        assert status["error"] == "out_of_memory: segment 2 of 3 failed"

    def test_a_lost_card_ends_the_pod(self) -> None:
        """Its job and those that wait get an error, and no more are taken."""

        async def make(_job: dict[str, Any]) -> dict[str, Any]:
            return {"error": "device_lost: the card stopped answering", "refresh_worker": True}

        own = Desk(Settings())
        first, second = own.submit({}), own.submit({})
        asyncio.run(own.work(make))
        assert first.status()["error"] == own.lost == "device_lost: the card stopped answering"
        assert second.status()["error"] == desk.LEAVING
        assert own.health()["workers"]["unhealthy"] == 1
        assert (first.state, second.state) == (State.FAILED, State.FAILED)


class TestStartAndEnd:
    """From the open port to the exit code."""

    def test_a_pod_that_boots_says_so(self, settings: Settings, tiny: VideoModel) -> None:
        """A ping gets 204 until the boot ends; a job that came earlier runs then."""
        goes_on = threading.Event()
        with serving(settings, tiny, [lambda: goes_on.wait(WAIT)]) as own:
            assert get(f"{own.url}/ping").status_code == 204
            assert get(f"{own.url}/health").json()["workers"]["initializing"] == 1
            job = post(f"{own.url}/run", {"input": QUICK}).json()
            assert job["status"] == "IN_QUEUE"
            goes_on.set()
            assert post(f"{own.url}/runsync", {"input": QUICK}).json()["status"] == "COMPLETED"
            assert get(f"{own.url}/status/{job['id']}").json()["status"] == "COMPLETED"
            assert get(f"{own.url}/ping").status_code == 200

    def test_a_pod_that_cannot_boot_ends(self, settings: Settings, tiny: VideoModel) -> None:
        """Its port closes, and the caller gets the reason."""

        def check() -> None:
            raise StageError("boot", "the card is missing")

        with serving(settings, tiny, [check]) as own:
            own.thread.join(WAIT)
            with pytest.raises(requests.ConnectionError):
                get(f"{own.url}/ping")
        assert str(own.failure) == "boot_failed: the card is missing"

    @pytest.mark.parametrize("pod", [{"grace_period": 0}], indirect=True)
    def test_after_the_grace_period_jobs_are_handed_back(self, pod: Served) -> None:
        """The running job and those that wait must be sent again; the pod ends."""
        answers: list[requests.Response] = []
        clients = [
            threading.Thread(target=lambda: answers.append(post(f"{pod.url}/generate", LONG)))
            for _ in range(2)
        ]
        for client in clients:
            client.start()
        in_progress(pod.url)
        pod.leave()
        for client in clients:
            client.join()
        assert [error_of(answer) for answer in answers] == [desk.LEAVING] * 2
        pod.thread.join(WAIT)
        assert not list(pod.pod.worker.settings.output_dir.glob("*"))

    def test_a_port_that_is_taken_is_named(self, served: Served) -> None:
        """One line, as for every setting."""
        port = int(served.url.rpartition(":")[2])
        with pytest.raises(SettingsError, match=rf"ONETAKE_PORT: 127\.0\.0\.1:{port} cannot"):
            listen(Settings(port=port))

    @pytest.mark.parametrize(
        ("variables", "url"),
        [
            ({}, "http://127.0.0.1:8000/files"),
            ({"host": "0.0.0.0", "port": 80}, "http://localhost:80/files"),  # noqa: S104
            ({"RUNPOD_POD_ID": "p1"}, "http://127.0.0.1:8000/files"),
            (
                {"RUNPOD_POD_ID": "p1", "host": "0.0.0.0"},  # noqa: S104
                "https://p1-8000.proxy.runpod.net/files",
            ),
            ({"public_url": "https://a.b/c"}, "https://a.b/c"),
        ],
    )
    def test_links_lead_back(self, variables: dict[str, Any], url: str) -> None:
        """They lead to this machine, to RunPod's proxy, or to the operator's URL."""
        assert files_url(Settings(**variables)) == url

    def test_the_image_s_command_runs_a_pod(self, tmp_path: Path) -> None:
        """`MODE_TO_RUN=pod python handler.py`: on SIGTERM the job ends and its client gets it."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        env = {**os.environ, "MODE_TO_RUN": "pod", "ONETAKE_PORT": str(port)}
        command = [sys.executable, str(ROOT / "handler.py")]
        with worker_process(command, env, tmp_path, tmp_path / "log") as process:
            await_answer(process, f"{url}/ping", tmp_path / "log")
            fields = {**QUICK, "num_inference_steps": 8, "duration": 2}
            job = post(f"{url}/run", {"input": fields}).json()["id"]
            in_progress(url)
            process.send_signal(signal.SIGTERM)
            until(lambda: post(f"{url}/run", {"input": QUICK}).status_code == 503)
            late = post(f"{url}/run", {"input": QUICK})
            until(lambda: get(f"{url}/status/{job}").json()["status"] == "COMPLETED")
            status = get(f"{url}/status/{job}").json()
            assert process.wait(WAIT) == 0
        assert len(frames_of((tmp_path / "outputs" / f"{job}.mp4").as_uri())) == 32
        assert status["output"]["video_url"] == f"{url}/files/{job}.mp4"
        assert (late.status_code, error_of(late)) == (503, desk.LEAVING)
        assert "Traceback" not in (tmp_path / "log").read_text()
