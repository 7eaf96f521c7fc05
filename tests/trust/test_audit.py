"""The audit log: a chain of hashes that shows where somebody changed it."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from onetake.trust.provenance.audit import START, AuditLog


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    """Five records."""
    audit = AuditLog(tmp_path / "audit" / "audit.jsonl")
    for number in range(5):
        audit.append({"job": f"job-{number}", "title": "青岚"})
    return audit


def test_each_record_follows_the_one_before(log: AuditLog) -> None:
    """Numbers and hashes form a chain from the start."""
    records = list(log.records())
    assert [record["number"] for record in records] == list(range(5))
    assert [record["before"] for record in records] == [START, *(r["hash"] for r in records[:-1])]
    assert log.check() == (5, 0, records[-1]["hash"], "")


def test_a_long_record_is_found_again(log: AuditLog) -> None:
    """The chain goes on after a record of 200 kB."""
    log.append({"prompts": ["青岚" * 30_000]})
    log.append({"job": "job-6"})
    assert log.check()[::3] == (7, "")


def changed(lines: list[str]) -> list[str]:
    """The lines with one fact in the middle changed."""
    return [*lines[:2], lines[2].replace("job-2", "job-9"), *lines[3:]]


def rehashed(lines: list[str]) -> list[str]:
    """The same, with a new hash that fits."""
    from onetake.trust.provenance.audit import _hash  # noqa: PLC0415

    record = json.loads(lines[2]) | {"job": "job-9"}
    record["hash"] = _hash(record)
    return [*lines[:2], json.dumps(record), *lines[3:]]


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (changed, "line 3 was changed"),
        (rehashed, "line 4 does not follow"),
        (lambda lines: lines[:1] + lines[2:], "line 2 does not follow"),
        (lambda lines: lines[1:], "line 1 does not follow"),
        (lambda lines: [*lines[:3], lines[1], *lines[3:]], "line 4 does not follow"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "line 1 does not follow"),
        (lambda lines: [*lines[:2], "{}", *lines[3:]], "line 4 does not follow"),
    ],
)
def test_tampering_is_found(
    tamper: Callable[[list[str]], list[str]], problem: str, log: AuditLog
) -> None:
    """A line that is changed, removed, inserted or moved breaks the chain there."""
    lines = tamper(log._path.read_text().splitlines())
    log._path.write_text("\n".join(lines) + "\n")
    assert log.check().problem.startswith(problem)


def test_a_killed_writer_s_line_is_closed(log: AuditLog) -> None:
    """The unfinished line is skipped, and the chain goes on from the last whole record."""
    with log._path.open("a") as file:
        file.write('{"number": 5, "bef')
    log.append({"job": "after"})
    check = log.check()
    assert (check.records, check.torn, check.problem) == (6, 1, "")


def append_many(path: Path, writer: int) -> None:
    """Write twenty records, as one worker does."""
    for number in range(20):
        AuditLog(path).append({"job": f"{writer}-{number}"})


def test_two_workers_at_once_break_nothing(tmp_path: Path) -> None:
    """All records of both workers are in one chain."""
    path = tmp_path / "audit.jsonl"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        list(workers.map(append_many, [path, path], range(2)))
    check = AuditLog(path).check()
    assert (check.records, check.torn, check.problem) == (40, 0, "")
    assert len({record["job"] for record in AuditLog(path).records()}) == 40
