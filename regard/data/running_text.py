"""Plain text to learn the next character from: windows of it, each character with the one that follows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from regard.data.encoding import Encoding, Labels
from regard.data.examples import ALL, PARTS, Array, Example, Listed, Part, TargetKind, check_part
from regard.data.folders import files_below
from regard.data.inputs import absent, streamed
from regard.data.reader import refused_value
from regard.data.registry import locate
from regard.data.survey import PartSurvey, Skips, Survey, listed
from regard.data.text_files import Columns
from regard.data.tokenizer import frequent
from regard.errors import InputError, check_numbers
from regard.files import decoded, read_whole

__all__ = ["RunningText", "ShiftedWindows", "Streams", "Windows", "character_ids"]

_COLUMN = "token"
_LONGEST = 1 << 30  # bytes of a file
# Where, as a fraction of the whole, each part begins and ends.
_SHARES: dict[str, tuple[float, float]] = {"train": (0, 0.9), "validation": (0.9, 0.95), "test": (0.95, 1), ALL: (0, 1)}


def character_ids(text: str, entries: Sequence[str]) -> Array:
    """`[n]` int64 the id of each character, 0 where it is none of the entries.

    >>> character_ids("abba?", ("<unknown>", "a", "b")).tolist()
    [1, 2, 2, 1, 0]
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    known = {ord(entry): n for n, entry in enumerate(entries) if n}
    distinct, places = np.unique(codes, return_inverse=True)
    return np.array([known.get(code, 0) for code in distinct.tolist()], np.int64)[places.reshape(-1)]


class Windows:
    """Neighboring windows of a text: `values [n]` character ids, and for each the id of the one that follows as its target.

    So every character but the first is a target once.

    Args:
        ids: of the whole text. window: the most characters of one. name: of the text. begin: where it begins in a larger one.
    """

    target_kind: TargetKind = "vector"

    def __init__(self, ids: Array, window: int, name: str, begin: int = 0) -> None:
        self._ids, self._window, self._name, self._begin, self._shift = ids, window, name, begin, 0
        self._starts = range(0, len(ids) - 1, window)

    @property
    def lengths(self) -> list[int]:
        return [min(self._window, len(self._ids) - 1 - start) for start in self._starts]

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int, /) -> Example:
        start = self._starts[index] - self._shift
        ids = self._ids[max(0, start) : start + self._window + 1].astype(np.int64)
        return Example(ids[:-1], ids[1:], f"{self._name}:{self._begin + self._starts[index]}", "vector")

    @property
    def targets(self) -> list[Array]:
        ends = zip(self._starts, self.lengths, strict=True)
        return [self._ids[start + 1 : start + 1 + length].astype(np.int64) for start, length in ends]


