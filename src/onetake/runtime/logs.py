"""The worker's log: JSON lines in production, plain lines elsewhere.

No prompt, key, signed link or path is written without `ONETAKE_DEBUG`. An error is logged with its
type and its places in the code, without its text, which may hold any of these.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from onetake.runtime.settings import Settings

_job: ContextVar[str] = ContextVar("job", default="")
# Their warnings hold addresses, also signed ones.
_HOLD_ADDRESSES = ("urllib3", "botocore", "boto3", "s3transfer", "asyncio", "aiohttp")


@contextmanager
def about(job: str) -> Iterator[None]:
    """Add the job's name to every line that is logged inside."""
    token = _job.set(job)
    try:
        yield
    finally:
        _job.reset(token)


def set_up(settings: Settings) -> None:
    """Send the log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=settings.production, debug=settings.debug))
    # RunPod's SDK has set up the root logger already: force.
    logging.basicConfig(
        level=logging.DEBUG if settings.debug else logging.INFO, handlers=[handler], force=True
    )
    for name in _HOLD_ADDRESSES:
        logging.getLogger(name).setLevel(logging.WARNING if settings.debug else logging.CRITICAL)


class _Lines(logging.Formatter):
    def __init__(self, *, as_json: bool, debug: bool) -> None:
        super().__init__()
        self._as_json, self._debug = as_json, debug

    def format(self, record: logging.LogRecord) -> str:
        fields = {"job": _job.get(), "message": record.getMessage()}
        if record.exc_info and record.exc_info[1]:
            fields["error"] = self._error(record.exc_info[1])
        fields = {name: text for name, text in fields.items() if text}
        if not self._as_json:
            return f"{record.levelname} {' | '.join(fields.values())}"
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": time, "level": record.levelname, **fields})

    def _error(self, error: BaseException) -> str:
        if self._debug:
            detail = getattr(error, "detail", "")
            return "".join([*traceback.format_exception(error), detail])
        calls = traceback.extract_tb(error.__traceback__)[::-1]
        places = " < ".join(f"{Path(call.filename).name}:{call.lineno}" for call in calls)
        return f"{type(error).__name__} at {places}"
