"""The files of a take, and their way into the store."""

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
class TakeFiles:
    """The files that a job writes into its folder; their names are also the keys in the store."""

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
    def sidecar(self) -> Path:
        """How the take was made, a JSON."""
        return self.folder / f"{self.name}.take.json"

    @property
    def all(self) -> list[Path]:
        """The take, its poster, and its sidecar if there is one."""
        return [self.video, self.poster, *([self.sidecar] if self.sidecar.is_file() else [])]

    def part(self, segment: int) -> Path:
        """One segment's own frames."""
        return self.folder / f"{self.name}.segment{segment}.{self.container}"


@dataclass(frozen=True)
class PartSender:
    """Stores the files of segments while the rest of the take is made."""

    store: Store
    control: Control
    may_leave: Callable[[], bool]
    on_sent: Callable[[Path], object]  # called with each file that was stored
    sent_keys: list[str] = field(default_factory=list)

    def send(self, segment: int, file: Path) -> None:
        """Store a segment's file and report its link, if it may leave; only once for each."""
        try:
            if file.name not in self.sent_keys and self.may_leave():
                link = _put(self.store, file, CONTENT_TYPES[file.suffix[1:]], self.control)
                self.sent_keys.append(file.name)
                self.on_sent(file)
                self.control.part(PartLink(segment, link))
        except (StageError, RuntimeError) as error:  # the whole take may still arrive
            log.warning("segment %d was not stored: %s", segment, error)

    def withdraw(self) -> None:
        """Delete all uploaded parts."""
        for key in self.sent_keys:
            try:
                self.store.delete(key)
            except StageError as error:
                log.warning("a segment could not be deleted: %s", error)


def store_take(store: Store, output: Output, files: TakeFiles, control: Control) -> dict[str, Any]:
    """The result's links; a small video goes into the answer itself if the job asks for that.

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
        log.warning("the poster was not stored: %s", error)
    if files.sidecar.is_file():
        try:
            _put(store, files.sidecar, "application/json", control)
        except StageError as error:
            log.warning("the sidecar was not stored: %s", error)
    return {"video_url": link, "result": link, "poster_url": poster}


def _put(store: Store, file: Path, content_type: str, control: Control) -> str:
    """A stored file's link. A store that fails is tried again.

    Raises:
        StageError: the last try failed as well.
    """
    for pause in PUT_PAUSES:
        try:
            return store.put(file, file.name, content_type)
        except StageError as error:
            log.warning("%s; trying again in %g s", error, pause)
        control.pause(pause)
    return store.put(file, file.name, content_type)
