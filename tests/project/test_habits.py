"""The tools that keep order: the developers' lock, the hooks and the hosted checks."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "builder" / "requirements-dev.txt").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())


def recipe(target: str) -> list[str]:
    """The commands of one target of the Makefile."""
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert match
    return [line.strip() for line in match[1].splitlines()]


def test_the_developers_lock_holds_what_the_project_needs() -> None:
    """Each requirement but torch is locked in its range; if not, `make lock` is due."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^(\S+)==(\S+)", LOCK, re.MULTILINE):
        versions.setdefault(name, []).append(version)
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + extras["dev"] + extras["build"] + extras["charts"]
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        if name not in {"onetake", "torch"}:
            assert all(map(requirement.specifier.contains, versions[name])), requirement
            assert name in versions


def test_locks_name_no_host() -> None:
    """A lock is good for every index: it has names, versions and hashes only."""
    for file in (ROOT / "builder").glob("requirements*.txt"):
        assert not re.search(r"://|^-", file.read_text(), re.MULTILINE), file.name


def test_hooks_run_what_make_check_runs() -> None:
    """Every tool of `make check` runs on a commit too."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    tools = {line.split()[0].removeprefix("$(BIN)/") for line in recipe("check")}
    assert tools == {entry.split()[0].removeprefix(".venv/bin/") for entry in entries}


def test_hosted_checks_call_make() -> None:
    """Workflows run the Makefile's targets, and each action is pinned to a commit."""
    for file in WORKFLOWS:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            for step in job["steps"]:
                if "uses" in step:
                    assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]), step
                else:
                    assert recipe(step["run"].removeprefix("make "))


def test_test_measures_coverage() -> None:
    """`make test` fails when less than 90% of src is run."""
    assert "--fail-under 90" in recipe("test")[-1]
