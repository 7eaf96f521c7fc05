"""A log of what was made: one JSON object a line, each with the hash of the one before it.

Whoever changes, removes or inserts a line breaks the chain from there on, and `check` says where.
What a chain alone cannot show is that its last lines were cut off: note the head elsewhere.
Workers that share the file take turns by a lock beside it. A line that a killed writer left
unfinished is closed, and skipped ever after.
"""

import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from filelock import FileLock

START = "0" * 64  # what the first line names as the one before it
_LOCK_SECONDS = 30.0
_LAST_BYTES = 1 << 16  # more than most records have; longer ones are read in more steps

Record = dict[str, Any]


class Check(NamedTuple):
    """What `AuditLog.check` found."""

    records: int
    torn: int  # lines of killed writers
    head: str  # the last record's hash
    problem: str  # "" if the chain holds


class AuditLog:
    """One file of records."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, facts: Mapping[str, Any]) -> Record:
        """Write a record of ``facts``, which JSON must be able to carry; gives it.

        Raises:
            OSError: it cannot be written; filelock.Timeout is one.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with (
            FileLock(f"{self._path}.lock", timeout=_LOCK_SECONDS),
            self._path.open("a+b") as file,
        ):
            last, closed = _last(file)
            at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
            record: Record = {
                "number": last["number"] + 1 if last else 0,
                "before": last["hash"] if last else START,
                "at": at,
                **facts,
            }
            record["hash"] = _hash(record)
            torn = b"" if closed else b"\n"
            file.write(torn + json.dumps(record, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return record

    def records(self) -> Iterator[Record]:
        """All of them, unchecked, the oldest first."""
        if self._path.is_file():
            with self._path.open("rb") as file:
                yield from filter(None, map(_record, file))

    def check(self) -> Check:
        """Read the chain from its start."""
        records, torn, head = 0, 0, START
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                record = _record(line)
                if record is None:
                    torn += 1
                    continue
                if record["before"] != head or record["number"] != records:
                    problem = f"line {number} does not follow: a record was removed or inserted"
                    return Check(records, torn, head, problem)
                if record["hash"] != _hash(record):
                    return Check(records, torn, head, f"line {number} was changed")
                head, records = record["hash"], records + 1
        return Check(records, torn, head, "")


def _last(file: BinaryIO) -> tuple[Record | None, bool]:
    """The last whole record, if there is one, and whether the last line is closed."""
    size = file.seek(0, os.SEEK_END)
    block = _LAST_BYTES
    while True:
        start = max(0, size - block)
        file.seek(start)
        end = file.read()
        lines = end.split(b"\n")[1 if start else 0 :]  # the first one may be cut off
        last = next(filter(None, map(_record, reversed(lines))), None)
        if last or not start:
            return last, not end or end.endswith(b"\n")
        block *= 4


def _record(line: bytes) -> Record | None:
    """A whole record; None for anything else."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and {"number", "before", "hash"} <= record.keys()
    return record if whole else None


def _hash(record: Mapping[str, Any]) -> str:
    content = {key: value for key, value in record.items() if key != "hash"}
    written = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()
