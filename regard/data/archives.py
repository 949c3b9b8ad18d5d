"""Texts by label in folders and archives, read without being unpacked, and never past a bound."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

from regard.data.arrangement import Labeled, by_label, ending
from regard.data.examples import Part
from regard.data.folders import HIDDEN, labeled_files
from regard.data.parts import hidden_in
from regard.data.survey import Skips
from regard.errors import InputError, reason_of
from regard.files import decoded, read_whole
from regard.files.opening import LARGEST_RATIO, LONGEST_TEXT, UNBOUNDED

__all__ = ["LabeledText", "archived_texts", "is_archive", "labeled_texts", "read_text"]

_FORMATS = ".tar, .tar.gz, .tar.xz, .tar.bz2 or .zip"
_FOLDER = "folder"
_UNLABELED = "unsup"  # the folder of IMDb that holds reviews without labels


class LabeledText(NamedTuple):
    """A text with its label and part; `where` begins sentences of errors."""

    text: str
    label: str
    name: str
    where: str
    part: Part | None


def is_archive(path: Path) -> bool:
    """Whether a file's name says that it is an archive.

    >>> is_archive(Path("aclImdb_v1.TAR.gz")), is_archive(Path("my.zip")), is_archive(Path("star.txt"))
    (True, True, False)
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return ".tar" in suffixes or suffixes[-1:] in ([".zip"], [".tgz"], [".txz"], [".tbz2"])


def labeled_texts(place: Path) -> tuple[tuple[LabeledText, ...], Skips]:
    """The texts `NAME.txt` by label of a folder or an archive (`by_label`), in the order of their names; and what is skipped.

    Raises:
        InputError: no text by label, a text that is not in UTF-8 or larger than 16 MiB, a damaged archive, or one that unfolds to
            more than 200 times its size; the sentence names the file.
    """
    if place.is_dir():
        arranged, skips = labeled_files(place, (".txt",), lone=True, what="texts")
        return _texts(str(place), arranged, lambda name: read_whole(place / name), skips), skips
    try:
        status = place.stat()
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror}, expected an archive {_FORMATS}") from None
    if not place.is_file():
        raise InputError(f"{place} is no file, expected an archive {_FORMATS}")
    return _archived(place, status.st_mtime_ns, status.st_size)


def _texts(
    place: str, arranged: Iterable[Labeled], read: Callable[[str], bytes], skips: Skips
) -> tuple[LabeledText, ...]:
    texts = []
    for each in arranged:
        if each.label == _UNLABELED:
            skips.add("texts without labels", each.name)
            continue
        path, where = PurePosixPath(each.name), f"{place}/{each.name}"
        # What lies above the parts, or the labels, is no matter of a text's name.
        short = "/".join(path.parts[-3:] if each.part else path.parts[-2:])
        texts.append(LabeledText(decoded(read(each.name), where), each.label, short, where, each.part))
    return tuple(sorted(texts, key=lambda text: text.name))


def archived_texts(place: Path) -> tuple[list[tuple[str, str]], Skips]:
    """The name and the text of every `.txt` file of an archive, wherever it lies in it, by name; and what is skipped.

    Raises:
        InputError: no such file, one that is not in UTF-8 or larger than 16 MiB, or a damaged archive.
    """
    skips, contents = Skips(), dict[str, bytes]()
    try:
        size = place.stat().st_size
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror}, expected an archive {_FORMATS}") from None
    for name, content in _members(place, size):
        if hidden_in(name):
            skips.add(HIDDEN, name)
        elif isinstance(content, bytes) and ending(name) == ".txt":
            contents[name] = content
        elif content != _FOLDER:
            skips.add("files that are no .txt", name)
    if not contents:
        raise InputError(f"{place} holds no .txt file, expected at least one")
    return [(name, decoded(contents[name], f"{place}/{name}")) for name in sorted(contents)], skips


def read_text(path: Path) -> str:
    """The text that a file holds.

    Raises:
        InputError: a file that cannot be read, is larger than 16 MiB, or is not in UTF-8.
    """
    return decoded(read_whole(path), str(path))


