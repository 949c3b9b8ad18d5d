import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networkx
import numpy as np
import pytest
import torch

from regard.data.examples import IGNORE
from regard.data.graph import Planetoid
from regard.data.graph_values import graph_of
from regard.data.graphs import Graphs, write_graphs
from regard.data.readers import reader_of
from regard.data.structure import NodePositions
from regard.errors import InputError


def lines(path: Path, *graphs: Any) -> str:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in graphs), "utf-8")
    return str(path)


TRIANGLE = {"id": "t", "features": [[1], [2], [3]], "edges": [[0, 1], [1, 2], [2, 0]], "label": "odd", "split": "train"}
PAIR = {"id": "p", "nodes": 2, "features": [[4], [5]], "edges": [[1, 0]], "label": "even", "split": "train"}
LONE = {"id": "l", "features": [[6]], "edges": [], "label": "odd", "split": "test"}
OTHER = {"id": "o", "features": [[6], [7]], "label": "even", "split": "dev"}


def data(value: Any) -> Any:
    """What PyTorch Geometric calls `Data`, or what looks like it."""
    values = {"x": None, "edge_attr": None, "y": None} | value
    try:
        from torch_geometric.data import Data
    except ImportError:
        nodes = len(values["x"]) if values["x"] is not None else values.get("num_nodes", 0)
        return SimpleNamespace(**values | {"num_nodes": nodes})
    return Data(**values)


def test_a_graph_on_each_line(tmp_path: Path) -> None:
    path = lines(tmp_path / "own.jsonl", TRIANGLE, PAIR, LONE, OTHER, {"nodes": 1})
    reader = Graphs(path)
    encoding = reader.fit()
    assert (encoding.labels, encoding.width, encoding.edge_width) == (("even", "odd"), 1, 0)
    train = reader.part("train", encoding)
    assert [(each.name, int(each.target), each.target_kind) for each in train.examples] == [  # type: ignore[arg-type]
        ("t", 1, "set"),
        ("p", 0, "set"),
    ]
    assert sorted(map(tuple, np.asarray(train[1].edges).T.tolist())) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    lone = reader.part("test", encoding)[0]
    assert (lone.values.tolist(), np.asarray(lone.edges).tolist()) == ([[6]], [[0], [0]])
    survey = reader.survey()
    assert "graphs without a label" in str(survey.as_json())
    assert reader_of(Path(path)) is Graphs
    assert reader.names_parts()


def test_directions_and_what_edges_carry(tmp_path: Path) -> None:
    graph = {"features": [[0.0], [0.0]], "edges": [[0, 1], [1, 1]], "edge_values": [[2, 3], [4, 5]], "label": 1.5}
    path = lines(tmp_path / "own.jsonl", *([graph] * 20))
    reader = Graphs(path, target="number", undirected=False, self_loops=False)
    encoding = reader.fit()
    example = reader.part("train", encoding)[0]
    # The target attends to the source.
    assert np.asarray(example.edges).tolist() == [[1, 1], [0, 1]]
    assert np.asarray(example.edge_values).tolist() == [[2, 3], [4, 5]]
    assert example.target == 0


def test_nodes_with_labels_and_without(tmp_path: Path) -> None:
    one = TRIANGLE | {"labels": ["a", None, "b"], "label": None}
    path = lines(tmp_path / "own.jsonl", one, PAIR | {"labels": [None, "a"]}, LONE | {"labels": [None]})
    reader = Graphs(path, labels_of="nodes")
    encoding = reader.fit()
    targets = [np.asarray(each.target).tolist() for each in reader.part("train", encoding).examples]
    assert targets == [[0, IGNORE, 1], [IGNORE, 0]]
    assert [label for label, _ in reader.labels("train")] == ["a", "b", "a"]
    with pytest.raises(InputError, match="has no graph in the test part"):
        reader.part("test", encoding)


def test_several_labels_with_gaps(tmp_path: Path) -> None:
    stated = [{"toxic": 1, "soluble": None}, {"toxic": 0, "soluble": 1}]
    path = lines(tmp_path / "own.jsonl", *(PAIR | {"id": str(n), "label": label} for n, label in enumerate(stated)))
    reader = Graphs(path, target="labels")
    targets = [each.target for each in reader.part("train", reader.fit()).examples]
    np.testing.assert_array_equal(targets, [[np.nan, 1], [1, 0]])  # type: ignore[arg-type]


