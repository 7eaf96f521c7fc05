"""What a prompt reads as, under the ways in which words are hidden from lists.

Hidden words are undone, not guessed at: compatibility forms and accents (Unicode TR15), invisible
characters, letters of other scripts that look alike (Unicode TR39, by `confusable_homoglyphs`),
digits and signs for letters, letters set apart, letters repeated.
"""

import re
import unicodedata

from confusable_homoglyphs import confusables

RUN = "\ue000"  # before letters that were spaced out, whose words cannot be told apart
CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # kana, Han, Hangul: written without spaces
# Unicode's Default_Ignorable_Code_Point, of which Hangul's fillers are letters, and the signs of
# trade marks, which NFKC makes letters of.
_UNREAD = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\u2120\u2122]+"
)
_SIGNS = str.maketrans("0134578@$!|+€", "oieastbasilte")
# A sign stands for a letter only beside one: "24" and "stop!" stay as they are.
_HIDDEN = re.compile(r"(?=\S*[^\W\d_])[\w@$|+€]*(?:!(?=\w)[\w@$|+€]*)*")
_APART = re.compile(r"(?<![^\W_])[^\W_](?:(?:[^\w\s]|_)[^\W_](?![^\W_])){2,}")
_SPACED = re.compile(r"(?<![^\W_])[^\W_](?:\s[^\W_](?![^\W_])){3,}")
_WITHIN = re.compile(r"(?<=[^\W_])[^\w\s]+(?=[^\W_])|(?<=[^\W_])_+(?=[^\W_])")
_CJK_APART = re.compile(rf"(?<=[{CJK}])[^\w\n,;。、]+(?=[{CJK}])")
_ACCENTS = re.compile("([a-z\u0131])[\u0300-\u036f]+")
_REPEATED = re.compile(r"([^\W\d_])\1{2,}")


def _look_alikes() -> dict[int, str]:
    """Every letter that looks like one of ASCII, and that one."""
    table = {}
    for letter, others in confusables.confusables_data.items():
        if len(letter) == 1 and not letter.isascii():
            alike = [o["c"] for o in others if len(o["c"]) == 1 and o["c"].isascii()]
            letters = [c for c in alike if c.isalpha()]
            if letters:
                table[ord(letter)] = letters[0].lower()
    return table


_LOOK_ALIKES = _look_alikes()


def plain(text: str) -> str:
    """One form for what Unicode can write in several: lower case, no accents, nothing invisible."""
    composed = unicodedata.normalize("NFKC", _UNREAD.sub("", text))
    seen = "".join(
        c
        for c in _UNREAD.sub("", composed)
        if unicodedata.category(c) not in {"Cf", "Cc"} or c.isspace()
    )
    apart = unicodedata.normalize("NFKD", seen.casefold().replace("\u2019", "'"))
    # Elsewhere than after a Latin letter a mark makes another letter of it.
    bare = _ACCENTS.sub(r"\1", apart)
    return " ".join(unicodedata.normalize("NFC", bare).split())


def readings(text: str) -> list[str]:
    """The ways to read ``text``, plain first; few, and each once."""
    first = plain(text)
    found = [first, _together(first), _together(_latin(first)), undone(text)]
    for times in (1, 2):
        found += [unrepeated(each, times) for each in found[:4]]
    return list(dict.fromkeys(found))


def unrepeated(text: str, times: int = 1) -> str:
    """``text`` with a letter that stands there more than twice in a row written ``times`` times."""
    return _REPEATED.sub(r"\1" * times, text)


def undone(text: str) -> str:
    """``text`` with everything undone that hides words."""
    letters = _HIDDEN.sub(lambda word: word[0].translate(_SIGNS), _latin(plain(text)))
    return _together(letters)


def _latin(text: str) -> str:
    return text.translate(_LOOK_ALIKES)


def _together(text: str) -> str:
    """Letters that were set apart, in one word again."""
    words = _WITHIN.sub("", _APART.sub(_joined, _CJK_APART.sub("", text)))
    return _SPACED.sub(lambda letters: RUN + _joined(letters), words)


def _joined(letters: re.Match[str]) -> str:
    return "".join(c for c in letters[0] if c.isalnum())
