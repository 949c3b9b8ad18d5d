"""Counts, PPMI and SVD against their definitions written out, one pair at a time."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from regard.errors import InputError
from regard.vectors import counts
from regard.vectors.corpus import BREAK, Corpus
from regard.vectors.counts import cooccurrence, one_hot, ppmi, svd_vectors
from regard.vectors.scoring import similarity
from regard.vectors.words import WordVectors


def drawn(length: int = 100, words: int = 7, seed: int = 0) -> Corpus:
    ids = np.random.default_rng(seed).integers(-1, words, size=length).astype(np.int32)
    return Corpus(tuple("abcdefghij"[:words]), np.bincount(ids[ids >= 0], minlength=words), ids)


def by_pairs(corpus: Corpus, window: int) -> np.ndarray:
    found = np.zeros((len(corpus.words), len(corpus.words)))
    for i, word in enumerate(corpus.ids):
        for j in range(max(0, i - window), min(len(corpus.ids), i + window + 1)):
            between = corpus.ids[min(i, j) : max(i, j) + 1]
            if i != j and BREAK not in between:
                found[word, corpus.ids[j]] += 1
    return found


@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("piece", [7, 64, 10_000])
def test_every_pair_of_a_window_is_counted_once(monkeypatch, window, piece):
    monkeypatch.setattr(counts, "_PIECE", piece)
    corpus = drawn()
    found = cooccurrence(corpus, window).toarray()
    assert (found == by_pairs(corpus, window)).all()
    assert (found == found.T).all()
    assert (cooccurrence(corpus, window, contexts=3).toarray() == found[:, :3]).all()


@pytest.mark.parametrize("power", [1.0, 0.75])
def test_ppmi_is_its_definition(power):
    table = by_pairs(drawn(), 2)
    joint = table / table.sum()
    column = table.sum(0) ** power
    with np.errstate(divide="ignore"):
        expected = np.maximum(0, np.log(joint / np.outer(joint.sum(1), column / column.sum())))
    assert np.abs(ppmi(csr_matrix(table), power).toarray() - expected).max() < 1e-6


def test_ppmi_of_independent_words_is_zero():
    table = np.outer([1.0, 2, 3], [4.0, 5, 6])
    assert np.abs(ppmi(csr_matrix(table), 1.0).toarray()).max() < 1e-6


def test_svd_vectors_are_those_of_the_full_decomposition():
    draw = np.random.default_rng(1)
    matrix = draw.normal(size=(60, 12)) * 0.5 ** np.arange(12) @ draw.normal(size=(12, 40))
    vectors, values = svd_vectors(matrix, 5)
    u, s, _ = np.linalg.svd(matrix, full_matrices=False)
    assert np.allclose(values, s[:5], rtol=1e-4)
    # Signs are free; products of vectors are not.
    expected = u[:, :5] * np.sqrt(s[:5])
    assert np.abs(vectors @ vectors.T - expected @ expected.T).max() < 1e-3 * s[0]
    # U_k Sigma_k^(1/2) times itself is the best approximation of rank k of a symmetric positive matrix.
    square = matrix @ matrix.T
    best, _ = svd_vectors(square, 12)
    assert np.abs(best @ best.T - square).max() < 1e-4 * np.abs(square).max()


def test_one_hot_words_are_equally_unlike(tmp_path):
    vectors = one_hot(5).toarray()
    assert (vectors == np.eye(5)).all()
    (tmp_path / "pairs.txt").write_text("a b 1\nc d 2\na e 3\n")
    assert np.isnan(similarity(WordVectors("abcde", vectors), tmp_path / "pairs.txt").value)


def test_bad_sizes_are_one_sentence():
    with pytest.raises(InputError, match="the window is 0"):
        cooccurrence(drawn(), 0)
    with pytest.raises(InputError, match="the contexts are 0"):
        cooccurrence(drawn(), 1, 0)
    with pytest.raises(InputError, match="the width is 8, expected 1 to 7"):
        svd_vectors(cooccurrence(drawn()), 8)
