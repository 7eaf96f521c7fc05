"""Where results go: one module for each kind of store, and one row for each module."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from onetake.runtime.settings import Settings

# The first store that the settings select is used. A store's module has
#   selects(settings) -> bool
#   open_store(settings) -> Store
# and, if a single job may bring such a store in its `s3Config`,
#   open_job_store(config, settings, is_public_host) -> Store
STORES = ("onetake.delivery.storage.s3", "onetake.delivery.storage.local")
DIFFERS = "the stored file differs from the one that was sent; send the job again"


class Store(Protocol):
    """Keeps files and gives links to them."""

    def put(self, file: Path, key: str, content_type: str) -> str:
        """Store ``file`` under ``key``, verify what is stored, and return its URL.

        An object is stored whole or not at all. Putting a key again replaces it.

        Raises:
            StageError: the store refused or could not be reached, or what it holds differs from
                ``file``; in that case the object is deleted.
        """

    def read(self, key: str) -> bytes | None:
        """The content of the small object at ``key``; None if there is none.

        Raises:
            StageError: the store refused or could not be reached.
        """

    def delete(self, key: str) -> None:
        """Delete the object at ``key``. It is no error if there is none.

        Raises:
            StageError: the store refused or could not be reached.
        """

    def keys(self, prefix: str) -> list[str]:
        """The keys below ``prefix``, which ends with a slash, sorted.

        Raises:
            StageError: the store refused or could not be reached.
        """

    def move(self, key: str, to: str) -> None:
        """Give the object at ``key``, which must exist, another key.

        Raises:
            StageError: the store refused or could not be reached.
        """

    def link(self, key: str) -> str:
        """A fresh URL of the object at ``key``, which must exist.

        Raises:
            StageError: the store can make no link.
        """


def open_store(settings: Settings) -> Store:
    """The first store of the table that ``settings`` select."""
    module = next(module for module in map(import_module, STORES) if module.selects(settings))
    store: Store = module.open_store(settings)
    return store


def open_job_store(
    config: Mapping[str, object], settings: Settings, is_public_host: Callable[[str], bool]
) -> Store:
    """The bucket of a single job, as RunPod's request field `s3Config` names it.

    ``is_public_host`` is asked about the host unless ``settings`` allow private ones. Each
    connection looks the name up again, so a name server that changes its answer is not noticed.

    Raises:
        JobError: names the wrong key of ``config``, never its value.
    """
    modules = map(import_module, STORES)
    module = next(module for module in modules if hasattr(module, "open_job_store"))
    store: Store = module.open_job_store(config, settings, is_public_host)
    return store
