"""Vectors from counts: one-hot, words seen near one another, PPMI, and what a truncated SVD keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regard.data.examples import Array
from regard.errors import InputError
from regard.vectors.corpus import BREAK, Corpus

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["cooccurrence", "one_hot", "ppmi", "svd_vectors"]

_PIECE = 2_000_000


def one_hot(words: int) -> csr_matrix:
    """`[v, v]`, a row for each word that is 1 in a place of its own: every two words are equally unlike."""
    from scipy.sparse import eye_array

    return eye_array(words, dtype=np.float32, format="csr")


def cooccurrence(corpus: Corpus, window: int = 5, contexts: int | None = None) -> csr_matrix:
    """How often word c stands at most `window` words before or behind word w, in the same text.

    Args:
        contexts: count only so many words c, the most frequent; None counts all.

    Returns:
        `[v, contexts]` float32, in compressed rows. Without a limit of contexts it is symmetric.

    Raises:
        InputError: no window, or no contexts.

    >>> text = Corpus(("a", "b"), np.array([2, 1]), np.array([0, 1, 0], np.int32))
    >>> cooccurrence(text, window=2).toarray().tolist()
    [[2.0, 2.0], [2.0, 0.0]]
    """
    from scipy.sparse import coo_matrix, csr_matrix

    if window < 1:
        raise InputError(f"the window is {window}, expected at least 1")
    if contexts is not None and contexts < 1:
        raise InputError(f"the contexts are {contexts}, expected at least 1")
    size = len(corpus.words)
    wide = min(contexts or size, size)
    total = csr_matrix((size, wide), dtype=np.float32)
    for begin in range(0, len(corpus.ids), _PIECE):
        ids = corpus.ids[begin : begin + _PIECE + window]
        text = np.cumsum(ids == BREAK)
        for step in range(1, window + 1):
            # Pairs that begin in this piece; the next piece has those that begin behind it.
            left, right = ids[:-step][:_PIECE], ids[step:][:_PIECE]
            same = (text[:-step] == text[step:])[:_PIECE] & (left != BREAK) & (right != BREAK)
            for word, near in ((left[same], right[same]), (right[same], left[same])):
                word, near = word[near < wide], near[near < wide]
                total = total + coo_matrix((np.ones(len(word), np.float32), (word, near)), (size, wide)).tocsr()
    return total


def ppmi(counts: csr_matrix, power: float = 0.75) -> csr_matrix:
    """max(0, log(p(w, c) / (p(w) p'(c)))), where p'(c) is in proportion to count(c)^power (Levy et al. 2015, section 3.1).

    With power 1 it is the positive pointwise mutual information; below 1, rare words c weigh less. The same shape, sparser.

    >>> from scipy.sparse import csr_matrix
    >>> ppmi(csr_matrix(np.array([[4.0, 0], [0, 4]])), 1.0).toarray().astype(float).round(4).tolist()
    [[0.6931, 0.0], [0.0, 0.6931]]
    """
    found = counts.tocoo()
    total = float(found.data.sum(dtype=np.float64))
    rows = np.bincount(found.row, found.data, counts.shape[0]) / total
    columns = np.bincount(found.col, found.data, counts.shape[1]) ** power
    columns /= columns.sum()
    information = np.log(found.data / total / (rows[found.row] * columns[found.col]))
    kept = information > 0
    shape = type(found)
    return shape((information[kept].astype(np.float32), (found.row[kept], found.col[kept])), counts.shape).tocsr()


def svd_vectors(matrix: csr_matrix | Array, width: int, seed: int = 0) -> tuple[Array, Array]:
    """U_k Sigma_k^(1/2) of the truncated decomposition M ~ U_k Sigma_k V_k^T (Levy and Goldberg 2014, section 4.2).

    The decomposition is that of random projections with seven power iterations (Halko et al. 2011), which scikit-learn has.

    Returns:
        `[v, k]` the vectors, and `[k]` the singular values, greatest first.

    Raises:
        InputError: a width beyond the matrix.
    """
    from sklearn.utils.extmath import randomized_svd

    if not 1 <= width <= min(matrix.shape):
        raise InputError(f"the width is {width}, expected 1 to {min(matrix.shape)} for counts {tuple(matrix.shape)}")
    found: tuple[Any, ...] = randomized_svd(matrix, width, n_iter=7, random_state=seed)
    left, values = np.asarray(found[0], np.float32), np.asarray(found[1], np.float32)
    return left * np.sqrt(values), values
