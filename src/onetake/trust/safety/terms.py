"""Lists of words: `terms/<category>.txt`, an entry a line.

    # comment
    term                  one or more words; `masturbat*` matches every ending
    a term & another      both, anywhere in the text
    @age = child, kid     a group of terms, for this file's pairs
    @age & @undressed     any of the one and any of the other
    ! innocent phrase     taken out of the text before anything is looked for

Entries match whole words; those in scripts that put no spaces between words match anywhere.
An operator's names are no such entries: every sign in one stands for itself (`NameList`).
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from onetake.trust.safety.normalise import CJK, RUN, plain

_INDIC = "\u0900-\u0963\u0966-\u0dff"  # whose vowel signs are parts of words
_WORD = re.compile(rf"(?:[^\W_{CJK}]|[{_INDIC}])+")
_IN_CJK = re.compile(f"[{CJK}]")
_RUN = re.compile(rf"{RUN}([^\W_]+)")
_LOOSE = r"\s_'.,:!?\-\u2010-\u2015\u00b7\u00ae\u00a9"  # may be left out of a name, or be others
_PIECE = re.compile(rf"[^\W_{CJK}]+|[{CJK}]+|[^\w{_LOOSE}]+")  # of a name: words, & of C&A
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
        self.alone: set[str] = set()  # entries of one term
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
                choices = [
                    frozenset(_of_group(p, groups) if p[:1] == "@" else [_term(p)]) for p in parts
                ]
                if len(choices) == 1:
                    self.alone |= choices[0]
                else:
                    self._together.append(choices)
        terms = self.alone.union(*(choice for entry in self._together for choice in entry))
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
        if not found.isdisjoint(self.alone):
            return True
        return any(not any(map(found.isdisjoint, entry)) for entry in self._together)


class NameList:
    """Names as they are written; also with other spaces or hyphens, and in one word."""

    def __init__(self, names: Iterable[str]) -> None:
        """Of any number of words each.

        Raises:
            ValueError: a name has neither letters nor digits.
        """
        texts = [plain(name) for name in names]
        self._written = re.compile("|".join(map(_written, texts)) or r"(?!)")
        unsigned = (text for text in texts if not any(map(_is_sign, _PIECE.findall(text))))
        joined = (re.sub(r"[\W_]", "", text) for text in unsigned)
        self._in_runs = [letters for letters in joined if len(letters) >= _LEAST]

    def matches(self, text: str) -> bool:
        """Whether a name is in ``text``, one of `readings`' forms."""
        if self._written.search(text):
            return True
        return any(letters in run for run in _RUN.findall(text) for letters in self._in_runs)


def _written(name: str) -> str:
    """The pattern of a name in its plain form."""
    pieces = list(_PIECE.finditer(name))
    if all(_is_sign(piece[0]) for piece in pieces):
        raise ValueError("a name has neither letters nor digits")
    pattern = re.escape(pieces[0][0])
    for before, after in pairwise(pieces):
        gap = name[before.end() : after.start()]
        one_letter = any(len(p[0]) == 1 and p[0].isalpha() for p in (before, after))
        signed = _is_sign(before[0]) or _is_sign(after[0])
        if before is pieces[0] and _is_sign(before[0]):
            pattern += re.escape(gap)  # @home is not in "meet @ home"
        elif signed:
            pattern += rf"[{_LOOSE}]*"
        elif one_letter and " " not in gap:
            pattern += r"(?:[^\w\s]|_)*"  # nor E.ON in "vitamin E on ice"
        else:
            pattern += r"[\W_]*"
        pattern += re.escape(after[0])
    start = "" if _IN_CJK.match(pieces[0][0]) else rf"(?<![^\W_{CJK}])"
    end = "" if _IN_CJK.match(pieces[-1][0]) else rf"(?![^\W_{CJK}])"
    return start + pattern + end


def _is_sign(piece: str) -> bool:
    return not any(map(str.isalnum, piece))


def _of_group(name: str, groups: dict[str, list[str]]) -> list[str]:
    if name not in groups:
        raise ValueError(f"{name} is no group; define it above with {name} = ...")
    return groups[name]


def _term(written: str) -> str:
    """An entry's words as `TermList.matches` joins them."""
    text = plain(written)
    if not text:
        raise ValueError("a term is empty")
    if "*" in text[:-1] or (text.endswith("*") and len(_WORD.findall(text)) > 1):
        raise ValueError(f"{written}: an ending is matched after one word only")
    if _IN_CJK.search(text):
        return text
    return " ".join(_WORD.findall(text)) + ("*" if text.endswith("*") else "")


def packaged(category: str) -> TermList:
    """The list that ships for one of the policy's categories but brands."""
    path = Path(__file__).parent / "terms" / f"{category}.txt"
    return TermList(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [])
