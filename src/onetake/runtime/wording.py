"""Parts of error sentences: a value shown safely, the nearest legal name."""

import difflib
from collections.abc import Iterable

SHOWN_CHARACTERS = 60


def nearest_name(value: object, choices: Iterable[str]) -> str:
    """``"; did you mean X?"`` for the choice most like ``value``, or an empty text."""
    matches = difflib.get_close_matches(str(value).lower(), list(choices), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


def shown(value: object) -> str:
    """``value`` as one short line of ASCII, safe to repeat in an error."""
    text = ascii(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
