"""Text: a label per word, from CoNLL-U such as Universal Dependencies, and a label or number per text, from what people have."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import numpy as np

from regard.data.conllu import (
    Sentence,
    check_labeled,
    count_unlabeled,
    is_conllu,
    plain_sentence,
    read_conllu,
    sentences_below,
    worded_sentence,
)
from regard.data.documents import found_documents, is_text, read_documents
from regard.data.encoded import Documents, Sentences
from regard.data.encoding import WORD, Encoding, Labels, Numbers, learn_targets
from regard.data.examples import ALL, PARTS, Array, Example, Part, check_part, parts_of, split
from regard.data.folders import files_at, files_by_part, inside
from regard.data.inputs import read_sentences, streamed, texts_below
from regard.data.label_sets import LabelSets, label_set
from regard.data.reader import refused_value
from regard.data.registry import locate
from regard.data.survey import Skips, Survey, part_surveys
from regard.data.targets import PartTargets
from regard.data.text_files import Columns, Document, check_table_options
from regard.data.tokenizer import UNKNOWN, Tokens, clean, frequent, learn, tokenizer
from regard.data.words import SEGMENTATION, folded
from regard.data.written_inputs import WrittenInputs
from regard.errors import InputError, check_numbers

__all__ = ["UNKNOWN", "Conllu", "Texts"]


@dataclass
class Conllu:
    """A label, or a number, per word, from CoNLL-U files.

    The vocabulary is that of the training part; a model drops a word by setting its id to 0, the unknown.

    Args:
        path: a folder whose `.conllu`, `.conllu.gz` or `.conll` files have train, dev (or val, validation) and test in their
            names, or one file, of which a fixed tenth of the sentences is the test part and another the validation part,
            by the SHA-256 of their names; None is UD English EWT.
        column: which column of the file is the label; a word that has `_` there has none.
        numbers: whether that column holds numbers to predict, such as reading times, not names of classes.
        minimum_count: how often the training part must show a word, or a character, for it to have an id.
        lowercase: whether words are lower-cased before they get their id; characters keep their case.
        characters: whether each word also comes as its characters' ids.
    """

    input_options: ClassVar[tuple[str, ...]] = ("lowercase",)

    path: str | None = None
    column: Literal["upos", "xpos", "deprel"] = "upos"
    numbers: bool = False
    minimum_count: int = 2
    lowercase: bool = True
    characters: bool = True

    published = "ud-english-ewt"
    folder_files = staticmethod(sentences_below)

    def fit(self) -> Encoding:
        """The labels, words and characters of the training part."""
        if self.minimum_count < 1:
            raise InputError(f"minimum_count is {self.minimum_count}, expected at least 1")
        words: Counter[str] = Counter()
        for sentence in self._labeled("train"):
            words.update(sentence.words)
        lookups: Counter[str] = Counter()
        letters: Counter[str] = Counter()
        for word, count in words.items():
            lookups[folded(word, self.lowercase)] += count
            for letter in folded(word, lowercase=False):
                letters[letter] += count
        columns = {WORD: frequent(lookups, self.minimum_count)}
        characters = frequent(letters, self.minimum_count) if self.characters else ()
        return Encoding(learn_targets(self.labels("train"), self.numbers), columns, characters)

    def part(self, name: Part, encoding: Encoding) -> Sentences:
        """The labelled sentences of one part; a word without label has the target `IGNORE`, or NaN.

        Raises:
            InputError: not one word of the part has a label, or one is no number, where numbers are expected.
        """
        sentences = self._labeled(check_part(name))
        target = PartTargets(encoding, name)
        gap = encoding.missing
        rows = [
            np.array([gap if label is None else target(label, where) for label, where in s.labeled]) for s in sentences
        ]
        return Sentences(sentences, encoding, self.lowercase, rows, target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each word of one part that has one, and where it stands."""
        found = (entry for sentence in self._labeled(check_part(name)) for entry in sentence.labeled)
        return [(label, where) for label, where in found if label is not None]

    def training(self, encoding: Encoding) -> Sentences:
        """The sentences of the training part: nothing varies them."""
        return self.part("train", encoding)

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Sentences:
        """Sentences of `.conllu` files, of files with a sentence per line, of tables and JSON lines with a column `text`, and of
        folders of `.conllu` and `.txt` files.
        """
        found = read_sentences(sources, self.column, encoding.segmentation)
        return Sentences(found, encoding, self.lowercase)

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A sentence in memory: its text, or its words.

        Raises:
            InputError: what is neither, or has no word.
        """
        name = name or "the sentence"
        if isinstance(value, str):
            return self.texts([value], [name], encoding)[0]
        if isinstance(value, Sequence) and all(isinstance(word, str) and word for word in value):
            sentence = worded_sentence(value, name)
        else:
            raise refused_value(value, name, "a text, or its words")
        if not sentence.words:
            raise InputError(f"{name} is {value!r}, expected at least one word")
        return Sentences([sentence], encoding, self.lowercase)[0]

    def texts(self, texts: Sequence[str], names: Sequence[str], encoding: Encoding) -> Sentences:
        """Sentences in memory, as `example` takes one of them.

        Raises:
            InputError: a text without a word.
        """
        named = zip(texts, names, strict=True)
        found = [plain_sentence(each, name, name, encoding.segmentation) for each, name in named]
        for sentence, text in zip(found, texts, strict=True):
            if not sentence.words:
                raise InputError(f"{sentence.name} is {text!r}, expected at least one word")
        return Sentences(found, encoding, self.lowercase)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Sentences]:
        """Sentences as they arrive, one on each line, or the `text` of a JSON object on each line."""
        for group in streamed(file, Columns()):
            sentences = [plain_sentence(line.text, line.name, line.where, encoding.segmentation) for line in group]
            yield Sentences(sentences, encoding, self.lowercase)

    def survey(self) -> Survey:
        """How many words of each part have each label, and the first sentences."""
        parts, notes = part_surveys(self.labels, "words", self.numbers)
        first = [
            (s.name, "", " ".join(map("/".join, zip(s.words, s.labels, strict=True))))
            for s in self._sentences("train")[:3]
        ]
        skips = files_by_part(self._place, is_conllu)[1] if os.path.isdir(self._place) else Skips()
        for part in PARTS:
            count_unlabeled(self._sentences(part) if part in parts else (), self.column, skips)
        columns: dict[str, str] = {self.column: "number" if self.numbers else "label"}
        return Survey(str(self._place), "CoNLL-U", parts, columns, "UTF-8", skips, first, notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of CoNLL-U files."""
        return sum(is_conllu(path) for path in files_at(place))

    @property
    def _place(self) -> Path:
        return Path(self.path) if self.path is not None else locate(self.published)

    def _labeled(self, part: Part) -> list[Sentence]:
        sentences = self._sentences(part)
        check_labeled(sentences, self.column, part)
        return sentences

    def names_parts(self) -> bool:
        """Whether files say by their names which part they are."""
        return os.path.isdir(self._place) and bool(files_by_part(self._place, is_conllu)[0])

    def _sentences(self, part: Part) -> list[Sentence]:
        place = self._place
        if not os.path.isdir(place):
            sentences = read_conllu(place, self.column)
            parts = split([sentence.name for sentence in sentences])
            chosen = [
                sentence for sentence, assigned in zip(sentences, parts, strict=True) if assigned in parts_of(part)
            ]
            if not chosen:
                raise InputError(
                    f"{place} has too few sentences, {len(sentences)}, expected at least 3 to divide into three parts"
                )
            return chosen
        if part == ALL:
            files = [place / name for name in inside(place).files if "/" not in name and is_conllu(Path(name))]
        else:
            files = [path for path, named in files_by_part(place, is_conllu)[0] if named == part]
        if not files:
            expected = f"expected a .conllu, .conllu.gz or .conll file with {part} in its name"
            raise InputError(f"{place} has no {part} part, {expected}")
        return [sentence for path in files for sentence in read_conllu(path, self.column)]


