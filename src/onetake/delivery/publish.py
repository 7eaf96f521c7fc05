"""Frames into files, and files into the store."""

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onetake.delivery.storage import Store
from onetake.jobs.request import Output
from onetake.media.formats import CONTENT_TYPES
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import StageError
from onetake.runtime.progress import PartLink

MAX_BASE64_BYTES = 5 << 20  # an answer of RunPod's /run may have 10 MB, and base64 adds a third
PUT_PAUSES = (1.0, 4.0)  # seconds before a store that failed is tried again
NO_LINKS: dict[str, Any] = {"video_url": None, "result": None, "poster_url": None}

log = logging.getLogger("onetake")


@dataclass(frozen=True)
class Files:
    """What a job leaves in its folder; names are also the keys in the store."""

    folder: Path
    name: str
    container: str

    @property
    def video(self) -> Path:
        """The take."""
        return self.folder / f"{self.name}.{self.container}"

    @property
    def poster(self) -> Path:
        """Its first frame, a JPEG."""
        return self.folder / f"{self.name}.poster.jpg"

    @property
    def made(self) -> list[Path]:
        """The take, its poster, and what lies beside them."""
        return [self.video, self.poster, *([self.sidecar] if self.sidecar.is_file() else [])]

    @property
    def sidecar(self) -> Path:
        """What the take was made of, a JSON."""
        return self.folder / f"{self.name}.take.json"

    def part(self, segment: int) -> Path:
        """One segment's own frames."""
        return self.folder / f"{self.name}.segment{segment}.{self.container}"


@dataclass(frozen=True)
class PartSender:
    """Stores segments' files while the rest of a take is made."""

    store: Store
    control: Control
    may_leave: Callable[[], bool]
    note: Callable[[Path], object]  # is told of each file that left
    sent: list[str] = field(default_factory=list)  # keys

    def send(self, segment: int, file: Path) -> None:
        """Store a segment's file and tell its link, if it may leave."""
        try:
            if self.may_leave():
                link = _put(self.store, file, CONTENT_TYPES[file.suffix[1:]], self.control)
                self.sent.append(file.name)
                self.note(file)
                self.control.part(PartLink(segment, link))
        except (StageError, RuntimeError) as error:  # the whole take may still arrive
            log.warning("segment %d was not stored: %s", segment, error)

    def withdraw(self) -> None:
        """Delete what was stored: of this take nothing may be out."""
        for key in self.sent:
            try:
                self.store.delete(key)
            except StageError as error:
                log.warning("a segment could not be deleted: %s", error)


def store_take(store: Store, output: Output, files: Files, control: Control) -> dict[str, Any]:
    """The result's links; a small video goes into the answer itself when the job asks for that.

    Raises:
        StageError: the store does not take the video.
    """
    if output.delivery == "base64" and files.video.stat().st_size <= MAX_BASE64_BYTES:
        return {**NO_LINKS, "video_base64": base64.b64encode(files.video.read_bytes()).decode()}
    link = _put(store, files.video, CONTENT_TYPES[files.container], control)
    poster = None
    try:
        poster = _put(store, files.poster, "image/jpeg", control)
    except StageError as error:  # a finished take is not given up for its poster
        log.warning("no poster: %s", error)
    if files.sidecar.is_file():
        try:
            _put(store, files.sidecar, "application/json", control)
        except StageError as error:
            log.warning("no sidecar: %s", error)
    return {"video_url": link, "result": link, "poster_url": poster}


def _put(store: Store, file: Path, content_type: str, control: Control) -> str:
    """A stored file's link, after more tries if need be.

    Raises:
        StageError: the last try failed as well.
    """
    for pause in PUT_PAUSES:
        try:
            return store.put(file, file.name, content_type)
        except StageError as error:
            log.warning("%s; once more in %g s", error, pause)
        control.pause(pause)
    return store.put(file, file.name, content_type)
