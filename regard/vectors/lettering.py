"""Which installed fonts draw the words of a picture, and how words are shown that none of them can draw."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from regard.data.survey import listed

__all__ = ["Lettering", "lettering"]

# Fonts whose glyphs are boxes that stand for missing ones.
_BOXES = ("Last Resort", "LastResort", "Adobe Blank", "Noto Sans Tofu")
_LONGEST = 40  # characters of a text in a picture


@dataclass(frozen=True)
class Lettering:
    """How texts are drawn with matplotlib.

    Args:
        families: of fonts; each text takes from the first of them that has a character.
        lacking: the characters that no installed font has.

    >>> Lettering(("sans-serif",), frozenset("中国")).drawn("中国 is China")
    '[U+4E2D][U+56FD] is China'
    """

    families: tuple[str, ...]
    lacking: frozenset[str]

    def lacks(self, text: str) -> bool:
        """Whether the text has characters that are drawn as their code points."""
        return not self.lacking.isdisjoint(_visible(text))

    def drawn(self, text: str) -> str:
        """The text with the code points of what no font can draw; one that is long is cut short."""
        return _short("".join(f"[U+{ord(c):04X}]" if c in self.lacking else c for c in _visible(text)))

    def note(self, words: Iterable[str]) -> str:
        """One sentence about the words that cannot be drawn; empty where all can."""
        words = list(words)
        lost = [word for word in words if self.lacks(word)]
        if not lost:
            return ""
        which = f"{len(lost):,} of the {len(words):,} words ({listed([_short(word) for word in lost])})"
        shown = "so their code points are shown: install a font of their script, such as one of Noto"
        return f"no installed font can draw {which}, {shown}"


def lettering(texts: Iterable[str]) -> Lettering:
    """The fonts that draw the most of these texts: matplotlib's own first, then those that have what is missing, the fewest."""
    from matplotlib import font_manager, rcParams

    families = list(rcParams["font.family"])
    missing = {character for text in texts for character in _visible(text) if not character.isspace()}
    for family in families:
        missing -= _taken(family)
    entries = font_manager.fontManager.ttflist if missing else []
    able = {entry.name for entry in entries if missing & _characters(entry.fname, entry.index)}
    faces = {name: _taken(name) for name in sorted(able) if not name.startswith(_BOXES)}
    while missing:
        best = max(faces, key=lambda name: len(faces[name] & missing), default="")
        if not best or not faces[best] & missing:
            break
        families.append(best)
        missing -= faces[best]
    return Lettering(tuple(families), frozenset(missing))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _visible(text: str) -> str:
    """The composed text without joiners, selectors and directions, which have no glyph of their own."""
    text = unicodedata.normalize("NFC", text)
    selectors = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc") and ord(c) not in selectors)


def _taken(family: str) -> set[str]:
    """The characters of the one face that matplotlib takes for a family."""
    from matplotlib import font_manager

    face: Any = font_manager.findfont(font_manager.FontProperties(family=[family]))
    return _characters(str(face), face.face_index)


def _characters(path: str, index: int) -> set[str]:
    """The characters that a face of a font file has outlines for."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path, face_index=index)
    except (OSError, RuntimeError, ValueError):
        return set()
    # Pictures of one size, as fonts of emoji have them, cannot be drawn in another.
    return {chr(code) for code, glyph in font.get_charmap().items() if glyph} if font.scalable else set()
