"""Words by kind in a picture: their vectors brought to two dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError
from regard.files import read_lines
from regard.vectors.lettering import Lettering, lettering
from regard.vectors.words import WordVectors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Projection", "chosen", "plot", "project", "read_kinds"]

Projection = Literal["pca", "tsne"]


def read_kinds(path: Path) -> dict[str, tuple[str, ...]]:
    """Words by kind: a line `: kind` begins each, and words follow on any number of lines. The analogy set is such a file.

    Raises:
        InputError: words before the first kind, or none at all.
    """
    kinds: dict[str, dict[str, None]] = {}
    kind = ""
    for number, line in read_lines(path):
        parts = line.split()
        if parts[:1] == [":"] and len(parts) > 1:
            kind = " ".join(parts[1:])
            kinds.setdefault(kind, {})
        elif parts and not kind:
            raise InputError(
                f"{path}, line {number}, holds {line[:40]!r}, expected a line ': kind' before the first word"
            )
        elif parts:
            kinds[kind].update(dict.fromkeys(parts))
    if not any(kinds.values()):
        raise InputError(f"{path} holds no word, expected lines ': kind' with words below each")
    return {kind: tuple(words) for kind, words in kinds.items()}


def chosen(
    vectors: WordVectors, kinds: Mapping[str, Sequence[str]], most: int = 20, names: Sequence[str] = ()
) -> dict[str, list[int]]:
    """The rows of the first `most` words of each kind in the vocabulary's order; a word belongs to its first kind.

    Args:
        names: only these kinds; empty is all.

    Raises:
        InputError: a kind that is not there, or fewer than three words with a vector.
    """
    for name in names:
        if name not in kinds:
            raise InputError(f"there is no kind {name!r}, known are {', '.join(kinds)}")
    taken: set[int] = set()
    rows: dict[str, list[int]] = {}
    for kind in names or kinds:
        found = {row for word in kinds[kind] if (row := vectors.find(word)) is not None} - taken
        if found:
            rows[kind] = sorted(found)[:most]
            taken.update(rows[kind])
    if len(taken) < 3:
        raise InputError(f"{len(taken)} of the words have a vector, expected at least 3 to draw")
    return rows


def project(matrix: Array, by: Projection = "pca", seed: int = 0) -> Array:
    """`[n, 2]`: unit vectors on their two principal axes, or by t-SNE with cosine distances (van der Maaten and Hinton 2008)."""
    if by == "pca":
        centered = matrix - matrix.mean(0)
        axes = np.linalg.svd(centered, full_matrices=False)[2][:2]
        # An axis has two directions: the one whose greatest entry is positive.
        axes = axes * np.where(axes[range(len(axes)), abs(axes).argmax(1)] < 0, -1, 1)[:, None]
        found: Array = np.zeros((len(matrix), 2), matrix.dtype)
        found[:, : len(axes)] = centered @ axes.T
    else:
        from sklearn.manifold import TSNE

        perplexity = min(15.0, (len(matrix) - 1) / 3)
        found = TSNE(2, perplexity=perplexity, metric="cosine", init="random", random_state=seed).fit_transform(matrix)
    return found


def plot(
    vectors: WordVectors,
    rows: Mapping[str, Sequence[int]],
    by: Projection = "pca",
    seed: int = 0,
    letters: Lettering | None = None,
) -> Figure:
    """A figure with each word at its place, in the colour of its kind.

    Args:
        letters: how texts are drawn; None is by the installed fonts that have the characters.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    order = [row for each in rows.values() for row in each]
    places = project(vectors.unit[order], by, seed)
    letters = letters or lettering([*(vectors.words[row] for row in order), *rows])
    figure = Figure(figsize=(9, 7), layout="constrained")
    axis = figure.subplots()
    hues = colormaps["tab10" if len(rows) <= 10 else "tab20"]
    begin = 0
    for n, (kind, each) in enumerate(rows.items()):
        part = places[begin : begin + len(each)]
        begin += len(each)
        # matplotlib leaves labels out that begin with an underscore.
        label = letters.drawn(f" {kind}" if kind.startswith("_") else kind)
        axis.scatter(part[:, 0], part[:, 1], s=14, color=hues(n), label=label)
        for row, (x, y) in zip(each, part, strict=True):
            style: Any = {"fontsize": 8, "family": list(letters.families), "color": hues(n)}
            # Two dollar signs would be a formula.
            word = letters.drawn(vectors.words[row])
            axis.annotate(word, (x, y), xytext=(2, 2), textcoords="offset points", parse_math=False, **style)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    font = {"family": list(letters.families), "size": 8}
    for text in axis.legend(frameon=False, prop=font, loc="upper left", bbox_to_anchor=(1, 1)).get_texts():
        text.set_parse_math(False)
    return figure
