"""A folder: `file://` links, or links below the URL under which a pod serves it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from onetake.delivery.storage import DIFFERS
from onetake.runtime.errors import StageError
from onetake.runtime.hashing import sha256_of
from onetake.runtime.settings import Settings

# A key that names a folder, or continues below a file, has no object either.
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class LocalStore:
    """Files below ``folder``."""

    def __init__(self, folder: Path, public_url: str | None = None) -> None:
        self._folder = folder.absolute()
        self._public_url = public_url

    def put(self, file: Path, key: str, content_type: str) -> str:
        """See `Store.put`; the type is in the file's name."""
        del content_type
        target = self._folder / key
        partial = target.with_name(f".{target.name}.part")
        try:
            with _failures("written"):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, partial)
                _verify(file, partial)
                partial.replace(target)
        finally:
            with contextlib.suppress(OSError):  # after a success it has its real name
                partial.unlink()
        return self.link(key)

    def read(self, key: str) -> bytes | None:
        """See `Store.read`."""
        with _failures("read"):
            try:
                return (self._folder / key).read_bytes()
            except _ABSENT:
                return None

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        with _failures("written"), contextlib.suppress(*_ABSENT):
            (self._folder / key).unlink()

    def keys(self, prefix: str) -> list[str]:
        """See `Store.keys`."""
        files = (path for path in (self._folder / prefix).rglob("*") if path.is_file())
        return sorted(path.relative_to(self._folder).as_posix() for path in files)

    def move(self, key: str, to: str) -> None:
        """See `Store.move`."""
        target = self._folder / to
        with _failures("written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            (self._folder / key).replace(target)

    def link(self, key: str) -> str:
        """See `Store.link`."""
        if self._public_url:
            return f"{self._public_url.rstrip('/')}/{quote(key)}"
        return (self._folder / key).as_uri()


def selects(settings: Settings) -> bool:
    """Always: this store is the last row of the table."""
    del settings
    return True


def open_store(settings: Settings) -> LocalStore:
    """The folder of `ONETAKE_OUTPUT_DIR`."""
    return LocalStore(settings.output_dir, settings.public_url)


def _verify(file: Path, copy: Path) -> None:
    """Read both files again: a full or broken disk may hold less, or something else."""
    sent, stored = _fingerprint(file), _fingerprint(copy)
    if sent != stored:
        raise StageError("store", DIFFERS, detail=f"sent {sent}, stored {stored}")


def _fingerprint(file: Path) -> str:
    return f"{file.stat().st_size} bytes with SHA-256 {sha256_of(file)}"


@contextlib.contextmanager
def _failures(verb: str) -> Iterator[None]:
    """Raise the system's errors as a StageError, whose sentence has no path in it."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "unknown reason"
        sentence = f"the output folder cannot be {verb} ({reason})"
        raise StageError("store", sentence, detail=str(error)) from error
