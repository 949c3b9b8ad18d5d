"""`ParallelText`: sentences of one language as examples, whose targets are the same sentences in another language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import numpy as np

from regard.data.documents import Document
from regard.data.encoding import END, Encoding
from regard.data.examples import ALL, PARTS, Array, Example, Part, TargetKind, VectorSet, check_part
from regard.data.inputs import streamed, texts_below, to_read
from regard.data.parallel_files import Pairs, Sides, looks_parallel, read_pairs
from regard.data.reader import refused_value
from regard.data.registry import locate
from regard.data.survey import PartSurvey, Survey
from regard.data.text_files import Columns, check_table_options
from regard.data.tokenizer import Tokenizer, clean, learn_written, tokenizer
from regard.errors import InputError, check_numbers

__all__ = ["ParallelText", "Translations"]


@dataclass
class ParallelText:
    """Sentences of one language with those of another: two files line by line, a table, or JSON lines.

    Both sides are cut into pieces of one vocabulary, learned from both sides of the training part. The ids of a sentence end in
    that of the end, on both sides.

    Args:
        path: a folder with files of train, dev (or val, validation) and test that end in the languages, such as `train.de.gz`, or
            with a table or JSON lines for each part; one such file that is not divided; None is the published data set Multi30k.
        target_path: the file of the targets, where `path` is that of the sources and its name does not tell the other.
        source_language: the ending of the files, or the column or entry, of what is read.
        target_language: likewise of what is written.
        split_column: what a table or JSON object calls the part, where it says that.
        separator: between the fields of a table: comma, semicolon, tab, pipe or another character; if empty, the file tells.
        encoding: of files that are not UTF-8 and do not say what else they are, such as "windows-1252".
        tokens: what sentences are cut into; "bpe" and "unigram" are pieces learned from the training part.
        vocabulary: how many pieces or characters there are at most, without those of the begin and the end; 0 is 8,000 pieces, and
            all characters.
        minimum_count: how often the training part must show a character.
        lowercase: whether both sides are lower-cased.
        longest: pairs of the training part with more characters on a side are left out and counted; 0 leaves out none.
    """

    input_options: ClassVar[tuple[str, ...]] = ("source_language", "target_language", "tokens", "lowercase")

    path: str | None = None
    target_path: str = ""
    source_language: str = "de"
    target_language: str = "en"
    split_column: str = "split"
    separator: str = ""
    encoding: str = ""
    tokens: Literal["bpe", "unigram", "characters", "bytes"] = "bpe"
    vocabulary: int = 0
    minimum_count: int = 2
    lowercase: bool = False
    longest: int = 2000

    published = "multi30k"
    folder_files = staticmethod(texts_below)

    def __post_init__(self) -> None:
        check_numbers("data", self, "vocabulary", "longest", least=0)
        check_numbers("data", self, "minimum_count", least=1)
        check_table_options(self.separator, self.encoding)
        if self.source_language == self.target_language or not (self.source_language and self.target_language):
            languages = f"{self.source_language!r} and {self.target_language!r}"
            raise InputError(f"data.source_language and data.target_language are {languages}, expected two languages")

    def fit(self) -> Encoding:
        """The pieces of both sides of the training part, in one vocabulary."""
        pairs = self._pairs("train")
        texts = [self._cleaned(text) for pair in pairs for text in (pair.text, pair.label or "")]
        written = learn_written(self.tokens, texts, self.vocabulary, self.minimum_count)
        return Encoding(written, written.columns, tokenizer=written.tokenizer)

    def part(self, name: Part, encoding: Encoding) -> Translations:
        """The pairs of one part."""
        pairs = self._pairs(check_part(name))
        return self._encoded(pairs, encoding, [pair.label or "" for pair in pairs])

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The target of each pair of one part as text, and where it stands."""
        return [(pair.label or "", pair.where) for pair in self._pairs(check_part(name))]

    def training(self, encoding: Encoding) -> Translations:
        """The pairs of the training part: nothing varies them."""
        return self.part("train", encoding)

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Translations:
        """Sentences to translate, from files of lines, tables and JSON lines."""
        documents: list[Document] = []
        for source in sources:
            before = len(documents)
            documents += to_read(source, self._columns, one_per_line=True)
            if len(documents) == before:
                raise InputError(f"{source} is empty, expected a sentence on each line")
        return self._encoded(documents, encoding)

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A sentence in memory.

        Raises:
            InputError: what is no text, or an empty one.
        """
        name = name or "the text"
        if not isinstance(value, str):
            raise refused_value(value, name, "a text")
        return self.texts([value], [name], encoding)[0]

    def texts(self, texts: Sequence[str], names: Sequence[str], encoding: Encoding) -> Translations:
        """Sentences in memory, as `example` takes one of them."""
        for text, name in zip(texts, names, strict=True):
            if not text.strip():
                raise InputError(f"{name.strip() or 'the text'} is empty, expected a sentence to translate")
        return self._encoded(
            [Document(text, None, name, name) for text, name in zip(texts, names, strict=True)], encoding
        )

    def target(self, text: str, encoding: Encoding) -> VectorSet:
        """A sentence of the other language in memory, as the target of an example.

        Raises:
            InputError: an empty one.
        """
        if not text.strip():
            raise InputError("the target is empty, expected a sentence")
        assert isinstance(encoding.targets, Encoding)
        cut, end = tokenizer(self.tokens, encoding.targets), encoding.targets.entry(END)
        return VectorSet(self._ids([self._cleaned(text)], cut, end)[0].astype(np.int64), text=text)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Translations]:
        """Sentences as they arrive, one on each line, or in a JSON object on each line."""
        for group in streamed(file, self._columns):
            yield self._encoded(group, encoding)

    def survey(self) -> Survey:
        """How many pairs each part has, and the first ones."""
        found, notes = self._found(), []
        parts = {}
        for name in PARTS:
            count = sum(pair.part == name for pair in found.documents)
            if count:
                parts[str(name)] = PartSurvey(count, "pairs")
            else:
                notes.append(f"there is no {name} part")
        if "train" not in parts:
            self._pairs("train")
        first = [(pair.name, "", f"{pair.text} | {pair.label}") for pair in found.documents[:3]]
        return Survey(
            str(self._place), found.format, parts, found.columns, found.encoding, found.skips, first, tuple(notes)
        )

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of files that have one of the same name in another language beside them."""
        return looks_parallel(place)

    def names_parts(self) -> bool:
        """Whether the files or a column say which part a pair is in."""
        return any(pair.part for pair in self._found(divide=False).documents)

    @property
    def _place(self) -> Path:
        return Path(self.path) if self.path is not None else locate(self.published)

    @property
    def _columns(self) -> Columns:
        return Columns(self.source_language, separator=self.separator, encoding=self.encoding)

    def _found(self, divide: bool = True) -> Pairs:
        sides = Sides(
            self.source_language, self.target_language, self.split_column, self.separator, self.encoding, self.longest
        )
        return read_pairs(self._place, Path(self.target_path) if self.target_path else None, sides, divide)

    def _pairs(self, part: Part) -> list[Document]:
        found = self._found(divide=False).documents
        # Other data to evaluate may have a test part alone.
        if part != ALL and not (part == "test" and all(pair.part for pair in found)):
            found = self._found().documents
        pairs = [pair for pair in found if part in (pair.part, ALL)]
        if not pairs:
            raise InputError(f"{self._place} has too few pairs for a {part} part, expected at least 3")
        return pairs

    def _cleaned(self, text: str) -> str:
        return clean(text, self.lowercase)

    def _encoded(
        self, documents: Sequence[Document], encoding: Encoding, targets: Sequence[str] | None = None
    ) -> Translations:
        cut, end = tokenizer(self.tokens, encoding), encoding.entry(END)
        names, texts = [document.name for document in documents], [self._cleaned(each.text) for each in documents]
        sources = self._ids(texts, cut, end)
        if targets is None:
            return Translations(names, sources, tokens=[(*cut.tokens(text), END) for text in texts])
        assert isinstance(encoding.targets, Encoding)
        other, end = tokenizer(self.tokens, encoding.targets), encoding.targets.entry(END)
        return Translations(names, sources, self._ids(map(self._cleaned, targets), other, end), targets)

    def _ids(self, texts: Iterable[str], cut: Tokenizer, end: int) -> list[Array]:
        return [np.array([*cut.ids(text), end], np.int32) for text in texts]


