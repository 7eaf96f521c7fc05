"""The audit log: one JSON object a line, each with the hash of the one before it.

If a line is changed, removed or inserted, the chain breaks there and `AuditLog.check` says where. A
chain alone cannot show that its last lines were cut off: note its head elsewhere. Workers that
share the file take turns by a lock beside it. If a writer is killed, its unfinished line is closed
and skipped.
"""

import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from filelock import FileLock

START = "0" * 64  # the first line has this as the hash before it
_LOCK_SECONDS = 30.0
_TAIL_BYTES = 1 << 16  # longer than most records; longer ones are read in more steps

Record = dict[str, Any]


class Check(NamedTuple):
    """What `AuditLog.check` says of a log."""

    records: int
    torn: int  # unfinished lines of killed writers
    head: str  # the hash of the last record
    problem: str  # "" if the chain holds


class AuditLog:
    """The records in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, facts: Mapping[str, Any]) -> Record:
        """Write ``facts``, which must fit JSON, as a record, and return the record.

        Raises:
            OSError: it cannot be written; filelock.Timeout is an OSError too.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with (
            FileLock(f"{self._path}.lock", timeout=_LOCK_SECONDS),
            self._path.open("a+b") as file,
        ):
            last, is_closed = _last_record(file)
            now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
            record: Record = {
                "number": last["number"] + 1 if last else 0,
                "before": last["hash"] if last else START,
                "at": now,
                **facts,
            }
            record["hash"] = _hash(record)
            closing = b"" if is_closed else b"\n"
            file.write(closing + json.dumps(record, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return record

    def records(self) -> Iterator[Record]:
        """All records, the oldest first; the chain is not checked."""
        if self._path.is_file():
            with self._path.open("rb") as file:
                yield from filter(None, map(_parsed, file))

    def check(self) -> Check:
        """Read the chain from its start, up to the first problem."""
        records, torn, head = 0, 0, START
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                record = _parsed(line)
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


def _last_record(file: BinaryIO) -> tuple[Record | None, bool]:
    """The last whole record, if there is one, and whether the last line is closed."""
    size = file.seek(0, os.SEEK_END)
    length = _TAIL_BYTES
    while True:
        start = max(0, size - length)
        file.seek(start)
        tail = file.read()
        lines = tail.split(b"\n")[1 if start else 0 :]  # the first line may be cut off
        last = next(filter(None, map(_parsed, reversed(lines))), None)
        if last or not start:
            return last, not tail or tail.endswith(b"\n")
        length *= 4


def _parsed(line: bytes) -> Record | None:
    """The record in a line; None if there is no whole one."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    is_whole = isinstance(record, dict) and {"number", "before", "hash"} <= record.keys()
    return record if is_whole else None


def _hash(record: Mapping[str, Any]) -> str:
    content = {key: value for key, value in record.items() if key != "hash"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