def test_parts_by_files_and_positions(tmp_path: Path) -> None:
    bare = {"nodes": 3, "edges": [[0, 1]], "label": "x"}
    (tmp_path / "own").mkdir()
    for name in ("train", "dev", "test"):
        lines(tmp_path / "own" / f"{name}.jsonl", bare, bare | {"label": "y"})
    reader = Graphs(str(tmp_path / "own"), positions=NodePositions(degree=True))
    encoding = reader.fit()
    assert [len(reader.part(name, encoding)) for name in ("train", "validation", "test")] == [2, 2, 2]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has no features of its nodes, expected some, or what a node's place says"):
        Graphs(str(tmp_path / "own")).fit()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("[1]", "is no JSON object, expected one on each line"),
        ({"edges": []}, "has the entries edges, expected features, or nodes: how many"),
        ({"nodes": -1}, "has nodes -1, expected their number"),
        ({"nodes": 1e3}, "has nodes 1000.0, expected their number"),
        ({"nodes": 10**12}, "has nodes 1000000000000, expected their number, at most 10,000,000"),
        ({"nodes": 3, "features": [[1]]}, "has features of 1 nodes and nodes 3, expected as many"),
        ({"nodes": 2, "edges": [[0, 2]]}, "has the edge [0, 2], expected nodes from 0 to 1"),
        ({"nodes": 2, "edges": [[0, 1, 2]]}, "has the edge [0, 1, 2], expected a source and a target"),
        ({"nodes": 2, "edges": [[0, 0.5]]}, "has the edge [0, 0.5], expected a source and a target"),
        ({"nodes": 2, "edges": [[0, 1], [0, 1]]}, "repeats an edge, expected each once"),
        ({"nodes": 2, "edges": "ring"}, "has edges 'ring', expected a list of pairs"),
        ({"nodes": 2, "edge": []}, "has an entry 'edge': did you mean 'edges'"),
        ({"features": [[1], "x"]}, "has features that are no array of numbers"),
        ({"features": [[1], [None]]}, "has features [2, 1], expected [nodes, numbers], all finite"),
        ({"nodes": 2, "edges": [[0, 1]], "edge_values": [[1], [2]]}, "has edge_values [2, 1], expected [1, numbers]"),
        ({"nodes": 2, "labels": ["a"]}, "has 1 labels for 2 nodes"),
        ({"nodes": 2, "split": "maybe"}, "'maybe'"),
        ({"nodes": 2, "edges": [[0, 10**30]]}, "has the edge [0, 1000"),
        ({"nodes": 2, "edges": [[0, -1]]}, "has the edge [0, -1], expected nodes from 0 to 1"),
        ({"nodes": 2, "names": 5}, "has names 5, expected a list, one for each node"),
        ({"nodes": 2, "names": "ab"}, "has names 'ab', expected a list, one for each node"),
        ({"nodes": 2, "labels": True}, "has labels True, expected a list, one for each node"),
        ({"nodes": 2, "edges": [[0, 1]], "edge_values": 0}, "has edge_values [], expected [1, numbers]"),
        ({"features": [[1e39], [0]]}, "has features [2, 1], expected [nodes, numbers], all finite"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: Any, sentence: str) -> None:
    path = lines(tmp_path / "own.jsonl", TRIANGLE, line)
    with pytest.raises(InputError, match=f"own.jsonl, line 2,.*{re.escape(sentence)}"):
        Graphs(path).fit()


