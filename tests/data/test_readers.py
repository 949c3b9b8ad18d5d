"""What all readers promise: the same contract, whatever they read."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from recordings import sounds, spoken_letters, write
from voc import voc

from regard.data.arena.list_operations import ListOps
from regard.data.arena.masked_trees import MaskedTrees
from regard.data.arena.pairs import DocumentPairs
from regard.data.arena.raster import Raster
from regard.data.arena.shards import Made, make_pictures
from regard.data.augment import Speed
from regard.data.batching import BudgetSampler
from regard.data.boxes import Boxes
from regard.data.edge_list import EdgeList
from regard.data.examples import VectorSet
from regard.data.graph import Planetoid
from regard.data.graphs import Graphs, write_graphs
from regard.data.homework import LogMelFolder, write_log_mel_folder
from regard.data.image import Digits
from regard.data.labeled_patches import PatchLabels
from regard.data.masked_graph import MaskedGraph
from regard.data.molecules import Molecules
from regard.data.parallel import ParallelText
from regard.data.passages import Passages
from regard.data.pictures import Pictures
from regard.data.pixels import Pixels
from regard.data.reader import Reader
from regard.data.readers import READERS
from regard.data.registry import DATASETS
from regard.data.running_text import RunningText
from regard.data.speech import Sounds
from regard.data.structure import NodePositions
from regard.data.text import Conllu, Texts
from regard.data.transcripts import Transcripts
from regard.errors import InputError
from regard.train.kinds import KINDS
from regard.train.scoring import in_order, targets_of

PARTS: Any = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def conllu(tmp_path: Path) -> Reader:
    row = "{}\t{}\t_\t{}\t_\t_\t_\t_\t_\t_\n"
    text = "".join(
        f"# sent_id = {n}\n" + row.format(1, "I", "PRON") + row.format(2, "saw", "VERB") + "\n" for n in range(20)
    )
    (tmp_path / "own.conllu").write_text(text)
    return Conllu(str(tmp_path / "own.conllu"), minimum_count=1)


def texts(tmp_path: Path) -> Reader:
    (tmp_path / "own.csv").write_text("text,label\n" + "".join(f"good {n},x\nbad {n},y\n" for n in range(20)))
    return Texts(str(tmp_path / "own.csv"), minimum_count=1)


def list_operations(tmp_path: Path) -> Reader:
    trees = "".join(f"[MAX {n % 2} 0 ]\t{n % 2}\n" for n in range(20))
    (tmp_path / "own.tsv").write_text(f"Source\tTarget\n{trees}")
    return ListOps(str(tmp_path / "own.tsv"))


def masked_trees(tmp_path: Path) -> Reader:
    list_operations(tmp_path)
    return MaskedTrees(str(tmp_path / "own.tsv"), mask=0.3)


def pairs(tmp_path: Path) -> Reader:
    (tmp_path / "own.tsv").write_text("".join(f"{n % 2}\ta{n}\tb{n}\tsome text\tanother one\n" for n in range(20)))
    return DocumentPairs(str(tmp_path / "own.tsv"), longest=8)


def raster(tmp_path: Path) -> Reader:
    make_pictures(Made("pathfinder", 0, (14, 8, 8)), tmp_path / "own")
    return Raster(str(tmp_path / "own"))


def log_mel(tmp_path: Path) -> Reader:
    frames = np.random.default_rng(0).normal(size=(20, 30, 8)).astype(np.float32)
    write_log_mel_folder(tmp_path / "own", [("ab"[n % 2], each) for n, each in enumerate(frames)], frames[:2])
    return LogMelFolder(str(tmp_path / "own"), train_crop=0.1)


def parallel(tmp_path: Path) -> Reader:
    (tmp_path / "own.tsv").write_text("de\ten\n" + "".join(f"Haus {n}\ta house {n}\n" for n in range(20)))
    return ParallelText(str(tmp_path / "own.tsv"), minimum_count=1)


def pictures(tmp_path: Path) -> Reader:
    for n in range(20):
        (tmp_path / "own" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 255, (9, 12, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "own" / "ab"[n % 2] / f"{n}.png")
    return Pictures(str(tmp_path / "own"), distort=0.1, flip=True)


def graph(tmp_path: Path) -> Reader:
    (tmp_path / "nodes.csv").write_text("id,label,x,y\n" + "".join(f"n{n},{n % 2},{n},1\n" for n in range(20)))
    (tmp_path / "edges.csv").write_text("source,target\nn0,n1\nn1,n2\n")
    return Planetoid(str(tmp_path))


def graphs(tmp_path: Path) -> Reader:
    made = [{"features": np.eye(3), "edges": [[0, 1], [1, n % 3]], "label": "ab"[n % 2]} for n in range(20)]
    write_graphs(tmp_path / "own.jsonl", made)
    return Graphs(str(tmp_path / "own.jsonl"), positions=NodePositions(degree=True))


def edge_list(tmp_path: Path) -> Reader:
    (tmp_path / "net.txt").write_text("0 1\n1 2\n")
    (tmp_path / "net-labels.txt").write_text("".join(f"{n} {n % 2}\n" for n in range(20)))
    return EdgeList(str(tmp_path), positions=NodePositions(degree=True))


def masked_graph(tmp_path: Path) -> Reader:
    masks = np.arange(20)[None] // 7 == np.arange(3)[:, None]
    named = zip(("train_masks", "val_masks", "test_masks"), masks[:, None], strict=True)
    features, labels = np.eye(20, 3, dtype=np.float32), np.arange(20) % 2
    edges = np.array([[0, 1], [1, 2]])
    np.savez(tmp_path / "own.npz", node_features=features, node_labels=labels, edges=edges, **dict(named))
    return MaskedGraph(str(tmp_path / "own.npz"))


def molecules(tmp_path: Path) -> Reader:
    pytest.importorskip("rdkit")
    rows = "".join(f"m{n},{'C' * (n + 1)}O,{n / 2}\n" for n in range(20))
    (tmp_path / "own.csv").write_text(f"id,smiles,label\n{rows}")
    return Molecules(str(tmp_path / "own.csv"), division="hash", positions=NodePositions(degree=True))


def passages(tmp_path: Path) -> Reader:
    (tmp_path / "plain.txt").write_text("\n\n".join(f"the cat number {n} saw the dog so good" for n in range(30)))
    return Passages(str(tmp_path / "plain.txt"), tokens="words", longest=6)


def running(tmp_path: Path) -> Reader:
    (tmp_path / "running.txt").write_text("the cat saw the dog. " * 30)
    return RunningText(str(tmp_path / "running.txt"), window=16)


MADE: dict[str, Any] = {
    "Boxes": lambda tmp_path: Boxes(str(voc(tmp_path / "own")), size=32, patch=8, flip=True, crop=0.7),
    "Conllu": conllu,
    "Digits": lambda tmp_path: Digits(distort=0.1),
    "DocumentPairs": pairs,
    "EdgeList": edge_list,
    "Graphs": graphs,
    "ListOps": list_operations,
    "LogMelFolder": log_mel,
    "MaskedGraph": masked_graph,
    "MaskedTrees": masked_trees,
    "Molecules": molecules,
    "ParallelText": parallel,
    "Passages": passages,
    "PatchLabels": lambda tmp_path: PatchLabels(str(voc(tmp_path / "own")), size=32, patch=8, flip=True, crop=0.7),
    "Pictures": pictures,
    "Pixels": lambda tmp_path: Pixels(pictures(tmp_path).path, size=6, flip=True),
    "Planetoid": graph,
    "Raster": raster,
    "RunningText": running,
    "Sounds": lambda tmp_path: Sounds(
        str(sounds(tmp_path)), mels=8, train_crop=0.2, speed=Speed((0.9, 1.0), voices=True)
    ),
    "Texts": texts,
    "Transcripts": lambda tmp_path: Transcripts(
        str(spoken_letters(tmp_path, ["AB", "BA"] * 10)), mels=8, speed=Speed((0.9, 1.0))
    ),
}


def test_every_reader_of_the_registry_is_checked_and_tested() -> None:
    ours = {name for name, kind in KINDS["data"].items() if kind.module.startswith("regard.")}
    assert {reader.__name__ for reader in READERS} == ours == set(MADE)


def test_what_is_published_is_in_the_registry() -> None:
    published = {reader: reader.published if reader is LogMelFolder else reader().published for reader in READERS}  # type: ignore[call-arg]
    assert {name for name in published.values() if name} <= set(DATASETS)
    assert published[LogMelFolder] == ""
    assert published[Texts] != ""


@pytest.mark.parametrize("name", MADE)
def test_parts_are_as_recorded_and_targets_are_known_without_reading(tmp_path: Path, name: str) -> None:
    reader: Reader = MADE[name](tmp_path)
    encoding = reader.fit()
    for part in PARTS:
        once, again = reader.part(part, encoding), reader.part(part, encoding)
        assert not hasattr(once, "set_epoch"), "what varies by epoch belongs to training"
        targets = once.targets
        for i in range(min(len(once), 5)):
            np.testing.assert_array_equal(once[i].values, again[i].values)
            assert_same_target(once[i].target, targets[i])
            assert once[i].target_kind == once.target_kind
            assert len(once[i].values) <= once.lengths[i]
    training, recorded = reader.training(encoding), reader.part("train", encoding)
    assert [training[i].name for i in range(len(training))] == [recorded[i].name for i in range(len(recorded))]
    for varied, original in zip(training.targets, recorded.targets, strict=True):
        assert_same_target(varied, original)


def assert_same_target(target: Any, expected: Any) -> None:
    """Of arrays, and of targets that are sets of their own."""
    assert type(target) is type(expected)
    if isinstance(target, VectorSet):
        assert target.tokens == expected.tokens
        for field in ("values", "coords", "edges", "edge_values"):
            np.testing.assert_array_equal(getattr(target, field), getattr(expected, field))
    else:
        np.testing.assert_array_equal(target, expected)


def test_targets_are_counted_without_reading_a_sound(tmp_path: Path) -> None:
    root = sounds(tmp_path)
    reader = Sounds(str(root), mels=8, cache=False, speed=Speed((0.9, 1.0), voices=True))
    encoding = reader.fit()
    parts = reader.part("train", encoding), reader.training(encoding)
    for path in root.rglob("*.wav"):
        path.unlink()
    for part in parts:
        with pytest.raises(InputError, match="is not there"):
            part[0]
        targets = targets_of(part).target_values("set")
        assert torch.bincount(targets).tolist() == [8, 8]


def wave(tmp_path: Path) -> bytes:
    hertz = np.linspace(300, 3000, 24_000)
    return write(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / 16_000)).read_bytes()


def picture(tmp_path: Path, side: int = 8) -> bytes:
    Image.fromarray((np.arange(side**2).reshape(side, side) * 4 % 256).astype(np.uint8)).save(tmp_path / "a.png")
    return (tmp_path / "a.png").read_bytes()


# A value in memory, and the file that says the same.
VALUES: dict[str, Any] = {
    "Boxes": lambda tmp_path: (picture(tmp_path), str(tmp_path / "a.png")),
    "Conllu": lambda tmp_path: ("I saw it", file(tmp_path, b"I saw it\n")),
    "Digits": lambda tmp_path: (picture(tmp_path), str(tmp_path / "a.png")),
    "DocumentPairs": lambda tmp_path: ("so good\tso bad", file(tmp_path, b"so good\tso bad\n")),
    "EdgeList": lambda tmp_path: (
        {"features": [[]] * 20, "edges": [[0, 1], [1, 2]], "names": [str(n) for n in range(20)]},
        str(tmp_path),
    ),
    "Graphs": lambda tmp_path: (
        {"features": np.eye(2, 3), "edges": [[0], [1]]},
        file(tmp_path, b'{"features": [[1, 0, 0], [0, 1, 0]], "edges": [[0, 1]]}\n'),
    ),
    "MaskedGraph": lambda tmp_path: (
        {"features": np.eye(20, 3), "edges": [[0, 1], [1, 2]], "names": [str(n) for n in range(20)]},
        str(tmp_path),
    ),
    "MaskedTrees": lambda tmp_path: ("[MIN 3 [MASK] ]", file(tmp_path, b"( ( ( [MIN 3 ) [MASK] ) ] )\n")),
    "ListOps": lambda tmp_path: ("[MIN 3 4 ]", file(tmp_path, b"( ( ( [MIN 3 ) 4 ) ] )\n")),
    "LogMelFolder": lambda tmp_path: (tensor(tmp_path), str(tmp_path / "a.pt")),
    "Molecules": lambda tmp_path: ("CCO", file(tmp_path, b"CCO\n")),
    "ParallelText": lambda tmp_path: ("Haus 7", file(tmp_path, b"Haus 7\n")),
    "Passages": lambda tmp_path: ("so [MASK]", file(tmp_path, b"so [MASK]\n")),
    "PatchLabels": lambda tmp_path: (picture(tmp_path), str(tmp_path / "a.png")),
    "Pictures": lambda tmp_path: (picture(tmp_path), str(tmp_path / "a.png")),
    "Pixels": lambda tmp_path: (picture(tmp_path), str(tmp_path / "a.png")),
    "Planetoid": lambda tmp_path: (
        {"features": [[n, 1] for n in range(20)], "edges": [[0, 1], [1, 2]], "names": [f"n{n}" for n in range(20)]},
        str(tmp_path),
    ),
    "Raster": lambda tmp_path: (picture(tmp_path, 32), str(tmp_path / "a.png")),
    "RunningText": lambda tmp_path: ("the dog", file(tmp_path, b"the dog")),
    "Sounds": lambda tmp_path: (wave(tmp_path), str(tmp_path / "a.wav")),
    "Texts": lambda tmp_path: ("so good", file(tmp_path, b"so good\n")),
    "Transcripts": lambda tmp_path: (wave(tmp_path), str(tmp_path / "a.wav")),
}


def file(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "a.txt").write_bytes(content)
    return str(tmp_path / "a.txt")


def tensor(tmp_path: Path) -> np.ndarray:
    values = np.random.default_rng(1).normal(size=(30, 8)).astype(np.float32)
    torch.save(torch.from_numpy(values), tmp_path / "a.pt")
    return values


@pytest.mark.parametrize("name", MADE)
def test_a_value_in_memory_is_read_as_its_file_is(tmp_path: Path, name: str) -> None:
    reader: Reader = MADE[name](tmp_path)
    encoding = reader.fit()
    value, path = VALUES[name](tmp_path)
    from_file, example = reader.inputs([path], encoding)[0], reader.example(value, encoding, "mine")
    assert (example.name, example.target, example.tokens) == ("mine", None, from_file.tokens)
    for field in ("values", "coords", "edges"):
        np.testing.assert_array_equal(getattr(example, field), getattr(from_file, field))
    with pytest.raises(InputError, match="mine is of the type object, expected"):
        reader.example(object(), encoding, "mine")


@pytest.mark.parametrize("name", MADE)
def test_a_stream_is_read_as_a_file_or_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    reader: Reader = MADE[name](tmp_path)
    encoding = reader.fit()
    value, path = VALUES[name](tmp_path)
    if name in ("EdgeList", "LogMelFolder", "MaskedGraph", "Planetoid"):
        with pytest.raises(
            InputError, match=f"data of the type {name} are not read from standard input, expected a folder"
        ):
            next(iter(reader.stream(io.BytesIO(b""), encoding)))
        return
    (found,) = reader.stream(io.BytesIO(Path(path).read_bytes()), encoding)
    assert len(found) == 1
    assert found[0].name.startswith("standard input")
    np.testing.assert_array_equal(found[0].values, reader.example(value, encoding).values)
    with pytest.raises(InputError, match=r"standard input .*empty"):
        list(reader.stream(io.BytesIO(b""), encoding))


def test_samples_are_read_as_the_sound_they_are(tmp_path: Path) -> None:
    reader = Sounds(str(sounds(tmp_path)), mels=8)
    encoding = reader.fit()
    samples = np.sin(np.arange(8000) / 5).astype(np.float32) / 2
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    expected = reader.inputs([str(path)], encoding)[0].values
    np.testing.assert_array_equal(reader.example(samples, encoding).values, expected)
    for wrong, sentence in (
        (np.zeros(8000, np.float32), "the sound is silent: all its 8000 samples are 0"),
        (np.full(8000, np.nan, np.float32), "the sound has a sample 0 that is not a finite number"),
        (samples[:10], "the sound has 10 samples at 16 kHz, expected at least 80"),
        (np.zeros(0, np.float32), "the sound has no samples"),
        (samples.reshape(-1, 2), r"the sound has samples \[4000, 2\], expected \[samples, 1\]"),
        (b"RIFF", "the sound cannot be read as sound"),
    ):
        with pytest.raises(InputError, match=sentence):
            reader.example(wrong, encoding)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"feature": 1}, "has an entry 'feature': did you mean 'features'"),
        ({"edges": [[0], [20]]}, "has edges from 0 to 20, expected nodes from 0 to 19"),
        ({"edges": [[0, 0], [1, 1]]}, "repeats an edge"),
        ({"edges": [[0.5], [1]]}, r"has edges \[2, 1\] float64, expected whole numbers"),
        ({"features": [[np.inf, 1]] * 20}, r"has features \[20, 2\], expected \[nodes, numbers\], all finite"),
        ({"features": [[1, 2], [3]]}, "has features that are no array of numbers"),
        ({"edge_values": [1.0]}, r"has edge_values \[1\], expected \[2, numbers\]"),
        ({"names": ["a"]}, "has 1 names for 20 nodes"),
        ({"features": [[1]] * 20}, "has 1 features per node, expected 2 as in training"),
    ],
)
def test_a_graph_in_memory_that_does_not_fit_is_refused(tmp_path: Path, change: Any, sentence: str) -> None:
    reader = graph(tmp_path)
    value, _ = VALUES["Planetoid"](tmp_path)
    with pytest.raises(InputError, match=f"the graph {sentence}"):
        reader.example(value | change, reader.fit())


def test_pixels_in_memory_have_the_size_of_training() -> None:
    reader = Digits()
    encoding = reader.fit()
    pixels = np.linspace(0, 1, 64).reshape(8, 8)
    np.testing.assert_allclose(reader.example(pixels, encoding).values[:, 0], pixels.ravel(), atol=1e-6)
    for wrong, sentence in (
        (pixels[:4], r"the picture has pixels \[4, 8\], expected \[8, 8, 1\]"),
        (pixels * 255, "the picture has pixels from 0 to 255, expected 0 to 1"),
    ):
        with pytest.raises(InputError, match=sentence):
            reader.example(wrong, encoding)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=50), st.integers(1, 60))
def test_batches_live_with_lengths_that_are_upper_bounds(pairs: list[tuple[int, int]], budget: int) -> None:
    """Every example once, and no batch of several that holds more vectors than the budget, whatever is read in the end."""
    true, bounds = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    for batches in (list(BudgetSampler(bounds, budget, shuffle=True)), list(in_order(bounds, budget))):
        assert sorted(i for batch in batches for i in batch) == list(range(len(pairs)))
        for batch in batches:
            assert len(batch) == 1 or sum(true[i] for i in batch) <= budget
