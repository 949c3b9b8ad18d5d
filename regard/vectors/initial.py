"""Word vectors as what an embedding begins with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from regard.errors import InputError
from regard.vectors.files import load

__all__ = ["begin_with"]


def begin_with(
    weight: Tensor, words: Sequence[str], path: str, deviation: float = 1.0, told: Callable[[str], object] | None = None
) -> int:
    """Write the vectors of a file into the rows of the words that have one; the others stay. Returns how many have.

    One number divides them all, so that their entries have the root mean square `deviation`, as those of the rows that stay.

    Args:
        weight: `[v, d]`, changed in place. words: what each row stands for. told: hears how many words have a vector, and what was
            passed over in the file.

    Raises:
        InputError: a file that is none of word vectors, of another width, or without a vector for any of the words.
    """
    vectors = load(path)
    if vectors.width != weight.shape[1]:
        raise InputError(
            f"{path} has vectors of {vectors.width} numbers, expected the model's width of {weight.shape[1]}"
        )
    found = [(row, place) for row, word in enumerate(words) if row and (place := vectors.find(word)) is not None]
    if not found:
        raise InputError(f"{path} has a vector for none of the {len(words) - 1:,} words, such as {words[-1]!r}")
    rows, places = zip(*found, strict=True)
    chosen = torch.from_numpy(vectors.matrix[list(places)])
    scale = deviation / float(chosen.square().mean().sqrt().clamp(min=1e-12))
    with torch.no_grad():
        weight[list(rows)] = chosen.to(weight) * scale
    if told is not None:
        told(f"vectors: {path} has one for {len(found):,} of the {len(words) - 1:,} words")
        for line in vectors.skips.lines():
            told(f"skipped in {path}: {line}")
    return len(found)
