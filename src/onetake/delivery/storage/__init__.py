"""Where results go. A row names a module with ``open_store(settings)``."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from onetake.runtime.settings import Settings

STORES = {"s3": "onetake.delivery.storage.s3", "local": "onetake.delivery.storage.local"}
DIFFERS = "the stored file differs from the one that was sent; send the job again"


class Store(Protocol):
    """Keeps files and gives links to them."""

    def put(self, file: Path, key: str, content_type: str) -> str:
        """Store ``file`` under ``key``, verify what is stored, and return its URL.

        An object is there whole or not at all. Putting a key again replaces it.

        Raises:
            StageError: the store refused, could not be reached, or holds something else than
                ``file``, which is deleted.
        """

    def read(self, key: str) -> bytes | None:
        """The content of the small object at ``key``; None if there is none.

        Raises:
            StageError: the store refused or could not be reached.
        """

    def delete(self, key: str) -> None:
        """See to it that there is no object at ``key``, whether or not there was one.

        Raises:
            StageError: the store refused or could not be reached.
        """

    def keys(self, prefix: str) -> list[str]:
        """The keys below ``prefix``, which ends with a slash, sorted.

        Raises:
            StageError: the store refused or could not be reached.
        """

    def move(self, key: str, to: str) -> None:
        """Give the object at ``key``, which must be there, another key.

        Raises:
            StageError: the store refused or could not be reached.
        """

    def link(self, key: str) -> str:
        """A fresh URL of the object at ``key``, which must be there.

        Raises:
            StageError: the store can make no link.
        """


def open_store(settings: Settings) -> Store:
    """The bucket when one is set, else the local folder."""
    module = import_module(STORES["s3" if settings.has_bucket else "local"])
    store: Store = module.open_store(settings)
    return store


def open_job_store(
    config: Mapping[str, object], settings: Settings, is_public_host: Callable[[str], bool]
) -> Store:
    """The bucket of a single job, as RunPod's request field `s3Config` names it.

    ``is_public_host`` is asked about the host unless ``settings`` allow private ones. The name is
    looked up again for each connection, so a name server that changes its answer is not caught.

    Raises:
        JobError: names the wrong key of ``config``, never its value.
    """
    module = import_module(STORES["s3"])
    store: Store = module.open_job_store(config, settings, is_public_host)
    return store
