"""Where results go. A row names a module with ``open_store(settings)``."""

from importlib import import_module
from pathlib import Path
from typing import Protocol

from onetake.settings import Settings

STORES = {"s3": "onetake.storage.s3", "local": "onetake.storage.local"}


class Store(Protocol):
    """Keeps files and gives links to them."""

    def put(self, file: Path, key: str, content_type: str) -> str:
        """Store ``file`` under ``key`` and return its URL.

        An object is there whole or not at all. Putting a key again replaces it.

        Raises:
            StageError: the store refused or could not be reached.
        """


def open_store(settings: Settings) -> Store:
    """The bucket when one is set, else the local folder."""
    module = import_module(STORES["s3" if settings.has_bucket else "local"])
    store: Store = module.open_store(settings)
    return store
