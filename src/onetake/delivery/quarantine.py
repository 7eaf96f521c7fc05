"""Takes that are held back until somebody has reviewed them.

They lie in a store below `QUARANTINE`, each in a folder whose name nobody can guess, with a record:
the take's answer, which has no links yet. Approving a take moves its files to where they would have
gone. After either decision the job's answer says so when its queue delivers the job again.
"""

import contextlib
import datetime as dt
import json
import secrets
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

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
    link: str  # for the reviewer


class Quarantine:
    """The waiting takes of one store."""

    def __init__(self, store: Store, work: Path) -> None:
        """``work`` is a folder for short-lived files."""
        self._store = store
        self._work = work

    def put(
        self, files: list[Path], name: str, request_digest: str, answer: dict[str, Any]
    ) -> None:
        """Hold a take back; ``files`` are its video first, then its poster and sidecar.

        Raises:
            StageError: the store does not take it.
        """
        folder = f"{QUARANTINE}{secrets.token_urlsafe(16)}/"
        since = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        keys = [file.name for file in files]
        record = {"asked": request_digest, "answer": answer, "since": since, "files": keys}
        try:
            for file in files:
                self._store.put(file, folder + file.name, _TYPES[file.suffix[1:]])
            self._write(f"{folder}{name}.json", record)
        except StageError:
            for file in files:  # without a record nobody would find them
                with contextlib.suppress(StageError):
                    self._store.delete(folder + file.name)
            raise

    def waiting(self) -> list[Waiting]:
        """All waiting takes, the oldest first.

        Raises:
            StageError: the store cannot be read.
        """
        takes = []
        for key in self._store.keys(QUARANTINE):
            content = self._store.read(key) if _is_record(key) else None
            if content is not None:  # None: somebody has just decided
                record = json.loads(content)
                link = self._store.link(f"{Path(key).parent}/{record['files'][0]}")
                categories = record["answer"]["safety"]["categories"]
                takes.append(Waiting(Path(key).stem, record["since"], categories, link))
        return sorted(takes, key=lambda take: take.since)

    def approve(self, name: str) -> dict[str, Any]:
        """Release a take and return its answer, with links.

        Raises:
            JobError: no take of this name waits, or it was rejected; StageError: the store fails.
        """
        folder, record = self._begin(name, "approved")
        waiting = set(self._store.keys(folder))
        for file in record["files"]:
            if folder + file in waiting:  # else an approval that was cut off has moved it
                self._store.move(folder + file, file)
        video, poster, *_ = record["files"]
        link = self._store.link(video)
        links = {"video_url": link, "result": link, "poster_url": self._store.link(poster)}
        return self._end(folder, name, record, links)

    def reject(self, name: str) -> dict[str, Any]:
        """Delete a take and return its answer.

        Raises:
            JobError: no take of this name waits, or it was approved; StageError: the store fails.
        """
        folder, record = self._begin(name, "rejected")
        for file in record["files"]:
            self._store.delete(folder + file)
        return self._end(folder, name, record, {})

    def _begin(self, name: str, verdict: str) -> tuple[str, dict[str, Any]]:
        """The folder and the record of a take; the decision is written before anything moves.

        If two people decide differently at the same moment, neither gets the take. Each writes the
        own decision before looking for the other's, and a take's record is deleted before its
        decision is.
        """
        keys = self._store.keys(QUARANTINE)
        key = next((key for key in keys if _is_record(key) and Path(key).stem == name), None)
        content = self._store.read(key) if key else None
        if key is None or content is None:
            _refuse_unknown(name)
        folder = f"{Path(key).parent}/"
        other = next(each for each in _VERDICTS if each != verdict)
        self._write(folder + verdict, {})
        present = self._store.keys(folder)
        if folder + other in present or key not in present:
            self._store.delete(folder + verdict)
            if key in present:
                raise JobError("NAME", f"{name} is being {other} already; finish that")
            _refuse_unknown(name)
        return folder, json.loads(content) | {"verdict": verdict}

    def _end(
        self, folder: str, name: str, record: dict[str, Any], links: dict[str, Any]
    ) -> dict[str, Any]:
        answer: dict[str, Any] = record["answer"] | links
        answer["safety"] |= {"verdict": record["verdict"]}
        self._write(f"{name}.json", {"asked": record["asked"], "answer": answer})
        self._store.delete(f"{folder}{name}.json")
        self._store.delete(folder + record["verdict"])
        return answer

    def decided(self, name: str, request_digest: str) -> dict[str, Any] | None:
        """The answer of a take of that request, if it was approved or rejected.

        Raises:
            StageError: the store cannot be read.
        """
        content = self._store.read(f"{name}.json")
        record = json.loads(content) if content else {}
        answer: dict[str, Any] | None = record.get("answer")
        waits = answer is None or answer["safety"]["verdict"] == "flagged"
        return None if waits or record["asked"] != request_digest else answer

    def _write(self, key: str, record: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory(dir=self._work) as folder:
            file = Path(folder, "record")
            file.write_text(json.dumps(record))
            self._store.put(file, key, _JSON)


def _refuse_unknown(name: str) -> NoReturn:
    raise JobError("NAME", f"{name} does not wait; see `onetake review list`")


def _is_record(key: str) -> bool:
    return key.endswith(".json") and not key.endswith(_SIDECAR)
