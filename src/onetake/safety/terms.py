"""Lists of words: `terms/<category>.txt`, an entry a line.

    # comment
    term                  one or more words; `masturbat*` matches every ending
    a term & another      both, anywhere in the text
    @age = child, kid     a group of terms, for this file's pairs
    @age & @undressed     any of the one and any of the other
    ! innocent phrase     taken out of the text before anything is looked for

Entries match whole words; those in scripts that put no spaces between words match anywhere.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from onetake.safety.normalise import CJK, RUN, plain

_WORD = re.compile(rf"[^\W_{CJK}]+")
_IN_CJK = re.compile(f"[{CJK}]")
_RUN = re.compile(rf"{RUN}([^\W_]+)")
_LEAST = 4  # letters of an entry that is looked for in a run
_LONGEST = 5  # words of an entry that a text is searched for


class TermList:
    """The entries of one category, ready to be looked for."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Read the lines of a file.

        Raises:
            ValueError: a line is no entry.
        """
        groups: dict[str, list[str]] = {}
        innocent: list[str] = []
        self._alone: set[str] = set()
        self._together: list[list[frozenset[str]]] = []  # of each of these one
        for line in lines:
            entry = line.partition("#")[0].strip()
            if entry.startswith("!"):
                innocent.append(plain(entry[1:]))
            elif entry.startswith("@") and "=" in entry:
                name, _, members = entry.partition("=")
                groups.setdefault(name.strip(), []).extend(map(_term, members.split(",")))
            elif entry:
                parts = [part.strip() for part in entry.split("&")]
                choices = [frozenset(groups[p] if p.startswith("@") else [_term(p)]) for p in parts]
                if len(choices) == 1:
                    self._alone |= choices[0]
                else:
                    self._together.append(choices)
        terms = self._alone.union(*(choice for entry in self._together for choice in entry))
        self._endings = tuple(sorted(t[:-1] for t in terms if t.endswith("*")))
        self._within = [t for t in terms if _IN_CJK.search(t)]
        self._words = terms
        joined = {term: term.replace(" ", "").rstrip("*") for term in terms}
        self._in_runs = {t: letters for t, letters in joined.items() if len(letters) >= _LEAST}
        bounded = (rf"(?<!\w){re.escape(p)}(?!\w)" for p in innocent if not _IN_CJK.search(p))
        anywhere = (re.escape(p) for p in innocent if _IN_CJK.search(p))
        longest_first = sorted([*bounded, *anywhere], key=len, reverse=True)
        self._innocent = re.compile("|".join(longest_first) or r"(?!)")

    def matches(self, text: str) -> bool:
        """Whether an entry is in ``text``, one of `readings`' forms."""
        left = self._innocent.sub(" , ", text)
        words = _WORD.findall(left)
        found = {term for term in self._within if term in left}
        for count in range(1, _LONGEST + 1):
            for at in range(len(words) - count + 1):
                found.add(" ".join(words[at : at + count]))
        for run in _RUN.findall(left):
            found.update(term for term, letters in self._in_runs.items() if letters in run)
        found &= self._words
        if self._endings:
            for word in words:
                found.update(f"{e}*" for e in self._endings if word.startswith(e))
        if not found.isdisjoint(self._alone):
            return True
        return any(not any(map(found.isdisjoint, entry)) for entry in self._together)


def _term(written: str) -> str:
    """An entry's words as `TermList.matches` joins them."""
    text = plain(written)
    if not text:
        raise ValueError("a term is empty")
    if _IN_CJK.search(text):
        return text
    return " ".join(_WORD.findall(text)) + ("*" if text.endswith("*") else "")


def packaged(category: str) -> TermList:
    """The list that ships for one of the policy's categories; brands have none."""
    path = Path(__file__).parent / "terms" / f"{category}.txt"
    return TermList(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [])