def test_other_refusals(tmp_path: Path) -> None:
    path = lines(tmp_path / "own.jsonl", TRIANGLE, OTHER | {"features": [[1, 2], [3, 4]]})
    reader = Graphs(path)
    with pytest.raises(InputError, match="line 2, has 2 features per node, expected 1 as in training"):
        reader.part("validation", reader.fit())
    for made, sentence in (
        (lambda: Graphs().fit(), "data.path is not given, expected a file of JSON lines"),
        (lambda: Graphs(str(tmp_path / "no.jsonl")).fit(), "is not there, expected a file of JSON lines"),
        (lambda: Graphs(lines(tmp_path / "e.jsonl")).fit(), "is empty, expected a graph on each line"),
        (lambda: Graphs(path, labels_of="nodes").fit(), "has no graph with a labels of nodes"),
        (lambda: Graphs(positions=NodePositions(identity=True)), "nodes of different graphs are not the same"),
        (lambda: Graphs(target="labels", labels_of="nodes"), "expected one label or number per node"),
    ):
        with pytest.raises(InputError, match=sentence):
            made()


def test_a_graph_of_networkx() -> None:
    graph = networkx.Graph(label="ring")
    graph.add_node("a", x=[1.0, 2.0], size=3, label="p", note="text")
    graph.add_node("b", x=np.array([4, 5]), size=6)
    graph.add_edge("a", "b", weight=0.5)
    graph.add_edge("b", "b", weight=0.25)
    found = graph_of(graph, "g")
    assert found.features.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert (found.names, list(found.labels)) == (("a", "b"), ["p", ""])
    assert found.edges.T.tolist() == [[0, 1], [1, 1], [1, 0]]
    assert np.asarray(found.edge_values).tolist() == [[0.5], [0.25], [0.5]]
    arrows = networkx.DiGraph([(0, 1)])
    assert graph_of(arrows, "g").edges.tolist() == [[0], [1]]
    assert graph_of(networkx.empty_graph(1), "g").edges.shape == (2, 0)
    graph.add_node("c", size=1)
    with pytest.raises(
        InputError, match=r"^g has at the node 'c' no x, expected as many numbers as at the node 'a': 2$"
    ):
        graph_of(graph, "g")
    with pytest.raises(
        InputError, match=r"^g may have several edges between two nodes, expected a graph that has each"
    ):
        graph_of(networkx.MultiGraph([(0, 1)]), "g")


def test_data_of_pytorch_geometric() -> None:
    edges = torch.tensor([[0, 1], [1, 2]])
    value = data({"x": torch.eye(3, requires_grad=True), "edge_index": edges, "edge_attr": torch.tensor([1.0, 2.0])})
    found = graph_of(value, "g")
    assert found.features.tolist() == np.eye(3).tolist()
    assert found.edges.tolist() == edges.tolist()
    assert np.asarray(found.edge_values).tolist() == [[1], [2]]
    labeled = graph_of(data({"x": torch.eye(3), "edge_index": edges, "y": torch.tensor([1, 0, 1])}), "g")
    assert list(labeled.labels) == ["1", "0", "1"]
    with pytest.raises(InputError, match=r"^g has y \[1, 2\], expected one number for the graph or for each node$"):
        graph_of(data({"x": torch.eye(3), "edge_index": edges, "y": torch.ones(1, 2)}), "g")
    with pytest.raises(InputError, match=r"^g has no edge_index"):
        graph_of(data({"x": torch.eye(3), "edge_index": None}), "g")


def test_graphs_in_memory_become_a_data_set(tmp_path: Path) -> None:
    ring = networkx.cycle_graph(4)
    ring.graph["label"] = "ring"
    star = data({"num_nodes": 3, "edge_index": torch.tensor([[1, 2], [0, 0]]), "y": torch.tensor([7])})
    arrays = {"features": np.zeros((2, 0)), "edges": [[0], [1]], "label": np.int64(7), "id": "own", "split": "test"}
    assert write_graphs(tmp_path / "own.jsonl", [ring, star, arrays]) == 3
    written = [json.loads(line) for line in (tmp_path / "own.jsonl").read_text().splitlines()]
    assert [line["label"] for line in written] == ["ring", 7, 7]
    assert written[2]["id"] == "own"
    written[0]["split"] = written[1]["split"] = "train"
    reader = Graphs(lines(tmp_path / "own.jsonl", *written), positions=NodePositions(degree=True))
    encoding = reader.fit()
    train = reader.part("train", encoding)
    assert [each.tokens for each in train.examples] == [("0", "1", "2", "3"), ("0", "1", "2")]
    np.testing.assert_array_equal(train[0].values, reader.example(ring, encoding).values)
    np.testing.assert_array_equal(np.asarray(train[1].edges), np.asarray(reader.example(star, encoding).edges))


