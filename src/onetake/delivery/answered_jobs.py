"""Which jobs are answered: a job delivered twice is made once, and no finished take is lost.

The answer of a finished job lies beside its video, as `<name>.json`. If the store refuses the take,
both lie in the folder of kept takes until the job comes again or `onetake recover` stores them.
"""

import contextlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any, NoReturn

from onetake.delivery.publish import TakeFiles
from onetake.delivery.quarantine import Quarantine
from onetake.delivery.storage import Store
from onetake.jobs.request import digest
from onetake.jobs.response import Result
from onetake.media.formats import CONTENT_TYPES
from onetake.runtime.errors import StageError

log = logging.getLogger("onetake")


class AnsweredJobs:
    """The answers in one store and in one folder of kept takes."""

    def __init__(self, store: Store, kept: Path, work: Path, quarantine: Quarantine) -> None:
        """``work`` is a folder for short-lived files."""
        self.store = store
        self.quarantine = quarantine  # the worker's own, whatever the store
        self._kept = kept
        self._work = work

    def find(self, name: str, request: object) -> dict[str, Any] | None:
        """The answer to this very request, if it was given before or its take is kept.

        A store that cannot be read now is no reason to fail the job: it may work again by the end.
        """
        kept = self._kept / f"{name}.json"
        try:
            if kept.is_file() and _answer_to(request, kept.read_bytes()):
                return self.send(name)
            stored = self.store.read(f"{name}.json")
            if stored and (answer := _answer_to(request, stored)):
                if answer["safety"]["verdict"] == "flagged":
                    return self.quarantine.decided(name, digest(request)) or answer
                return self._with_fresh_links(name, answer)
        except StageError as error:
            log.warning("cannot see whether the job is answered already: %s", error)
        return None

    def write(self, name: str, request: object, answer: dict[str, Any]) -> None:
        """Store an answer. A failure is logged and does not fail the job."""
        self._write_record(name, {"asked": digest(request), "answer": answer})

    def hold(self, files: TakeFiles, request: object, result: Result, *, noted: bool) -> None:
        """Put a flagged take into the quarantine; ``noted``: also store its answer.

        Raises:
            StageError: the quarantine does not take it.
        """
        whole = result.error is None
        answer = result.model_dump(mode="json", exclude={"error"} if whole else None)
        if noted and whole:  # first: it must not overwrite the answer of a reviewer's decision
            self.write(files.name, request, answer)
        self.quarantine.put(files.all, files.name, digest(request), answer)

    def _write_record(self, name: str, record: dict[str, Any]) -> None:
        file = self._work / f"{name}.json"
        try:
            file.write_text(json.dumps(record))
            self.store.put(file, file.name, "application/json")
        except (OSError, StageError):
            log.warning("the answer was not stored", exc_info=True)
        file.unlink(missing_ok=True)

    def keep(
        self, files: TakeFiles, request: object, result: Result, error: StageError
    ) -> NoReturn:
        """Keep a take that the store refused with ``error``.

        Raises:
            StageError: always; its sentence says where the take is kept, if it could be.
        """
        record = {"asked": digest(request), "answer": result.model_dump(mode="json")}
        try:
            self._kept.mkdir(parents=True, exist_ok=True)
            for file in files.all:
                shutil.move(file, self._kept / file.name)
            (self._kept / f"{files.name}.json").write_text(json.dumps(record))
        except OSError as full:
            detail = f"{error.detail}\n{full}"
            raise StageError("store", error.sentence, detail=detail) from error
        raise StageError(
            "store",
            f"{error.sentence}; the finished take is kept as {files.name}: "
            "send the same job id again, or run `onetake recover` on the worker",
            detail=error.detail,
        ) from error

    def kept(self) -> list[str]:
        """The names of kept takes."""
        return sorted(record.stem for record in self._kept.glob("*.json"))

    def send(self, name: str) -> dict[str, Any]:
        """Store a kept take and return its answer.

        Raises:
            StageError: the store refuses it again.
        """
        record = json.loads((self._kept / f"{name}.json").read_text())
        answer: dict[str, Any] = record["answer"]
        files = TakeFiles(self._kept, name, answer["output"]["container"])
        paths = files.all
        if answer["safety"]["verdict"] == "flagged":
            # First: it must not overwrite the answer of a reviewer's decision.
            self._write_record(name, record)
            self.quarantine.put(paths, name, record["asked"], answer)
        else:
            link = self.store.put(files.video, files.video.name, CONTENT_TYPES[files.container])
            answer |= {"video_url": link, "result": link}
            with contextlib.suppress(StageError):
                answer["poster_url"] = self.store.put(files.poster, files.poster.name, "image/jpeg")
            if files.sidecar in paths:
                with contextlib.suppress(StageError):
                    self.store.put(files.sidecar, files.sidecar.name, "application/json")
            self._write_record(name, record)
        for file in (*paths, self._kept / f"{name}.json"):
            file.unlink(missing_ok=True)
        return answer

    def _with_fresh_links(self, name: str, answer: dict[str, Any]) -> dict[str, Any]:
        files = TakeFiles(self._kept, name, answer["output"]["container"])
        if answer["video_url"]:
            link = self.store.link(files.video.name)
            answer |= {"video_url": link, "result": link}
        if answer["poster_url"]:
            answer["poster_url"] = self.store.link(files.poster.name)
        return answer


def _answer_to(request: object, content: bytes) -> dict[str, Any] | None:
    """The answer in a stored record, if it is of this very request; None for a foreign file."""
    try:
        record = json.loads(content)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("asked") != digest(request):
        return None
    answer: dict[str, Any] = record["answer"]
    return answer
