"""The reader of pairs of documents: bytes of two texts and whether they belong together, from the published tables of pairs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np

from regard.data.arena.tables import is_table, table_files
from regard.data.encoding import Encoding, Labels
from regard.data.examples import Array, Example, Listed, Part, TargetKind, VectorSet, check_part, divided, parts_of
from regard.data.folders import files_at
from regard.data.inputs import absent, arriving
from regard.data.reader import STREAM, refused_value
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.targets import PartTargets
from regard.data.tokenizer import learn
from regard.errors import InputError, check_numbers
from regard.files import read_lines

__all__ = ["DocumentPairs", "PairsOfBytes"]

_EXPECTED = "expected label, two ids and two texts with tabs between"


class _Pair(NamedTuple):
    """Bytes of two texts, their label as text, the part if a name says it, what the pair is called, and how sentences begin."""

    first: Array
    second: Array
    label: str | None
    part: Part | None
    name: str
    where: str


class PairsOfBytes:
    """Pairs as examples: `values [n]` and the context's `values [m]` the ids of bytes, which are the bytes plus 1.

    `lengths` are those of both together, by which batches are cut.
    """

    target_kind: TargetKind = "set"

    def __init__(
        self, pairs: Sequence[_Pair], targets: Sequence[Array | None], unseen: Mapping[str, int] | None = None
    ) -> None:
        self._pairs, self.targets, self.unseen = pairs, targets, unseen or {}

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int, /) -> Example:
        pair, target = self._pairs[index], self.targets[index]
        first, second = (side.astype(np.int64) + 1 for side in (pair.first, pair.second))
        tokens = None if target is not None else tuple(f"{byte:02x}" for byte in pair.first.tolist())
        return Example(first, target, pair.name, context=VectorSet(second), tokens=tokens)

    @property
    def lengths(self) -> list[int]:
        return [len(pair.first) + len(pair.second) for pair in self._pairs]


@dataclass
class DocumentPairs:
    """A label per pair of texts, such as whether one cites the other; a vector is a byte of a text.

    Args:
        path: a folder of `.tsv` files with train, eval (or dev, val) and test in their names, or one such file; each line has a
            label, the ids of both texts and both texts, with tabs between, as the pairs of ACL Anthology papers were published
            (`new_aan_pairs.train.tsv`), or as `regard arena make retrieval` writes them.
        longest: how many bytes of each text are read; 0 reads all.
    """

    input_options: ClassVar[tuple[str, ...]] = ()

    path: str | None = None
    longest: int = 4000

    published = ""

    def __post_init__(self) -> None:
        check_numbers("data", self, "longest", least=0)

    def fit(self) -> Encoding:
        """The labels of the training part, and the 256 bytes, for both texts alike."""
        columns, _ = learn("bytes", (), 0, 1)
        return Encoding(
            Labels.of(label for label, _ in self.labels("train")), columns, context=Encoding(columns=columns)
        )

    def part(self, name: Part, encoding: Encoding) -> PairsOfBytes:
        """The labelled pairs of one part."""
        pairs, target = self._pairs(check_part(name)), PartTargets(encoding, name)
        return PairsOfBytes(pairs, [target(pair.label or "", pair.where) for pair in pairs], target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each pair of one part, and where it stands."""
        return [(pair.label or "", pair.where) for pair in self._pairs(check_part(name))]

    def training(self, encoding: Encoding) -> PairsOfBytes:
        """The pairs of the training part: nothing varies them."""
        return self.part("train", encoding)

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> PairsOfBytes:
        """Pairs to predict for: lines of two texts with a tab between, or as those to train on, whose labels are passed over."""
        found: list[_Pair] = []
        for source in sources:
            if not source.strip() or not os.path.exists(source):
                raise absent(source)
            lines = read_lines(Path(source))
            found += [self._asked(line, f"{source}:{n}", f"{source}, line {n},") for n, line in lines if line.strip()]
        if not found:
            raise InputError(f"{' and '.join(sources)} is empty, expected two texts on each line")
        return PairsOfBytes(found, [None] * len(found))

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A pair in memory: two texts, or one text with a tab between both.

        Raises:
            InputError: what is neither.
        """
        name = name or "the pair"
        if isinstance(value, str):
            pair = self._asked(value, name, name)
        elif isinstance(value, Sequence) and len(value) == 2 and all(isinstance(text, str) for text in value):
            first, second = (_bytes(text, self.longest) for text in value)
            pair = _Pair(first, second, None, None, name, name)
        else:
            raise refused_value(value, name, "two texts, or one with a tab between both")
        return PairsOfBytes([pair], [None])[0]

    def texts(self, texts: Sequence[str], names: Sequence[str], encoding: Encoding) -> Listed:
        """Pairs in memory, each two texts with a tab between."""
        return Listed([self.example(text, encoding, name) for text, name in zip(texts, names, strict=True)])

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[PairsOfBytes]:
        """Pairs as they arrive, one on each line."""
        seen = False
        for lines in arriving(file):
            pairs = [self._asked(line, f"{STREAM}:{n}", f"{STREAM}, line {n},") for n, line in lines if line.strip()]
            if pairs:
                seen = True
                yield PairsOfBytes(pairs, [None] * len(pairs))
        if not seen:
            raise InputError(f"{STREAM} is empty, expected two texts on each line")

    def survey(self) -> Survey:
        """How many pairs of each part have each label."""
        (files, skips), (parts, notes) = self._files(), part_surveys(self.labels, "pairs")
        pairs = [pair for path, part in files for pair in _read(path, part, self.longest)]
        mean = np.mean([len(side) for pair in pairs for side in (pair.first, pair.second)])
        notes.insert(
            0, f"texts have {mean:,.0f} bytes in the mean" + (f", at most {self.longest:,}" if self.longest else "")
        )
        first = [(pair.name, pair.label or "", pair.first.tobytes().decode(errors="replace")) for pair in pairs[:3]]
        return Survey(str(self._place), "pairs of texts", parts, {}, "UTF-8", skips, first, notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """Twice the number of files whose lines are pairs: tables of texts look the same by their names."""
        return 2 * sum(is_table(path) and _looks_like_pairs(path) for path in files_at(place))

    def names_parts(self) -> bool:
        """Whether files say by their names which part they are."""
        return all(part is not None for _, part in self._files()[0])

    @property
    def _place(self) -> Path:
        if self.path is None:
            raise InputError("data.path is not given, expected a folder that `regard arena make retrieval --out` wrote")
        return Path(self.path)

    def _files(self) -> tuple[list[tuple[Path, Part | None]], Skips]:
        return table_files(self._place, "eval")

    def _pairs(self, part: Part) -> list[_Pair]:
        pairs = [pair for path, named in self._files()[0] for pair in _read(path, named, self.longest)]
        parts = divided(
            [pair.name for pair in pairs], [pair.label or "" for pair in pairs], [pair.part for pair in pairs]
        )
        chosen = [pair for pair, named in zip(pairs, parts, strict=True) if named in parts_of(part)]
        if not chosen:
            raise InputError(f"{self._place} has no pair in the {part} part, expected at least 3 of some label")
        return chosen

    def _asked(self, line: str, name: str, where: str) -> _Pair:
        fields = line.split("\t")
        if len(fields) not in (2, 5):
            raise InputError(
                f"{where} has {len(fields)} fields with tabs between, expected two texts, or {_EXPECTED[9:]}"
            )
        first, second = (_bytes(text, self.longest) for text in fields[-2:])
        return _Pair(first, second, None, None, name, where)


def _bytes(text: str, longest: int) -> Array:
    return np.frombuffer(text.encode(errors="surrogatepass")[: longest or None], np.uint8)


def _read(path: Path, part: Part | None, longest: int) -> tuple[_Pair, ...]:
    try:
        status = path.stat()
    except OSError as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise InputError(f"{path} {reason}, expected a file of pairs, or a folder") from None
    return _parsed(path, part, longest, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=6)
def _parsed(path: Path, part: Part | None, longest: int, changed: tuple[int, int]) -> tuple[_Pair, ...]:
    """The pairs of a file, parsed once, since `fit` and `part` read the same files; a changed file is another key."""
    pairs = []
    for number, line in read_lines(path):
        where, fields = f"{path}, line {number},", line.split("\t")
        if len(fields) != 5 or not fields[0].strip():
            found = f"{len(fields)} fields with tabs between" if len(fields) != 5 else "no label"
            raise InputError(f"{where} has {found}, {_EXPECTED}")
        first, second = (_bytes(text, longest) for text in fields[3:])
        pairs.append(_Pair(first, second, fields[0].strip(), part, f"{path.name}:{number}", where))
    if not pairs:
        raise InputError(f"{path} is empty, expected pairs of texts")
    return tuple(pairs)


def _looks_like_pairs(path: Path) -> bool:
    try:
        first = next(iter(read_lines(path)), (0, ""))[1].split("\t")
    except InputError:
        return False
    return len(first) == 5 and first[0].strip() in ("0", "1", "0.0", "1.0")
