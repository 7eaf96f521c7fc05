"""Refusals: a status and `"<code>: <sentence>"`."""

import math
import re

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

# Errors of jobs that are our fault, not the caller's.
_OURS = re.compile(r"(\w+_failed|internal_error|out_of_memory|device_lost|timeout|leaving): ")
# Our sentences for Starlette's own refusals.
_WORDS = {
    404: "not_found: nothing is here; see /openapi.json",
    405: "method_not_allowed: this path takes another method; see /openapi.json",
}


class RefusedError(HTTPException):
    """A request that is refused before there is a job."""

    def __init__(self, status: int, sentence: str, *, retry_after: float | None = None) -> None:
        headers = None
        if retry_after is not None:
            headers = {"Retry-After": str(max(1, math.ceil(retry_after)))}
        super().__init__(status, sentence, headers)


def refusal(error: HTTPException) -> JSONResponse:
    """The answer to a refused request."""
    sentence = error.detail
    if not isinstance(error, RefusedError):
        sentence = _WORDS.get(error.status_code, "invalid_input: the form cannot be read; check it")
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


def failure(error: str) -> JSONResponse:
    """The answer to a job that ended in ``error``."""
    return JSONResponse({"error": error}, 500 if _OURS.match(error) else 422)
