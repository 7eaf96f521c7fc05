"""The pod's answers are as its OpenAPI says, for requests that schemathesis makes up."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from pydantic import SecretStr

from onetake.entrypoints.pod import desk, server
from onetake.models.spec import VideoModel
from onetake.runtime.settings import Settings
from tests.entrypoints.test_handler import QUICK
from tests.support.pods import Served, serving
from tests.support.servers import BIN

KEY = {"Authorization": "Bearer lock"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny: VideoModel) -> Iterator[Served]:
    """A pod that answers its first job, and each later one with the same result."""
    folder = tmp_path_factory.mktemp("schema")
    settings = Settings(
        model="tiny", output_dir=folder / "outputs", work_dir=folder / "work",
        rate_limit=1_000_000, api_key=SecretStr("lock"),
    )  # fmt: skip
    result: dict[str, Any] = {}

    class MakesOne(server.Runner):
        async def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
            if not result:
                result.update(await super().__call__(job))
            return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk, "LAST_LOOK", 0.0)
        patch.setattr(server, "Runner", MakesOne)
        with serving(settings, tiny, []) as pod:
            yield pod


def test_the_answers_of_a_job_are_as_described(served: Served) -> None:
    """Each route's answer has the described status, type and shape."""
    described = schemathesis.openapi.from_url(f"{served.url}/openapi.json", headers=KEY)

    def ask(method: str, path: str, **parts: Any) -> requests.Response:
        case = described[path][method].Case(headers=parts.pop("headers", {}) | KEY, **parts)
        answer = case.call()
        case.validate_response(answer)
        assert answer.status_code == 200
        return answer

    job = ask("POST", "/runsync", body={"input": QUICK}, media_type="application/json").json()
    named = {"path_parameters": {"job_id": job["id"]}}
    for method, path in (
        ("GET", "status"),
        ("GET", "stream"),
        ("POST", "stream"),
        ("POST", "cancel"),
    ):
        ask(method, f"/{path}/{{job_id}}", **named)
    ask("GET", "/health")
    ask("GET", "/ping")
    ask("GET", "/metrics")
    name = Path(job["output"]["video_url"]).name
    ask("GET", "/files/{name}", path_parameters={"name": name})
    for accept in ("application/json", "video/mp4"):
        request = {"body": QUICK, "media_type": "application/json"}
        answer = ask("POST", "/generate", headers={"Accept": accept}, **request)
        assert answer.headers["content-type"] == [accept]


def test_made_up_requests(served: Served, tmp_path: Path) -> None:
    """Every answer is as described, nonsense is refused, and every route needs the key."""
    ran = subprocess.run(
        [
            str(BIN / "schemathesis"), "run", f"{served.url}/openapi.json",
            "--header", f"Authorization: {KEY['Authorization']}",
            "--phases", "coverage,fuzzing", "--max-examples", "10", "--generation-deterministic",
            "--exclude-path", "/runsync",  # reads its body as /run does
            # A field that is legal alone may be senseless beside another, or to this model.
            "--exclude-checks", "positive_data_acceptance",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "11 passed" in ran.stdout
