"""A kind of input: a colour in hex."""

from pathlib import Path

from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings

DESCRIPTION = "a colour such as #c03020"
MAX_BYTES = 7


def load(source: str, field: str, _settings: Settings, _folder: Path) -> tuple[int, ...]:
    try:
        return tuple(bytes.fromhex(source.removeprefix("#")))
    except ValueError:
        raise JobError(field, f"is not {DESCRIPTION}") from None
