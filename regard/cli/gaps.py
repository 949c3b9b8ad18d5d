"""`regard predict` on a BERT in Hugging Face's format: what may stand where a text has `[MASK]`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from regard.cli.sources import sources_of
from regard.cli.text_vectors import documents_of, imported_from
from regard.data.passages import Passages
from regard.errors import InputError
from regard.train.folder import CONFIG

__all__ = ["filled_gaps", "is_hugging_face"]

_TOP = 5  # tokens of each gap that are given with their probabilities, as a run of ours has it where it says nothing


def is_hugging_face(folder: str) -> bool:
    """Whether a folder is one of Hugging Face's and no run, by the names of its files."""
    place = Path(folder)
    return (place / "config.json").is_file() and not (place / CONFIG).exists()


def filled_gaps(folder: str, inputs: Sequence[str], texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """For each text its `gaps`, as a run that guesses hidden tokens gives them.

    Raises:
        InputError: sources that cannot be read; a folder that is no BERT with a tokenizer and a head that guesses tokens; a text
            without a gap, or with more tokens than the model has positions.
    """
    sources = sources_of(Passages(), inputs, texts, "predict")
    imported = imported_from(folder)

    from regard.tasks.masked import no_gap, written_gaps

    if imported.bert.head is None:
        raise InputError(f"{folder} has no head that guesses tokens, expected one with cls.predictions")
    for is_text, same in groupby(sources, lambda source: source.is_text):
        values = [source.value for source in same]
        for group in documents_of([], values) if is_text else documents_of(values, []):
            filled = imported.fill([document.text for document in group])
            for document, (places, scores) in zip(group, filled, strict=True):
                if not places:
                    raise no_gap(document.name)
                yield {"name": document.name, "gaps": written_gaps(places, scores, imported.entries, _TOP)}
