"""Word lists: `terms/<category>.txt`, one entry a line.

    # comment
    term                  one or more words; `masturbat*` matches every ending
    a term & another      both, anywhere in the text
    @age = child, kid     a group of terms, for pairs in this file
    @age & @undressed     one of the first group and one of the second
    ! innocent phrase     taken out of the text before the search

Entries match whole words. In scripts without spaces between words they match anywhere. The
operator's names are not such entries: every sign in a name stands for itself (`NameList`).
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from onetake.trust.safety.normalise import CJK, RUN, plain

_INDIC = "\u0900-\u0963\u0966-\u0dff"  # vowel signs of these scripts are parts of words
_WORD = re.compile(rf"(?:[^\W_{CJK}]|[{_INDIC}])+")
_IN_CJK = re.compile(f"[{CJK}]")
_RUN = re.compile(rf"{RUN}([^\W_]+)")
_LOOSE = r"\s_'.,:!?\-\u2010-\u2015\u00b7\u00ae\u00a9"  # may be left out of a name or replaced
_PIECE = re.compile(rf"[^\W_{CJK}]+|[{CJK}]+|[^\w{_LOOSE}]+")  # of a name: a word, or & in C&A
_LEAST_IN_RUN = 4  # letters; shorter entries are not looked for in a run
_LONGEST = 5  # words in the longest entry that is looked for


class TermList:
    """The entries of one category, ready for a search."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Read the lines of a file.

        Raises:
            ValueError: a line is not an entry.
        """
        groups: dict[str, list[str]] = {}
        innocent: list[str] = []
        self.alone: set[str] = set()  # entries of one term
        self._together: list[list[frozenset[str]]] = []  # a text needs one term of each set
        for line in lines:
            entry = line.partition("#")[0].strip()
            if entry.startswith("!"):
                innocent.append(plain(entry[1:]))
            elif entry.startswith("@") and "=" in entry:
                name, _, members = entry.partition("=")
                groups.setdefault(name.strip(), []).extend(map(_term, members.split(",")))
            elif entry:
                sides = [side.strip() for side in entry.split("&")]
                choices = [
                    frozenset(_members(side, groups) if side[:1] == "@" else [_term(side)])
                    for side in sides
                ]
                if len(choices) == 1:
                    self.alone |= choices[0]
                else:
                    self._together.append(choices)
        terms = self.alone.union(*(choice for entry in self._together for choice in entry))
        self._stems = tuple(sorted(t[:-1] for t in terms if t.endswith("*")))
        self._within = [t for t in terms if _IN_CJK.search(t)]
        self._terms = terms
        joined = {term: term.replace(" ", "").rstrip("*") for term in terms}
        self._in_runs = {t: text for t, text in joined.items() if len(text) >= _LEAST_IN_RUN}
        bounded = (rf"(?<!\w){re.escape(p)}(?!\w)" for p in innocent if not _IN_CJK.search(p))
        anywhere = (re.escape(p) for p in innocent if _IN_CJK.search(p))
        longest_first = sorted([*bounded, *anywhere], key=len, reverse=True)
        self._innocent = re.compile("|".join(longest_first) or r"(?!)")

    def matches(self, text: str) -> bool:
        """Whether an entry is in ``text``, one of `readings`' forms."""
        rest = self._innocent.sub(" , ", text)
        words = _WORD.findall(rest)
        hits = {term for term in self._within if term in rest}
        for count in range(1, _LONGEST + 1):
            for first in range(len(words) - count + 1):
                hits.add(" ".join(words[first : first + count]))
        for run in _RUN.findall(rest):
            hits.update(term for term, letters in self._in_runs.items() if letters in run)
        hits &= self._terms
        if self._stems:
            for word in words:
                hits.update(f"{stem}*" for stem in self._stems if word.startswith(stem))
        if not hits.isdisjoint(self.alone):
            return True
        return any(not any(map(hits.isdisjoint, entry)) for entry in self._together)


class NameList:
    """Names as they are written, with other spaces or hyphens, or in one word."""

    def __init__(self, names: Iterable[str]) -> None:
        """A name may have any number of words.

        Raises:
            ValueError: a name has neither letters nor digits.
        """
        texts = [plain(name) for name in names]
        self._pattern = re.compile("|".join(map(_pattern_of, texts)) or r"(?!)")
        without_signs = (text for text in texts if not any(map(_is_sign, _PIECE.findall(text))))
        joined = (re.sub(r"[\W_]", "", text) for text in without_signs)
        self._in_runs = [letters for letters in joined if len(letters) >= _LEAST_IN_RUN]

    def matches(self, text: str) -> bool:
        """Whether a name is in ``text``, one of `readings`' forms."""
        if self._pattern.search(text):
            return True
        return any(letters in run for run in _RUN.findall(text) for letters in self._in_runs)


def _pattern_of(name: str) -> str:
    """The regular expression of a name in its plain form."""
    pieces = list(_PIECE.finditer(name))
    if all(_is_sign(piece[0]) for piece in pieces):
        raise ValueError("a name has neither letters nor digits")
    pattern = re.escape(pieces[0][0])
    for before, after in pairwise(pieces):
        gap = name[before.end() : after.start()]
        one_letter = any(len(p[0]) == 1 and p[0].isalpha() for p in (before, after))
        beside_sign = _is_sign(before[0]) or _is_sign(after[0])
        if before is pieces[0] and _is_sign(before[0]):
            pattern += re.escape(gap)  # so that @home is not in "meet @ home"
        elif beside_sign:
            pattern += rf"[{_LOOSE}]*"
        elif one_letter and " " not in gap:
            pattern += r"(?:[^\w\s]|_)*"  # so that E.ON is not in "vitamin E on ice"
        else:
            pattern += r"[\W_]*"
        pattern += re.escape(after[0])
    start = "" if _IN_CJK.match(pieces[0][0]) else rf"(?<![^\W_{CJK}])"
    end = "" if _IN_CJK.match(pieces[-1][0]) else rf"(?![^\W_{CJK}])"
    return start + pattern + end


def _is_sign(piece: str) -> bool:
    return not any(map(str.isalnum, piece))


def _members(name: str, groups: dict[str, list[str]]) -> list[str]:
    if name not in groups:
        raise ValueError(f"{name} is no group; define it above with {name} = ...")
    return groups[name]


def _term(entry: str) -> str:
    """The words of an entry as `TermList.matches` joins them."""
    text = plain(entry)
    if not text:
        raise ValueError("a term is empty")
    if "*" in text[:-1] or (text.endswith("*") and len(_WORD.findall(text)) > 1):
        raise ValueError(f"{entry}: an ending is matched after one word only")
    if _IN_CJK.search(text):
        return text
    return " ".join(_WORD.findall(text)) + ("*" if text.endswith("*") else "")


def packaged(category: str) -> TermList:
    """The list that ships for a category of the policy; empty for brands."""
    path = Path(__file__).parent / "terms" / f"{category}.txt"
    return TermList(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [])