_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


@dataclass
class Texts(WrittenInputs):
    """Labels, or a number, per text, from CSV, TSV, JSON lines, lines of `label text`, or a folder of files for each label.

    Args:
        path: a file of texts, a folder of such files with train, dev (or val, validation) and test in their names, or a folder
            (or archive) of text files by label; None is the published data set.
        dataset: which one is meant where there is no path.
        target: whether the label is the name of a class, any number of names, or a number.
        text_column: what a table or JSON object calls the text.
        label_column: what it calls the label; of texts with several labels it may be some columns of 1 and 0, joined by commas.
        label_separator: what stands between several labels in one column; JSON may have a list of them.
        split_column: what it calls the part, where it says that.
        id_column: what it calls the names that predictions are reported under; if empty, `id` or `name` where there is one.
        separator: between the fields of a table: comma, semicolon, tab, pipe or another character; if empty, the file tells.
        encoding: of files that are not UTF-8 and do not say what else they are, such as "windows-1252".
        one_per_line: whether a plain text file to predict for holds a text on each line; else it is one text.
        tokens: what a text is cut into; "bpe" and "unigram" are pieces learned from the training part.
        vocabulary: how many entries the vocabulary has at most; 0 is all words or characters, and 8,000 pieces.
        minimum_count: how often the training part must show a word, a character, or a character of a piece.
        prefix: a word has a second id, that of its beginning, this many characters; 0 for none.
        lowercase: whether texts are lower-cased.
        drop_tags: whether HTML tags such as `<br />` are taken for white space.
        longest: how many tokens of a text are read; 0 reads all.
        keep: which tokens of a longer text those are, "begin" or "end".
    """

    input_options: ClassVar[tuple[str, ...]] = ("tokens", "prefix", "lowercase")

    path: str | None = None
    dataset: Literal["sst2", "imdb"] = "sst2"
    target: Literal["label", "labels", "number"] = "label"
    text_column: str = "text"
    label_column: str = "label"
    label_separator: str = ";"
    split_column: str = "split"
    id_column: str = ""
    separator: str = ""
    encoding: str = ""
    one_per_line: bool = True
    tokens: Tokens = "words"
    vocabulary: int = 0
    minimum_count: int = 2
    prefix: int = 0
    lowercase: bool = True
    drop_tags: bool = False
    longest: int = 0
    keep: Literal["begin", "end"] = "begin"
    folder_files = staticmethod(texts_below)

    def __post_init__(self) -> None:
        check_numbers("data", self, "vocabulary", "longest", "prefix", least=0)
        check_numbers("data", self, "minimum_count", least=1)
        check_table_options(self.separator, self.encoding)
        if not self.label_separator:
            raise InputError("data.label_separator is empty, expected what stands between labels, such as ;")

    @property
    def published(self) -> str:
        """The data set that is meant where there is no path."""
        return self.dataset

    def fit(self) -> Encoding:
        """The labels and the vocabulary of the training part, and the pieces that it is cut into."""
        documents, entries = self._documents("train"), self.labels("train")
        targets: LabelSets | Labels | Numbers
        if self.target == "labels":
            targets = LabelSets.of(entries, self.label_separator)
        else:
            targets = learn_targets(entries, self.target == "number")
        texts = [self.cleaned(document.text) for document in documents]
        columns, form = learn(self.tokens, texts, self.vocabulary, self.minimum_count, self.prefix)
        return Encoding(targets, columns, tokenizer=form)

    def part(self, name: Part, encoding: Encoding) -> Documents:
        """The labelled texts of one part.

        Raises:
            InputError: a label that is no number, where numbers are expected.
        """
        documents = self._documents(check_part(name))
        target = PartTargets(encoding, name)
        targets = target.all([(document.label or "", document.where) for document in documents])
        return self._encoded(documents, encoding, targets, target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The label of each text of one part, and where it stands."""
        return [(document.label or "", document.where) for document in self._documents(check_part(name))]

    def training(self, encoding: Encoding) -> Documents:
        """The texts of the training part: nothing varies them."""
        return self.part("train", encoding)

    def survey(self) -> Survey:
        """The labels or numbers of each part, and the first texts."""
        place, numbers = self._place, self.target == "number"
        found = found_documents(place, self._columns)
        names = partial(label_set, separator=self.label_separator) if self.target == "labels" else None
        parts, notes = part_surveys(self.labels, "texts", numbers, names)
        first = [(document.name, document.label or "", document.text) for document in found.documents[:3]]
        return Survey(str(place), found.format, parts, found.columns, found.encoding, found.skips, first, notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of files that may hold texts."""
        return sum(is_text(path) for path in files_at(place))

    @property
    def _place(self) -> Path:
        return Path(self.path) if self.path is not None else locate(self.published)

    @property
    def _columns(self) -> Columns:
        names = self.text_column, self.label_column, self.split_column, self.id_column
        return Columns(*names, self.target, self.separator, self.encoding)

    def names_parts(self) -> bool:
        """Whether the files, folders or a column say which part a text is in."""
        return any(document.part for document in read_documents(self._place, self._columns, divide=False))

    def _documents(self, part: Part) -> list[Document]:
        read = read_documents(self._place, self._columns, divide=False)
        # Other data to evaluate may have a test part alone.
        if part != ALL and not (part == "test" and all(document.part for document in read)):
            read = read_documents(self._place, self._columns, self.target == "label")
        documents = [document for document in read if part in (document.part, ALL)]
        if not documents:
            raise InputError(f"{self._place} has too few texts for a {part} part, expected at least 3 of a label")
        return documents

    def cleaned(self, text: str, segmentation: int = SEGMENTATION) -> str:
        """A text as its tokens are cut from, by the rule `segmentation`."""
        if self.drop_tags:
            text = _TAG.sub(" ", text)
        if self.tokens == "bytes":
            return folded(text, self.lowercase, segmentation)
        return clean(text, self.lowercase, segmentation)

    def _unlabeled(self, documents: Sequence[Document], encoding: Encoding) -> Documents:
        return self._encoded(documents, encoding)

    def _encoded(
        self,
        documents: Sequence[Document],
        encoding: Encoding,
        targets: Sequence[Array] | None = None,
        unseen: Mapping[str, int] | None = None,
    ) -> Documents:
        cut = tokenizer(self.tokens, encoding, self.prefix)
        size = max(map(len, encoding.columns.values()))
        kept = slice(None)
        if self.longest:
            kept = slice(self.longest) if self.keep == "begin" else slice(-self.longest, None)
        texts = [self.cleaned(document.text, encoding.segmentation) for document in documents]
        kind, shape = np.uint16 if size <= 1 << 16 else np.int32, (-1, 2) if self.prefix else -1
        ids = [np.array(cut.ids(text)[kept], kind).reshape(shape) for text in texts]
        # What each vector is called is asked for where somebody looks at a few texts.
        tokens = None if targets is not None else [tuple(cut.tokens(text))[kept] for text in texts]
        return Documents([document.name for document in documents], ids, targets, tokens, unseen)
