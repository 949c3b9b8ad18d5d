import os
import pickle
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from regard.data.encoding import Numbers
from regard.data.examples import IGNORE, UNSEEN
from regard.data.graph import Planetoid
from regard.data.planetoid import load_pickle
from regard.data.structure import NodePositions
from regard.errors import InputError

published = pytest.mark.skipif(
    not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data"
)

NODES = "id,label,split,f,g\na,x,train,1,1\nb,y,train,0,4\nc,x,dev,-3,1\nd,y,test,0,0\ne,,,1,0\n"
EDGES = "source,target\na,b\nb,a\nb,c\nd,e\n"


def folder(tmp_path: Path, nodes: str = NODES, edges: str = EDGES) -> str:
    (tmp_path / "nodes.csv").write_text(nodes, "utf-8")
    (tmp_path / "edges.csv").write_text(edges, "utf-8")
    return str(tmp_path)


def pairs(edges: np.ndarray | None) -> set[tuple[int, int]]:
    assert edges is not None
    found = {(int(q), int(k)) for q, k in edges.T}
    assert len(found) == edges.shape[1]
    return found


def test_each_part_is_the_whole_graph_with_its_own_targets(tmp_path: Path) -> None:
    reader = Planetoid(folder(tmp_path))
    encoding = reader.fit()
    assert (encoding.labels, encoding.width, encoding.edge_width) == (("x", "y"), 2, 0)
    found = [reader.part(name, encoding)[0].target for name in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert [target.tolist() for target in found if target is not None] == [
        [0, 1, IGNORE, IGNORE, IGNORE],
        [IGNORE, IGNORE, 0, IGNORE, IGNORE],
        [IGNORE, IGNORE, IGNORE, 1, IGNORE],
    ]
    example = reader.part("train", encoding)[0]
    np.testing.assert_allclose(example.values, [[0.5, 0.5], [0, 1], [-0.75, 0.25], [0, 0], [1, 0]])
    assert example.tokens == ("a", "b", "c", "d", "e")
    assert reader.inputs([str(tmp_path)], encoding)[0].target is None


@pytest.mark.parametrize(("undirected", "loops"), [(True, True), (True, False), (False, True), (False, False)])
def test_edges_are_query_and_key_without_repeats(tmp_path: Path, undirected: bool, loops: bool) -> None:
    reader = Planetoid(folder(tmp_path), undirected=undirected, self_loops=loops)
    expected = {(1, 0), (0, 1), (2, 1), (4, 3)}  # the target attends to the source
    if undirected:
        expected |= {(1, 2), (3, 4)}
    if loops:
        expected |= {(i, i) for i in range(5)}
    assert pairs(reader.part("train", reader.fit())[0].edges) == expected


def test_what_edges_carry_stays_with_them(tmp_path: Path) -> None:
    edges = "weight,source,target,age\n1,a,b,10\n2,b,a,20\n3,b,c,30\n4,e,e,40\n"
    reader = Planetoid(folder(tmp_path, edges=edges))
    encoding = reader.fit()
    assert encoding.edge_width == 2
    example = reader.part("train", encoding)[0]
    assert example.edges is not None
    assert example.edge_values is not None
    carried = {(int(q), int(k)): tuple(v) for (q, k), v in zip(example.edges.T, example.edge_values, strict=True)}
    assert carried == {
        (1, 0): (1, 10),
        (0, 1): (2, 20),
        (2, 1): (3, 30),
        (1, 2): (3, 30),
        (4, 4): (4, 40),
        **{(i, i): (0, 0) for i in range(4)},
    }


def test_numbers_are_targets_too(tmp_path: Path) -> None:
    nodes = "id,label,split,f\na,1,train,1\nb,3,train,1\nc,4,test,1\n"
    reader = Planetoid(folder(tmp_path, nodes, "source,target\na,b\n"), numbers=True)
    encoding = reader.fit()
    target = reader.part("test", encoding)[0].target
    assert target is not None
    assert target.dtype == np.float32
    assert np.isnan(target[:2]).all()
    assert target[2] == pytest.approx(2)
    assert encoding.targets == Numbers(2.0, 1.0)


def test_without_a_split_each_label_is_divided(tmp_path: Path) -> None:
    nodes = "id,label,f\n" + "".join(f"n{i},{'xy'[i % 2]},1\n" for i in range(40)) + "lone,,1\n"
    reader = Planetoid(folder(tmp_path, nodes, "source,target\nn1,n2\n"))
    encoding = reader.fit()
    for part, count in (("train", 16), ("validation", 2), ("test", 2)):
        target = reader.part(part, encoding)[0].target  # type: ignore[arg-type]
        assert target is not None
        assert np.bincount(target[target != IGNORE]).tolist() == [count, count]


@pytest.mark.parametrize(
    ("nodes", "edges", "sentence"),
    [
        ("", EDGES, "nodes.csv is empty"),
        ("id,label,split,f\n", EDGES, "nodes.csv has a first line only"),
        ("id,label\na,x\nb,y\n", "source,target\na,b\n", "has no features of its nodes, expected some, or what"),
        ("id,label,f\na,,1\nb,,1\n", "source,target\na,b\n", "has no label at any of its 2 nodes"),
        ("key,label,f\na,x,1\n", EDGES, "has no column 'id'"),
        ("id,f,f\na,1,2\n", EDGES, "names the column 'f' twice"),
        (NODES + "a,x,train,1,1\n", EDGES, "line 7, repeats the node 'a'"),
        (NODES + "f,x,train,1\n", EDGES, "line 7, has 4 fields, expected 5"),
        (NODES + "f,x,train,1,nan\n", EDGES, "nodes.csv, line 7, column g, holds 'nan', expected a finite number"),
        (NODES + "f,x,train,1,1e39\n", EDGES, "nodes.csv, line 7, column g, holds '1e39', expected a finite number"),
        (NODES + "f,x,train,inf,1\n", EDGES, "line 7, column f, holds 'inf'"),
        (NODES + "f,x,train,,1\n", EDGES, "line 7, column f, holds ''"),
        (NODES + "f,x,trial,1,1\n", EDGES, "line 7, has the split 'trial'"),
        (NODES + "f,,train,1,1\n", EDGES, "line 7, has no label"),
        (NODES, "source,target\na,z\n", "edges.csv, line 2, names the node 'z', expected an id of nodes.csv"),
        (NODES, EDGES + "a,b\n", "edges.csv, line 6, repeats the edge of line 2 from 'a' to 'b'"),
        (NODES, "source,target,w\na,b,NaN\n", "edges.csv, line 2, column w, holds 'NaN'"),
        (NODES, "from,to\na,b\n", "edges.csv has no column 'source'"),
        (NODES, "", "edges.csv is empty"),
    ],
)
def test_bad_tables_name_file_and_line(tmp_path: Path, nodes: str, edges: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Planetoid(folder(tmp_path, nodes, edges)).fit()
    assert sentence in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_label_that_training_never_saw_is_a_target_of_its_own_kind(tmp_path: Path) -> None:
    reader = Planetoid(folder(tmp_path, NODES + "f,z,test,1,1\ng,w,test,1,1\n"))
    part = reader.part("test", reader.fit())
    assert part[0].target.tolist() == [IGNORE, IGNORE, IGNORE, 1, IGNORE, UNSEEN, UNSEEN - 1]
    assert part.unseen == {"z": 1, "w": 1}
    assert reader.labels("test") == [(label, f"{tmp_path}, node {name},") for label, name in ("yd", "zf", "wg")]


def test_a_number_that_is_none_names_its_node(tmp_path: Path) -> None:
    nodes = "id,label,split,f\na,1,train,1\nb,2,train,0\nc,3,dev,1\nd,no,test,1\n"
    reader = Planetoid(folder(tmp_path, nodes, "source,target\na,b\n"), numbers=True)
    with pytest.raises(InputError, match="node d, holds 'no', expected a finite number"):
        reader.part("test", reader.fit())


def test_another_width_than_in_training_is_refused(tmp_path: Path) -> None:
    reader = Planetoid(folder(tmp_path))
    encoding = reader.fit()
    (tmp_path / "other").mkdir()
    other = folder(tmp_path / "other", "id,f\na,1\n", "source,target\na,a\n")
    with pytest.raises(InputError, match="has 1 features per node, expected 2 as in training"):
        reader.inputs([other], encoding)


def test_a_folder_without_a_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither nodes\.csv nor files"):
        Planetoid(str(tmp_path)).fit()
    with pytest.raises(InputError, match="is not a folder"):
        Planetoid(str(tmp_path / "nowhere")).fit()


class _Bomb:
    """What an attacker puts into a pickle: reading it with plain `pickle` makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_bomb_is_refused_and_does_nothing(tmp_path: Path, protocol: int) -> None:
    goal, path = tmp_path / "goal", tmp_path / "ind.cora.x"
    content = pickle.dumps({0: [_Bomb(goal)]}, protocol)
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"ind\.cora\.x asks to load \w+\.mkdir, expected nothing but arrays"
    ) as caught:
        load_pickle(path)
    assert "\n" not in str(caught.value)
    assert not goal.exists()
    pickle.loads(content)
    assert goal.exists(), "the bomb of this test must be a real one"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps(np.arange(100))[:-30],
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nndarray\n((L9999999999999L\ntF1.0\ntR.",
        b"cnumpy\ndtype.__class__\n.",
        b"cscipy.sparse.csr\ncsr_matrix\n)R}S'dense'\nI1\nsb.",
    ],
)
def test_damaged_and_hostile_pickles_end_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ind.cora.allx").write_bytes(content)
    (tmp_path / "ind.cora.x").write_bytes(content)
    with pytest.raises(InputError, match=r"ind\.cora\.allx"):
        Planetoid(str(tmp_path)).fit()


@published
def test_the_published_graph(data: Path) -> None:
    reader = Planetoid()
    encoding = reader.fit()
    assert (len(encoding.labels), encoding.width) == (7, 1433)
    counts = []
    for name in ("train", "validation", "test"):
        example = reader.part(name, encoding)[0]  # type: ignore[arg-type]
        assert example.target is not None
        counts.append(int((example.target != IGNORE).sum()))
    assert counts == [140, 500, 1000]
    assert example.values.shape == (2708, 1433)
    np.testing.assert_allclose(example.values.sum(1), 1, rtol=1e-5)
    edges = pairs(example.edges)
    assert len(edges) == 2 * 5278 + 2708
    assert edges == {(k, q) for q, k in edges}
    # Cora's edges mostly join papers of one field: they would not if the test rows were out of order.
    whole = np.full(2708, IGNORE)
    for name in ("train", "validation", "test"):
        target = reader.part(name, encoding)[0].target  # type: ignore[arg-type]
        whole = np.where(target != IGNORE, target, whole)
    joined = [whole[q] == whole[k] for q, k in edges if q != k and IGNORE not in (whole[q], whole[k])]
    assert np.mean(joined) > 0.75


@published
def test_published_files_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    for path in (data / "planetoid").glob("ind.*"):
        shutil.copyfile(path, tmp_path / path.name)
    reader = Planetoid(str(tmp_path))
    graph, index = tmp_path / "ind.cora.graph", tmp_path / "ind.cora.test.index"
    content = graph.read_bytes()
    for links, sentence in (({0: [2708]}, "links 0 and 2708"), ({0: ["1"]}, "links 0 and '1'"), ([], "dictionary")):
        graph.write_bytes(pickle.dumps(defaultdict(list, links) if links else links, 2))
        with pytest.raises(InputError, match=sentence):
            reader.fit()
    graph.write_bytes(content)
    lines = index.read_text().splitlines()
    index.write_text("\n".join([*lines[:-1], lines[0]]))
    with pytest.raises(InputError, match=f"names the node {lines[0]} twice"):
        reader.fit()
    index.write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match="do not fit one another"):
        reader.fit()
    with pytest.raises(InputError, match="did you mean 'cora'"):
        Planetoid(str(tmp_path), name="corra").fit()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("cora.npz", "arrays of NumPy, which --data.type MaskedGraph reads"),
        ("email-Eu-core.txt.gz", "a list of edges as of SNAP, which --data.type EdgeList reads"),
        ("web.EDGES", "a list of edges"),
        ("graph.graphml", "a drawing program's graph, which is not read"),
        ("data.pt", "a library's own objects, which are not read"),
    ],
)
def test_graphs_in_other_forms_are_told_what_reads_them(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / name).write_bytes(b"0 1\n")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(InputError, match=f"but {name}, {form}.*, expected.* nodes.csv .* and edges.csv"):
            Planetoid(str(place)).fit()


def test_a_graph_without_edges_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text("id,label,f\na,x,1\n")
    with pytest.raises(InputError, match=r"edges\.csv"):
        Planetoid(str(tmp_path)).fit()


def test_nodes_without_features_have_positions(tmp_path: Path) -> None:
    nodes = "id,label,split\na,x,train\nb,y,train\nc,,\nd,x,test\ne,y,dev\n"
    place = folder(tmp_path, nodes, "source,target\na,b\nb,c\nc,d\na,a\n")
    reader = Planetoid(place, positions=NodePositions(identity=True, degree=True))
    encoding = reader.fit()
    example = reader.part("train", encoding)[0]
    np.testing.assert_allclose(example.values[:, :5], np.eye(5))
    np.testing.assert_allclose(np.expm1(example.values[:, 5]), [1, 2, 2, 1, 0], rtol=1e-5)
    larger = Planetoid(folder(tmp_path, nodes + "f,,\n", "source,target\na,b\n"), positions=reader.positions)
    with pytest.raises(InputError, match="has 7 features per node, expected 6 as in training"):
        larger.inputs([place], encoding)


def test_numbers_without_a_split_are_divided_whatever_they_are(tmp_path: Path) -> None:
    nodes = "id,label,f\n" + "".join(f"n{n},{n}.5,1\n" for n in range(40))
    reader = Planetoid(folder(tmp_path, nodes, "source,target\nn1,n2\n"), numbers=True)
    assert [len(reader.labels(part)) for part in ("train", "validation", "test")] == [32, 4, 4]  # type: ignore[arg-type]


def test_signs_of_eigenvectors_change_from_epoch_to_epoch_and_nothing_else(tmp_path: Path) -> None:
    reader = Planetoid(folder(tmp_path), normalize=False, positions=NodePositions(laplacian=2))
    encoding = reader.fit()
    assert encoding.width == 4
    recorded, training = reader.part("train", encoding)[0], reader.training(encoding)
    seen = set()
    for epoch in range(20):
        training.set_epoch(epoch)  # type: ignore[attr-defined]
        values = training[0].values
        np.testing.assert_array_equal(values, training[0].values)
        np.testing.assert_array_equal(values[:, :2], recorded.values[:, :2])
        np.testing.assert_array_equal(np.abs(values), np.abs(recorded.values))
        seen.add(tuple(np.sign((values * recorded.values).sum(0)[2:])))
    assert len(seen) == 4
