"""Files of word vectors: the text and the binary format of word2vec, GloVe's text, and safetensors.

| ending | format |
|---|---|
| `.safetensors` | `vectors` `[v, d]` float32, and `words`, UTF-8 with a line feed behind each |
| `.bin` | a line `v d`; then for each word its UTF-8, a space, d float32 (little-endian); line feeds before a word are skipped |
| `.txt`, `.vec` | a line `v d`, which GloVe leaves out; then a line for each word: it, and d numbers, with spaces between them |

The last two may end in `.gz`, `.bz2` or `.xz` in addition, and capitals make no difference. Word2vec's formats have no way to
write a word with white space; GloVe's files have such words, and they are read. Where a file has two vectors for a word, the first
counts, as it does in gensim, and `WordVectors.skips` says for how many.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from regard.data.examples import Array
from regard.data.survey import Skips
from regard.errors import InputError
from regard.files import opened, plain_suffix, written_whole
from regard.vectors.text_format import LONGEST, header, read_text, word_of
from regard.vectors.words import WordVectors

__all__ = ["format_of", "load", "save"]

_FORMATS = {".txt": "text", ".vec": "text", ".bin": "binary", ".safetensors": "safetensors"}
# Without the time or the name of the file, so that equal vectors make equal files.
_COMPRESSED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile("", "wb", 6, file, 0),
    ".bz2": lambda file: bz2.BZ2File(file, "wb"),
    ".xz": lambda file: lzma.LZMAFile(file, "wb"),  # noqa: SIM115
}
_BLOCK = 1 << 20


def format_of(path: Path | str) -> str:
    """The format that a name ends in: "text", "binary" or "safetensors".

    >>> [format_of(name) for name in ("glove.6B.50d.txt", "news.BIN.gz", "words.gz", "words.safetensors")]
    ['text', 'binary', 'text', 'safetensors']

    Raises:
        InputError: a name that ends otherwise.
    """
    path = Path(path)
    compressed = path.suffix.lower() in _COMPRESSED
    suffix = plain_suffix(path)
    if compressed and not suffix:
        return "text"
    if suffix not in _FORMATS or (compressed and suffix == ".safetensors"):
        known = ".txt, .vec or .bin, these also with .gz, .bz2 or .xz behind, or in .safetensors"
        raise InputError(f"{path} has a name that says no format of word vectors, expected one that ends in {known}")
    return _FORMATS[suffix]


def save(vectors: WordVectors, path: Path | str) -> None:
    """Write a file whole, in the format and the compression that its name ends in.

    Raises:
        InputError: a name that says no format, a word that the format cannot hold, or a file that cannot be written.
    """
    path = Path(path)
    form = format_of(path)
    for word in vectors.words:
        if form == "safetensors" and "\n" in word:
            raise InputError(f"{path} cannot hold the word {word!r}, expected no line feed in a word")
        if form != "safetensors" and (not word or any(space in word for space in " \t\n\r")):
            raise InputError(
                f"{path} cannot hold the word {word!r}, expected no white space in a word, or a name in .safetensors"
            )
    with written_whole(path) as file:
        compress = _COMPRESSED.get(path.suffix.lower())
        if compress is None:
            _write(vectors, form, file)
        else:
            # Compressed piece by piece, and not word by word.
            with compress(file) as folded, io.BufferedWriter(folded, _BLOCK) as pieces:
                _write(vectors, form, pieces)


def _write(vectors: WordVectors, form: str, file: IO[bytes]) -> None:
    if form == "safetensors":
        from safetensors.numpy import save as saved

        spelled = np.frombuffer("".join(f"{word}\n" for word in vectors.words).encode(), np.uint8)
        file.write(saved({"vectors": vectors.matrix, "words": spelled}, {"format": "regard word vectors"}))
        return
    file.write(f"{len(vectors)} {vectors.width}\n".encode())
    for word, row in zip(vectors.words, vectors.matrix, strict=True):
        if form == "binary":
            file.write(word.encode() + b" " + row.astype("<f4").tobytes())
        else:
            # The shortest digits that read back to the same float32.
            file.write(f"{word} {' '.join(row.astype(str))}\n".encode())


def load(path: Path | str) -> WordVectors:
    """Read a file in the format that its name ends in.

    Raises:
        InputError: a name that says no format, no such file, or one that is cut short, has a wrong header or a broken line; the
            sentence names line or byte.
    """
    path = Path(path)
    form = format_of(path)
    with opened(path) as file:
        if form == "safetensors":
            return _safetensors(file, path)
        words, matrix = read_text(file, path) if form == "text" else _binary(file, path)
    first = {word: n for n, word in reversed(list(enumerate(words)))}
    if len(first) == len(words):
        return WordVectors(words, matrix)
    skips = Skips()
    for n, word in enumerate(words):
        if first[word] != n:
            skips.add("further vectors of a word that has one", repr(word))
    rows = sorted(first.values())
    return WordVectors([words[n] for n in rows], matrix[rows], skips)


def _safetensors(file: IO[bytes], path: Path) -> WordVectors:
    from safetensors import SafetensorError
    from safetensors.numpy import load as loaded

    try:
        arrays = loaded(file.read())
        words = bytes(arrays["words"]).decode().split("\n")
        matrix = arrays["vectors"]
    except (SafetensorError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise InputError(f"{path} is cut short or no file of word vectors in safetensors: {error}") from None
    if words[-1:] != [""] or matrix.ndim != 2 or len(matrix) != len(words) - 1:
        raise InputError(
            f"{path} holds {len(words) - 1:,} words and vectors {matrix.shape}, expected a row for each word"
        )
    return WordVectors(words[:-1], matrix)


def _binary(file: IO[bytes], path: Path) -> tuple[list[str], Array]:
    line = file.readline(LONGEST)
    total, width = header(line, path)
    size = path.stat().st_size
    # What a wrong header promises is told at once.
    if path.suffix.lower() not in _COMPRESSED and len(line) + total * (4 * width + 2) > size:
        raise InputError(
            f"{path} ends at byte {size:,}, too early for the {total:,} words of {width} numbers of its first line"
        )
    # Memory grows with what is read, and not with what the header promises.
    words, numbers = [], bytearray()
    for word, row in _rows(file, len(line), (total, width), path):
        words.append(word)
        numbers += row
    return words, np.frombuffer(numbers, "<f4").reshape(total, width)


def _rows(file: IO[bytes], begin: int, shape: tuple[int, int], path: Path) -> Iterator[tuple[str, bytes]]:
    """Each word with the bytes of its numbers; `begin` is the byte that the first one stands at, counted from 0."""
    total, width = shape
    longest = LONGEST + 4 * width
    rest, at = b"", 0
    for n in range(total):
        if len(rest) - at <= longest:
            begin, rest, at = begin + at, rest[at:] + file.read(_BLOCK + longest), 0
        while rest[at : at + 1] in (b"\r", b"\n"):
            at += 1
        space = rest.find(b" ", at, at + LONGEST)
        end = space + 1 + 4 * width
        if space < 0 or end > len(rest):
            where = f"{path} breaks off in word {n + 1:,} of {total:,}, at byte {begin + at + 1:,}"
            raise InputError(f"{where}, expected a word, a space and {width} numbers")
        row = rest[space + 1 : end]
        if not np.isfinite(np.frombuffer(row, "<f4")).all():
            raise InputError(f"{path}, byte {begin + space + 2:,}, begins {width} numbers that are not all finite")
        yield word_of(rest[at:space], f"{path}, byte {begin + at + 1:,},"), row
        at = end
    tail = rest[at:] + file.read(LONGEST)
    behind = len(tail) - len(tail.lstrip(b"\r\n"))
    if behind < len(tail):
        where = f"{path}, byte {begin + at + behind + 1:,}, goes on behind the {total:,} words of its first line"
        raise InputError(f"{where}, expected its end")
