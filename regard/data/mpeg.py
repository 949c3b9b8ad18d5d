"""How many samples an MPEG sound has (MP3): its frames are counted, for most programs but estimate it.

A file of variable rate may begin with an index (a frame with "Xing" or "Info") that says how many frames it has. libsndfile
takes that, or an estimate from the first frame where there is none, for the truth, and reads no sample beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TypeVar

from regard.errors import InputError

__all__ = ["indexed"]

File = TypeVar("File")

# Kilobits per second by the number in the header, for layers 1 to 3 of MPEG 1, and 1 and 2 to 3 of MPEG 2 and 2.5.
_BITS = {
    (1, 1): (0, *range(32, 449, 32)),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_BLOCK = 1 << 20
_JUNK = 64 << 10  # bytes before the first frame, beside tags


@dataclass(frozen=True)
class _Frame:
    """What the four bytes at the beginning of a frame say."""

    head: int
    layer: int
    size: int
    samples: int

    @property
    def kind(self) -> int:
        """What all frames of a file have alike: version, layer and rate."""
        return self.head & 0xFFFE0C00

    @property
    def side(self) -> int:
        """How many bytes stand between the header and an index."""
        first, mono = self.head >> 19 & 3 == 3, self.head >> 6 & 3 == 3
        return (17 if mono else 32) if first else (9 if mono else 17)


def _frame(data: bytes, place: int) -> _Frame | None:
    """The frame that begins there; None where none does, or one of free bit rate."""
    head = int.from_bytes(data[place : place + 4], "big")
    version, layer, bits, rate = head >> 19 & 3, 4 - (head >> 17 & 3), head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    generation = 1 if version == 3 else 2
    samples = 384 if layer == 1 else 576 if layer == 3 and generation == 2 else 1152
    kilobits, padding = _BITS[generation, layer][bits], head >> 9 & 1
    slots = samples // (32 if layer == 1 else 8) * kilobits * 1000 // _RATES[version][rate] + padding
    return _Frame(head, layer, slots * 4 if layer == 1 else slots, samples)


class _Bytes:
    """The bytes of a file by place, a block of which is in memory."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self.size, self._first, self._block = file, size, 0, b""

    def at(self, place: int, count: int) -> bytes:
        """The bytes from a place on, fewer at the end."""
        if not self._first <= place <= place + count <= self._first + len(self._block):
            self._file.seek(place)
            self._first, self._block = place, self._file.read(max(count, _BLOCK))
        return self._block[place - self._first : place - self._first + count]

    def frame(self, place: int) -> _Frame | None:
        return _frame(self.at(place, 4), 0)


def indexed(
    file: IO[bytes], size: int, where: str, spliced: Callable[[bytes, IO[bytes], int], File]
) -> IO[bytes] | File:
    """An MPEG file as it is, where its index says how many frames it has; with an index in front of it otherwise.

    Anything else is returned as it is.

    Args:
        file: of any kind. size: in bytes. where: begins the sentence of an error.
        spliced: makes a file of first bytes, a file, and the place in it that follows.

    Raises:
        InputError: an MPEG file that ends within a frame or before the frames that its index promises, or is interrupted by other
            bytes.
    """
    data = _Bytes(file, size)
    first = _first_frame(data)
    if first is None:
        return file
    place, frame = first
    index = _index(data, place, frame)
    if index is not None:
        place += frame.size
    count, like = _count(data, place, frame, where)
    # Some programs count the index itself.
    if index is not None and count + 1 < index.frames:
        raise InputError(
            f"{where} breaks off after {count:,} of the {index.frames:,} frames that its index promises, expected a whole file"
        )
    if frame.layer != 3 or not count or (index is not None and index.read and index.frames == count):
        return file
    return spliced(_made_index(like or frame, count), file, place)


def _first_frame(data: _Bytes) -> tuple[int, _Frame] | None:
    """The first frame and its place, after tags: one that another of its kind follows, or that ends the file."""
    begin = _after_tags(data, 0)
    for place in range(begin, min(begin + _JUNK if begin else 1, data.size)):
        frame = data.frame(place)
        if frame is None:
            continue
        after = data.frame(place + frame.size)
        if place + frame.size == data.size or (after is not None and after.kind == frame.kind):
            return place, frame
    return None


def _after_tags(data: _Bytes, place: int) -> int:
    """The first byte from a place on that is in no tag (ID3, APE)."""
    while True:
        head = data.at(place, 16)
        if head[:3] == b"ID3" and len(head) == 16:
            a, b, c, d = head[6:10]
            place += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 16 else 0)
        elif head[:3] == b"TAG":
            place += 128
        elif head[:8] == b"APETAGEX" and len(head) == 16:
            place += 32 + int.from_bytes(head[12:], "little")
        else:
            return place


@dataclass(frozen=True)
class _Index:
    """How many frames follow, 0 where it does not say, and whether libsndfile reads this kind of index."""

    frames: int
    read: bool


def _index(data: _Bytes, place: int, frame: _Frame) -> _Index | None:
    """The index that stands in this frame; None where it is none."""
    if frame.layer != 3:
        return None
    mark = data.at(place + 4 + frame.side, 12)
    if mark[:4] in (b"Xing", b"Info") and len(mark) == 12:
        return _Index(int.from_bytes(mark[8:], "big") if mark[7] & 1 else 0, True)
    mark = data.at(place + 36, 18)
    if mark[:4] == b"VBRI" and len(mark) == 18:
        return _Index(int.from_bytes(mark[14:], "big"), False)
    return None


def _count(data: _Bytes, place: int, first: _Frame, where: str) -> tuple[int, _Frame | None]:
    """How many frames follow one another from a place on, and one of them.

    Raises:
        InputError: the last is not whole, or there are others after what is none.
    """
    count, last = 0, None
    while place < data.size:
        frame = data.frame(place)
        if frame is None or frame.kind != first.kind:
            tagged = _after_tags(data, place)
            if tagged == place:
                _check_end(data, place, first, where)
                break
            place = tagged
            continue
        if place + frame.size > data.size:
            raise InputError(f"{where} breaks off within its frame {count + 1:,}, expected a whole file")
        count, last, place = count + 1, frame, place + frame.size
    return count, last


def _check_end(data: _Bytes, place: int, first: _Frame, where: str) -> None:
    """Refuse what goes on with frames after bytes that are none."""
    rest = data.at(place, _BLOCK)
    start = rest.find(b"\xff")
    while start >= 0:
        frame = _frame(rest, start)
        if frame is not None and frame.kind == first.kind:
            after = _frame(rest, start + frame.size)
            if after is not None and after.kind == first.kind:
                damage = f"{start:,} bytes at byte {place:,} that are no MPEG frame, and goes on after them"
                raise InputError(f"{where} has {damage}, expected frames that follow one another")
        start = rest.find(b"\xff", start + 1)


def _made_index(like: _Frame, count: int) -> bytes:
    """A frame that says how many frames of this kind follow: its header has the least bit rate that leaves room."""
    for bits in range(1, 15):
        head = like.head & ~(0xF << 12 | 1 << 9) | bits << 12 | 1 << 16
        frame = _frame(head.to_bytes(4, "big"), 0)
        assert frame is not None
        if frame.size >= 4 + frame.side + 12 + 156:
            mark = b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
            return (head.to_bytes(4, "big") + bytes(frame.side) + mark).ljust(frame.size, b"\0")
    raise AssertionError("no bit rate leaves room for an index")
