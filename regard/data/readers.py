"""The registry of readers, each checked against the contract by mypy: one that misses a method does not pass."""

from __future__ import annotations

from regard.data.graph import Planetoid
from regard.data.homework import LogMelFolder
from regard.data.image import Digits
from regard.data.reader import Reader
from regard.data.speech import Sounds
from regard.data.text import Conllu, Texts

__all__ = ["READERS"]

# `type:` in the section `data` of a configuration may name each of these.
READERS: tuple[type[Reader], ...] = (Conllu, Digits, LogMelFolder, Planetoid, Sounds, Texts)
