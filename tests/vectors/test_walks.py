import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.cli import main
from regard.data.edge_list import EdgeList
from regard.data.graphs import Graphs
from regard.data.molecules import Molecules
from regard.data.structure import NodePositions
from regard.errors import InputError
from regard.vectors.corpus import BREAK, Corpus
from regard.vectors.walks import Walks, walk_corpus

# A triangle 0 1 2 with a tail 2 3 4; 5 is alone.
EDGES = np.array([[0, 1, 2, 2, 3, 4], [1, 2, 0, 3, 4, 4]])
NEIGHBORS = {0: {1, 2}, 1: {0, 2}, 2: {0, 1, 3}, 3: {2, 4}, 4: {3}}


def walked(**options: Any) -> list[list[int]]:
    """The walks, as numbers of nodes."""
    corpus = walk_corpus([str(n) for n in range(6)], EDGES, Walks(**options))
    return [[int(corpus.words[i]) for i in walk] for walk in texts(corpus)]


def texts(corpus: Corpus) -> list[np.ndarray]:
    ends = np.flatnonzero(corpus.ids == BREAK)
    return [part[part != BREAK] for part in np.split(corpus.ids, ends + 1) if (part != BREAK).any()]


@pytest.mark.parametrize(("back", "outward"), [(1.0, 1.0), (0.25, 4.0)])
def test_walks_go_along_edges_and_begin_at_each_node_that_has_some(back: float, outward: float) -> None:
    walks = walked(number=3, length=7, back=back, outward=outward)
    assert sorted(walk[0] for walk in walks) == sorted([*range(5)] * 3)
    for walk in walks:
        assert len(walk) == 7
        assert all(b in NEIGHBORS[a] for a, b in pairwise(walk))


def test_the_seed_decides_all() -> None:
    options = {"number": 4, "length": 9, "back": 0.5, "outward": 2.0}
    assert walked(**options, seed=3) == walked(**options, seed=3) != walked(**options, seed=4)


@pytest.mark.parametrize(("back", "outward"), [(1.0, 1.0), (4.0, 0.25), (0.5, 3.0)])
def test_steps_are_as_probable_as_node2vec_says(back: float, outward: float) -> None:
    """From 0 to 2: back to 0 weighs 1 / p, on to 1, which 0 is joined with, 1, and to 3, which it is not, 1 / q."""
    walks = walked(number=300, length=20, back=back, outward=outward)
    after = [c for walk in walks for a, b, c in zip(walk, walk[1:], walk[2:], strict=False) if (a, b) == (0, 2)]
    weights = np.array([1 / back, 1, 1 / outward])
    found = np.array([after.count(node) for node in (0, 1, 3)])
    expected = weights / weights.sum() * len(after)
    # Chi squared with 2 degrees of freedom is beyond 18.4 once in 10,000 times.
    assert ((found - expected) ** 2 / expected).sum() < 18.4


def test_refusals() -> None:
    with pytest.raises(InputError, match="the graph of 2 nodes has no edge between two of them"):
        walk_corpus(["a", "b"], np.array([[0], [0]]), Walks())
    with pytest.raises(InputError, match="are 5,000,000,000 steps, expected at most 4,000,000,000"):
        walk_corpus([*"abcde"], np.array([[0, 1, 2, 3], [1, 2, 3, 4]]), Walks(number=100_000, length=10_000))
    for options, sentence in (({"length": 1}, "walks.length is 1"), ({"back": 0.0}, "walks.back is 0.0")):
        with pytest.raises(InputError, match=sentence):
            Walks(**options)  # type: ignore[arg-type]


def lists(folder: Path, labels: str, edges: str) -> str:
    folder.mkdir()
    (folder / "net.txt").write_text(edges)
    (folder / "net-labels.txt").write_text(labels)
    return str(folder)


