"""handler.py in its own process, as RunPod's SDK runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import requests

from tests.support.servers import free_port, running
from tests.support.takes import frames_of

ROOT = Path(__file__).parents[2]
QUICK = {"prompt": "a red bottle", "num_inference_steps": 2, "size": "128*96", "duration": 1}


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python handler.py` in ``folder``, where its outputs go too."""
    return subprocess.run(
        [sys.executable, str(ROOT / "handler.py"), *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_local_harness_runs_test_input(tmp_path: Path) -> None:
    """Without arguments the job of test_input.json is made and its URL printed."""
    (tmp_path / "test_input.json").write_text(json.dumps({"input": QUICK}))
    ran = run(tmp_path)
    assert ran.returncode == 0, ran.stderr
    url = (tmp_path / "outputs" / "local_test.mp4").as_uri()
    assert f"'video_url': '{url}'" in ran.stdout
    assert len(frames_of(url)) == 16


def test_a_bad_request_ends_the_harness_with_one_line(tmp_path: Path) -> None:
    """The error is a sentence, and no traceback is printed."""
    ran = run(tmp_path, "--test_input", json.dumps({"input": {"promt": "a"}}))
    assert ran.returncode == 1
    assert "unknown_field: promt: is no field of a job; did you mean prompt?" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_worker_without_a_store_does_not_start(tmp_path: Path) -> None:
    """In production the missing variables are named in one line, at once."""
    ran = run(tmp_path, RUNPOD_WEBHOOK_GET_JOB="http://127.0.0.1:9/job-take/$ID?gpu=x")
    assert ran.returncode == 1
    assert "onetake cannot start: invalid_settings: BUCKET_ENDPOINT_URL" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_worker_with_an_unknown_model_does_not_start(tmp_path: Path) -> None:
    """A model that is not in the table is named at boot."""
    ran = run(tmp_path, ONETAKE_MODEL="wan3")
    assert ran.returncode == 1
    assert "onetake cannot start: invalid_settings: ONETAKE_MODEL: is none of" in ran.stderr


def test_the_served_api_answers_runsync(tmp_path: Path) -> None:
    """Good and bad requests over HTTP: COMPLETED with a URL, FAILED with a sentence."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(ROOT / "handler.py"), "--rp_serve_api"]
    command += ["--rp_api_host", "127.0.0.1", "--rp_api_port", str(port)]
    with running(command, url, tmp_path, tmp_path / "api.log"):
        good = requests.post(f"{url}/runsync", json={"input": QUICK}, timeout=60).json()
        bad = requests.post(f"{url}/runsync", json={"input": {"prompt": 5}}, timeout=60).json()
    assert good["status"] == "COMPLETED"
    assert len(frames_of(good["output"]["video_url"])) == 16
    assert bad["status"] == "FAILED"
    assert bad["error"] == 'invalid_input: prompt: 5 is not text, such as "a red bottle"'
