"""Words of a text: where they begin and end in any script, and the one form in which they are looked up.

A combining mark belongs to the character before it, so that vowel signs, accents and short vowels never end a word. Characters that
Unicode writes in several ways are looked up in their composed form (NFC); a text's own words stay as they are written.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby

__all__ = ["SEGMENTATION", "extending", "folded", "tokenize"]

SEGMENTATION = 1
"""The rule by which texts are cut and looked up. Runs from before combining marks belonged to words have rule 0."""

_CLITIC = re.compile(r"(?i)(?:n['’]t|['’](?:s|re|ve|ll|d|m))$")
_ALONE = re.compile(r"(?i)n['’]t|['’](?:s|re|ve|ll|d|m)")
_SHORT = "(?i:mr|mrs|ms|dr|st|vs|etc|jr|sr|inc|co|corp|ltd)[.]"
_ABBREVIATION = re.compile(rf"(\w\.)+|{_SHORT}")
# No character that extends another, and no emoji, lies beyond, but for the tags and selectors of plane 14.
_PLANES = (range(0x30000), range(0xE0000, 0xE0200))


def tokenize(text: str, segmentation: int = SEGMENTATION) -> tuple[str, ...]:
    """Words and punctuation of a line: split at white space, marks at a word's ends split off, and English clitics.

    Text that is cut into words already, clitics by themselves, stays as it is. A character is one with the combining marks, joiners
    and selectors that follow it (rule WB4 of Unicode's annex 29), and an emoji of several characters is one.

    Args:
        segmentation: 0 takes marks, joiners and selectors for punctuation, as the first runs did.

    >>> tokenize('She said: "I don\\'t see Mr. Lee\\'s saw (in the U.S.)..."')
    ('She', 'said', ':', '"', 'I', 'do', "n't", 'see', 'Mr.', 'Lee', "'s", 'saw', '(', 'in', 'the', 'U.S.', ')', '...', '"')
    >>> tokenize("it is n't the film 's fault")
    ('it', 'is', "n't", 'the', 'film', "'s", 'fault')
    >>> tokenize("हिन्दी भाषा।")
    ('हिन्दी', 'भाषा', '।')
    """
    words: list[str] = []
    for chunk in text.split():
        if chunk.isalnum() or _ALONE.fullmatch(chunk):
            words.append(chunk)
        else:
            words += _cut(chunk, "" if chunk.isascii() or not segmentation else extending())
    return tuple(words)


def folded(text: str, lowercase: bool, segmentation: int = SEGMENTATION) -> str:
    """The form in which a text or a word is looked up: composed (NFC), and in lower case where asked for.

    >>> folded("Cafe\\u0301", lowercase=True) == folded("caf\\u00e9", lowercase=True) == "caf\\u00e9"
    True
    """
    if text.isascii() or not segmentation:
        return text.lower() if lowercase else text
    text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.lower()) if lowercase else text


@cache
def extending() -> str:
    """All characters that belong to the one before them: marks, joiners, selectors, and what has no width but the space."""
    codes = (chr(code) for plane in _PLANES for code in plane)
    found = [code for code in codes if unicodedata.category(code) in ("Mn", "Mc", "Me", "Cf") and code != "\u200b"]
    return "".join([*found, *map(chr, range(0x1F3FB, 0x1F400))])


def _cut(chunk: str, marks: str) -> list[str]:
    """The words of what stands between white space; `marks` are the characters that extend others."""
    characters = _characters().findall(chunk) if marks else list(chunk)
    inner = [n for n, character in enumerate(characters) if _begins_word(character[0], marks)]
    if not inner:
        return _repeated(characters)
    before, after = characters[: inner[0]], characters[inner[-1] + 1 :]
    middle = "".join(characters[inner[0] : inner[-1] + 1])
    if after[:1] == ["."] != after[1:2] and _abbreviates(middle + ".", marks):
        middle, after = middle + ".", after[1:]
    clitic = _CLITIC.search(middle)
    if clitic and clitic.start() and _begins_word(middle[clitic.start() - 1], marks):
        return [*_repeated(before), middle[: clitic.start()], clitic.group(), *_repeated(after)]
    return [*_repeated(before), middle, *_repeated(after)]


def _begins_word(character: str, marks: str) -> bool:
    """Whether a character is one of words. A mark counts as one where nothing stands before it that it belongs to."""
    return character.isalnum() or character == "_" or character in marks


def _repeated(characters: list[str]) -> list[str]:
    """Single marks; the same mark repeated stays together, such as three dots."""
    return ["".join(group) for _, group in groupby(characters)]


@cache
def _characters() -> re.Pattern[str]:
    """A character with what extends it; flags, and emoji that a joiner joins, are one."""
    symbols = "".join(code for code in map(chr, range(0x2000, 0x20000)) if unicodedata.category(code) in ("So", "Sm"))
    flag, marks = "[\U0001f1e6-\U0001f1ff]{2}", f"[{re.escape(extending())}]*"
    return re.compile(f"(?:{flag}|.){marks}(?:(?<=\u200d)[{re.escape(symbols)}]{marks})*", re.DOTALL)


def _abbreviates(text: str, marks: str) -> bool:
    """Whether a point at the end is part of the word. In scripts without case a letter's name may have two characters."""
    if not marks:
        return bool(_ABBREVIATION.fullmatch(text))
    letters, names = _abbreviations()
    return bool(letters.fullmatch(text) or (text.lower() == text.upper() and names.fullmatch(text)))


@cache
def _abbreviations() -> tuple[re.Pattern[str], re.Pattern[str]]:
    marks = f"[{re.escape(extending())}]*"
    return re.compile(rf"(\w{marks}\.)+|{_SHORT}"), re.compile(rf"(?:(?:[^\W\d_]{marks}){{1,2}}\.){{2,}}")