def test_from_a_graph_to_positions_of_its_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two groups of ten, joined by one edge: their vectors tell them apart."""
    draw = np.random.default_rng(0)
    pairs = {(i, j) for i in range(20) for j in draw.integers(0, 10, 4) + 10 * (i // 10) if i != j} | {(0, 10)}
    edges = "".join(f"{i} {j}\n" for i, j in sorted(pairs))
    place = lists(tmp_path / "net", "".join(f"{n} {'aabbb'[n // 5]}\n" for n in range(21)), edges)
    out = tmp_path / "v.vec"
    options = ["--width", "4", "--length", "20", "--epochs", "10", "--window", "3", "--threads", "1", "--outward", "2"]
    assert main(["vectors", "walk", place, "--out", str(out), *options]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\n"
    assert captured.err.startswith("21 nodes, 20 with neighbors, 4,000 steps\n")
    once = out.read_bytes()
    assert main(["vectors", "walk", place, "--out", str(out), *options]) == 0
    assert out.read_bytes() == once
    reader = EdgeList(place, positions=NodePositions(degree=True, vectors=str(out)))
    encoding = reader.fit()
    assert encoding.width == 5
    values = reader.part("train", encoding)[0].values[:, 1:]
    assert not values[20].any()
    values = values[:20] / np.linalg.norm(values[:20], axis=1, keepdims=True)
    cosines = values @ values.T
    assert cosines[:10, :10].mean() > cosines[:10, 10:].mean() + 0.3


@pytest.mark.skipif(not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data")
def test_walks_alone_tell_departments_apart(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    out = tmp_path / "v.vec"
    options = ["--width", "32", "--length", "20", "--epochs", "2", "--threads", "1"]
    assert main(["vectors", "walk", "email-eu-core", "--out", str(out), *options]) == 0
    reader = EdgeList(positions=NodePositions(vectors=str(out)))
    encoding = reader.fit()
    train, test = (reader.part(name, encoding)[0] for name in ("train", "test"))
    rows, held = (np.flatnonzero(np.asarray(part.target) >= 0) for part in (train, test))
    values, target = train.values, np.asarray(train.target)
    model = LogisticRegression(max_iter=200).fit(values[rows], target[rows])
    right = (model.predict(values[held]) == np.asarray(test.target)[held]).mean()
    most = np.bincount(target[rows]).argmax()
    assert right > 3 * (np.asarray(test.target)[held] == most).mean()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no vector, expected a name and numbers on each line"),
        ("0 1 2\n1 1\n", "line 2, has 1 numbers, expected 2"),
        ("0 1 x\n", "line 1, "),
        ("0 1 2\n0 1 2\n", "line 2, repeats the node '0', expected each once"),
        ("7 1 2\n", "has vectors of 1 nodes, none of which"),
    ],
)
def test_bad_files_of_vectors(tmp_path: Path, content: str, sentence: str) -> None:
    place = lists(tmp_path / "net", "0 a\n1 b\n", "0 1\n")
    (tmp_path / "v.vec").write_text(content)
    with pytest.raises(InputError, match=rf"v\.vec,? ?{sentence}"):
        EdgeList(place, positions=NodePositions(vectors=str(tmp_path / "v.vec"))).fit()
    with pytest.raises(InputError, match="is not there, expected a file of vectors of nodes"):
        EdgeList(place, positions=NodePositions(vectors=str(tmp_path / "no.vec"))).fit()


def test_what_has_no_names_of_its_own_and_what_is_no_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for reader in (Graphs, Molecules):
        with pytest.raises(InputError, match=r"data.positions.vectors is 'v.vec', expected none"):
            reader(positions=NodePositions(vectors="v.vec"))  # type: ignore[operator]
    (tmp_path / "a.txt").write_text("a text\n")
    assert main(["vectors", "walk", str(tmp_path / "a.txt"), "--out", str(tmp_path / "v.vec")]) == 2
    assert "expected one graph, or one of email-eu-core, heterophilous, planetoid" in capsys.readouterr().err
