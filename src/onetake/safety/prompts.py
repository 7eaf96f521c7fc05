"""Whether a prompt may be made: words that are listed, names of the operator's, what it means."""

from functools import cache, lru_cache

from onetake.policy import CATEGORIES, Policy
from onetake.safety import meaning
from onetake.safety.normalise import RUN, plain, readings, undone, unrepeated
from onetake.safety.terms import TermList, packaged


def categories_of(text: str, policy: Policy) -> tuple[str, ...]:
    """Those of `CATEGORIES` that ``text`` belongs to, in their order."""
    if not text.strip():
        return ()
    read = readings(text)
    found = {
        category
        for category in CATEGORIES
        if any(_listed(category, policy.brands).matches(reading) for reading in read)
    }
    bare = undone(text).replace(RUN, "")
    for reading in dict.fromkeys((plain(text), bare, unrepeated(bare))):
        found |= meaning.meanings(reading)
    return tuple(category for category in CATEGORIES if category in found)


def _listed(category: str, brands: tuple[str, ...]) -> TermList:
    return _names(brands) if category == "brands" else _packaged(category)


_packaged = cache(packaged)


@lru_cache(maxsize=4)
def _names(brands: tuple[str, ...]) -> TermList:
    """Each name as it is written, and in one word."""
    return TermList([*brands, *("".join(plain(name).split()) for name in brands)])
