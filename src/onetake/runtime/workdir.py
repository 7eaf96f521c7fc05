"""A worker's temporary files: none outlives its job, nor its worker by more than a boot.

Each worker has a folder of its own below one root, and holds a lock in it. What a killed worker
left has a lock that nobody holds, and is swept by the next one that starts.
"""

import fcntl
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from onetake.runtime.errors import SettingsError

_LOCK = "lock"


class WorkDir:
    """This worker's folder, made at once."""

    def __init__(self, root: Path) -> None:
        """Make the folder and sweep those of dead workers.

        Raises:
            SettingsError: nothing can be written there.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            self.path = Path(tempfile.mkdtemp(prefix="worker-", dir=root))
            lock = (self.path / _LOCK).open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise SettingsError("ONETAKE_WORK_DIR", problem, detail=str(error)) from error

        weakref.finalize(self, _leave, lock, self.path)

    @contextmanager
    def job(self) -> Iterator[Path]:
        """A folder for one job, removed with all that is in it."""
        with tempfile.TemporaryDirectory(prefix="job-", dir=self.path) as folder:
            yield Path(folder)


def _leave(lock: IO[str], path: Path) -> None:
    lock.close()
    shutil.rmtree(path, ignore_errors=True)


def _sweep(root: Path) -> None:
    for lock in root.glob(f"worker-*/{_LOCK}"):
        with lock.open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its worker lives
            shutil.rmtree(lock.parent, ignore_errors=True)
