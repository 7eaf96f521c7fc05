"""Which jobs are done, so that one that is delivered twice is made once, and nothing made is lost.

A finished job's answer lies beside its video, as `<name>.json`. When the store takes nothing, both
lie in the folder of kept takes until the job comes again or `onetake recover` sends them on.
"""

import contextlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from onetake.delivery.publish import Files
from onetake.delivery.quarantine import Quarantine
from onetake.delivery.storage import Store
from onetake.jobs.request import digest
from onetake.jobs.response import Result
from onetake.media.formats import CONTENT_TYPES
from onetake.runtime.errors import StageError

log = logging.getLogger("onetake")


class Ledger:
    """The answers in one store and in one folder of kept takes."""

    def __init__(self, store: Store, kept: Path, work: Path, quarantine: Quarantine) -> None:
        """``work`` is a folder for files that are gone at once."""
        self.store = store
        self.quarantine = quarantine  # the worker's own, whatever the store
        self._kept = kept
        self._work = work

    def find(self, name: str, asked: object) -> dict[str, Any] | None:
        """The answer to this very request, if it was given before or its take is kept.

        A store that cannot be asked now may do at the end: that is no reason to fail the job.
        """
        kept = self._kept / f"{name}.json"
        try:
            if kept.is_file() and _answer_to(asked, kept.read_bytes()):
                return self.send(name)
            stored = self.store.read(f"{name}.json")
            if stored and (answer := _answer_to(asked, stored)):
                if answer["safety"]["verdict"] == "flagged":
                    return self.quarantine.decided(name, digest(asked)) or answer
                return self._with_fresh_links(name, answer)
        except StageError as error:
            log.warning("whether the job is done already is not known: %s", error)
        return None

    def write(self, name: str, asked: object, answer: dict[str, Any]) -> None:
        """Note an answer. Failing to is no reason to fail the job."""
        self._note(name, {"asked": digest(asked), "answer": answer})

    def hold(self, files: Files, asked: object, result: Result, *, noted: bool) -> None:
        """Keep a flagged take back; ``noted``: its answer is found when the job comes again.

        Raises:
            StageError: the quarantine does not take it.
        """
        whole = result.error is None
        answer = result.model_dump(mode="json", exclude={"error"} if whole else None)
        if noted and whole:  # before anybody can decide, whose answer it would undo
            self.write(files.name, asked, answer)
        self.quarantine.put(files.made, files.name, digest(asked), answer)

    def _note(self, name: str, record: dict[str, Any]) -> None:
        file = self._work / f"{name}.json"
        try:
            file.write_text(json.dumps(record))
            self.store.put(file, file.name, "application/json")
        except (OSError, StageError):
            log.warning("the answer was not noted", exc_info=True)
        file.unlink(missing_ok=True)

    def keep(self, files: Files, asked: object, result: Result, error: StageError) -> StageError:
        """Keep what the store did not take; gives the error that says so."""
        record = {"asked": digest(asked), "answer": result.model_dump(mode="json")}
        try:
            self._kept.mkdir(parents=True, exist_ok=True)
            for file in files.made:
                shutil.move(file, self._kept / file.name)
            (self._kept / f"{files.name}.json").write_text(json.dumps(record))
        except OSError as full:
            return StageError("store", error.sentence, detail=f"{error.detail}\n{full}")
        return StageError(
            "store",
            f"{error.sentence}; the finished take is kept as {files.name}: "
            "send the same job id again, or run `onetake recover` on the worker",
            detail=error.detail,
        )

    def kept(self) -> list[str]:
        """The names of kept takes."""
        return sorted(record.stem for record in self._kept.glob("*.json"))

    def send(self, name: str) -> dict[str, Any]:
        """Store a kept take; gives its answer.

        Raises:
            StageError: the store does not take it now either.
        """
        record = json.loads((self._kept / f"{name}.json").read_text())
        answer: dict[str, Any] = record["answer"]
        files = Files(self._kept, name, answer["output"]["container"])
        made = files.made
        if answer["safety"]["verdict"] == "flagged":
            self._note(name, record)  # before anybody can decide, whose answer it would replace
            self.quarantine.put(made, name, record["asked"], answer)
        else:
            link = self.store.put(files.video, files.video.name, CONTENT_TYPES[files.container])
            answer |= {"video_url": link, "result": link}
            with contextlib.suppress(StageError):
                answer["poster_url"] = self.store.put(files.poster, files.poster.name, "image/jpeg")
            if files.sidecar in made:
                with contextlib.suppress(StageError):
                    self.store.put(files.sidecar, files.sidecar.name, "application/json")
            self._note(name, record)
        for file in (*made, self._kept / f"{name}.json"):
            file.unlink(missing_ok=True)
        return answer

    def _with_fresh_links(self, name: str, answer: dict[str, Any]) -> dict[str, Any]:
        files = Files(self._kept, name, answer["output"]["container"])
        if answer["video_url"]:
            link = self.store.link(files.video.name)
            answer |= {"video_url": link, "result": link}
        if answer["poster_url"]:
            answer["poster_url"] = self.store.link(files.poster.name)
        return answer


def _answer_to(asked: object, record: bytes) -> dict[str, Any] | None:
    """The answer in a stored record, if that is of this very request; a foreign file is not."""
    try:
        noted = json.loads(record)
    except ValueError:
        return None
    if not isinstance(noted, dict) or noted.get("asked") != digest(asked):
        return None
    answer: dict[str, Any] = noted["answer"]
    return answer
