"""Denoised segments, kept while their job runs: after a failure the job need not start over.

Latents are small (20 MB for 121 frames of 1280x704) and decode to the same frames again. They lie
in a folder of the job's name on the volume, with a digest of the request but none of its words.
They are deleted when the take is stored.
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


class Checkpoints:
    """One job's finished segments."""

    def __init__(self, root: Path, name: str, request: object) -> None:
        """Find what the job of this name left, or the job that it names as ``resume``.

        Raises:
            JobError: there is nothing to resume, or it is of another request.
        """
        fields = dict(request) if isinstance(request, Mapping) else {}
        resumed = fields.pop("resume", None)
        self.name = name if resumed is None else resumed  # the id to resume this job by
        self._folder = root / self.name
        self._digest = digest(fields)
        about = self._read()
        same = about.get("asked") == self._digest
        if resumed is not None and not same:
            problem = "nothing is kept under this id; leave it out and send the job anew"
            if about:
                problem = "is the id of another request; send the same fields with it"
            raise JobError("resume", problem)
        self.seed: int | None = about.get("seed") if same else None
        self.count = 0  # segments saved or loaded
        if about and not same:
            self.clear()

    def begin(self, seed: int) -> None:
        """Write down the job's seed. If that fails, a second try starts over."""
        self.seed = seed
        self._write({"asked": self._digest, "seed": seed})

    def load(self, index: int, model: VideoModel) -> Any | None:
        """The latents of segment ``index``, if they are kept and were made by this very model."""
        file = self._file(index, model)
        try:
            latents = model.load_latents(file) if file.is_file() else None
        except OSError:
            log.warning("segment %d is kept but cannot be read", index + 1, exc_info=True)
            return None
        if latents is not None:
            self.count += 1
            log.info("segment %d was kept from an earlier try", index + 1)
        return latents

    def save(self, index: int, model: VideoModel, latents: Any) -> None:
        """Keep the latents of segment ``index``; a full disk does not fail the job."""
        file = self._file(index, model)
        partial = file.with_suffix(".partial")
        try:
            model.save_latents(latents, partial)
            partial.rename(file)
            self.count += 1
        except OSError:
            log.warning("segment %d is not kept", index + 1, exc_info=True)

    def clear(self) -> None:
        """Delete them, and those of other jobs that are older than a week."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for about in self._folder.parent.glob(f"*/{_ABOUT}"):
            if time.time() - about.stat().st_mtime > WEEK_SECONDS:
                shutil.rmtree(about.parent, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: other jobs keep something
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
