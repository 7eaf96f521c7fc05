"""Takes that are kept back until somebody has looked at them.

They lie in a store below `QUARANTINE`, each in a folder whose name nobody can guess, with a record:
its answer, which has no links yet. Approving moves the files to where they would have gone; either
way the job's answer says so when its queue delivers it again.
"""

import contextlib
import datetime as dt
import json
import secrets
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from onetake.delivery.storage import Store
from onetake.media.formats import CONTENT_TYPES
from onetake.runtime.errors import JobError, StageError

QUARANTINE = "quarantine/"
_JSON = "application/json"
_TYPES = {**CONTENT_TYPES, "jpg": "image/jpeg", "json": _JSON}
_SIDECAR = ".take.json"
_VERDICTS = ("approved", "rejected")


class Waiting(NamedTuple):
    """A take that waits."""

    name: str
    since: str  # ISO 8601, UTC
    categories: list[str]
    link: str  # for whoever reviews it


class Quarantine:
    """The takes of one store that wait."""

    def __init__(self, store: Store, work: Path) -> None:
        """``work`` is a folder for files that are gone at once."""
        self._store = store
        self._work = work

    def put(self, files: list[Path], name: str, asked: str, answer: dict[str, Any]) -> None:
        """Keep a take back: its video first, then what lies beside it; ``asked`` is a digest.

        Raises:
            StageError: the store does not take it.
        """
        folder = f"{QUARANTINE}{secrets.token_urlsafe(16)}/"
        since = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        keys = [file.name for file in files]
        record = {"asked": asked, "answer": answer, "since": since, "files": keys}
        try:
            for file in files:
                self._store.put(file, folder + file.name, _TYPES[file.suffix[1:]])
            self._write(f"{folder}{name}.json", record)
        except StageError:
            for file in files:  # nobody would find them there
                with contextlib.suppress(StageError):
                    self._store.delete(folder + file.name)
            raise

    def waiting(self) -> list[Waiting]:
        """All of them, the oldest first.

        Raises:
            StageError: the store cannot be read.
        """
        found = []
        for key in self._store.keys(QUARANTINE):
            written = self._store.read(key) if _is_record(key) else None
            if written is not None:  # else somebody has just decided
                record = json.loads(written)
                link = self._store.link(f"{Path(key).parent}/{record['files'][0]}")
                categories = record["answer"]["safety"]["categories"]
                found.append(Waiting(Path(key).stem, record["since"], categories, link))
        return sorted(found, key=lambda take: take.since)

    def approve(self, name: str) -> dict[str, Any]:
        """Let a take go; gives its answer, with links.

        Raises:
            JobError: none of this name waits, or it was rejected; StageError: the store fails.
        """
        folder, record = self._begin(name, "approved")
        waiting = set(self._store.keys(folder))
        for file in record["files"]:
            if folder + file in waiting:  # an approval that was cut off goes on
                self._store.move(folder + file, file)
        video, poster, *_ = record["files"]
        link = self._store.link(video)
        links = {"video_url": link, "result": link, "poster_url": self._store.link(poster)}
        return self._end(folder, name, record, links)

    def reject(self, name: str) -> dict[str, Any]:
        """Delete a take; gives its answer.

        Raises:
            JobError: none of this name waits, or it was approved; StageError: the store fails.
        """
        folder, record = self._begin(name, "rejected")
        for file in record["files"]:
            self._store.delete(folder + file)
        return self._end(folder, name, record, {})

    def _begin(self, name: str, verdict: str) -> tuple[str, dict[str, Any]]:
        """The folder and the record of a take; the decision is noted before anything moves.

        Of two who decide differently in the same moment neither gets the take: each notes its own
        decision before it looks for the other's, whose record goes before its note does.
        """
        gone = JobError("NAME", f"{name} does not wait; see `onetake review list`")
        keys = self._store.keys(QUARANTINE)
        key = next((key for key in keys if _is_record(key) and Path(key).stem == name), None)
        written = self._store.read(key) if key else None
        if key is None or written is None:
            raise gone
        folder = f"{Path(key).parent}/"
        other = next(each for each in _VERDICTS if each != verdict)
        self._write(folder + verdict, {})
        there = self._store.keys(folder)
        if folder + other in there or key not in there:
            self._store.delete(folder + verdict)
            decided = JobError("NAME", f"{name} is being {other} already; finish that")
            raise decided if key in there else gone
        return folder, json.loads(written) | {"verdict": verdict}

    def _end(
        self, folder: str, name: str, record: dict[str, Any], links: dict[str, Any]
    ) -> dict[str, Any]:
        answer: dict[str, Any] = record["answer"] | links
        answer["safety"] |= {"verdict": record["verdict"]}
        self._write(f"{name}.json", {"asked": record["asked"], "answer": answer})
        self._store.delete(f"{folder}{name}.json")
        self._store.delete(folder + record["verdict"])
        return answer

    def decided(self, name: str, asked: str) -> dict[str, Any] | None:
        """The answer of a take that was decided on; ``asked`` is the request's digest.

        Raises:
            StageError: the store cannot be read.
        """
        written = self._store.read(f"{name}.json")
        record = json.loads(written) if written else {}
        answer: dict[str, Any] | None = record.get("answer")
        waits = answer is None or answer["safety"]["verdict"] == "flagged"
        return None if waits or record["asked"] != asked else answer

    def _write(self, key: str, record: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory(dir=self._work) as folder:
            file = Path(folder, "record")
            file.write_text(json.dumps(record))
            self._store.put(file, key, _JSON)


def _is_record(key: str) -> bool:
    return key.endswith(".json") and not key.endswith(_SIDECAR)
