"""Sentences: parsed from CoNLL-U (version 2), or from plain text, one sentence per line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from regard.data.folders import inside
from regard.data.survey import Skips
from regard.data.words import SEGMENTATION, tokenize
from regard.errors import InputError
from regard.files import read_lines

__all__ = [
    "COLUMNS",
    "Sentence",
    "check_labeled",
    "count_unlabeled",
    "filled",
    "is_conllu",
    "plain_sentence",
    "read_conllu",
    "sentence_files",
    "sentences_below",
    "tokenize",
    "worded_sentence",
    "written",
]

COLUMNS = {"upos": 3, "xpos": 4, "deprel": 7}
"""The columns of CoNLL-U that label a word, by their place in a line."""


@dataclass(frozen=True)
class Sentence:
    """The words of one sentence, and for each the line it stands in and its label (`_` where there is none)."""

    name: str
    words: tuple[str, ...]
    labels: tuple[str, ...]
    where: str
    first_line: int
    lines: tuple[int, ...] = ()

    @property
    def labeled(self) -> list[tuple[str | None, str]]:
        """The label of each word, None where the column has `_` or nothing, and where it stands."""
        labels = zip(self.labels, self.lines, strict=True)
        return [(label if label not in ("_", "") else None, f"{self.where}, line {line},") for label, line in labels]


def check_labeled(sentences: Sequence[Sentence], column: str, part: str) -> None:
    """Refuses a part of which not one word has a label.

    Raises:
        InputError: the column has `_`, or nothing, for every word.
    """
    if all(label is None for sentence in sentences for label, _ in sentence.labeled):
        first, count = sentences[0], sum(len(sentence.words) for sentence in sentences)
        others = f"nor has any other of the {count:,} words of the {part} part"
        raise InputError(f"{first.where}, line {first.lines[0]}, has no {column}, {others}, expected labels there")


def count_unlabeled(sentences: Iterable[Sentence], column: str, skips: Skips) -> None:
    """Counts the words without label."""
    for sentence in sentences:
        for label, where in sentence.labeled:
            if label is None:
                skips.add(f"words without {column}", where.removesuffix(","))


def is_conllu(path: Path | str) -> bool:
    """Whether a file's name ends in `.conllu` or in `.conll`, whose labels stand in the same columns, or in one of these and `.gz`.

    >>> [is_conllu(name) for name in ("a.conllu", "A.CONLLU.GZ", "a.conll", "a.txt")]
    [True, True, True, False]
    """
    return str(path).lower().removesuffix(".gz").endswith((".conllu", ".conll"))


def sentence_files(source: str) -> list[str]:
    """The files of sentences below a folder; what is no folder is itself.

    Raises:
        InputError: a folder without any.
    """
    if not source.strip() or not os.path.isdir(source):
        return [source]
    return [str(path) for path in sentences_below(Path(source))[0]]


def sentences_below(folder: Path) -> tuple[list[Path], Skips]:
    """The files of sentences below a folder, in CoNLL-U or as text, and what is skipped.

    Raises:
        InputError: a folder without any.
    """
    found, files = inside(folder, "sentences"), []
    for name in found.files:
        if is_conllu(name) or name.lower().endswith(".txt"):
            files.append(folder / name)
        else:
            found.skips.add("files whose names end in neither .conllu nor .txt", name)
    if not files:
        raise InputError(f"{folder} has no file whose name ends in .conllu, .conllu.gz or .txt, expected some")
    return files, found.skips


def read_conllu(path: Path, column: str = "upos") -> tuple[Sentence, ...]:
    """The sentences of a CoNLL-U file, plain or `.gz`; multiword tokens (`1-2`) and empty nodes (`1.1`) are skipped.

    A sentence is named by its `sent_id`, or else by file and line.

    Raises:
        InputError: a file that cannot be read, is empty, or departs from the format; the sentence names file and line.
    """
    try:
        status = path.stat()
    except OSError:
        raise InputError(f"{path} is not there, expected a file in CoNLL-U, or a folder of them") from None
    return _parsed(path, column, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _parsed(path: Path, column: str, modified: int, size: int) -> tuple[Sentence, ...]:
    """Parsed once, since `fit` and `part` both read the training file; a changed file is another key."""
    sentences = tuple(_parse(path, COLUMNS[column]))
    if not sentences:
        raise InputError(f"{path} is empty, expected sentences in CoNLL-U")
    return sentences


def _parse(path: Path, column: int) -> Iterator[Sentence]:
    block: list[tuple[int, str]] = []
    for number, line in read_lines(path):
        if line.strip():
            block.append((number, line))
        elif block:
            yield _sentence(path, block, column)
            block = []
    if block:
        yield _sentence(path, block, column)


def _sentence(path: Path, block: Sequence[tuple[int, str]], column: int) -> Sentence:
    name = ""
    words: list[str] = []
    labels: list[str] = []
    lines: list[int] = []
    for number, line in block:
        if line.startswith("#"):
            key, _, value = line[1:].partition("=")
            name = value.strip() if key.strip() == "sent_id" else name
            continue
        row = line.split("\t")
        if len(row) != 10:
            found = f"{len(row)} fields separated by tabs, expected the 10 of CoNLL-U"
            raise InputError(f"{path}, line {number}, has {found}")
        index, form, label = row[0], row[1], row[column]
        if not index.isdecimal():
            if not re.fullmatch(r"\d+[-.]\d+", index):
                raise InputError(
                    f"{path}, line {number}, has the word number {index!r}, expected such as 3, 3-4 or 3.1"
                )
            continue
        if len(index) > 9 or int(index) != len(words) + 1:
            raise InputError(f"{path}, line {number}, has the word number {index}, expected {len(words) + 1}")
        if not form:
            raise InputError(f"{path}, line {number}, has an empty second field, expected a word")
        words.append(sys.intern(form))
        labels.append(sys.intern(label))
        lines.append(number)
    first = block[0][0]
    if not words:
        raise InputError(f"{path}, line {first}, begins a sentence without words, expected at least one")
    return Sentence(name or f"{path.name}:{first}", tuple(words), tuple(labels), str(path), first, tuple(lines))


def plain_sentence(text: str, name: str, where: str, segmentation: int = SEGMENTATION) -> Sentence:
    """The sentence that a text is; `where` begins the sentence of an error, `segmentation` is the rule that cuts the text.

    Raises:
        InputError: a line of CoNLL-U, or a comment there.
    """
    if text.count("\t") == 9 or re.match(r"# *(sent_id|text|newdoc id|newpar id|global\.columns) *= ", text):
        found = "looks like CoNLL-U with its 10 fields" if "\t" in text else "looks like CoNLL-U with its comments"
        raise InputError(f"{where} {found}, expected plain text, or a file named .conllu")
    return worded_sentence(tokenize(text, segmentation), name, where)


def worded_sentence(words: Sequence[str], name: str, where: str = "") -> Sentence:
    """The sentence of these words, without labels."""
    return Sentence(name, tuple(words), ("_",) * len(words), where or name, 1)


def filled(path: Path | str, column: str, labels: Sequence[Sequence[str]]) -> Iterator[str]:
    """The sentences of a CoNLL-U file, each with its end, where one column of the words is replaced; all else is as it was.

    Args:
        path: of the file. column: of `COLUMNS`. labels: of each word of each sentence.
    """
    sentences = read_conllu(Path(path), column)
    replaced = {
        line: label
        for sentence, its in zip(sentences, labels, strict=True)
        for line, label in zip(sentence.lines, its, strict=True)
    }
    block: list[str] = []
    for number, line in read_lines(Path(path)):
        if number in replaced:
            row = line.split("\t")
            row[COLUMNS[column]] = replaced[number]
            line = "\t".join(row)
        if line.strip():
            block.append(line)
        elif block:
            yield "\n".join([*block, "\n"])
            block = []
    if block:
        yield "\n".join([*block, "\n"])


def written(words: Sequence[str], labels: Sequence[str], column: str, name: str = "", text: str = "") -> str:
    """A new sentence in CoNLL-U, with one column of labels, and its name and its text where they are given.

    >>> print(written(["I", "saw"], ["PRON", "VERB"], "upos", "s1"), end="")
    # sent_id = s1
    1	I	_	PRON	_	_	_	_	_	_
    2	saw	_	VERB	_	_	_	_	_	_
    <BLANKLINE>
    """
    lines = [f"# sent_id = {'_'.join(name.split())}"] if name else []
    lines += [f"# text = {' '.join(text.split())}"] if text else []
    for n, (word, label) in enumerate(zip(words, labels, strict=True), 1):
        row = [str(n), word, *"_" * 8]
        row[COLUMNS[column]] = label
        lines.append("\t".join(row))
    return "\n".join([*lines, "\n"])
