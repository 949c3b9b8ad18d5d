"""Files of word vectors: the text and the binary format of word2vec, and safetensors.

| ending | format |
|---|---|
| `.safetensors` | `vectors` `[v, d]` float32, and `words`, UTF-8 with a line feed behind each |
| `.bin` | a line `v d`; then for each word its UTF-8, a space, d float32 (little-endian); line feeds before a word are skipped |
| any other | a line `v d`; then a line for each word: it, and d numbers, with spaces between them; also as `.gz` |

Word2vec's formats have no way to write a word with white space. Where a file has two vectors for a word, the first counts, as it
does in gensim.
"""

from __future__ import annotations

import gzip
import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError
from regard.files import written_whole
from regard.vectors.words import WordVectors

__all__ = ["load", "save"]

_HEADER = "expected a first line with the number of words and the width, such as '26778 100'"
_LONGEST = 10_000  # bytes of a header, or of a word


def save(vectors: WordVectors, path: Path | str) -> None:
    """Write a file whole, in the format that its name ends in.

    Raises:
        InputError: a word that the format cannot hold, or a file that cannot be written.
    """
    path = Path(path)
    for word in vectors.words:
        bad = "\n" in word if path.suffix == ".safetensors" else not word or any(space in word for space in " \t\n\r")
        if bad:
            raise InputError(f"{path} cannot hold the word {word!r}, expected no white space in a word")
    with written_whole(path) as file:
        if path.suffix == ".safetensors":
            from safetensors.numpy import save as saved

            spelled = np.frombuffer("".join(f"{word}\n" for word in vectors.words).encode(), np.uint8)
            file.write(saved({"vectors": vectors.matrix, "words": spelled}, {"format": "regard word vectors"}))
            return
        file.write(f"{len(vectors)} {vectors.width}\n".encode())
        for word, row in zip(vectors.words, vectors.matrix, strict=True):
            if path.suffix == ".bin":
                file.write(word.encode() + b" " + row.astype("<f4").tobytes())
            else:
                # The shortest digits that read back to the same float32.
                file.write(f"{word} {' '.join(row.astype(str))}\n".encode())


def load(path: Path | str) -> WordVectors:
    """Read a file in the format that its name ends in.

    Raises:
        InputError: no such file, or one that is cut short, has a wrong header or a broken line; the sentence names line or byte.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return _safetensors(path)
        if path.suffix == ".bin":
            with path.open("rb") as file:
                return _distinct(*_binary(file, path))
        with cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as file:
            return _distinct(*_text(file, path))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path} breaks off or is damaged, expected a whole gzip file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _safetensors(path: Path) -> WordVectors:
    from safetensors import SafetensorError
    from safetensors.numpy import load as loaded

    try:
        arrays = loaded(path.read_bytes())
        words = bytes(arrays["words"]).decode().split("\n")
        matrix = arrays["vectors"]
    except (SafetensorError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise InputError(f"{path} is cut short or no file of word vectors in safetensors: {error}") from None
    if words[-1:] != [""] or matrix.ndim != 2 or len(matrix) != len(words) - 1:
        raise InputError(
            f"{path} holds {len(words) - 1:,} words and vectors {matrix.shape}, expected a row for each word"
        )
    return WordVectors(words[:-1], matrix)


def _distinct(words: list[str], matrix: Array) -> WordVectors:
    first = {word: n for n, word in reversed(list(enumerate(words)))}
    rows = sorted(first.values())
    return WordVectors([words[n] for n in rows], matrix[rows] if len(rows) < len(words) else matrix)


def _header(line: bytes, path: Path) -> tuple[int, int]:
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() and len(part) < 16 and int(part) for part in parts):
        raise InputError(f"{path}, line 1, holds {line[:40].decode(errors='replace').strip()!r}, {_HEADER}")
    return int(parts[0]), int(parts[1])


def _text(file: IO[bytes], path: Path) -> tuple[list[str], Array]:
    total, width = _header(file.readline(_LONGEST), path)
    words: list[str] = []
    rows: list[Array] = []
    for number, line in enumerate(file, 2):
        word, row = _line(line, width, f"{path}, line {number},")
        if number > total + 1:
            raise InputError(f"{path}, line {number}, is one too many, expected the {total:,} words of its first line")
        words.append(word)
        rows.append(row)
    if len(words) < total:
        raise InputError(f"{path} ends after line {len(words) + 1}, expected the {total:,} words of its first line")
    return words, np.stack(rows)


def _line(line: bytes, width: int, where: str) -> tuple[str, Array]:
    parts = line.rstrip(b" \r\n").split(b" ")
    if len(parts) != width + 1:
        raise InputError(f"{where} has {len(parts) - 1} numbers, expected {width}")
    try:
        with np.errstate(over="ignore"):
            row = np.array(parts[1:]).astype(np.float32)
    except ValueError:
        raise InputError(f"{where} holds what is no number, expected a word and {width} numbers") from None
    if not np.isfinite(row).all():
        raise InputError(f"{where} holds a number that is not finite, expected {width} finite ones")
    return _word(parts[0], where), row


def _word(spelled: bytes, where: str) -> str:
    try:
        return spelled.decode()
    except UnicodeDecodeError as error:
        found = f"the byte 0x{spelled[error.start]:02x}"
        raise InputError(f"{where} holds {found} in its word, expected text in UTF-8") from None


def _binary(file: IO[bytes], path: Path) -> tuple[list[str], Array]:
    line = file.readline(_LONGEST)
    total, width = _header(line, path)
    size = path.stat().st_size
    # Before memory is taken for what a wrong header promises.
    if len(line) + total * (4 * width + 2) > size:
        raise InputError(
            f"{path} ends at byte {size:,}, too early for the {total:,} words of {width} numbers of its first line"
        )
    matrix = np.empty((total, width), np.float32)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        words = list(_read_binary(memory, len(line), matrix, path))
    return words, matrix


def _read_binary(memory: mmap.mmap, at: int, matrix: Array, path: Path) -> Iterator[str]:
    total, width = matrix.shape
    for n in range(total):
        while at < len(memory) and memory[at] in b"\r\n":
            at += 1
        space = memory.find(b" ", at, at + _LONGEST)
        if space < 0 or space + 1 + 4 * width > len(memory):
            where = f"{path} breaks off in word {n + 1:,} of {total:,}, at byte {at + 1:,}"
            raise InputError(f"{where}, expected a word, a space and {width} numbers")
        yield _word(memory[at:space], f"{path}, byte {at + 1:,},")
        at = space + 1 + 4 * width
        matrix[n] = np.frombuffer(memory[space + 1 : at], "<f4")
        if not np.isfinite(matrix[n]).all():
            raise InputError(f"{path}, byte {space + 2:,}, begins {width} numbers that are not all finite")
    while at < len(memory) and memory[at] in b"\r\n":
        at += 1
    if at < len(memory):
        raise InputError(
            f"{path}, byte {at + 1:,}, goes on behind the {total:,} words of its first line, expected its end"
        )