class Streams:
    """Stretches of a text side by side, each in windows that follow one another: what a model with a memory reads.

    Example t * streams + b is window t of stretch b, so that the next `streams` examples go on where these end. All stretches have
    as many windows, as equal as can be, and every character but the first is a target once.

    Args:
        ids: of the whole text. window: the most characters of one. streams: how many stretches there are. name, begin: as in
            `Windows`.

    Raises:
        InputError: fewer characters than stretches.
    """

    target_kind: TargetKind = "vector"

    def __init__(self, ids: Array, window: int, streams: int, name: str, begin: int = 0) -> None:
        total = len(ids) - 1
        if total < streams:
            raise InputError(
                f"{name} has {total} characters to guess in this part, expected at least {streams}: one a stream"
            )
        self._ids, self._name, self._begin, self.streams = ids, name, begin, streams
        # The longest stretch decides how many windows each has.
        self._windows = -(-total // (streams * window))
        self._bounds = [b * total // streams for b in range(streams + 1)]

    def _ends(self, index: int) -> tuple[int, int, int]:
        """The first character of an example, the one after its last, and the first of its stretch."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        turn, stream = divmod(index, self.streams)
        first, last = self._bounds[stream : stream + 2]
        begin, end = (first + n * (last - first) // self._windows for n in (turn, turn + 1))
        return begin, end, first

    @property
    def lengths(self) -> list[int]:
        return [end - begin for begin, end, _ in map(self._ends, range(len(self)))]

    def __len__(self) -> int:
        return self.streams * self._windows

    def __getitem__(self, index: int, /) -> Example:
        begin, end, first = self._ends(index)
        ids = self._ids[begin : end + 1].astype(np.int64)
        return Example(ids[:-1], ids[1:], f"{self._name}:{self._begin + begin}", "vector", start=begin - first)

    @property
    def targets(self) -> list[Array]:
        return [self._ids[begin + 1 : end + 1].astype(np.int64) for begin, end, _ in map(self._ends, range(len(self)))]


class ShiftedWindows(Windows):
    """Windows as training reads them: all begin by a number of characters earlier that is drawn for each epoch, so that no
    character always comes first. The first window is then shorter, and fewer than a window of the last characters are in none.

    Args:
        seed: of the draws. The others are those of `Windows`.
    """

    def __init__(self, ids: Array, window: int, name: str, begin: int = 0, seed: int = 0) -> None:
        super().__init__(ids, window, name, begin)
        self._seed = seed

    @property
    def lengths(self) -> list[int]:
        """Upper bounds."""
        return [min(self._window, len(self._ids) - 1)] * len(self)

    @property
    def targets(self) -> list[Array]:
        """Those of windows that are not shifted."""
        return Windows(self._ids, self._window, self._name).targets

    def set_epoch(self, epoch: int) -> None:
        """Choose by how many characters."""
        generator = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        self._shift = int(generator.integers(self._window)) if len(self) > 1 else 0


@dataclass
class RunningText:
    """Plain text in windows of characters; the target of each is the character after it.

    The parts are stretches of the text: its first 90 percent to train on, the next 5 for validation, the last 5 to test. (nanoGPT
    validates on all of the last 10 percent.) A character that the training part lacks is the unknown one, with id 0.

    Args:
        path: a file of text, or a folder of `.txt` files, which are taken one after another in the order of their names; None is
            the published text.
        window: how many characters an example has.
        minimum_count: how often the training part must show a character for it to have an id.
        seed: of the place where the windows of each epoch begin.
        streams: how many stretches of each part are read side by side, one window of each in every batch, from their beginning to
            their end; 0 for windows in any order. A model that remembers segments needs some.
    """

    path: str | None = None
    window: int = 256
    minimum_count: int = 1
    seed: int = 0
    streams: int = 0

    published = "tinyshakespeare"

    def __post_init__(self) -> None:
        check_numbers("data", self, "window", "minimum_count", least=1)
        check_numbers("data", self, "seed", "streams", least=0)

    def fit(self) -> Encoding:
        """The characters of the training part, the most frequent first."""
        text, _ = self._part("train")
        entries = frequent(Counter(text), self.minimum_count)
        if len(entries) < 3:
            raise InputError(
                f"{self._place} has {len(entries) - 1} characters that stand {self.minimum_count} times or more, "
                "expected at least 2"
            )
        return Encoding(Labels(entries), {_COLUMN: entries})

    def part(self, name: Part, encoding: Encoding) -> Windows | Streams:
        """The windows of one part.

        Raises:
            InputError: a text that is too short to have that part.
        """
        ids, begin = self._ids(check_part(name), encoding)
        if self.streams:
            return Streams(ids, self.window, self.streams, self._place.name, begin)
        return Windows(ids, self.window, self._place.name, begin)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """Each character of a part but the first, and where it stands."""
        text, begin = self._part(check_part(name))
        return [(each, f"{self._place}, character {begin + n},") for n, each in enumerate(text[1:], 1)]

    def training(self, encoding: Encoding) -> Windows | Streams:
        """Windows of the training part that begin elsewhere in each epoch; those of streams do not, which have a past anyway."""
        if self.streams:
            return self.part("train", encoding)
        ids, begin = self._ids("train", encoding)
        return ShiftedWindows(ids, self.window, self._place.name, begin, self.seed)

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Listed:
        """Whole texts, each one example: of files, and of the `.txt` files of folders."""
        found = []
        for source in sources:
            if not source.strip() or not os.path.exists(source):
                raise absent(source)
            found += [self.example(text, encoding, str(path)) for path, text in _texts(Path(source))[0]]
        return Listed(found)

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A text in memory.

        Raises:
            InputError: what is no text, or empty.
        """
        name = name or "the text"
        if not isinstance(value, str):
            raise refused_value(value, name, "a text")
        if not value:
            raise InputError(f"{name} is empty, expected at least one character")
        return Example(character_ids(value, encoding.columns[_COLUMN]), None, name, "vector", tokens=tuple(value))

    def texts(self, texts: Sequence[str], names: Sequence[str], encoding: Encoding) -> Listed:
        """Texts in memory, as `example` takes one of them."""
        return Listed([self.example(text, encoding, name) for text, name in zip(texts, names, strict=True)])

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Listed]:
        """Texts as they arrive, one on each line, or in a JSON object on each line."""
        for group in streamed(file, Columns()):
            yield Listed([self.example(each.text, encoding, each.name) for each in group])

    def survey(self) -> Survey:
        """How many characters each part has, which of them the training part lacks, and the first lines."""
        known = set(self.fit().columns[_COLUMN][1:])
        parts: dict[str, PartSurvey] = {}
        notes = []
        for name in PARTS:
            text = self._part(name)[0]
            parts[name] = PartSurvey(len(text), "characters")
            lacking = Counter(each for each in text if each not in known)
            if lacking:
                names = listed([f"{each!r} ({count:,})" for each, count in lacking.most_common()])
                notes.append(
                    f"{lacking.total():,} characters of the {name} part are taken for the unknown one: {names}"
                )
        lines = [line for line in self._part("train")[0][:1000].splitlines() if line.strip()][:3]
        first = [(f"line {n}", "", line) for n, line in enumerate(lines, 1)]
        return Survey(str(self._place), "running text", parts, {}, "UTF-8", _texts(self._place)[1], first, notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """None: texts are for the reader `Texts`, which looks for labels."""
        return 0

    @property
    def _place(self) -> Path:
        return Path(self.path) if self.path is not None else locate(self.published)

    def _ids(self, name: Part, encoding: Encoding) -> tuple[Array, int]:
        """The ids of a part, and where in the whole it begins."""
        text, begin = self._part(name)
        ids = character_ids(text, encoding.columns[_COLUMN])
        # A book of a million characters takes no more memory than this for each.
        return ids.astype(np.uint16 if len(encoding.columns[_COLUMN]) <= 1 << 16 else np.int32), begin

    def _part(self, name: Part) -> tuple[str, int]:
        """The text of a part, and where in the whole it begins."""
        whole = "".join(text for _, text in _texts(self._place)[0])
        begin, end = (int(share * len(whole)) for share in _SHARES[name])
        if end - begin < 2:
            raise InputError(
                f"{self._place} has {len(whole)} characters, expected at least 40: the {name} part would have {end - begin}"
            )
        return whole[begin:end], begin


def _texts(place: Path) -> tuple[Sequence[tuple[Path, str]], Skips]:
    """The texts of a file, or of the files below a folder, and what is skipped there.

    Raises:
        InputError: no such place, one that may not be read, or no text in it.
    """
    if not os.path.exists(place):
        raise InputError(f"{place} is not there, expected a file of text or a folder of .txt files")
    paths, skips = files_below(place, (".txt",), "texts") if os.path.isdir(place) else ([place], Skips())
    return [(path, _text(path, path.stat().st_mtime_ns, path.stat().st_size)) for path in paths], skips


@lru_cache(maxsize=8)
def _text(path: Path, modified: int, size: int) -> str:
    """Read once, since each part reads the same file; a changed file is another key."""
    return decoded(read_whole(path, _LONGEST), str(path))