class Translations:
    """Pairs as examples: `values [n]` the ids of the source, the target `values [m]` those of the target; both end in `END`.

    `lengths` are those of the longer side, by which batches are cut; `tokens` are given where there is no target.
    """

    target_kind: TargetKind = "sets"

    def __init__(
        self,
        names: Sequence[str],
        sources: Sequence[Array],
        targets: Sequence[Array] | None = None,
        texts: Sequence[str] | None = None,
        tokens: Sequence[tuple[str, ...]] | None = None,
    ) -> None:
        self._names, self._sources, self._tokens = names, sources, tokens
        self._targets, self._texts = targets, texts

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Example:
        return Example(
            values=self._sources[index].astype(np.int64),
            target=self._target(index),
            name=self._names[index],
            target_kind="sets",
            tokens=None if self._tokens is None else self._tokens[index],
        )

    @property
    def lengths(self) -> list[int]:
        return [
            max(len(source), 0 if self._targets is None else len(self._targets[i]))
            for i, source in enumerate(self._sources)
        ]

    @property
    def targets(self) -> list[VectorSet | None]:
        return [self._target(index) for index in range(len(self))]

    def _target(self, index: int) -> VectorSet | None:
        if self._targets is None or self._texts is None:
            return None
        return VectorSet(self._targets[index].astype(np.int64), text=self._texts[index])
