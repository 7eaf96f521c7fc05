"""Which categories a prompt belongs to: by word lists, by the operator's names, and by meaning."""

from functools import cache, lru_cache

from onetake.trust.policy import CATEGORIES, Policy
from onetake.trust.safety import meaning
from onetake.trust.safety.normalise import RUN, plain, readings, revealed, without_repeats
from onetake.trust.safety.terms import NameList, TermList, packaged


@lru_cache(maxsize=64)
def categories_of(text: str, policy: Policy) -> tuple[str, ...]:
    """Those of `CATEGORIES` that ``text`` belongs to, in their order."""
    if not text.strip():
        return ()
    forms = readings(text)
    categories = {
        category
        for category in CATEGORIES
        if any(_word_list(category, policy.brands).matches(form) for form in forms)
    }
    open_text = revealed(text).replace(RUN, "")
    for form in dict.fromkeys((plain(text), open_text, without_repeats(open_text))):
        categories.update(*map(_meanings_of, meaning.parts(form)))
    return tuple(category for category in CATEGORIES if category in categories)


def _word_list(category: str, brands: tuple[str, ...]) -> TermList | NameList:
    return _name_list(brands) if category == "brands" else _term_list(category)


_term_list = cache(packaged)
_name_list = lru_cache(maxsize=4)(NameList)


@lru_cache(maxsize=256)  # embedding is slow, and all parts of a storyboard repeat its prompt
def _meanings_of(part: str) -> frozenset[str]:
    return frozenset(meaning.meanings(part))
