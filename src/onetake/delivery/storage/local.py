"""A folder: `file://` links, or links below the URL under which a pod serves it."""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from urllib.parse import quote

from onetake.delivery.storage import DIFFERS
from onetake.runtime.errors import StageError
from onetake.runtime.settings import Settings

# A key that is a folder's name, or that goes on below a file's, has no object either.
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


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
            _verify(file, partial)
            partial.replace(target)
        except OSError as error:
            raise _failure("written", error) from error
        finally:
            with contextlib.suppress(OSError):  # it has its real name when all went well
                partial.unlink()
        return self.link(key)

    def read(self, key: str) -> bytes | None:
        """See `Store.read`."""
        try:
            return (self._folder / key).read_bytes()
        except _ABSENT:
            return None
        except OSError as error:
            raise _failure("read", error) from error

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        try:
            (self._folder / key).unlink()
        except _ABSENT:
            pass
        except OSError as error:
            raise _failure("written", error) from error

    def keys(self, prefix: str) -> list[str]:
        """See `Store.keys`."""
        files = (path for path in (self._folder / prefix).rglob("*") if path.is_file())
        return sorted(path.relative_to(self._folder).as_posix() for path in files)

    def move(self, key: str, to: str) -> None:
        """See `Store.move`."""
        target = self._folder / to
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            (self._folder / key).replace(target)
        except OSError as error:
            raise _failure("written", error) from error

    def link(self, key: str) -> str:
        """See `Store.link`."""
        if self._public_url:
            return f"{self._public_url.rstrip('/')}/{quote(key)}"
        return (self._folder / key).as_uri()


def open_store(settings: Settings) -> LocalStore:
    """The folder of `ONETAKE_OUTPUT_DIR`."""
    return LocalStore(settings.output_dir, settings.public_url)


def _verify(file: Path, copy: Path) -> None:
    """Read both again: a full disk or a broken one may have kept less or something else."""
    sent, stored = _fingerprint(file), _fingerprint(copy)
    if sent != stored:
        raise StageError("store", DIFFERS, detail=f"sent {sent}, stored {stored}")


def _fingerprint(file: Path) -> str:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return f"{file.stat().st_size} bytes with SHA-256 {digest}"


def _failure(verb: str, error: OSError) -> StageError:
    reason = os.strerror(error.errno) if error.errno else "unknown reason"
    sentence = f"the output folder cannot be {verb} ({reason})"
    return StageError("store", sentence, detail=str(error))
