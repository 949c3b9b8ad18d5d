"""Labels that the training part does not have: told before training, scored as wrong, by their names, for every reader."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from regard.data.examples import UNSEEN
from regard.data.graph import Planetoid
from regard.data.image import Digits
from regard.data.speech import Sounds
from regard.data.targets import listed_labels
from regard.data.text import Conllu, Texts
from regard.models.encoder import Encoder
from regard.models.graph import GraphNetwork
from regard.models.pieces import Positions
from regard.recipes import recipe
from regard.tasks.configs import PerSetLabel, PerVectorLabel
from regard.train import Experiment, Optimizer, Run, Training, fit
from regard.train.recorder import read_metrics

MODEL = Encoder(width=8, layers=1, heads=2, feed_forward=8, dropout=0.0, positions=Positions("none"))
TRAINING = Training(epochs=2, batch_vectors=4096, device="cpu", progress=False)
# Labels by part; "new" and "rare" stand in no training example.
LABELS = {
    "train": ["a", "b", "b", "a", "b", "b"],
    "validation": ["a", "b", "new", "rare"],
    "test": ["b", "new", "a", "rare", "new", "new"],
}


def texts(folder):
    rows = [(f"text {n} of {label}", label, part) for part in LABELS for n, label in enumerate(LABELS[part])]
    write(folder / "texts.csv", ("text", "label", "split"), rows)
    return Texts(str(folder / "texts.csv"), minimum_count=1)


def treebank(folder):
    for part, labels in LABELS.items():
        lines = [f"{n}\tword{n}\t_\t{label}" + "\t_" * 6 for n, label in enumerate(labels, 1)]
        (folder / f"x-{part}.conllu").write_text("\n".join(lines) + "\n\n")
    return Conllu(str(folder), minimum_count=1)


def pictures(folder):
    from PIL import Image

    generator = np.random.default_rng(0)
    for part, labels in LABELS.items():
        for n, label in enumerate(labels):
            (folder / part / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 255, (8, 8), np.uint8)).save(folder / part / label / f"{n}.png")
    return Digits(str(folder), patch=4)


def recordings(folder):
    soundfile = pytest.importorskip("soundfile")
    rows, generator = [], np.random.default_rng(0)
    for part, labels in LABELS.items():
        for n, label in enumerate(labels):
            soundfile.write(folder / f"{part}{n}.wav", generator.normal(0, 0.1, 4000), 16_000)
            rows.append((f"{part}{n}.wav", label, part))
    write(folder / "utterances.csv", ("path", "speaker", "split"), rows)
    return Sounds(str(folder), cache=False)


def graph(folder):
    rows = [(f"{part}{n}", label, part, n) for part in LABELS for n, label in enumerate(LABELS[part])]
    write(folder / "nodes.csv", ("id", "label", "split", "age"), rows)
    write(folder / "edges.csv", ("source", "target"), [("train0", "test0"), ("train1", "test1")])
    return Planetoid(str(folder))


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


READERS = {each.__name__: each for each in (texts, treebank, pictures, recordings, graph)}


def experiment(kind, folder):
    data = READERS[kind](folder)
    task = PerVectorLabel() if kind in ("treebank", "graph") else PerSetLabel()
    model = GraphNetwork(width=8, layers=1, heads=2) if kind == "graph" else MODEL
    return Experiment("tiny", data, model, task, Optimizer(1e-2, warm_up=1), TRAINING)


def answers(folder):
    """(target, answer) of each target of the written predictions."""
    whole = [json.loads(line) for line in (folder / "predictions-test.jsonl").read_text().splitlines()]
    entries = [entry for each in whole for entry in each.get("vectors", [each])]
    return [(entry["target"], entry["label"]) for entry in entries if "target" in entry]


@pytest.mark.parametrize("kind", READERS)
def test_every_reader_scores_labels_that_training_never_saw_as_wrong(kind, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    folder = fit(experiment(kind, tmp_path / "data"), tmp_path / "run")
    notes = [line for line in capsys.readouterr().err.splitlines() if " labels of the " in line]
    assert notes == [
        "note: 2 labels of the validation part have no training example, so their 2 targets count as wrong: 'new' (1), 'rare' (1)",
        "note: 2 labels of the test part have no training example, so their 4 targets count as wrong: 'new' (3), 'rare' (1)",
    ]
    found = Run.open(folder).evaluate()
    pairs = answers(folder)
    assert sorted(target for target, _ in pairs) == sorted(LABELS["test"]), "predictions name the true labels"
    truth, guess = zip(*pairs, strict=True)
    assert found["metrics"]["accuracy"] == pytest.approx(np.mean([t == g for t, g in pairs]))
    assert found["metrics"]["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro", zero_division=0))
    assert found["targets"] == 6
    assert found["unseen"] == {"new": 3, "rare": 1}
    # The most frequent label of the training part is b, which one of six targets has.
    assert found["baseline"]["accuracy"] == pytest.approx(1 / 6)
    assert found["baseline"]["macro_f1"] == pytest.approx(f1_score(truth, ["b"] * 6, average="macro", zero_division=0))
    assert json.loads((folder / "evaluation.json").read_text()) == found
    last = read_metrics(folder)[-1]
    assert float(last["validation_accuracy"]) <= 0.5
    assert np.isfinite(float(last["validation_loss"]))


def test_parts_without_any_known_label_are_scored_too(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    rows = [("good", "a", "train"), ("bad", "b", "train"), ("odd", "c", "validation"), ("even", "d", "test")]
    plain = experiment("texts", tmp_path / "data")
    write(tmp_path / "data" / "texts.csv", ("text", "label", "split"), rows)
    run = Run.open(fit(plain, tmp_path / "run"))
    assert "'c' (1)" in capsys.readouterr().err
    found = run.evaluate()
    assert found["metrics"] == {"accuracy": 0.0, "macro_f1": 0.0}, "no target has a loss"
    assert found["baseline"] == {"accuracy": 0.0, "macro_f1": 0.0}
    assert "unseen" not in run.evaluate("train")


def test_weights_and_margins_take_such_validation_targets(tmp_path):
    (tmp_path / "data").mkdir()
    plain = experiment("texts", tmp_path / "data")
    for name, task in {
        "balanced": PerSetLabel(class_weights="balanced", label_smoothing=0.1),
        "cosines": PerSetLabel(loss="am_softmax", hidden=4),
    }.items():
        found = Run.open(fit(replace(plain, task=task), tmp_path / name)).evaluate()
        assert found["metrics"]["accuracy"] <= 2 / 6 + 1e-6


def test_without_a_test_part_training_goes_on(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    plain = experiment("treebank", tmp_path / "data")
    (tmp_path / "data" / "x-test.conllu").unlink()
    fit(plain, tmp_path / "run")
    assert len([line for line in capsys.readouterr().err.splitlines() if "count as wrong" in line]) == 1


def test_a_test_number_that_is_none_is_refused_before_training(tmp_path):
    from regard.errors import InputError
    from regard.tasks.configs import PerSetNumber

    rows = [("good", "1", "train"), ("bad", "2", "train"), ("odd", "3", "validation"), ("even", "four", "test")]
    write(tmp_path / "texts.csv", ("text", "label", "split"), rows)
    data = Texts(str(tmp_path / "texts.csv"), minimum_count=1, target="number")
    with pytest.raises(InputError, match="line 5, holds 'four', expected a finite number"):
        fit(Experiment("tiny", data, MODEL, PerSetNumber(), Optimizer(), TRAINING), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ten_labels_are_named_the_most_frequent_first():
    said = listed_labels({f"l{n}": n for n in range(1, 13)}, "test")
    assert said.startswith(
        "12 labels of the test part have no training example, so their 78 targets count as wrong: 'l12' (12), "
    )
    assert said.endswith("'l3' (3) and 2 more")
    assert listed_labels({"x": 1}, "test") == (
        "1 label of the test part has no training example, so its 1 target counts as wrong: 'x' (1)"
    )


def test_published_recipes_have_no_such_label():
    reader = recipe("digits").experiment().data
    assert reader.part("test", reader.fit()).unseen == {}
    assert min(int(target) for target in reader.part("test", reader.fit()).targets) > UNSEEN


def test_voices_are_named_by_labels_that_training_never_saw(tmp_path):
    from regard.speaker.voices import Voices

    (tmp_path / "data").mkdir()
    plain = replace(experiment("recordings", tmp_path / "data"), task=PerSetLabel(hidden=4))
    voices = Voices.open(fit(plain, tmp_path / "run"))
    assert voices.part("test")[0] == LABELS["test"]
