"""The image's files say what the code says, as far as that shows without a container engine."""

import http.server
import json
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import compose_spec
import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import onetake
from onetake.jobs.request import Job
from onetake.models.catalogue import MODELS
from onetake.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "compose.yaml").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETTINGS = {
    str(field.validation_alias or f"ONETAKE_{name.upper()}"): field
    for name, field in Settings.model_fields.items()
}
GRACE_PERIOD = Settings.model_fields["grace_period"].default
TYPES = {str: "string", Path: "string", bool: "boolean", float: "number", int: "number"}
HUB = json.loads((ROOT / ".runpod" / "hub.json").read_text())
HUB_TESTS = json.loads((ROOT / ".runpod" / "tests.json").read_text())
INPUTS = {entry["key"]: entry["input"] for entry in HUB["config"]["env"] if "input" in entry}
MANIFESTS = [
    manifest
    for file in sorted((ROOT / "deploy").glob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text())
]
PODS = {m["kind"]: m["spec"]["template"]["spec"] for m in MANIFESTS if "template" in m["spec"]}


def locked(*names: str) -> dict[str, str]:
    """The packages of locks and their versions; each has a hash."""
    versions = {}
    for name in names:
        text = (ROOT / "builder" / f"requirements{name}.txt").read_text()
        pinned = re.findall(r"^(\S+)==(\S+) \\\n {4}--hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
        assert len(pinned) == len(re.findall(r"^[^#\s-]", text, re.MULTILINE))
        versions |= dict(pinned)
    return versions


def test_the_linter_finds_nothing() -> None:
    """Hadolint is content with the Dockerfile."""
    hadolint = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], check=False, capture_output=True, text=True
    )
    assert (linted.stdout, linted.returncode) == ("", 0)


def test_older_builders_can_read_it() -> None:
    """buildah 1.28 knows neither heredocs nor linked copies."""
    assert "<<" not in DOCKERFILE
    assert "--link" not in DOCKERFILE


def test_its_settings_and_its_version_are_the_code_s() -> None:
    """Variables that the image sets exist, and its label is raised with the package."""
    assert set(re.findall(r"(ONETAKE_\w+)=", DOCKERFILE)) <= set(SETTINGS)
    assert f'image.version="{onetake.__version__}"' in DOCKERFILE


def test_nothing_but_its_sources_is_sent_to_the_build() -> None:
    """What the Dockerfile copies is there, and let through."""
    let_through = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source.replace("${TARGET}", target)
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in line.split()
        for target in ("cpu", "gpu")
    }
    assert {source.split("/")[0] for source in copied} == let_through
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_locks_hold_what_the_package_needs(target: str) -> None:
    """Each requirement is locked in its range; if not, `make lock` is due."""
    versions = locked("", f"-{target}")
    for line in PROJECT["project"]["dependencies"]:
        needed = Requirement(line)
        assert needed.specifier.contains(versions[canonicalize_name(needed.name)]), line


def test_the_locks_hold_what_builds_it() -> None:
    """The same of the build's own requirements."""
    versions = locked("-build")
    for line in PROJECT["build-system"]["requires"]:
        assert Requirement(line).specifier.contains(versions[Requirement(line).name])


def test_both_targets_have_one_torch() -> None:
    """The development image runs the version that production does, without CUDA."""
    assert locked("-cpu") == {"torch": locked("-gpu")["torch"] + "+cpu"}
    assert not set(locked("")) & set(locked("-gpu"))


def test_the_hub_asks_for_settings() -> None:
    """Every input is a setting, with its meaning, its type and its default."""
    for key, declared in INPUTS.items():
        field = SETTINGS[key]
        kinds = {field.annotation} | set(getattr(field.annotation, "__args__", ()))
        assert declared["description"] == field.description
        assert declared["type"] in {TYPES.get(kind, "string") for kind in kinds}, key
        default = str(field.default) if isinstance(field.default, Path) else field.default
        assert (declared.get("default") or None) == (default or None), key
    models = [option["value"] for option in INPUTS["ONETAKE_MODEL"]["options"]]
    assert models == ["", *MODELS]


def test_the_hub_s_presets_are_settings_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each preset sets inputs of the listing only, to values that the worker takes."""
    for preset in HUB["config"]["presets"]:
        assert set(preset["defaults"]) <= set(INPUTS)
        with monkeypatch.context() as patch:
            for key, value in preset["defaults"].items():
                patch.setenv(key, str(value))
            assert Settings.read().model in MODELS


def test_the_hub_s_listing_is_complete() -> None:
    """What RunPod limits is kept, and the bucket that a worker needs is asked for."""
    assert len(HUB["description"]) < 191
    assert HUB["type"] == "serverless"
    assert {key for key in SETTINGS if key.startswith("BUCKET_")} <= set(INPUTS)
    assert HUB_TESTS["config"]["gpuTypeId"] == "NVIDIA GeForce RTX 4090"
    assert HUB_TESTS["config"]["allowedCudaVersions"] == HUB["config"]["allowedCudaVersions"]


def test_the_hub_s_tests_are_legal_jobs() -> None:
    """Each input parses, and each variable is a setting."""
    for test in HUB_TESTS["tests"]:
        Job.parse(test["input"])
        assert test["timeout"] >= 60_000, "milliseconds"
    assert {entry["key"] for entry in HUB_TESTS["config"]["env"]} <= set(SETTINGS)


def test_compose_keeps_its_specification() -> None:
    """A pod with one GPU, a key, time to leave, and nothing that it need not have."""
    compose_spec.PyCompose.from_yaml(COMPOSE).validate()
    service = yaml.safe_load(COMPOSE)["services"]["onetake"]
    assert set(service["environment"]) <= set(SETTINGS)
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"]) == ("nvidia", 1)
    assert service["read_only"]
    assert int(service["stop_grace_period"].removesuffix("s")) > GRACE_PERIOD


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_kubernetes_takes_the_manifests(manifest: dict[str, object]) -> None:
    """Each is what the schemas of Kubernetes say, with no field that they do not know."""
    kubernetes_validate.validate(manifest, "1.37", strict=True)


@pytest.mark.parametrize("kind", PODS)
def test_kubernetes_gives_a_gpu_and_little_else(kind: str) -> None:
    """One GPU, a bound on memory, no root, no writable root, and only settings as variables."""
    pod = PODS[kind]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "memory" in container["resources"]["limits"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {entry["name"] for entry in container.get("env", ())} <= set(SETTINGS)


def test_kubernetes_lets_a_job_finish() -> None:
    """The pod that serves is killed later than it ends by itself."""
    assert PODS["Deployment"]["terminationGracePeriodSeconds"] > GRACE_PERIOD


@pytest.mark.parametrize(("mode", "status", "code"), [
    ("pod", 200, 0),
    ("pod", 204, 1),  # it boots
    ("pod", None, 1),  # nothing listens
    ("serverless", None, 0),
])  # fmt: skip
def test_the_health_check_asks_a_pod_alone(mode: str, status: int | None, code: int) -> None:
    """Only a pod has something that answers."""

    class Ping(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if status and self.path == "/ping" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Ping) as server:
        port = server.server_port if status else 1
        threading.Thread(target=server.serve_forever, daemon=True).start()
        variables = {"MODE_TO_RUN": mode, "ONETAKE_HOST": "0.0.0.0", "ONETAKE_PORT": str(port)}  # noqa: S104
        script = ROOT / "builder" / "healthcheck.py"
        ended = subprocess.run(
            [sys.executable, script], check=False, env=variables, capture_output=True, timeout=20
        )
        server.shutdown()
    assert ended.returncode == code
