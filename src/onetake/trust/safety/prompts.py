"""Whether a prompt may be made: words that are listed, names of the operator's, what it means."""

from functools import cache, lru_cache

from onetake.trust.policy import CATEGORIES, Policy
from onetake.trust.safety import meaning
from onetake.trust.safety.normalise import RUN, plain, readings, undone, unrepeated
from onetake.trust.safety.terms import NameList, TermList, packaged


@lru_cache(maxsize=64)
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
        found.update(*map(_meant, meaning.parts(reading)))
    return tuple(category for category in CATEGORIES if category in found)


def _listed(category: str, brands: tuple[str, ...]) -> TermList | NameList:
    return _names(brands) if category == "brands" else _packaged(category)


_packaged = cache(packaged)
_names = lru_cache(maxsize=4)(NameList)


@lru_cache(maxsize=256)  # embedding is slow, and a storyboard's common prompt is in all its parts
def _meant(part: str) -> frozenset[str]:
    return frozenset(meaning.meanings(part))
