"""Several labels at once, against torch and scikit-learn."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.data.label_sets import LabelSets, label_set, present
from regard.errors import InputError
from regard.sets import Layout, VectorSets
from regard.tasks import MultiLabel, PerSetLabel, PerSetNumber
from regard.tasks.ranking import average_precision, roc_auc
from regard.train.kinds import build

SETS = Encoding(LabelSets(("a", "b", "c"), ";"), width=4)


def labeled(targets, unseen=()):
    layout = Layout.of_lengths([1] * len(targets))
    names = tuple(f"set {n}" for n in range(len(targets)))
    inputs = VectorSets(torch.zeros(len(targets), 0), layout)
    return Batch(inputs, targets, target_kind="set", names=names, unseen=unseen)


def drawn(count, columns=3, gaps=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 2, (count, columns), generator=generator).float()
    targets[torch.rand(count, columns, generator=generator) < gaps] = torch.nan
    # Some outputs are equal, as ties matter to ranks.
    return torch.randn(count, 3, generator=generator).mul(2).round().div(2), targets


def scored(task, output, targets):
    metrics = task.metrics()
    half = len(output) // 2
    for piece in (slice(0, half), slice(half, None)):
        task.score(metrics, output[piece], labeled(targets[piece]))
    return {name: value.item() for name, value in metrics.compute().items()}


@pytest.mark.parametrize("weights", [None, {"b": 5.0, "c": 0.5}])
def test_the_loss_is_that_of_torch(weights):
    task = build(MultiLabel(class_weights=weights), 4, SETS)
    output, targets = drawn(20)
    total, count = task.loss(output, labeled(targets))
    expected = binary_cross_entropy_with_logits(
        output, targets, pos_weight=None if weights is None else torch.tensor([1, 5, 0.5])
    )
    assert count == 60
    assert (total / count).item() == pytest.approx(expected.item())


def test_balanced_weights_make_both_answers_weigh_the_same():
    task = build(MultiLabel(class_weights="balanced"), 4, SETS)
    task.observe(labeled(torch.tensor([[1.0, 0, 0], [0, 0, torch.nan], [0, 1, 0], [0, 1, 0]])))
    assert task.positive_weights.tolist() == [3, 1, 3]


def test_gaps_are_left_out_of_the_loss():
    task = build(MultiLabel(), 4, SETS)
    output = torch.zeros(2, 3, requires_grad=True)
    total, count = task.loss(output, labeled(torch.tensor([[1.0, torch.nan, 0], [torch.nan] * 3])))
    assert (total.item(), count.item()) == (pytest.approx(2 * math.log(2)), 2)
    total.backward()
    assert output.grad.tolist() == [[-0.5, 0, 0.5], [0, 0, 0]]


def test_metrics_are_those_of_scikit_learn():
    task = build(MultiLabel(), 4, SETS)
    output, targets = drawn(60)
    found = scored(task, output, targets)
    truth, scores = targets.numpy(), output.double().sigmoid().numpy()
    assert found == {
        "micro_f1": pytest.approx(f1_score(truth, scores >= 0.5, average="micro")),
        "macro_f1": pytest.approx(f1_score(truth, scores >= 0.5, average="macro")),
        "roc_auc": pytest.approx(roc_auc_score(truth, scores, average="macro")),
        "average_precision": pytest.approx(average_precision_score(truth, scores, average="macro")),
    }


def test_metrics_leave_gaps_out_label_by_label():
    task = build(MultiLabel(threshold=0.7), 4, SETS)
    output, targets = drawn(80, gaps=0.4)
    found = scored(task, output, targets)
    truth, scores, here = targets.numpy(), output.double().sigmoid().numpy(), ~targets.isnan().numpy()
    columns = [(truth[here[:, n], n], scores[here[:, n], n]) for n in range(3)]
    assert found["macro_f1"] == pytest.approx(np.mean([f1_score(t, s >= 0.7) for t, s in columns]))
    assert found["micro_f1"] == pytest.approx(f1_score(truth[here], scores[here] >= 0.7))
    assert found["roc_auc"] == pytest.approx(np.mean([roc_auc_score(t, s) for t, s in columns]))
    assert found["average_precision"] == pytest.approx(np.mean([average_precision_score(t, s) for t, s in columns]))


def test_a_label_that_training_never_saw_has_probability_0():
    task = build(MultiLabel(), 4, SETS)
    output, targets = drawn(40, columns=4)
    found = scored(task, output, targets)
    truth, scores = targets.numpy(), np.concatenate([output.double().sigmoid().numpy(), np.zeros((40, 1))], 1)
    assert found["macro_f1"] == pytest.approx(f1_score(truth, scores >= 0.5, average="macro"))
    assert found["micro_f1"] == pytest.approx(f1_score(truth, scores >= 0.5, average="micro"))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(truth, scores))
    assert found["average_precision"] == pytest.approx(average_precision_score(truth, scores))
    total, count = task.loss(output, labeled(targets))
    assert (total / count).item() == pytest.approx(binary_cross_entropy_with_logits(output, targets[:, :3]).item())
    assert (count, task.target_count(output, labeled(targets))) == (120, 160)


def test_a_label_that_all_or_none_have_has_no_area_under_its_curve():
    scores = np.array([0.2, 0.2, 0.9])
    assert math.isnan(roc_auc(scores, np.ones(3, bool)))
    assert math.isnan(roc_auc(scores, np.zeros(3, bool)))
    assert math.isnan(average_precision(scores, np.zeros(3, bool)))
    assert average_precision(scores, np.ones(3, bool)) == 1
    assert math.isnan(average_precision(np.zeros(0), np.zeros(0, bool)))
    task = build(MultiLabel(), 4, SETS)
    found = scored(task, torch.full((4, 3), -1.0), torch.zeros(4, 3))
    assert all(math.isnan(value) for value in found.values())


def test_predictions_list_labels_and_probabilities():
    task = build(MultiLabel(), 4, SETS)
    output = torch.tensor([[2.0, -2.0, 0.0], [-1.0, -1.0, -1.0]])
    targets = torch.tensor([[1.0, 0, torch.nan, 1], [0, 0, 0, 0]])
    first, second = task.predictions(output, labeled(targets, unseen=("x",)))
    assert first["labels"] == ["a", "c"]
    assert first["probabilities"] == {
        "a": pytest.approx(1 / (1 + math.exp(-2))),
        "b": pytest.approx(1 / (1 + math.exp(2))),
        "c": 0.5,
    }
    assert (first["name"], first["target"], first["gaps"]) == ("set 0", ["a", "x"], ["c"])
    assert (second["labels"], second["target"]) == ([], [])
    assert "gaps" not in second
    json.dumps([first, second])


def test_the_report_by_label_is_that_of_scikit_learn():
    task = build(MultiLabel(), 4, SETS)
    output, targets = drawn(60, columns=4, gaps=0.2)
    found = task.report(task.predictions(output, labeled(targets, unseen=("x",))))["labels"]
    for n, name in enumerate("abc"):
        here = ~targets[:, n].isnan()
        truth, scores = targets[here, n].numpy(), output[here, n].double().sigmoid().numpy()
        assert found[name]["f1"] == pytest.approx(f1_score(truth, scores >= 0.5))
        assert found[name]["roc_auc"] == pytest.approx(roc_auc_score(truth, scores))
        assert found[name]["average_precision"] == pytest.approx(average_precision_score(truth, scores))
        assert found[name]["support"] == truth.sum()
    assert found["x"]["recall"] == 0
    assert found["x"]["roc_auc"] == 0.5


def test_the_trivial_baseline_knows_how_frequent_each_label_is():
    task = build(MultiLabel(), 4, SETS)
    targets = torch.tensor([[1.0, 0, 0], [1, 0, torch.nan], [1, 1, 0], [1, 1, 0], [1, 1, 0]])
    task.observe(labeled(targets))
    batch = labeled(torch.zeros(2, 3))
    assert task.trivial(batch).sigmoid()[1].tolist() == pytest.approx([1, 0.6, 0])
    metrics = task.metrics()
    task.score(metrics, task.trivial(batch), batch)
    assert metrics.compute()["micro_f1"] == 0


def test_other_targets_are_refused():
    with pytest.raises(InputError, match="about sets of labels, but the targets are labels"):
        build(MultiLabel(), 4, Encoding(Labels(("a", "b")), width=4))
    for options in (PerSetLabel(), PerSetNumber()):
        with pytest.raises(InputError, match="but the targets are sets of labels"):
            build(options, 4, SETS)
    with pytest.raises(InputError, match="no example of the training part has a label"):
        build(MultiLabel(), 4, Encoding(LabelSets((), ";"), width=4))
    with pytest.raises(InputError, match=r"task\.class_weights names 'd'"):
        build(MultiLabel(class_weights={"d": 1.0}), 4, SETS)
    with pytest.raises(InputError, match=r"found \[2, 2\] targets for \[2, 3\] outputs"):
        build(MultiLabel(), 4, SETS).loss(torch.zeros(2, 3), labeled(torch.zeros(2, 2)))
    for threshold in (0.0, 1.5, math.nan):
        with pytest.raises(InputError, match=r"task\.threshold is .*, expected more than 0 and at most 1"):
            MultiLabel(threshold=threshold)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (" ; ", {}),
        ("a", {"a": True}),
        ("a;b ; c", {"a": True, "b": True, "c": True}),
        ("a;a", {"a": True}),
        ("a, b", {"a, b": True}),
        ('["a;b", 3]', {"a;b": True, "3": True}),
        ("[]", {}),
        ('{"a": 1, "b": 0, "c": null}', {"a": True, "b": False, "c": None}),
        ('{"a": true, "b": "No", "c": ""}', {"a": True, "b": False, "c": None}),
    ],
)
def test_labels_are_read_as_people_write_them(text, expected):
    assert label_set(text, ";") == expected


@pytest.mark.parametrize("text", ["[a]", "[[1]]", "[1.5]", "[null]", "[true]", "[" * 100_000, "{a}"])
def test_other_lists_are_refused(text):
    with pytest.raises(InputError, match=r"line 3 has the labels '.*', expected a list of texts"):
        label_set(text, ";", "line 3")


@pytest.mark.parametrize("value", ["2", "maybe", -1, 0.5, [1]])
def test_what_is_neither_yes_nor_no_is_refused(value):
    with pytest.raises(InputError, match=r"here holds '.*', expected 1, 0 or nothing"):
        present(value, "here")