def test_a_run_of_one_graph_takes_graphs_in_memory(tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text("id,label,f\n" + "".join(f"n{n},{n % 2},{n}\n" for n in range(20)))
    (tmp_path / "edges.csv").write_text("source,target\nn0,n1\n")
    reader = Planetoid(str(tmp_path))
    graph = networkx.Graph([("n0", "n1")])
    networkx.set_node_attributes(graph, {f"n{n}": float(n) for n in range(2)}, "f")
    example = reader.example(graph, reader.fit(), "mine")
    assert (example.name, example.tokens, example.values.tolist()) == ("mine", ("n0", "n1"), [[0], [1]])


CARRYING = {"nodes": 2, "features": [[1], [2]], "edges": [[0, 1]], "edge_values": [[3, 4]], "split": "train"}
BARE = {"nodes": 1, "features": [[5]], "edges": [], "edge_values": [], "split": "train"}


@pytest.mark.parametrize("graphs", [(BARE, CARRYING), (CARRYING, BARE)])
def test_a_graph_without_edges_stands_among_others_whose_edges_carry_values(tmp_path: Path, graphs: Any) -> None:
    path = lines(tmp_path / "own.jsonl", *(each | {"label": f"{n}"} for n, each in enumerate(graphs)))
    reader = Graphs(path)
    encoding = reader.fit()
    assert encoding.edge_width == 2
    for example in reader.part("train", encoding).examples:
        assert example.edge_values is not None
        assert example.edges is not None
        assert example.edge_values.shape == (example.edges.shape[1], 2)
    one = networkx.Graph()
    one.add_node("a", size=1.0)
    lone = reader.example(one, encoding)
    assert lone.edge_values is not None
    assert lone.edge_values.tolist() == [[0, 0]]
    write_graphs(
        tmp_path / "again.jsonl", [{"features": [[1.0]], "edges": np.zeros((2, 0)), "edge_values": np.zeros((0, 2))}]
    )
    assert len(reader.inputs([str(tmp_path / "again.jsonl")], encoding)) == 1


def test_attributes_that_the_first_one_lacks_are_refused() -> None:
    graph = networkx.Graph()
    graph.add_node(0, a=1.0)
    graph.add_node(1, a=2.0, b=7.0)
    with pytest.raises(
        InputError, match=r"has at the node 1 b 7\.0, expected the same numbers as at the node 0, which has none"
    ):
        graph_of(graph, "g")
    graph = networkx.Graph()
    graph.add_edge(0, 1)
    graph.add_edge(1, 2, w=3)
    with pytest.raises(
        InputError, match="has at the edge from 1 to 2 w 3, expected the same numbers as at the edge from 0 to 1"
    ):
        graph_of(graph, "g")
    graph = networkx.Graph()
    graph.add_node(0, a=[[1], [2, 3]], b=10**400)
    with pytest.raises(InputError, match="an attribute that is no float"):
        graph_of(graph, "g")


def test_a_graph_of_one_node_has_its_label_either_way(tmp_path: Path) -> None:
    both = [
        data({"x": torch.ones(n, 1), "edge_index": torch.zeros(2, 0, dtype=torch.int64), "y": torch.ones(1)})
        for n in (1, 2)
    ]
    write_graphs(tmp_path / "own.jsonl", both)
    found = [json.loads(line) for line in (tmp_path / "own.jsonl").read_text().splitlines()]
    assert [each["label"] for each in found] == [1.0, 1.0]
    assert found[0]["labels"] == ["1.0"]


@pytest.mark.parametrize("label", [np.array([1, 2]), {1}, math.nan])
def test_a_file_of_graphs_is_written_whole_or_not_at_all(tmp_path: Path, label: Any) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("before")
    good = {"features": [[1.0]], "edges": [[], []], "label": "x"}
    with pytest.raises(InputError, match=r"graph 2 has the label .*, expected a name, a finite number"):
        write_graphs(path, [good, good | {"label": label}])
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]
    assert write_graphs(tmp_path / "new" / "own.jsonl", [good | {"label": np.float32(2)}]) == 1