@lru_cache(maxsize=2)
def _archived(path: Path, modified: int, size: int) -> tuple[tuple[LabeledText, ...], Skips]:
    """Read once, since `fit` and `part` read the same archive; a changed file is another key."""
    skips, away = Skips(), dict[str, None]()
    contents: dict[str, bytes] = {}
    folders: list[str] = []
    # Where members have the same name, the last one counts, as it would where they are unpacked.
    for name, content in _members(path, size):
        if hidden_in(name):
            away[hidden_in(name)] = None
        elif isinstance(content, bytes):
            contents[name] = content
        elif content == _FOLDER:
            folders.append(name)
        else:
            skips.add(content, name)
    for name in away:
        skips.add(HIDDEN, name)
    arranged, further = by_label(str(path), contents, folders, (".txt",), lone=True)
    skips.update(further)
    return _texts(str(path), arranged, contents.__getitem__, skips), skips


def _members(path: Path, size: int) -> Iterator[tuple[str, bytes | str]]:
    """The name of each member, and what a text among them holds, nothing for other files, or what it is instead of a file."""
    most = UNBOUNDED + size * LARGEST_RATIO
    try:
        with path.open("rb") as file:
            start = file.read(6)
            file.seek(0)
            if start.startswith(b"PK"):
                yield from _zipped(file, str(path), most)
            else:
                with _unfolded(file, start) as plain:
                    yield from _tarred(cast(IO[bytes], _Bounded(plain, str(path), most)), str(path))
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        lzma.LZMAError,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
    ) as error:
        raise InputError(f"{path} is no whole archive ({reason_of(error)}), expected {_FORMATS}") from None


def _tarred(file: IO[bytes], where: str) -> Iterator[tuple[str, bytes | str]]:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            name = _inner(member.name)
            if member.isfile() and _is_text(name) and (content := archive.extractfile(member)):
                _check_size(member.size, f"{where}/{name}")
                yield name, content.read()
            elif member.isfile():
                yield name, b""
            else:
                kind = "links in the archive" if member.issym() or member.islnk() else "pipes and devices"
                yield name, _FOLDER if member.isdir() else kind
        # `tarfile` takes an archive that was cut, or that goes on with noise, for a whole one.
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it breaks off before its end")


def _zipped(file: IO[bytes], where: str, most: int) -> Iterator[tuple[str, bytes | str]]:
    with zipfile.ZipFile(file) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > most:
            raise _unbounded(where, most)
        for entry in archive.infolist():
            name, content = _inner(entry.filename), b""
            if _is_text(name) and not entry.is_dir():
                _check_size(entry.file_size, f"{where}/{name}")
                if entry.flag_bits & 1:
                    raise InputError(f"{where}/{name} is encrypted, expected an archive without a password")
                content = archive.read(entry)
            yield name, _FOLDER if entry.is_dir() else content


def _inner(name: str) -> str:
    return "/".join(part for part in PurePosixPath(name).parts if part not in ("/", "..", "//"))


def _is_text(name: str) -> bool:
    return ending(name) == ".txt" and not hidden_in(name)


def _check_size(size: int, where: str) -> None:
    if size > LONGEST_TEXT:
        raise InputError(f"{where} has {size:,} bytes, expected at most {LONGEST_TEXT:,}")


def _unbounded(where: str, most: int) -> InputError:
    return InputError(
        f"{where} unfolds to more than {most >> 20:,} MiB, expected at most {LARGEST_RATIO} times its size"
    )


@contextmanager
def _unfolded(file: IO[bytes], start: bytes) -> Iterator[IO[bytes]]:
    """The bytes that a compressed file stands for; a file that does not begin like one stays as it is."""
    for magic, opened in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open)):
        if start.startswith(magic):
            with opened(file) as plain:
                yield cast(IO[bytes], plain)
            return
    yield file


class _Bounded:
    """A stream of bytes that is not read past a place, nor more at once than a text may have."""

    def __init__(self, file: IO[bytes], where: str, most: int) -> None:
        self._file, self._where, self._most = file, where, most
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= UNBOUNDED or self._file.tell() > self._most:
            raise _unbounded(self._where, self._most)
        return self._file.read(size)

    def seek(self, place: int) -> int:
        # Compressed files are read on the way.
        if place > self._most:
            raise _unbounded(self._where, self._most)
        return self._file.seek(place)
