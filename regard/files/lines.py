"""Lines of text: their encoding and ends as far as both can be told for certain, and with a bound on each."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from regard.errors import InputError, nearest
from regard.files.opening import LONGEST_TEXT, opened

__all__ = ["LONGEST_LINE", "TextForm", "check_encoding", "decoded", "read_lines", "text_form", "too_long"]

LONGEST_LINE = LONGEST_TEXT
"""How many bytes a line may have, its end not counted."""

_HEAD = 1 << 16
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    # That of UTF-16 is the beginning of that of UTF-32.
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
# What files begin with that people take for tables or text; those whose first bytes are letters must hold other bytes as well.
_NO_TEXTS = (
    (b"PK\x03\x04", "a workbook (.xlsx, .ods), or another ZIP file", "save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook (.xls), or another document of Office", "save it as CSV"),
    (b"PAR1", "a Parquet file", "write it as CSV or JSON lines"),
    (b"ARROW1", "an Arrow file", "write it as CSV or JSON lines"),
    (b"%PDF", "a PDF", "save its text"),
    (b"\x1f\x8b", "compressed by gzip", "let its name end in .gz"),
    (b"BZh", "compressed by bzip2", "let its name end in .bz2"),
    (b"\xfd7zXZ", "compressed by xz", "let its name end in .xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", "compress it by gzip"),
    (b"SQLite format 3", "a database of SQLite", "write a table of it as CSV"),
    (b"\x89PNG", "a picture", ""),
    (b"\xff\xd8\xff", "a picture", ""),
    (b"RIFF", "a sound", ""),
)
_COMMON = (
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "iso-8859-15", "windows-1250", "windows-1251"),
    *("windows-1252", "mac-roman", "koi8-r", "gb18030", "big5", "shift-jis", "euc-jp", "euc-kr"),
)
# Python has these as encodings, and no file of text is in one of them.
_NO_TEXT = {"unicode_escape", "raw_unicode_escape", "idna", "punycode", "undefined", "mbcs", "oem", "utf_7"}


@dataclass(frozen=True)
class TextForm:
    """How the bytes of a file become lines.

    Args:
        codec: Python's name of the encoding.
        name: its name for people.
        end: the bytes that end a line; a carriage return before a line feed is no part of the line.
        option: the option that names another encoding, for the sentence of an error; empty where there is none.
    """

    codec: str = "utf-8-sig"
    name: str = "UTF-8"
    end: bytes = b"\n"
    option: str = ""

    @property
    def wide(self) -> bool:
        """Whether a character has two bytes or four, of which one may look like the end of a line."""
        return self.codec.startswith(("utf-16", "utf-32"))


def check_encoding(name: str, option: str) -> None:
    """Refuse what names no encoding of text; `option` begins the sentence.

    >>> check_encoding("windows-1525", "data.encoding")
    Traceback (most recent call last):
    regard.errors.InputError: data.encoding is 'windows-1525', expected the name of an encoding: did you mean 'windows-1252'?
    """
    try:
        codec = codecs.lookup(name) if name else None
    except (LookupError, ValueError):
        raise InputError(f"{option} is {name!r}, expected the name of an encoding: {nearest(name, _COMMON)}") from None
    if codec and (codec.name.replace("-", "_") in _NO_TEXT or not codec._is_text_encoding):
        raise InputError(f"{option} is {name!r}, expected the name of an encoding of text: {nearest('', _COMMON)}")


def text_form(path: Path, encoding: str = "", option: str = "") -> TextForm:
    """How a file of text is read, as far as its first lines tell.

    A byte order mark is believed first, then `encoding`; text of one byte per character that is UTF-8 throughout, with characters
    beyond ASCII, is UTF-8 all the same. Without both, zeros in every second byte are UTF-16; all else is UTF-8. Lines end with a
    carriage return alone (as on old Macintoshes) where no line feed follows in `LONGEST_LINE` bytes.

    Args:
        path: the file, which may be compressed.
        encoding: its name as the user gave it; empty where nothing was said.
        option: what the user calls that option.

    Raises:
        InputError: a file that cannot be opened, or whose bytes are no text.
    """
    with opened(path) as file:
        head = piece = file.read(_HEAD)
        size, returned = 0, False
        # In UTF-16 either byte may be half of another character, and then no line ends there after all.
        while piece and b"\n" not in piece and size < LONGEST_LINE:
            returned |= b"\r" in piece
            size += len(piece)
            piece = file.read(_HEAD)
    end = b"\r" if returned and b"\n" not in piece else b"\n"
    codec, name = _encoding(head, encoding, str(path))
    if codec == encoding and _one_byte(encoding) and _is_utf8(path):
        codec, name = "utf-8", "UTF-8"
    return TextForm(codec, name, end, option)


def _encoding(head: bytes, encoding: str, where: str) -> tuple[str, str]:
    """The codec, and its name for people."""
    for begin, kind, way in _NO_TEXTS:
        if head.startswith(begin) and not (_decodes(head, "utf-8") and head.count(0) == 0):
            raise InputError(f"{where} is {kind}, expected text{way and f': {way}'}")
    for mark, codec, name in _BOMS:
        if head.startswith(mark):
            return codec, name
    wide = _without_mark(head)
    if encoding:
        said = codecs.lookup(encoding).name
        if said.startswith(("utf-16", "utf-32")) and 0 not in head and _decodes(head, "utf-8"):
            return "utf-8", "UTF-8"
        return (wide or "utf-16-le", "UTF-16") if said == "utf-16" else (encoding, encoding)
    if wide:
        return wide, "UTF-16 without a byte order mark"
    if head.count(0) > max(len(head) // 10, 3):
        raise InputError(
            f"{where} has {head.count(0):,} zeros in its first {len(head):,} bytes, expected text in UTF-8"
        )
    return "utf-8-sig", "UTF-8"


def _without_mark(head: bytes) -> str | None:
    """The codec of UTF-16 without a byte order mark, or None: zeros in every second byte, and more than text has."""
    head = head[: len(head) // 2 * 2]
    zeros, low, high = head.count(0), head[::2].count(0), head[1::2].count(0)
    # A character such as U+4E00 has its zero in the other byte.
    if not zeros or 10 * min(low, high) > max(low, high):
        return None
    if _decodes(head, "utf-8") and (zeros < 4 or zeros <= len(head) // 10):
        return None
    codec = "utf-16-be" if low > high else "utf-16-le"
    return codec if _decodes(head, codec) else None


def _decodes(head: bytes, codec: str) -> bool:
    """Whether the first bytes of a file are in an encoding; the last character may be cut."""
    try:
        codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _one_byte(encoding: str) -> bool:
    """Whether each byte is a character of its own."""
    return len(bytes(range(256)).decode(encoding, "replace")) == 256 and codecs.lookup(encoding).name not in (
        "utf-8",
        "ascii",
    )


def _is_utf8(path: Path) -> bool:
    """Whether a file is UTF-8 throughout, with characters beyond ASCII: text in another encoding hardly ever is."""
    decoder, plain = codecs.getincrementaldecoder("utf-8")(), True
    try:
        with opened(path) as file:
            while piece := file.read(1 << 20):
                plain &= piece.isascii()
                decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return not plain


def read_lines(source: Path | IO[bytes], where: str = "", form: TextForm | None = None) -> Iterator[tuple[int, str]]:
    """The numbered lines of a file or stream of text, without their ends.

    Args:
        source: a path, whose file may be compressed, or a stream of bytes.
        where: what sentences call it; its path where nothing is said.
        form: encoding and ends of lines; None is that of `text_form` for a path, and UTF-8 for a stream.

    Raises:
        InputError: as `opened`, bytes that are not text in the encoding, or a line of more than `LONGEST_LINE` bytes; the sentence
            names file and line.
    """
    where = where or str(source)
    form = form or (text_form(source) if isinstance(source, Path) else TextForm())
    number = 0
    place: AbstractContextManager[IO[bytes]] = opened(source) if isinstance(source, Path) else nullcontext(source)
    with place as file:
        pieces: Iterable[bytes] = iter(lambda: file.read(_HEAD), b"")
        if form.wide:
            pieces = _as_utf8(pieces, form, where)
        codec = "utf-8" if form.wide else form.codec
        for number, line in enumerate(_cut(pieces, form.end, where), 1):
            try:
                text = line.decode("utf-8" if number > 1 and codec == "utf-8-sig" else codec)
            except UnicodeDecodeError as error:
                raise _undecoded(line, error, f"{where}, line {number},", form) from None
            yield number, text.rstrip("\r\n")


def decoded(content: bytes, where: str) -> str:
    """The text that the bytes of a whole file are in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        InputError: bytes that are not text; `where` begins the sentence.
    """
    codec, name = next(((codec, name) for mark, codec, name in _BOMS if content.startswith(mark)), ("utf-8", "UTF-8"))
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        found = f"the byte 0x{content[error.start]:02x} at place {error.start}"
        raise InputError(f"{where} holds {found}, expected text in {name}") from None


def _cut(pieces: Iterable[bytes], end: bytes, where: str) -> Iterator[bytes]:
    """Lines without their ends; an empty one after the last end is none."""
    rest: list[bytes] = []
    size = number = 0
    for piece in pieces:
        first, *lines = piece.split(end)
        rest.append(first)
        size += len(first)
        if size > LONGEST_LINE:
            raise too_long(where, number + 1)
        if lines:
            yield b"".join(rest)
            yield from lines[:-1]
            number += len(lines)
            rest, size = lines[-1:], len(lines[-1])
    if size:
        yield b"".join(rest)


def _as_utf8(pieces: Iterable[bytes], form: TextForm, where: str) -> Iterator[bytes]:
    decoder, size = codecs.getincrementaldecoder(form.codec)(), 0
    for piece in chain(pieces, [b""]):
        size += len(piece)
        try:
            yield decoder.decode(piece, final=not piece).encode()
        except UnicodeDecodeError as error:
            place = size - len(error.object) + error.start
            raise InputError(f"{where}, at place {place:,}, holds bytes that are not {form.name}") from None


def _undecoded(line: bytes, error: UnicodeDecodeError, place: str, form: TextForm) -> InputError:
    """The error of a line, with the word that the byte is in as the most frequent other encoding has it."""
    hint = ""
    if form.option and form.name == "UTF-8":
        word = line[: error.start].split()[-1:] if line[: error.start][-1:].strip() else []
        word += line[error.start :].split()[:1] or [b""]
        text = b"".join(word)[:40].decode("windows-1252", "replace").strip("\"',;")
        hint = f": {form.option} windows-1252 reads it as {text!r}, another encoding as something else"
    return InputError(f"{place} holds the byte 0x{line[error.start]:02x}, expected text in {form.name}{hint}")


def too_long(where: str, number: int) -> InputError:
    """The error of a line with more than `LONGEST_LINE` bytes."""
    return InputError(f"{where}, line {number}, has more than {LONGEST_LINE:,} bytes, expected shorter lines")
