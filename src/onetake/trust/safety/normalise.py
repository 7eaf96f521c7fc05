"""The readings of a prompt: what it says once the tricks that hide words are undone.

Tricks are undone, not guessed at: compatibility forms and accents (Unicode TR15), invisible
characters, letters of other scripts that look alike (Unicode TR39, by `confusable_homoglyphs`),
digits and signs for letters, letters set apart, letters repeated.
"""

import re
import unicodedata

from confusable_homoglyphs import confusables

RUN = "\ue000"  # put before spaced letters: nothing shows where one of their words ends
CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # kana, Han, Hangul: written without spaces
# Unicode's Default_Ignorable_Code_Point (Hangul's fillers are letters among them) and the signs of
# trade marks, which NFKC turns into letters.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\u2120\u2122]+"
)
_LETTERS_OF_SIGNS = str.maketrans("0134578@$!|+€", "oieastbasilte")
# A sign stands for a letter only beside a letter: "24" and "stop!" stay as they are.
_WITH_SIGNS = re.compile(r"(?=\S*[^\W\d_])[\w@$|+€]*(?:!(?=\w)[\w@$|+€]*)*")
_APART = re.compile(r"(?<![^\W_])[^\W_](?:(?:[^\w\s]|_)[^\W_](?![^\W_])){2,}")
_SPACED = re.compile(r"(?<![^\W_])[^\W_](?:\s[^\W_](?![^\W_])){3,}")
_WITHIN = re.compile(r"(?<=[^\W_])[^\w\s]+(?=[^\W_])|(?<=[^\W_])_+(?=[^\W_])")
_CJK_APART = re.compile(rf"(?<=[{CJK}])[^\w\n,;。、]+(?=[{CJK}])")
_ACCENTS = re.compile("([a-z\u0131])[\u0300-\u036f]+")
_REPEATED = re.compile(r"([^\W\d_])\1{2,}")


def _look_alikes() -> dict[int, str]:
    """Each letter that looks like an ASCII letter, with that letter."""
    table = {}
    for letter, entries in confusables.confusables_data.items():
        if len(letter) == 1 and not letter.isascii():
            shapes = [entry["c"] for entry in entries]
            alike = [c for c in shapes if len(c) == 1 and c.isascii() and c.isalpha()]
            if alike:
                table[ord(letter)] = alike[0].lower()
    return table


_LOOK_ALIKES = _look_alikes()


def plain(text: str) -> str:
    """One form of what Unicode can write in several: lower case, no accents, nothing invisible."""
    composed = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    visible = "".join(
        c
        for c in _INVISIBLE.sub("", composed)
        if unicodedata.category(c) not in {"Cf", "Cc"} or c.isspace()
    )
    decomposed = unicodedata.normalize("NFKD", visible.casefold().replace("\u2019", "'"))
    # Only Latin letters lose their marks: in other scripts a mark makes a different letter.
    without_accents = _ACCENTS.sub(r"\1", decomposed)
    return " ".join(unicodedata.normalize("NFC", without_accents).split())


def readings(text: str) -> list[str]:
    """The few ways to read ``text``, each once, the plain one first."""
    first = plain(text)
    forms = [first, _rejoined(first), _rejoined(_in_latin(first)), revealed(text)]
    for times in (1, 2):
        forms += [without_repeats(form, times) for form in forms[:4]]
    return list(dict.fromkeys(forms))


def without_repeats(text: str, times: int = 1) -> str:
    """``text`` with a letter that comes three times or more in a row written ``times`` times."""
    return _REPEATED.sub(r"\1" * times, text)


def revealed(text: str) -> str:
    """``text`` with every trick undone but repeated letters."""
    latin = _in_latin(plain(text))
    letters = _WITH_SIGNS.sub(lambda word: word[0].translate(_LETTERS_OF_SIGNS), latin)
    return _rejoined(letters)


def _in_latin(text: str) -> str:
    return text.translate(_LOOK_ALIKES)


def _rejoined(text: str) -> str:
    """``text`` with letters that were set apart put into one word again."""
    words = _WITHIN.sub("", _APART.sub(_letters_of, _CJK_APART.sub("", text)))
    return _SPACED.sub(lambda letters: RUN + _letters_of(letters), words)


def _letters_of(letters: re.Match[str]) -> str:
    return "".join(c for c in letters[0] if c.isalnum())
