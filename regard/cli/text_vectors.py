"""`regard vectors embed`: one vector for each text, by a BERT in Hugging Face's format."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from regard.errors import InputError

if TYPE_CHECKING:
    from regard.data.text_files import Document
    from regard.models.hugging_face import Imported
    from regard.train.embedding import Embedding

__all__ = ["documents_of", "embed_texts", "imported_from"]

_GROUP = 256  # texts that are embedded before the first of them is written


def embed_texts(folder: str, sources: Sequence[str], texts: Sequence[str], out: str) -> None:
    """Write the embeddings of the texts of some files, `-` for standard input, and of texts themselves.

    Raises:
        InputError: a folder that is no BERT with a tokenizer, or a source that cannot be read.
    """
    from regard.cli.embed import checked_out, write_embeddings

    checked_out(out)
    for text in texts:
        if not text.strip():
            raise InputError(f"--text is {text!r}, expected a text")
    for source in sources:
        if source != "-" and not Path(source).exists():
            raise InputError(f"{source} is not there, expected a file, a folder, or --text for a text itself")
    if not texts and not sources and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError("vectors embed needs texts, expected files, --text, or - to type lines")
    imported = imported_from(folder)
    write_embeddings(_embedded(imported, list(sources) or ([] if texts else ["-"]), texts), out)


def imported_from(folder: str) -> Imported:
    """The BERT of a folder, with a tokenizer; what it has no place for is told.

    Raises:
        InputError: a folder that is no BERT, or one without a tokenizer.
    """
    from regard.data.survey import listed
    from regard.models.hugging_face import read_hugging_face

    imported = read_hugging_face(folder)
    imported.ids([])
    if imported.left_out:
        print(f"{folder}: left out {len(imported.left_out)} tensors: {listed(imported.left_out)}", file=sys.stderr)
    return imported


def documents_of(sources: Sequence[str], texts: Sequence[str]) -> Iterator[list[Document]]:
    """The texts of files, `-` for standard input, and texts themselves, some at a time."""
    from regard.data.inputs import streamed, to_read
    from regard.data.text_files import Columns, Document

    for source in sources:
        if source == "-":
            yield from streamed(sys.stdin.buffer, Columns())
            continue
        found = list(to_read(source, Columns(), one_per_line=True))
        if not found:
            raise InputError(f"{source} is empty, expected a text")
        yield from (found[first : first + _GROUP] for first in range(0, len(found), _GROUP))
    if texts:
        yield [Document(text, None, text, text) for text in texts]


def _embedded(imported: Imported, sources: Sequence[str], texts: Sequence[str]) -> Iterator[Embedding]:
    from regard.data.survey import listed
    from regard.train.embedding import Embedding

    longest, cut = imported.bert.sizes.longest, list[str]()
    for group in documents_of(sources, texts):
        written = [document.text for document in group]
        whole = imported.tokenizer.encode_batch(written)
        cut += [d.name for d, each in zip(group, whole, strict=True) if len(each.ids) > longest]
        for document, row in zip(group, imported.embed(written, cut=True), strict=True):
            yield Embedding(document.name, row.numpy())
    if cut:
        verb = "text was" if len(cut) == 1 else "texts were"
        print(f"{len(cut)} {verb} cut to {longest} pieces: {listed(cut)}", file=sys.stderr)
