"""A stand-in for the arena's retrieval: are two passages by the same author? Authors of one part are in no other."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from regard.data.archives import archived_texts, is_archive, read_text
from regard.data.folders import files_below
from regard.data.registry import locate
from regard.data.survey import Skips
from regard.errors import InputError

__all__ = ["PAIR_SIZES", "draw_pairs", "texts_by_author"]

PAIR_SIZES = (20_000, 2_000, 2_000)
"""How many pairs each part has, unless others are asked for."""

_LENGTH = 4000  # bytes of a passage

Books = dict[str, dict[str, bytes]]


def texts_by_author(place: Path | None = None) -> tuple[Books, Skips]:
    """The books of each author who has two or more, by title, of files called `AUTHOR_TITLE.txt`; and what is passed over.

    White space becomes one blank each, so that neither lines nor tabs tell books apart.

    Args:
        place: a folder or an archive; None is the published novels.

    Raises:
        InputError: fewer than six such authors, two for each part, or two books of one title.
    """
    place = locate("novels") if place is None else place
    archives = [path for path in sorted(place.iterdir()) if is_archive(path)] if os.path.isdir(place) else [place]
    if len(archives) == 1:
        found, skips = archived_texts(archives[0])
    else:
        paths, skips = files_below(place, (".txt",), "texts")
        found = [(path.name, read_text(path)) for path in paths]
    books: Books = defaultdict(dict)
    for name, text in found:
        title = name.rpartition("/")[2].removesuffix(".txt")
        content = " ".join(text.split()).encode()
        author = title.partition("_")[0]
        if title in books[author]:
            raise InputError(f"{place} has two books {title}.txt, expected one of each title")
        if len(content) > 2 * _LENGTH:
            books[author][title] = content
        else:
            skips.add(f"books of at most {2 * _LENGTH:,} bytes", name)
    for titles in books.values():
        for title in titles if len(titles) == 1 else ():
            skips.add("books of an author who has no other", f"{title}.txt")
    kept = {author: titles for author, titles in sorted(books.items()) if len(titles) > 1}
    if len(kept) < 6:
        raise InputError(
            f"{place} has {len(kept)} authors with two books AUTHOR_TITLE.txt of more than {2 * _LENGTH:,} bytes, expected at "
            "least 6: two for each part"
        )
    return kept, skips


def draw_pairs(books: Books, seed: int, sizes: tuple[int, int, int]) -> Iterator[Iterator[str]]:
    """For each part its lines: label, two ids, two passages of up to 4,000 bytes, with tabs between.

    Every second pair is by one author, of two different books; the others are by two authors. A sixth of the authors, and at
    least two, are those of the validation part, as many those of the test part, and the others those to train on. The id of a
    passage is its book and where it begins.
    """
    generator = random.Random(seed)
    authors = sorted(books)
    generator.shuffle(authors)
    held = max(2, len(authors) // 6)
    groups = authors[2 * held :], authors[:held], authors[held : 2 * held]
    for n, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        yield _lines(books, group, random.Random(f"{seed} {n}"), size)


def _lines(books: Books, authors: list[str], generator: random.Random, size: int) -> Iterator[str]:
    for n in range(size):
        if n % 2:
            chosen = generator.choice(authors)
            titles = generator.sample(sorted(books[chosen]), 2)
            sides = [(chosen, title) for title in titles]
        else:
            sides = [(author, generator.choice(sorted(books[author]))) for author in generator.sample(authors, 2)]
        passages = [_passage(books[author][title], title, generator) for author, title in sides]
        (first, one), (second, other) = passages
        yield f"{n % 2}\t{first}\t{second}\t{one}\t{other}\n"


def _passage(book: bytes, title: str, generator: random.Random) -> tuple[str, str]:
    """The id and the text of a passage, whole words from a place on, and whole characters where words are longer than passages."""
    place = int(generator.random() * (len(book) - 2 * _LENGTH))
    blank = book.find(b" ", place, place + _LENGTH)
    start = place if blank < 0 else blank + 1
    text = book[start : start + _LENGTH]
    return f"{title}:{start}", (text.rpartition(b" ")[0] or text).decode(errors="ignore")
