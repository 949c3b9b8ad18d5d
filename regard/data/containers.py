"""What a sound file says of its own length, against how long it is: a file that was cut is refused before it is read.

libsndfile takes what is left of such a file for the whole of it.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from typing import IO, Any, Literal

from regard.data.mpeg import indexed
from regard.errors import InputError

__all__ = ["Spliced", "whole_file"]

Order = Literal["little", "big"]

_PLACEHOLDERS = (0x7F000000, 0x80000040), (0xFFFFFF00, 0xFFFFFFFF)
"""Sizes that programs write into a pipe, where they cannot go back: near 2 or 4 GiB. They promise nothing."""
_CHUNKS = 10_000
_FAR = 1 << 62
_TAIL = 1024  # bytes after the samples that need not make sense
_PAGE = 65_307  # the longest page of Ogg


class Spliced(io.RawIOBase):
    """Other first bytes, and a file from some byte on.

    Args:
        beginning: what is read first. file: what follows it. start: the byte of the file that follows.
    """

    def __init__(self, beginning: bytes, file: IO[bytes], start: int) -> None:
        self._beginning, self._file, self._start, self._place = beginning, file, start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence)
        if origin is None:
            origin = len(self._beginning) + _size(self._file) - self._start
        self._place = max(0, origin + offset)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        spare = len(self._beginning) - self._place
        if spare > 0:
            piece = self._beginning[self._place : self._place + len(buffer)]
        else:
            self._file.seek(self._start - spare)
            piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)


def whole_file(file: IO[bytes], where: str) -> IO[bytes] | Spliced:
    """The file as it is to be decoded: itself, or with a header whose length is right.

    Its header says where the samples end: in WAV (also RF64 and Sony's W64), AIFF, CAF, AU and SPHERE by their number of
    bytes, in Ogg by the mark of the last page. A size of 0, or near 2 or 4 GiB, is what programs write into a pipe and promises
    nothing. For MPEG see `regard.data.mpeg.indexed`. Formats not named here are left to libsndfile.

    Args:
        file: at any place, which is moved. where: begins the sentence of an error.

    Raises:
        InputError: the file ends before the samples that its header promises, or goes on long after them.
    """
    size = _size(file)
    start = _read(file, 0, 16)
    ends: dict[bytes, Callable[[], int | None]] = {
        b"RIFF": lambda: _chunk_end(file, "little", b"data"),
        b"RF64": lambda: _chunk_end(file, "little", b"data"),
        b"BW64": lambda: _chunk_end(file, "little", b"data"),
        b"RIFX": lambda: _chunk_end(file, "big", b"data"),
        b"FORM": lambda: _chunk_end(file, "big", b"BODY" if start[8:12] in (b"8SVX", b"16SV") else b"SSND"),
        b"riff": lambda: _long_chunk_end(file),
        b"caff": lambda: _apple_chunk_end(file),
        b".snd": lambda: _header_end(start, "big"),
        b"dns.": lambda: _header_end(start, "little"),
        b"NIST": lambda: _sphere_end(_read(file, 0, 1024)),
    }
    if start[:4] == b"OggS":
        _check_pages(file, size, where)
        return file
    if start[:4] not in ends:
        return indexed(file, size, where, Spliced)
    end = ends[start[:4]]()
    if end is not None and end > size:
        raise InputError(
            f"{where} breaks off: it has {size:,} bytes, its header promises {end:,}, expected a whole file"
        )
    if start[:4] in (b"RIFF", b"RIFX") and end is not None:
        return _with_size(file, end, size, where, "little" if start[:4] == b"RIFF" else "big")
    return file


def _size(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)


def _read(file: IO[bytes], place: int, count: int) -> bytes:
    """The bytes at a place, as far as there are any; a header may tell of a place that no file has."""
    if place >= _FAR:
        return b""
    file.seek(place)
    return file.read(count)


def _promised(size: int) -> bool:
    return size > 0 and not any(low <= size <= high for low, high in _PLACEHOLDERS)


def _chunks(file: IO[bytes], order: Order) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a RIFF or IFF file: name, place of the content, and its size as it says."""
    place = 12
    for _ in range(_CHUNKS):
        head = _read(file, place, 8)
        if len(head) < 8 or not _is_name(head[:4]):
            return
        length = int.from_bytes(head[4:], order)
        yield head[:4], place + 8, length
        place += 8 + length + length % 2


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _chunk_end(file: IO[bytes], order: Order, wanted: bytes) -> int | None:
    """Where the chunk with the samples ends; None where it does not say."""
    long: int | None = None
    for name, place, length in _chunks(file, order):
        if name == b"ds64":
            long = int.from_bytes(_read(file, place + 8, 8), "little")
        if name == wanted and long is not None and length == 0xFFFFFFFF:
            return place + long if 0 < long < 2**63 else None
        if name == wanted:
            # An empty chunk has an end, and may be one that was never closed.
            return place + length if _promised(length) or not length else None
    return None


def _long_chunk_end(file: IO[bytes]) -> int | None:
    """The same in W64, whose names have 16 bytes and whose sizes of 8 bytes count themselves."""
    place = 40
    for _ in range(_CHUNKS):
        head = _read(file, place, 24)
        if len(head) < 24:
            return None
        length = int.from_bytes(head[16:], "little")
        if head[:4] == b"data":
            return place + length if 24 < length < _FAR else None
        place += max(24, length + -length % 8)
    return None


def _apple_chunk_end(file: IO[bytes]) -> int | None:
    """The same in CAF, whose sizes have 8 bytes; -1 promises nothing."""
    place = 8
    for _ in range(_CHUNKS):
        head = _read(file, place, 12)
        length = int.from_bytes(head[4:], "big", signed=True)
        if len(head) < 12 or length < 0:
            return None
        place += 12 + length
        if head[:4] == b"data":
            return place
    return None


def _header_end(start: bytes, order: Order) -> int | None:
    """The same in AU."""
    offset, length = (int.from_bytes(start[n : n + 4], order) for n in (4, 8))
    return offset + length if _promised(length) else None


def _sphere_end(head: bytes) -> int | None:
    """The same in NIST's SPHERE, whose header is text."""
    numbers = {key: int(n) for key, n in re.findall(rb"^(\w+) -i (\d{1,15})\s*$", head, re.MULTILINE)}
    length = re.match(rb"NIST_1A\s+(\d{1,9})\s", head)
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")
    if length is None or any(name not in numbers for name in names):
        return None
    samples, channels, width = (numbers[name] for name in names)
    return int(length[1]) + samples * channels * width


def _with_size(file: IO[bytes], end: int, size: int, where: str, order: Order) -> IO[bytes] | Spliced:
    """A WAV file whose samples end in it: as it is, or as one whose samples go on to its end, where its header was never closed.

    Raises:
        InputError: bytes after the samples that are no chunk.
    """
    # An odd chunk is followed by a byte, which some programs forget.
    tails = [_read(file, place, 4) for place in (end, end + end % 2)]
    if size - end <= _TAIL or any(map(_is_name, tails)):
        return file
    place, length = next((place, length) for name, place, length in _chunks(file, order) if name == b"data")
    if length == 0:
        return Spliced(_read(file, 0, place - 4) + b"\xff" * 4, file, place)
    if not any(tails[0]):
        return file
    raise InputError(
        f"{where} goes on after the {length:,} bytes of samples that its header promises, with {size - end:,} bytes that are "
        "no part of a WAV file, expected a header that was closed"
    )


def _check_pages(file: IO[bytes], size: int, where: str) -> None:
    """Refuse an Ogg file whose last page is not whole, or not marked as the last.

    Raises:
        InputError: such a file.
    """
    begin = max(0, size - 2 * _PAGE)
    tail = _read(file, begin, size - begin)
    place = tail.rfind(b"OggS")
    page = tail[place:] if place >= 0 else b""
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 or len(lengths) < page[26] or len(page) < 27 + page[26] + sum(lengths) or not page[5] & 4:
        raise InputError(
            f"{where} breaks off: its last page of Ogg is not whole or not marked as the last, expected a whole file"
        )
