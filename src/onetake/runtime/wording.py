"""Words that errors share: a value shown safely, the nearest legal name."""

import difflib
from collections.abc import Iterable

SHOWN_CHARACTERS = 60


def nearest_name(value: object, choices: Iterable[str]) -> str:
    """``"; did you mean X?"`` for the choice that looks like ``value``, or nothing."""
    found = difflib.get_close_matches(str(value).lower(), list(choices), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""


def shown(value: object) -> str:
    """A short, one-line rendering of what somebody sent, safe to repeat in an error."""
    text = ascii(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
