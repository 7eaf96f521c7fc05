"""A worker's temporary files.

They are deleted with their job. Each worker has its own folder below one root and holds a lock in
it. The next worker that starts deletes folders whose lock nobody holds: their worker was killed.
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
    """This worker's folder; it is made at once."""

    def __init__(self, root: Path) -> None:
        """Make the folder, and delete those of killed workers.

        Raises:
            SettingsError: ``root`` cannot be written.
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
        """A folder for one job, deleted after it."""
        with tempfile.TemporaryDirectory(prefix="job-", dir=self.path) as folder:
            yield Path(folder)


def _leave(lock: IO[str], path: Path) -> None:
    lock.close()
    shutil.rmtree(path, ignore_errors=True)


def _sweep(root: Path) -> None:
    for lock in root.glob(f"worker-*/{_LOCK}"):
        with lock.open("w") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its worker is alive
            shutil.rmtree(lock.parent, ignore_errors=True)
