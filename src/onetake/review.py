"""Takes that are kept back until somebody has looked at them.

They lie in a store below `QUARANTINE`, each with a record: its answer, which has no links yet.
Approving moves the files to where they would have gone; either way the job's answer says so when
it is asked for again.
"""

import datetime as dt
import json
from pathlib import Path
from typing import Any, NamedTuple

from onetake.encode import CONTENT_TYPES
from onetake.errors import JobError
from onetake.storage import Store

QUARANTINE = "quarantine/"
_JSON = "application/json"


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
        for file in files:
            kind = CONTENT_TYPES.get(file.suffix[1:], "image/jpeg")
            self._store.put(file, QUARANTINE + file.name, kind)
        since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        keys = [file.name for file in files]
        record = {"asked": asked, "answer": answer, "since": since, "files": keys}
        self._write(f"{QUARANTINE}{name}.json", record)

    def waiting(self) -> list[Waiting]:
        """All of them, the oldest first.

        Raises:
            StageError: the store cannot be read.
        """
        found = []
        for key in self._store.keys(QUARANTINE):
            if key.endswith(".json"):
                name = Path(key).stem
                record = self._record(name)
                link = self._store.link(QUARANTINE + record["files"][0])
                categories = record["answer"]["safety"]["categories"]
                found.append(Waiting(name, record["since"], categories, link))
        return sorted(found, key=lambda take: take.since)

    def approve(self, name: str) -> dict[str, Any]:
        """Let a take go; gives its answer, with links.

        Raises:
            JobError: none of this name waits; StageError: the store fails, and it waits on.
        """
        record = self._record(name)
        waiting = set(self._store.keys(QUARANTINE))
        for file in record["files"]:
            if QUARANTINE + file in waiting:  # an approval that was cut off goes on
                self._store.move(QUARANTINE + file, file)
        video, poster = record["files"]
        link = self._store.link(video)
        links = {"video_url": link, "result": link, "poster_url": self._store.link(poster)}
        return self._decide(name, record, "approved", links)

    def reject(self, name: str) -> dict[str, Any]:
        """Delete a take; gives its answer.

        Raises:
            JobError: none of this name waits; StageError: the store fails, and it waits on.
        """
        record = self._record(name)
        for file in record["files"]:
            self._store.delete(QUARANTINE + file)
        return self._decide(name, record, "rejected", {})

    def _decide(
        self, name: str, record: dict[str, Any], verdict: str, links: dict[str, Any]
    ) -> dict[str, Any]:
        answer: dict[str, Any] = record["answer"] | links
        answer["safety"] |= {"verdict": verdict}
        self._write(f"{name}.json", {"asked": record["asked"], "answer": answer})
        self._store.delete(f"{QUARANTINE}{name}.json")
        return answer

    def _record(self, name: str) -> dict[str, Any]:
        written = self._store.read(f"{QUARANTINE}{name}.json")
        if written is None:
            raise JobError("NAME", f"{name} does not wait; see `onetake review list`")
        record: dict[str, Any] = json.loads(written)
        return record

    def _write(self, key: str, record: dict[str, Any]) -> None:
        file = self._work / Path(key).name
        try:
            file.write_text(json.dumps(record))
            self._store.put(file, key, _JSON)
        finally:
            file.unlink(missing_ok=True)
