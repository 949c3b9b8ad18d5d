"""Labels that training never saw, and several labels at once, are validated by two processes as by one."""

import pytest
from processes import in_process, in_processes

from regard.data.text import Texts
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import MultiLabel, PerSetLabel
from regard.train import Experiment, Optimizer, Training, fit
from regard.train.recorder import read_metrics

MODEL = Encoder(width=8, layers=1, heads=2, feed_forward=8, dropout=0.0, positions=Positions("none"))


def train(folder, data, task, target):
    reader = Texts(data, target=target, minimum_count=1)
    training = Training(epochs=2, batch_vectors=12, device="cpu", progress=False)
    fit(Experiment("tiny", reader, MODEL, task, Optimizer(0.0, warm_up=1), training), folder)


def validated(folder):
    rows = [row for row in read_metrics(folder) if row["kind"] == "epoch"]
    return [{name: float(value or "nan") for name, value in row.items() if "validation" in name} for row in rows]


@pytest.mark.parametrize(
    ("task", "target", "validation"),
    [
        (PerSetLabel(), "label", ["a", "new", "b", "rare", "new", "a", "a"]),
        (PerSetLabel(class_weights={"b": 0.1}), "label", ["a", "b", "new"]),
        (MultiLabel(), "labels", ["a", "a;new", "", "b;a", "b", "rare"]),
        (MultiLabel(), "labels", ["a;b"]),
    ],
)
def test_two_processes_validate_as_one(task, target, validation, tmp_path):
    rows = [(f"word{n} and more", label, "train") for n, label in enumerate(["a", "b", "a", "b", "b", "a"] * 3)]
    rows += [(f"word{n} or so", label, "validation") for n, label in enumerate(validation)]
    rows.append(("the last", "a", "test"))
    data = tmp_path / "texts.csv"
    data.write_text("text,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    arguments = str(data), task, target
    assert in_process(train, tmp_path / "one", *arguments) == 0
    assert in_processes(2, train, tmp_path / "two", *arguments) == [0, 0]
    one, two = validated(tmp_path / "one"), validated(tmp_path / "two")
    assert len(one) == 2
    assert two == [pytest.approx(row, rel=1e-5, nan_ok=True) for row in one]
