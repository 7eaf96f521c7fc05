"""A folder: `file://` links, or links below the URL under which a pod serves it."""

import contextlib
import os
import shutil
from pathlib import Path
from urllib.parse import quote

from onetake.errors import StageError
from onetake.settings import Settings


class LocalStore:
    """Files below ``folder``."""

    def __init__(self, folder: Path, public_url: str | None = None) -> None:
        self._folder = folder.absolute()
        self._public_url = public_url

    def put(self, file: Path, key: str, content_type: str) -> str:
        """See `Store.put`; a file's name says its type."""
        del content_type
        target = self._folder / key
        partial = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, partial)
            partial.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            reason = os.strerror(error.errno) if error.errno else "unknown reason"
            raise StageError(
                "store", f"the output folder cannot be written ({reason})", detail=str(error)
            ) from error
        if self._public_url:
            return f"{self._public_url.rstrip('/')}/{quote(key)}"
        return target.as_uri()


def open_store(settings: Settings) -> LocalStore:
    """The folder of `ONETAKE_OUTPUT_DIR`."""
    return LocalStore(settings.output_dir, settings.public_url)
