"""Graphs of two lists, as of SNAP, and of arrays with several divisions."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data.edge_list import EdgeList
from regard.data.examples import IGNORE
from regard.data.masked_graph import MaskedGraph
from regard.data.readers import reader_of
from regard.data.structure import NodePositions
from regard.errors import InputError

published = pytest.mark.skipif(
    not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data"
)
PARTS: Any = ("train", "validation", "test")
DEGREE = NodePositions(degree=True)


def lists(tmp_path: Path, edges: str, labels: str) -> str:
    (tmp_path / "net.txt").write_text(edges)
    (tmp_path / "net-labels.txt").write_text(labels)
    return str(tmp_path)


def test_two_lists_are_a_graph(tmp_path: Path) -> None:
    place = lists(tmp_path, "# Nodes: 4\n\n10 2\n2\t10\n2 10\n2 2\n2 2\n30 2\n", "2 x\n10 y\n7 x\n")
    graph = EdgeList(place, positions=DEGREE).read(place)
    assert graph.names == ("2", "7", "10", "30")  # by number; 7 has no edge, 30 no label
    assert graph.labels == ["x", "x", "y", ""]
    assert graph.parts[3] == ""
    assert {(int(s), int(t)) for s, t in graph.edges.T} == {(2, 0), (0, 2), (0, 0), (3, 0)}
    assert graph.skips.lines() == ["2 repeated edges: net.txt, line 5, net.txt, line 7"]
    assert "2 repeated edges" in EdgeList(place, positions=DEGREE).survey().full()


def test_the_seed_draws_the_division_and_each_label_is_divided(tmp_path: Path) -> None:
    nodes = "".join(f"{n} {'xy'[n % 2]}\n" for n in range(60))
    place = lists(tmp_path, "1 2\n", nodes)
    drawn = []
    for seed in (0, 0, 1):
        reader = EdgeList(place, positions=DEGREE, seed=seed)
        encoding = reader.fit()
        targets = [reader.part(part, encoding)[0].target for part in PARTS]
        assert [np.bincount(each[each != IGNORE]).tolist() for each in targets if each is not None] == [
            [24, 24],
            [3, 3],
            [3, 3],
        ]
        drawn.append(targets[2])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


def test_compressed_lists_are_read_as_published(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.txt.gz", "wt") as file:
        file.write("0 1\r\n")
    with gzip.open(tmp_path / "a-labels.txt.gz", "wt") as file:
        file.write("0 x\r\n1 y\r\n")
    assert reader_of(tmp_path) is EdgeList
    assert EdgeList(str(tmp_path), positions=DEGREE).fit().labels == ("x", "y")


@pytest.mark.parametrize(
    ("edges", "labels", "sentence"),
    [
        ("1 2 3\n", "1 x\n", "net.txt, line 1, has 3 words, expected a source and a target"),
        ("# none\n", "1 x\n", "net.txt has no edge"),
        ("1 2\n", "1 x\n\n1 y\n", "net-labels.txt, line 3, repeats the node '1'"),
        ("1 2\n", "", "net-labels.txt has no label"),
        ("1 2\n", "1\n", "net-labels.txt, line 1, has 1 words, expected a node and its label"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path: Path, edges: str, labels: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        EdgeList(lists(tmp_path, edges, labels), positions=DEGREE).fit()


def test_lists_without_features_or_labels_say_what_is_needed(tmp_path: Path) -> None:
    place = lists(tmp_path, "1 2\n", "1 x\n2 y\n")
    with pytest.raises(InputError, match=r"has no features of its nodes, expected some, or .* data.positions.degree"):
        EdgeList(place).fit()
    (tmp_path / "net-labels.txt").unlink()
    with pytest.raises(InputError, match=r"has the lists net\.txt, expected a list of edges and one of labels"):
        EdgeList(place).fit()


def arrays(**changes: Any) -> dict[str, Any]:
    masks = np.zeros((2, 6), bool)
    found = {
        "node_features": np.arange(12, dtype=np.float32).reshape(6, 2),
        "node_labels": np.array([0, 1, 0, 1, 0, 1]),
        "edges": np.array([[0, 1], [1, 2]]),
        "train_masks": masks.copy(),
        "val_masks": masks.copy(),
        "test_masks": masks.copy(),
    }
    found["train_masks"][0, :3] = found["train_masks"][1, 3:] = True
    found["val_masks"][0, 3] = found["val_masks"][1, 0] = True
    found["test_masks"][0, 4:] = found["test_masks"][1, 1:3] = True
    return found | changes


def npz(tmp_path: Path, **changes: Any) -> str:
    np.savez(tmp_path / "graph.npz", **{name: array for name, array in arrays(**changes).items() if array is not None})
    return str(tmp_path)


def test_each_mask_is_a_division(tmp_path: Path) -> None:
    place = npz(tmp_path)
    assert reader_of(tmp_path) is MaskedGraph
    for mask, expected in ((0, [[0, 1, 0], [1], [0, 1]]), (1, [[1, 0, 1], [0], [1, 0]])):
        reader = MaskedGraph(place, mask=mask)
        encoding = reader.fit()
        targets = [reader.part(part, encoding)[0].target for part in PARTS]
        assert [each[each != IGNORE].tolist() for each in targets if each is not None] == expected
    example = MaskedGraph(str(tmp_path / "graph.npz")).part("test", encoding)[0]
    np.testing.assert_array_equal(example.values, arrays()["node_features"])
    with pytest.raises(InputError, match=r"data.mask is 2 and .* has 2 masks, expected 0 to 1"):
        MaskedGraph(place, mask=2).fit()


def test_a_graph_of_arrays_may_have_no_edges(tmp_path: Path) -> None:
    reader = MaskedGraph(npz(tmp_path, edges=np.zeros((0, 2), np.int64)))
    edges = reader.part("train", reader.fit())[0].edges
    assert edges is not None
    np.testing.assert_array_equal(edges, [range(6), range(6)])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"edges": None}, "has no array edges"),
        ({"edges": np.array([[0, 6]])}, "has edges from 0 to 6, expected nodes from 0 to 5"),
        ({"edges": np.zeros((3, 3), int)}, r"has edges \[3, 3\] of int64, expected whole numbers \[edges, 2\]"),
        ({"node_features": np.full((6, 1), np.nan)}, "has nan in node_features at node 0, column 0"),
        (
            {"node_features": np.zeros((5, 1))},
            r"has node_features \[5, 1\] of float64, expected numbers \[6, features\]",
        ),
        ({"val_masks": np.ones((2, 6), bool)}, "has the node 0 in two parts of mask 0"),
        ({"test_masks": np.ones((1, 6), bool)}, r"has test_masks \[1, 6\] of bool, expected truths \[2, 6\]"),
        ({"node_labels": np.array([{}] * 6)}, "cannot be read"),
        ({"node_labels": np.array(["a", "", "b", "a", "b", "a"])}, "has no label of the node 1, expected one as"),
        ({"node_features": np.full((6, 1), 1e39)}, "has inf in node_features at node 0, column 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        MaskedGraph(npz(tmp_path, **changes)).fit()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04damaged", b"\x93NUMPY"])
def test_damaged_arrays_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "graph.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read, expected a \.npz file"):
        MaskedGraph(str(tmp_path)).fit()
    with pytest.raises(InputError, match="is not there"):
        MaskedGraph(str(tmp_path / "other.npz")).fit()


@published
def test_the_published_graphs() -> None:
    people = EdgeList(positions=NodePositions(degree=True))
    graph = people.read(None)
    assert (len(graph.names), graph.edges.shape[1], len(set(graph.labels))) == (1005, 25_571, 42)
    assert (graph.edges[0] == graph.edges[1]).sum() == 642
    workers = MaskedGraph(mask=9)
    example = workers.part("test", workers.fit())[0]
    assert example.edges is not None
    assert example.target is not None
    assert example.edges.shape[1] == 2 * 519_000 + 11_758
    assert (example.target != IGNORE).sum() == 2_940


def test_repeated_edges_of_arrays_are_counted_and_passed_over(tmp_path: Path) -> None:
    graph = MaskedGraph(npz(tmp_path, edges=np.array([[3, 3], [0, 1], [3, 3], [0, 1], [1, 0]]))).read(str(tmp_path))
    assert graph.edges.T.tolist() == [[3, 3], [0, 1], [1, 0]]
    assert graph.skips.lines() == ["2 repeated edges: edges 2, edges 3"]


def test_arrays_that_unfold_to_far_more_than_their_file_are_refused(tmp_path: Path) -> None:
    zeros = np.zeros((6, 4_000_000), np.float32)
    np.savez_compressed(tmp_path / "graph.npz", **arrays(node_features=zeros))
    with pytest.raises(InputError, match=r"unfolds to \d+ MiB, expected at most \d+: 200 times its size and 64 MiB"):
        MaskedGraph(str(tmp_path)).fit()
