"""From text to ids: words, characters, bytes, or pieces that are learned from the training part (BPE, unigram).

The vocabulary, and what cuts texts into learned pieces, stand in the `Encoding`, so that a run has all that it needs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, Protocol

import numpy as np

from regard.data.encoding import BEGIN, END, WORD, Encoding
from regard.data.examples import Array
from regard.data.words import SEGMENTATION, folded, tokenize
from regard.errors import InputError

__all__ = ["UNKNOWN", "Tokenizer", "Tokens", "clean", "frequent", "learn", "learn_written", "text_of", "tokenizer"]

Tokens = Literal["words", "characters", "bytes", "bpe", "unigram"]

UNKNOWN = "<unknown>"
"""What entry 0 of a vocabulary is called; no word of a text gets id 0 by its name."""

_PREFIX, _TOKEN = "prefix", "token"
_BYTES = tuple(f"{byte:02x}" for byte in range(256))
# All of Unicode's category Cc but white space: from NUL to BEL, and so on.
_CONTROL = {code: " " for code in (*range(32), *range(127, 160)) if not chr(code).isspace()}


class Tokenizer(Protocol):
    """Cuts a text into tokens, and gives each its id, or its ids where it has several; 0 is the unknown."""

    def ids(self, text: str) -> Sequence[Any] | Array: ...

    def tokens(self, text: str) -> Sequence[str]: ...


def clean(text: str, lowercase: bool, segmentation: int = SEGMENTATION) -> str:
    """The text with control characters taken for white space, composed (NFC), and in lower case where asked for.

    >>> clean("Bell\\x07 NUL\\x00.", lowercase=True)
    'bell  nul .'
    """
    return folded(text.translate(_CONTROL), lowercase, segmentation)


def frequent(counts: Mapping[str, int], minimum: int, most: int = 0) -> tuple[str, ...]:
    """The unknown, then the entries that are seen `minimum` times or more, the most frequent first; at most `most`, 0 for all.

    >>> frequent({"a": 3, "b": 1, "c": 4}, minimum=2)
    ('<unknown>', 'c', 'a')
    """
    kept = sorted((-count, entry) for entry, count in counts.items() if count >= minimum)
    return (UNKNOWN, *(entry for _, entry in kept))[: most or None]


def learn(
    tokens: Tokens, texts: Iterable[str], size: int, minimum: int, prefix: int = 0
) -> tuple[dict[str, tuple[str, ...]], str]:
    """The vocabulary of the training part's texts by column of ids, and the text form of what cuts them into pieces.

    Args:
        tokens: what a text is cut into.
        texts: after `clean`.
        size: how many entries the vocabulary has at most, the unknown included; 0 is no limit for words and characters,
            and 8,000 pieces.
        minimum: how often an entry must be seen; for pieces, a character.
        prefix: so many characters at the beginning of a word have a vocabulary of their own; 0 for none. For words alone.

    Raises:
        InputError: a prefix of what is no word, or a size that leaves no room for what every vocabulary of this kind has.
    """
    if prefix and tokens != "words":
        raise InputError(
            f"data.prefix is {prefix} and data.tokens is {tokens}, expected words, whose prefixes those are"
        )
    if tokens == "bytes":
        return {_TOKEN: (UNKNOWN, *_BYTES)}, ""
    if size == 1:
        raise InputError("data.vocabulary is 1, expected at least 2: the unknown and one more, or 0 for all")
    counts: Counter[str] = Counter()
    if tokens == "words":
        chunks = Counter(chain.from_iterable(map(str.split, texts)))
        for chunk, count in chunks.items():
            for word in _cut(chunk):
                counts[word] += count
        begins: Counter[str] = Counter()
        for word, count in counts.items():
            begins[word[:prefix]] += count
        found = {WORD: frequent(counts, minimum, size)}
        return (found | {_PREFIX: frequent(begins, minimum, size)} if prefix else found), ""
    texts = [" ".join(text.split()) for text in texts]
    for text in texts:
        counts.update(text)
    if tokens == "characters":
        return {_TOKEN: frequent(counts, minimum, size)}, ""
    return _learn_pieces(
        tokens, texts, size or 8000, {c for c, count in counts.items() if count < minimum}, len(counts)
    )


def learn_written(tokens: Tokens, texts: Iterable[str], size: int, minimum: int) -> Encoding:
    """The encoding of texts that a model writes: the vocabulary of `learn`, and behind it where a text begins and ends.

    Raises:
        InputError: as `learn`.
    """
    columns, form = learn(tokens, texts, size, minimum)
    return Encoding(columns={name: (*entries, BEGIN, END) for name, entries in columns.items()}, tokenizer=form)


def _learn_pieces(
    tokens: Tokens, texts: Sequence[str], size: int, rare: set[str], characters: int
) -> tuple[dict[str, tuple[str, ...]], str]:
    from tokenizers import Tokenizer as Pieces
    from tokenizers import models, pre_tokenizers, trainers

    # The unknown, the mark of a space, which is itself not a piece's character, and each frequent character.
    least = characters - len(rare) + 2
    if size < least:
        found = f"data.vocabulary is {size}, expected at least {least}"
        raise InputError(f"{found}: the characters of the training part that are frequent enough, and two more")
    options: dict[str, Any] = {"vocab_size": size, "special_tokens": [UNKNOWN], "show_progress": False}
    if tokens == "bpe":
        pieces = Pieces(models.BPE(unk_token=UNKNOWN))
        trainer: Any = trainers.BpeTrainer(**options)
    else:
        pieces = Pieces(models.Unigram())
        trainer = trainers.UnigramTrainer(unk_token=UNKNOWN, **options)
    # Marks by themselves; a word that follows a space begins with it.
    cut = [pre_tokenizers.Punctuation(), pre_tokenizers.Metaspace(prepend_scheme="first")]
    pieces.pre_tokenizer = pre_tokenizers.Sequence(cut)
    gone = {ord(character): " " for character in rare}
    pieces.train_from_iterator((text.translate(gone) for text in texts), trainer)
    # As an added token the unknown's name in a text would be taken for it.
    form = json.loads(pieces.to_str()) | {"added_tokens": []}
    if tokens == "unigram":
        form["model"]["vocab"] = _settled(form["model"]["vocab"])
        return {_TOKEN: tuple(piece for piece, _ in form["model"]["vocab"])}, json.dumps(form, ensure_ascii=False)
    ids = form["model"]["vocab"]
    return {_TOKEN: tuple(sorted(ids, key=ids.__getitem__))}, json.dumps(form, ensure_ascii=False)


def _settled(scores: list[list[Any]]) -> list[list[Any]]:
    """Pieces with their logarithmic probabilities, the same each time: the library's order, and its last digits, are chance.

    So is which of the characters that no piece needs gets which of the lowest scores, 0.0001 apart: all get the lowest.
    """
    unknown, *rest = scores
    single = sum(len(piece) == 1 for piece, _ in rest)
    lowest = min((score for _, score in rest), default=0.0)
    bound = lowest + 1e-4 * (single + 0.5)
    settled = [[piece, round(lowest if len(piece) == 1 and score < bound else score, 6)] for piece, score in rest]
    return [unknown, *sorted(settled, key=lambda entry: (-entry[1], entry[0]))]


def tokenizer(tokens: Tokens, encoding: Encoding, prefix: int = 0) -> Tokenizer:
    """What cuts texts as the training part's were.

    Raises:
        InputError: an encoding that was learned for other tokens.
    """
    column = WORD if tokens == "words" else _TOKEN
    if column not in encoding.columns or bool(encoding.tokenizer) != (tokens in ("bpe", "unigram")):
        raise InputError(f"the encoding holds no {tokens}, expected that of a training with data.tokens {tokens}")
    entries = encoding.columns[column]
    if tokens == "words":
        return _Words(entries, encoding.columns[_PREFIX] if prefix else (), prefix, encoding.segmentation)
    if tokens == "characters":
        return _Characters(entries)
    return _Bytes() if tokens == "bytes" else _Pieces(encoding.tokenizer)


def text_of(tokens: Sequence[str], encoding: Encoding) -> str:
    """The text of some entries of a vocabulary: words have spaces between them; pieces, characters and bytes are joined.

    >>> text_of(["\u2581a", "\u2581ti", "ny", "\u2581dog", "."], Encoding(columns={"token": ()}, tokenizer="{}"))
    'a tiny dog.'
    >>> text_of(["61", "c3", "a4"], Encoding(columns={"token": (UNKNOWN, *_BYTES)}))
    'a\u00e4'
    """
    if encoding.tokenizer:
        return "".join(tokens).replace("\u2581", " ").strip()
    if WORD in encoding.columns:
        return " ".join(tokens)
    if set(_BYTES) <= set(encoding.columns.get(_TOKEN, ())):
        return bytes(int(byte, 16) for byte in tokens if byte in _BYTES).decode(errors="replace")
    return "".join(tokens)


# What stands between white space comes again and again: it is cut once.
_cut = lru_cache(maxsize=1 << 18)(tokenize)


class _Words:
    def __init__(self, entries: Sequence[str], begins: Sequence[str], prefix: int, segmentation: int) -> None:
        self._segmentation = segmentation
        known, begun = ({name: i for i, name in enumerate(each) if i} for each in (entries, begins))

        def of(word: str) -> int | tuple[int, int]:
            return (known.get(word, 0), begun.get(word[:prefix], 0)) if prefix else known.get(word, 0)

        self._chunk = lru_cache(maxsize=1 << 18)(lambda chunk: [of(word) for word in _cut(chunk, segmentation)])

    def ids(self, text: str) -> list[int | tuple[int, int]]:
        return list(chain.from_iterable(map(self._chunk, text.split())))

    def tokens(self, text: str) -> Sequence[str]:
        return tokenize(text, self._segmentation)


class _Characters:
    def __init__(self, entries: Sequence[str]) -> None:
        self._known = {character: i for i, character in enumerate(entries) if i}

    def ids(self, text: str) -> list[int]:
        return [self._known.get(character, 0) for character in self.tokens(text)]

    def tokens(self, text: str) -> str:
        return " ".join(text.split())


class _Bytes:
    def ids(self, text: str) -> Array:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32) + 1

    def tokens(self, text: str) -> list[str]:
        return [_BYTES[byte] for byte in text.encode()]


class _Pieces:
    def __init__(self, form: str) -> None:
        from tokenizers import Tokenizer as Pieces

        try:
            self._pieces = Pieces.from_str(form)
        except Exception as error:
            # The library raises no narrower class.
            raise InputError(
                f"the run's tokenizer cannot be read ({error}), expected it as training wrote it"
            ) from None

    def ids(self, text: str) -> list[int]:
        found: list[int] = self._pieces.encode(" ".join(text.split())).ids
        return found

    def tokens(self, text: str) -> list[str]:
        found: list[str] = self._pieces.encode(" ".join(text.split())).tokens
        return found
