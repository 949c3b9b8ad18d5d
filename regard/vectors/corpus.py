"""Plain text as word ids: files are read piece by piece, in one pass, and a word takes four bytes."""

from __future__ import annotations

import gzip
import lzma
import re
import sys
import tarfile
import zlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from regard.data.examples import Array
from regard.data.folders import inside
from regard.data.parts import hidden_in
from regard.data.words import extending, folded
from regard.errors import InputError, nearest
from regard.files import opened

__all__ = ["BREAK", "Corpus", "Tokens", "corpus_of", "keep_probability", "read_corpus", "tokenizer"]

Tokens = Literal["words", "spaces"]
BREAK = -1
"""The id between two texts: no window reaches over it."""

_BLOCK = 1 << 20
_LONGEST = 1 << 20  # bytes without white space that are kept together
_SPACES = b" \n\r\t"


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as ids of its frequent words.

    Args:
        words: the vocabulary, the most frequent first; equally frequent ones by the alphabet.
        counts: `[v]` int64, how often each occurs.
        ids: `[n]` int32, the text without its rarer words; `BREAK` stands between two texts.
    """

    words: tuple[str, ...]
    counts: Array
    ids: Array

    @property
    def length(self) -> int:
        """How many words the ids hold."""
        return int(self.counts.sum())


def tokenizer(tokens: Tokens) -> Callable[[str], list[str]]:
    """How text becomes words.

    `"words"`: lower-cased runs of letters, marks and digits of any script, where an apostrophe between two of them joins them;
    each Chinese character is a word of its own. `"spaces"`: what stands between white space, in its own case. Both are
    composed (NFC).

    >>> tokenizer("words")("Don't, said M. Poirot: 1,853 times! 我是")
    ["don't", 'said', 'm', 'poirot', '1', '853', 'times', '我', '是']
    >>> tokenizer("spaces")("Don't, said")
    ["Don't,", 'said']
    """
    if tokens == "spaces":
        return _spaced
    if tokens != "words":
        raise InputError(f"tokens is {tokens!r}: {nearest(tokens, ('words', 'spaces'))}")
    return _words


def _spaced(text: str) -> list[str]:
    return folded(text, lowercase=False).split()


def _words(text: str) -> list[str]:
    text = text.replace("\u2019", "'")
    if text.isascii():
        return _ASCII.findall(text.lower())
    # Most lines of most texts are ASCII, for which the pattern is simple and quick.
    found: list[str] = []
    for line in text.splitlines():
        found += (_ASCII if line.isascii() else _pattern()).findall(folded(line, lowercase=True))
    return found


_ASCII = re.compile("[a-z0-9]+(?:'[a-z0-9]+)*")


@cache
def _pattern() -> re.Pattern[str]:
    # Vowel signs and the like are no letters to `re`, yet parts of words.
    marks = f"[{re.escape(extending())}]*"
    han = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
    letters = f"(?:(?![{han}])[^\\W_]{marks})+"
    return re.compile(f"[{han}]{marks}|{letters}(?:'{letters})*")


def read_corpus(
    sources: Sequence[Path | str],
    tokens: Tokens = "words",
    minimum_count: int = 5,
    most: int | None = None,
    lines: bool = False,
) -> Corpus:
    """The words of text files, folders of them, `.tar` archives, each plain or `.gz`, `.xz`, `.bz2`; `-` is standard input.

    Args:
        sources: read in this order; files of a folder by name. Each file is one text. tokens: how text becomes words.
        minimum_count: rarer words are left out, and those around them come closer. most: only so many words, the most frequent.
        lines: each line is a text of its own.

    Raises:
        InputError: a source that is not there or holds no text, bytes that are not UTF-8 (the sentence names file and byte), or
            not one word that is frequent enough.
    """
    if minimum_count < 1:
        raise InputError(f"the minimum count is {minimum_count}, expected at least 1")
    if most is not None and most < 1:
        raise InputError(f"the size of the vocabulary is {most}, expected at least 1")
    cut = tokenizer(tokens)
    number: defaultdict[str, int] = defaultdict()
    number.default_factory = number.__len__
    ids = array("i")
    for text in _texts(sources):
        for piece in text:
            for n, line in enumerate(piece.split("\n") if lines else (piece,)):
                # What stands before a line feed has ended; a piece may end anywhere between two words.
                if n and ids and ids[-1] != BREAK:
                    ids.append(BREAK)
                ids.extend(map(number.__getitem__, cut(line)))
        if ids and ids[-1] != BREAK:
            ids.append(BREAK)
    return corpus_of(number, np.frombuffer(ids, np.int32) if ids else np.empty(0, np.int32), minimum_count, most)


def corpus_of(number: Mapping[str, int], ids: Array, minimum_count: int, most: int | None = None) -> Corpus:
    """The corpus of the frequent words, renumbered by their frequency.

    Args:
        number: each word's id, 0, 1, ... ids: `[n]` int32 of these, and `BREAK` between two texts.
        minimum_count, most: as in `read_corpus`.

    Raises:
        InputError: no word is frequent enough.
    """
    counts = np.bincount(ids[ids != BREAK], minlength=len(number))
    order = sorted((-counts[n], word) for word, n in number.items() if counts[n] >= minimum_count)[:most]
    if not order:
        top = f"the most frequent of {len(number):,} occurs {counts.max()} times" if len(number) else "there is none"
        raise InputError(f"no word occurs {minimum_count} times, {top}: expected more text, or a lower minimum count")
    words = tuple(word for _, word in order)
    new = np.full(len(number) + 1, BREAK - 1, np.int32)
    new[[number[word] for word in words]] = np.arange(len(words), dtype=np.int32)
    new[BREAK] = BREAK  # The last entry, as BREAK is -1.
    renumbered = new[ids]
    kept = np.array([-count for count, _ in order], np.int64)
    return Corpus(words, kept, renumbered[renumbered >= BREAK])


def keep_probability(counts: Array, threshold: float) -> Array:
    """How likely each word stays in the text, min(1, sqrt(t / f)), with f its relative frequency.

    Subsampling as in Mikolov et al. 2013b, equation 5 (their program computes sqrt(t / f) + t / f instead); t = 0 keeps all.

    >>> [round(float(p), 4) for p in keep_probability(np.array([99, 1]), 0.01)]
    [0.1005, 1.0]
    """
    if threshold <= 0:
        return np.ones(len(counts), np.float32)
    # In whole occurrences, so that a word that never occurs divides nothing.
    return np.minimum(1.0, np.sqrt(threshold * counts.sum() / np.maximum(counts, 1))).astype(np.float32)


def _texts(sources: Iterable[Path | str]) -> Iterator[Iterator[str]]:
    """The pieces of each text."""
    for source in sources:
        if str(source) == "-":
            yield _pieces(sys.stdin.buffer, Path("-"), "standard input")
            continue
        place = Path(source)
        if not place.exists():
            raise InputError(f"{place} is not there, expected a file or a folder of text")
        files = [place]
        if place.is_dir():
            files = [place / name for name in inside(place, "texts").files]
            if not files:
                raise InputError(f"{place} holds no file, expected at least one of text")
        for path in files:
            yield from _file(path)


def _file(path: Path) -> Iterator[Iterator[str]]:
    """The texts of one file: one, or those of an archive."""
    name = path.name.lower()
    with opened(path) as file, _refused(path):
        if ".tar" in Path(name).suffixes[-2:] or name.endswith(".tgz"):
            with tarfile.open(fileobj=file, mode="r|*") as archive:
                for member in archive:
                    if not hidden_in(member.name) and (inner := archive.extractfile(member)) is not None:
                        yield _pieces(inner, path, f"{path}, {member.name}")
        else:
            yield _pieces(file, path, str(path))


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Says in one sentence what is wrong with a file that is being read."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, tarfile.TarError) as error:
        raise InputError(f"{path} breaks off or is damaged, expected a whole file: {error}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _pieces(file: IO[bytes] | Any, path: Path, where: str) -> Iterator[str]:
    """The text in pieces that end between two words."""
    begin, rest = 0, b""
    with _refused(path):
        while block := file.read(_BLOCK):
            rest += block
            cut = max(rest.rfind(space) for space in _SPACES) + 1
            if not cut and len(rest) > _LONGEST:
                cut = _boundary(rest)
            yield _decoded(rest[:cut], begin, where)
            begin, rest = begin + cut, rest[cut:]
    yield _decoded(rest, begin, where)


def _boundary(text: bytes) -> int:
    """A place between two characters, near the end of a text that has no white space to be cut at."""
    end = len(text) - 1
    while end > len(text) - 4 and text[end] & 0xC0 == 0x80:
        end -= 1
    return end


def _decoded(text: bytes, begin: int, where: str) -> str:
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        found = f"the byte 0x{text[error.start]:02x} at byte {begin + error.start + 1:,}"
        raise InputError(f"{where} holds {found}, expected text in UTF-8") from None
    return decoded.removeprefix("\ufeff") if begin == 0 else decoded
