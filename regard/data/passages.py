"""Plain text to learn a language from: passages of at most so many tokens, some of which are hidden (Devlin et al. 2019)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from regard.data.archives import archived_texts, is_archive, read_text
from regard.data.documents import read_documents
from regard.data.encoded import Documents
from regard.data.encoding import Encoding
from regard.data.examples import ALL, PARTS, Array, Part, check_part, split
from regard.data.folders import files_below
from regard.data.inputs import texts_below, to_read
from regard.data.masking import MASK, MaskedSequences, Masking, Varying, mask_id
from regard.data.parts import part_in, part_of
from regard.data.registry import locate
from regard.data.segments import CLS, SEP, Marks, PairedSequences, Pairing, VaryingPairs, joined
from regard.data.survey import PartSurvey, Skips, Survey
from regard.data.text import Texts
from regard.data.text_files import Columns, Document
from regard.data.tokenizer import Tokens, learn, tokenizer
from regard.data.written_inputs import WrittenInputs
from regard.errors import InputError, check_numbers
from regard.files import plain_suffix

__all__ = ["Passages"]

_STRETCH = 4000  # characters of a document that are in one part, where documents are few
_FEW = 10  # documents, fewer than which are divided into stretches


@dataclass
class Passages(WrittenInputs):
    """Plain text in passages, of whose tokens a share is hidden for the model to guess.

    A passage is at most `longest` neighboring tokens of one document. What is hidden is drawn for each (seed, epoch, passage)
    while training, and the same each time in evaluation. A text to predict for has `[MASK]` wherever a token is to be guessed.

    Args:
        path: a file of text, in which an empty line ends a document; a table or JSON lines with a column `text`; a folder or an
            archive of `.txt` files, each a document; None is published text. Names of files or folders that say train, dev or test
            divide it; else a fixed tenth of the documents (of few documents, of their stretches) is the test part and another
            the validation part, by the SHA-256 of their names.
        dataset: which published text is meant where there is no path: 36 novels, of which 4 are the test part and 4 the validation
            part; the film reviews of IMDb's training half, without those that stand in its test half as well; or both.
        tokens: what a text is cut into; "bpe" and "unigram" are pieces learned from the training part.
        vocabulary: how many entries the vocabulary has at most, before `[MASK]`; 0 is all words or characters, and 8,000 pieces.
        minimum_count: how often the training part must show a word, a character, or a character of a piece.
        lowercase: whether texts are lower-cased.
        drop_tags: whether HTML tags such as `<br />` are taken for white space.
        longest: the most tokens of a passage.
        mask: the share of tokens that are hidden.
        whole_words: whether all pieces of a word are hidden together.
        pairs: "none" for one stretch of text in each set; else two neighboring ones, `[CLS] a [SEP] b [SEP]` with the segments 0
            and 1, which together are at most `longest`. In half of the sets "next" takes another pair's b, "order" swaps a and b,
            and the vector of `[CLS]` is asked whether it was so; "neighbors" asks nothing.
        seed: of the draws.
    """

    input_options: ClassVar[tuple[str, ...]] = ("tokens", "lowercase")

    path: str | None = None
    dataset: Literal["novels+imdb", "novels", "imdb"] = "novels+imdb"
    tokens: Tokens = "bpe"
    vocabulary: int = 8000
    minimum_count: int = 2
    lowercase: bool = True
    drop_tags: bool = True
    longest: int = 128
    mask: float = 0.15
    whole_words: bool = False
    pairs: Pairing = "none"
    seed: int = 0
    folder_files = staticmethod(texts_below)

    def __post_init__(self) -> None:
        check_numbers("data", self, "vocabulary", "seed", least=0)
        check_numbers("data", self, "minimum_count", least=1)
        check_numbers("data", self, "longest", least=2 if self.pairs == "none" else 5)
        if not 0 < self.mask < 1:
            raise InputError(f"data.mask is {self.mask}, expected a share between 0 and 1")
        if self.tokens == "bytes" and self.whole_words:
            raise InputError("data.whole_words is true and data.tokens is bytes, expected words or pieces of words")

    @property
    def published(self) -> str:
        """The first of the data sets that are meant where there is no path."""
        return self.dataset.partition("+")[0]

    def fit(self) -> Encoding:
        """The vocabulary of the training part, then `[MASK]`, and the pieces that it is cut into."""
        texts = [self._texts.cleaned(document.text) for document in self._documents("train")]
        columns, form = learn(self.tokens, texts, self.vocabulary, self.minimum_count)
        ((name, entries),) = columns.items()
        entries = (*entries, MASK)
        columns = {name: entries} if self.pairs == "none" else Marks.columns(name, entries, self.pairs)
        return Encoding(columns=columns, tokenizer=form)

    def part(self, name: Part, encoding: Encoding) -> MaskedSequences:
        """The passages of one part, with what is hidden in evaluation."""
        names, passages = self._passages(check_part(name), encoding)
        marks, masking = Marks.of(encoding), self._masking(encoding)
        if marks is None:
            return MaskedSequences(names, passages, masking)
        return PairedSequences(*_paired(names, passages), masking, marks, self.pairs)

    def training(self, encoding: Encoding) -> Varying:
        """The passages of the training part, of which each epoch hides other tokens."""
        names, passages = self._passages("train", encoding)
        marks, masking = Marks.of(encoding), self._masking(encoding)
        if marks is None:
            return Varying(names, passages, masking, self.seed)
        return VaryingPairs(*_paired(names, passages), masking, marks, self.pairs, self.seed)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """None: what is guessed is the text itself."""
        self._documents(check_part(name))
        return []

    def survey(self) -> Survey:
        """How many documents each part has, and what was left out."""
        documents, skips = self._all()
        parts: dict[str, PartSurvey] = {
            part: PartSurvey(count, "documents")
            for part in PARTS
            if (count := sum(document.part == part for document in documents))
        }
        first = [(document.name, "", document.text[:200]) for document in documents[:3]]
        source = str(self.path) if self.path is not None else self.dataset
        return Survey(source, "plain text", parts, encoding="UTF-8", skipped=skips, examples=first)

    @classmethod
    def claims(cls, place: Path) -> int:
        """None: text files are taken for texts with labels, unless this reader is asked for by name."""
        return 0

    def names_parts(self) -> bool:
        """Whether files say by their names which part they are."""
        return self.path is None or any(document.part for document in _documents_at(Path(self.path))[0])

    @property
    def _texts(self) -> Texts:
        """The reader of texts whose rules these texts are cleaned by."""
        return Texts(tokens=self.tokens, lowercase=self.lowercase, drop_tags=self.drop_tags)

    def _masking(self, encoding: Encoding) -> Masking:
        return Masking.of(encoding, self.mask, self.whole_words)

    def _all(self) -> tuple[list[Document], Skips]:
        """All documents, each in its part, and what was left out."""
        if self.path is not None:
            documents, skips = _documents_at(Path(self.path))
            return _divided(documents, self.path), skips
        documents, skips = [], Skips()
        for name in self.dataset.split("+"):
            found, left_out = _novels() if name == "novels" else _reviews()
            documents += found
            skips.update(left_out)
        return documents, skips

    def _documents(self, part: Part) -> list[Document]:
        found = [document for document in self._all()[0] if part in (document.part, ALL)]
        if not found:
            where = self.path if self.path is not None else self.dataset
            raise InputError(f"{where} has no text in its {part} part, expected some")
        return found

    def _passages(self, part: Part, encoding: Encoding) -> tuple[list[str], list[Array]]:
        """The names and the ids of passages."""
        cut, kind = tokenizer(self.tokens, encoding), _kind(encoding)
        # Of a pair, three places are for marks.
        longest = self.longest if self.pairs == "none" else (self.longest - 3) // 2
        names, passages = list[str](), list[Array]()
        for document in self._documents(part):
            ids: Array = np.array(cut.ids(self._texts.cleaned(document.text, encoding.segmentation)), kind)
            for first in range(0, len(ids), longest):
                names.append(f"{document.name}:{first + 1}")
                passages.append(ids[first : first + longest])
        if not passages:
            raise InputError(f"the {part} part has not one token, expected text")
        return names, passages

    def _unlabeled(self, documents: Sequence[Document], encoding: Encoding) -> Documents:
        """Texts without targets, whose gaps have the id of `MASK`."""
        cut, mask = tokenizer(self.tokens, encoding), mask_id(encoding)
        marks, ids, tokens = Marks.of(encoding), list[Array](), list[tuple[str, ...]]()

        def with_gaps(text: str) -> tuple[list[int], list[str]]:
            row, named = list[int](), list[str]()
            for n, stretch in enumerate(text.split(MASK)):
                if n:
                    row.append(mask)
                    named.append(MASK)
                # A piece at the beginning of a text has the mark of a space, which is not there right after a gap.
                ahead = "." if n and encoding.tokenizer and stretch[:1].strip() else ""
                text = ahead + self._texts.cleaned(stretch, encoding.segmentation)
                row += list(cut.ids(text))[len(cut.ids(ahead)) :]
                named += list(cut.tokens(text))[len(cut.tokens(ahead)) :]
            return row, named

        for document in documents:
            if marks is None:
                row, named = with_gaps(document.text)
                ids.append(np.array(row, np.int64))
            else:
                first, *rest = (with_gaps(text) for text in document.text.split(SEP))
                if len(rest) > 1:
                    found = f"has {len(rest)} times {SEP}"
                    raise InputError(f"{document.where} {found}, expected it at most once: between two texts")
                ids.append(
                    joined(np.array(first[0], np.int64), np.array(rest[0][0], np.int64) if rest else None, marks)
                )
                named = [CLS, *first[1], SEP, *(name for each in rest for name in (*each[1], SEP))]
            tokens.append(tuple(named))
        return Documents([document.name for document in documents], ids, None, tokens)


def _paired(names: Sequence[str], passages: Sequence[Array]) -> tuple[list[str], list[tuple[Array, Array | None]]]:
    """Each passage with the next one of the same document, which then is in no other pair."""
    found, pairs, n = list[str](), list[tuple[Array, Array | None]](), 0
    documents = [name.rpartition(":")[0] for name in names]
    while n < len(names):
        both = n + 1 < len(names) and documents[n + 1] == documents[n]
        found.append(names[n])
        pairs.append((passages[n], passages[n + 1] if both else None))
        n += 2 if both else 1
    return found, pairs


def _kind(encoding: Encoding) -> type:
    return np.uint16 if len(next(iter(encoding.columns.values()))) <= 1 << 16 else np.int32


def _documents_at(place: Path) -> tuple[list[Document], Skips]:
    """The documents of a file, a folder or an archive; their part where names tell it."""
    if not place.exists():
        raise InputError(f"{place} is not there, expected a file, a folder or an archive of text")
    if os.path.isdir(place):
        files, skips = files_below(place, (".txt",), "texts")
        named = [(str(file.relative_to(place)), read_text(file)) for file in files]
    elif is_archive(place):
        named, skips = archived_texts(place)
    else:
        return _documents_in(place), Skips()
    documents = [Document(text, None, name, f"{place}/{name}", _part_of(name)) for name, text in named]
    return [document for document in documents if document.text.strip()], skips


def _part_of(name: str) -> Part | None:
    """The part that a folder on the way to a file names, or else the file."""
    *folders, file = name.split("/")
    return next((part for part in map(part_of, folders) if part), None) or part_in(file.rpartition(".")[0])


def _documents_in(file: Path) -> list[Document]:
    """The documents of a file: a row each of a table, an object each of JSON lines, or text between empty lines."""
    if plain_suffix(file) in (".csv", ".tsv", ".jsonl", ".ndjson", ".json"):
        return list(to_read(str(file), Columns(), one_per_line=True))
    documents, lines = list[Document](), list[str]()
    (whole,) = to_read(str(file), Columns(), one_per_line=False)
    for line in [*whole.text.split("\n"), ""]:
        if line.strip():
            lines.append(line)
        elif lines:
            name = f"{file.name}:{len(documents) + 1}"
            documents.append(Document("\n".join(lines), None, name, f"{file}, document {len(documents) + 1},"))
            lines = []
    if not documents:
        raise InputError(f"{file} is empty, expected text")
    return documents


def _divided(documents: Sequence[Document], place: str) -> list[Document]:
    """Each document in a part; where no name tells one, a tenth of the documents, or of their stretches, in each smaller part."""
    parts = {document.part for document in documents}
    if None in parts and len(parts) > 1:
        odd = next(document for document in documents if document.part is None)
        raise InputError(f"{odd.where} is in no part, and others of {place} are, expected train, validation or test")
    if None in parts:
        if len(documents) < _FEW:
            documents = [stretch for document in documents for stretch in _stretches(document)]
        found = split([document.name for document in documents])
        return [replace(document, part=part) for document, part in zip(documents, found, strict=True)]
    train = [document for document in documents if document.part == "train"]
    if "validation" in parts or not train:
        return list(documents)
    held = split([document.name for document in train], None, (0.9, 0.05, 0.05))
    moved = {doc.name for doc, part in zip(train, held, strict=True) if part != "train"}
    return [replace(doc, part="validation") if doc.part == "train" and doc.name in moved else doc for doc in documents]


def _stretches(document: Document) -> list[Document]:
    """The document in pieces of about `_STRETCH` characters, or fewer, that end between two words."""
    size = min(_STRETCH, max(1, len(document.text) // _FEW))
    words, pieces, length = document.text.split(), list[list[str]]([[]]), 0
    for word in words:
        if length > size:
            pieces.append([])
            length = 0
        pieces[-1].append(word)
        length += len(word) + 1
    return [replace(document, text=" ".join(p), name=f"{document.name}#{n}") for n, p in enumerate(pieces, 1)]


@lru_cache(maxsize=1)
def _novels() -> tuple[list[Document], Skips]:
    place = locate("novels")
    archives = [path for path in sorted(place.iterdir()) if is_archive(path)]
    found, skips = archived_texts(archives[0]) if len(archives) == 1 else ([], Skips())
    if not found:
        raise InputError(f"{place} holds {len(archives)} archives, expected the one of the novels")
    documents = [Document(text, None, name, f"{place}/{name}") for name, text in found]
    return _divided(documents, str(place)), skips


@lru_cache(maxsize=1)
def _reviews() -> tuple[list[Document], Skips]:
    """The reviews of both halves; of the training half without those that stand in the test half as well."""
    documents, skips = read_documents(locate("imdb"), Columns()), Skips()
    tested = {" ".join(document.text.split()) for document in documents if document.part == "test"}
    kept = []
    for document in documents:
        if document.part != "test" and " ".join(document.text.split()) in tested:
            skips.add("training reviews that stand in the test half as well", document.name)
        else:
            kept.append(replace(document, label=None))
    return kept, skips
