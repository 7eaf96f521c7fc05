"""Segments that are denoised, kept while their job runs, so that a failed one need not begin anew.

Latents are small (20 MB for 121 frames of 1280x704) and decode to the same frames again. They lie
in a folder of the job's name on the volume, with a mark of what was asked but none of its words,
and are deleted when the take is stored.
"""

import contextlib
import json
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onetake.jobs.request import digest
from onetake.models.spec import VideoModel
from onetake.runtime.errors import JobError
from onetake.runtime.settings import WEEK_SECONDS

_ABOUT = "about.json"

log = logging.getLogger("onetake")


class SavedSegments:
    """One job's finished segments."""

    def __init__(self, root: Path, name: str, asked: object) -> None:
        """Find what the job of this name left, or the one that it names as ``resume``.

        Raises:
            JobError: there is none to resume, or it is of another request.
        """
        mapped = dict(asked) if isinstance(asked, Mapping) else {}
        resumed = mapped.pop("resume", None)
        self.name = name if resumed is None else resumed  # to resume it by
        self._folder = root / self.name
        self._mark = digest(mapped)
        about = self._read()
        same = about.get("asked") == self._mark
        if resumed is not None and not same:
            problem = "nothing is kept under this id; leave it out and send the job anew"
            if about:
                problem = "is the id of another request; send the same fields with it"
            raise JobError("resume", problem)
        self.seed: int | None = about.get("seed") if same else None
        self.count = 0  # saved or found
        if about and not same:
            self.clear()

    def begin(self, seed: int) -> None:
        """Note the seed that the job runs with. Failing to costs a second try its head start."""
        self.seed = seed
        self._write({"asked": self._mark, "seed": seed})

    def load(self, index: int, model: VideoModel) -> Any | None:
        """The latents of segment ``index``, if they are here and of this very model."""
        file = self._file(index, model)
        try:
            found = model.load_latents(file) if file.is_file() else None
        except OSError:
            log.warning("segment %d is kept but cannot be read", index + 1, exc_info=True)
            return None
        if found is not None:
            self.count += 1
            log.info("segment %d was kept from an earlier try", index + 1)
        return found

    def save(self, index: int, model: VideoModel, latents: Any) -> None:
        """Keep the latents of segment ``index``; a full disk is no reason to fail the job."""
        file = self._file(index, model)
        partial = file.with_suffix(".partial")
        try:
            model.save_latents(latents, partial)
            partial.rename(file)
            self.count += 1
        except OSError:
            log.warning("segment %d is not kept", index + 1, exc_info=True)

    def clear(self) -> None:
        """Delete them, and what other jobs left over a week ago."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for about in self._folder.parent.glob(f"*/{_ABOUT}"):
            if time.time() - about.stat().st_mtime > WEEK_SECONDS:
                shutil.rmtree(about.parent, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: others are kept
            self._folder.parent.rmdir()
            self._folder.parent.parent.rmdir()

    def _file(self, index: int, model: VideoModel) -> Path:
        return self._folder / f"{index}-{model.spec.name}-{model.revision}.latents"

    def _read(self) -> dict[str, Any]:
        try:
            about: dict[str, Any] = json.loads((self._folder / _ABOUT).read_bytes())
        except (OSError, ValueError):
            return {}
        return about

    def _write(self, about: dict[str, Any]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / _ABOUT).write_text(json.dumps(about))
        except OSError:
            log.warning("the job's segments will not be kept", exc_info=True)
