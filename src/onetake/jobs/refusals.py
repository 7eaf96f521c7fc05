"""What pydantic says of a wrong request, in one sentence that says what to do."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from pydantic_core import ErrorDetails

from onetake.jobs.limits import JOB_ID, nearest_side
from onetake.runtime.errors import JobError
from onetake.runtime.wording import nearest_name, shown

# For each of pydantic's error types, a sentence on the value that was sent.
_PROBLEMS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "int_type": lambda value, _: f"{shown(value)} is not a whole number, such as 5",
    "float_type": lambda value, _: f"{shown(value)} is not a number, such as 5",
    "finite_number": lambda value, _: f"{shown(value)} is not a number, such as 5",
    "string_type": lambda value, _: f'{shown(value)} is not text, such as "a red bottle"',
    "bool_type": lambda value, _: f"{shown(value)} is neither true nor false",
    "list_type": lambda value, _: f"{shown(value)} is not a list, such as []",
    "model_type": lambda value, _: f"{shown(value)} is not an object, such as {{}}",
    "greater_than_equal": lambda value, ctx: (
        f"{shown(value)} is too small; the nearest legal value is {ctx['ge']}"
    ),
    "less_than_equal": lambda value, ctx: (
        f"{shown(value)} is too large; the nearest legal value is {ctx['le']}"
    ),
    "multiple_of": lambda value, _: (
        f"{shown(value)} is odd; the nearest legal value is {nearest_side(value)}"
    ),
    "literal_error": lambda value, ctx: _not_one_of(value, ctx["expected"]),
    "string_too_long": lambda value, ctx: (
        f"has {len(value):,} characters; the longest legal text has {ctx['max_length']:,}"
    ),
    "string_too_short": lambda _, __: "is empty; fill it or leave it out",
    "string_pattern_mismatch": lambda value, ctx: (
        f"{shown(value)} is no job id; send the one that was answered"
        if ctx["pattern"] == JOB_ID
        else f"{shown(value)} is not width*height; write it like 1280*720"
    ),
    "too_short": lambda _, __: "is empty; fill it or leave it out",
    "too_long": lambda _, ctx: f"has too many items; at most {ctx['max_length']} are legal",
    "missing": lambda _, __: "is missing; every item of the list needs it",
}


def refuse(
    error: ErrorDetails, sent_as: Mapping[str, str], parts: Mapping[str, Iterable[str]]
) -> NoReturn:
    """Refuse a request in the words and names that the caller used.

    Args:
        error: pydantic's first.
        sent_as: by a field's name, the synonym that was sent.
        parts: by a field's name, the fields of the objects in it.

    Raises:
        JobError: always.
    """
    place, value = error["loc"], error["input"]
    field = ".".join(str(part) for part in place)
    if error["type"] == "extra_forbidden":
        refuse_unknown(field, parts[str(place[0])])
    describe = _PROBLEMS.get(error["type"])
    problem = describe(value, error.get("ctx", {})) if describe else f"{shown(value)} is not legal"
    raise JobError(sent_as.get(field, field), problem)


def refuse_unknown(field: str, legal: Iterable[str]) -> NoReturn:
    """Refuse a field that is not among the ``legal`` ones of its place.

    Raises:
        JobError: always.
    """
    hint = nearest_name(field.rpartition(".")[2], legal) or "; leave it out"
    raise JobError(shown(field)[1:-1], f"is no field of a job{hint}", code="unknown_field")


def _not_one_of(value: object, expected: str) -> str:
    choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]
    return f"{shown(value)} is not one of {', '.join(choices)}{nearest_name(value, choices)}"
