"""What each task computes, against values found by hand or by scikit-learn."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, r2_score

from regard.data.batch import collate
from regard.data.encoding import Encoding, Labels, Numbers
from regard.data.examples import IGNORE, Example
from regard.errors import InputError
from regard.sets import VectorSets
from regard.tasks import PerSetLabel, PerSetNumber, PerVectorLabel, PerVectorNumber

LABELS = Encoding(Labels(("a", "b", "c")), width=4)
NUMBERS = Encoding(width=4, targets=Numbers(100.0, 5.0))
SETS = VectorSets.pack([torch.randn(2, 4), torch.zeros(0, 4), torch.randn(3, 4)])


@pytest.mark.parametrize("pool", ["mean", "max", "statistics", "attention"])
def test_a_set_has_one_output_whatever_its_size(pool):
    assert PerSetLabel(pool=pool).build(4, LABELS)(SETS).shape == (3, 3)
    assert PerSetNumber(pool=pool).build(4, NUMBERS)(SETS).shape == (3,)


def test_each_vector_has_its_output():
    assert PerVectorLabel().build(4, LABELS)(SETS).shape == (5, 3)
    assert PerVectorNumber().build(4, NUMBERS)(SETS).shape == (5,)
    nothing = VectorSets.pack([torch.zeros(0, 4)]).select([])
    assert PerVectorLabel().build(4, LABELS)(nothing).shape == (0, 3)
    assert PerSetNumber().build(4, NUMBERS)(nothing).shape == (0,)


def test_cross_entropy_by_hand():
    task = PerVectorLabel().build(4, LABELS)
    output = torch.tensor([[math.log(2), 0.0, 0.0], [0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])
    total, count = task.loss(output, torch.tensor([0, 2, IGNORE]))
    assert total.item() == pytest.approx(-math.log(2 / 4) - math.log(1 / 3))
    assert count == 2


def test_balanced_weights_have_a_mean_of_one_over_the_training_targets():
    task = PerSetLabel(class_weights="balanced").build(4, LABELS)
    targets = torch.tensor([0, 0, 0, 1, IGNORE])
    task.observe(targets)
    weights = task.class_weights
    assert weights.tolist() == pytest.approx([4 / (3 * 3), 4 / (3 * 1), 0])
    total, _ = task.loss(torch.zeros(2, 3), torch.tensor([0, 1]))
    assert total.item() == pytest.approx(math.log(3) * (4 / 9 + 4 / 3))
    assert "counts" in task.state_dict(), "an evaluation weighs like the training"


def test_label_smoothing_spreads_the_target():
    task = PerVectorLabel(label_smoothing=0.3).build(4, LABELS)
    output = torch.randn(1, 3)
    logs = output.log_softmax(-1)[0]
    wanted = -(0.8 * logs[1] + 0.1 * logs[0] + 0.1 * logs[2])
    assert task.loss(output, torch.tensor([1]))[0].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_nothing_to_learn_from_is_a_loss_of_zero_with_gradients():
    for task, targets in (
        (PerVectorLabel().build(4, LABELS), torch.full((5,), IGNORE)),
        (PerVectorNumber().build(4, NUMBERS), torch.full((5,), torch.nan)),
    ):
        total, count = task.loss(task(SETS), targets)
        total.backward()
        assert (total.item(), count.item()) == (0, 0)
        assert all(each.grad is not None and not each.grad.any() for each in task.parameters())


def test_label_metrics_agree_with_scikit_learn():
    task = PerVectorLabel().build(4, LABELS)
    output, targets = torch.randn(50, 3), torch.randint(0, 3, (50,))
    targets[::7] = IGNORE
    metrics = task.metrics()
    for piece in (slice(0, 20), slice(20, 20), slice(20, 50)):
        task.score(metrics, output[piece], targets[piece])
    found = {name: value.item() for name, value in metrics.compute().items()}
    here = targets != IGNORE
    truth, guess = targets[here].numpy(), output[here].argmax(-1).numpy()
    assert found["accuracy"] == pytest.approx((truth == guess).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro"))


def test_numbers_are_scored_in_their_own_units():
    task = PerVectorNumber().build(4, NUMBERS)
    output, targets = torch.randn(50), torch.randn(50)
    targets[::7] = torch.nan
    metrics = task.metrics()
    task.score(metrics, output[:30], targets[:30])
    task.score(metrics, output[30:], targets[30:])
    found = {name: value.item() for name, value in metrics.compute().items()}
    here = ~targets.isnan()
    guess, truth = (each[here].double().numpy() * 5 + 100 for each in (output, targets))
    assert found["mse"] == pytest.approx(((guess - truth) ** 2).mean())
    assert found["mae"] == pytest.approx(np.abs(guess - truth).mean())
    assert found["r2"] == pytest.approx(r2_score(truth, guess))


def test_r2_of_a_single_number_is_undefined():
    task = PerSetNumber().build(4, NUMBERS)
    metrics = task.metrics()
    task.score(metrics, torch.zeros(1), torch.ones(1))
    assert metrics.compute()["r2"].isnan()


def test_squared_and_huber_losses_by_hand():
    output, targets = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 0.0])
    assert PerSetNumber().build(4, NUMBERS).loss(output, targets)[0].item() == pytest.approx(0.25 + 9)
    assert PerSetNumber(loss="huber").build(4, NUMBERS).loss(output, targets)[0].item() == pytest.approx(0.125 + 2.5)


def test_the_trivial_baselines():
    task = PerVectorLabel().build(4, LABELS)
    task.observe(torch.tensor([2, 2, 1]))
    assert task.trivial(torch.zeros(4, dtype=torch.int64)).argmax(-1).tolist() == [2] * 4
    number = PerVectorNumber().build(4, NUMBERS)
    metrics = number.metrics()
    targets = torch.tensor([-1.0, 1.0])
    number.score(metrics, number.trivial(targets), targets)
    assert metrics.compute()["r2"].item() == pytest.approx(0)
    assert metrics.compute()["mse"].item() == pytest.approx(25)


def batch(target, tokens=None):
    values = [np.zeros((2, 4), np.float32), np.zeros((0, 4), np.float32), np.zeros((1, 4), np.float32)]
    return collate(
        [
            Example(
                value, None if target is None else target[i], f"set {i}", tokens=None if tokens is None else tokens[i]
            )
            for i, value in enumerate(values)
        ]
    )


def test_labels_of_vectors_are_written_by_set_and_token():
    task = PerVectorLabel(top=2).build(4, LABELS)
    output = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 3.0]])
    target = [np.array([0, IGNORE]), np.zeros(0, np.int64), np.array([1])]
    found = task.predictions(output, batch(target, [("I", "saw"), (), ("it",)]))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [each["name"] for each in found] == ["set 0", "set 1", "set 2"]
    assert [[v["token"] for v in each["vectors"]] for each in found] == [["I", "saw"], [], ["it"]]
    first, second = found[0]["vectors"]
    assert (first["label"], first["target"], second["label"]) == ("a", "a", "b")
    assert "target" not in second
    assert list(second["probabilities"]) == ["b", "c"]
    assert first["probability"] == pytest.approx(output[0].softmax(-1)[0].item())


def test_numbers_are_written_in_their_own_units():
    task = PerSetNumber().build(4, NUMBERS)
    found = task.predictions(torch.tensor([0.0, 1.0, -1.0]), batch([np.float32(0), np.float32(np.nan), np.float32(2)]))
    assert found == [
        {"name": "set 0", "number": 100.0, "target": 100.0},
        {"name": "set 1", "number": 105.0},
        {"name": "set 2", "number": 95.0, "target": 110.0},
    ]
    unlabeled = task.predictions(torch.zeros(3), batch(None))
    assert unlabeled[0] == {"name": "set 0", "number": 100.0}


@pytest.mark.parametrize(
    ("config", "encoding", "targets", "sentence"),
    [
        (
            PerVectorLabel(),
            LABELS,
            torch.zeros(3, dtype=torch.int64),
            "one target per vector, but found .3. targets for 5",
        ),
        (PerSetLabel(), LABELS, torch.zeros(5, dtype=torch.int64), "one target per set, but found .5. targets for 3"),
        (PerSetLabel(), LABELS, torch.zeros(3), "about labels, but the targets are numbers"),
        (PerSetNumber(), NUMBERS, torch.zeros(3, dtype=torch.int64), "about numbers, but the targets are labels"),
    ],
)
def test_data_that_need_another_task_are_refused(config, encoding, targets, sentence):
    task = config.build(4, encoding)
    with pytest.raises(InputError, match=sentence):
        task.loss(task(SETS), targets)


def test_a_task_without_anything_to_choose_from_is_refused():
    with pytest.raises(InputError, match="has one label, 'a', expected at least 2"):
        PerSetLabel().build(4, Encoding(Labels(("a",))))
    with pytest.raises(InputError, match="about labels, but the targets are numbers"):
        PerSetLabel().build(4, NUMBERS)
    with pytest.raises(InputError, match="about numbers, but the targets are labels"):
        PerSetNumber().build(4, LABELS)


def test_am_softmax_by_hand():
    """Two classes, vectors at known angles: s = 10, m = 0.3."""
    task = PerSetLabel(loss="am_softmax", scale=10.0, margin=0.3).build(2, Encoding(Labels(("a", "b")), width=2))
    task.head.weight.data = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    sets = VectorSets.pack([torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 7.0]])])
    output = task(sets)
    torch.testing.assert_close(output, torch.tensor([[6.0, 8.0], [0.0, 10.0]]))
    total, count = task.loss(output, torch.tensor([0, 1]))
    first = -math.log(math.exp(10 * (0.6 - 0.3)) / (math.exp(10 * (0.6 - 0.3)) + math.exp(8.0)))
    second = -math.log(math.exp(10 * (1.0 - 0.3)) / (math.exp(10 * (1.0 - 0.3)) + 1))
    assert total.item() == pytest.approx(first + second)
    assert count == 2
    task.eval()
    plain, _ = task.loss(output, torch.tensor([0, 1]))
    assert plain.item() == pytest.approx(math.log(1 + math.exp(2.0)) + math.log(1 + math.exp(-10.0)))


def test_the_margin_warms_up_and_goes_on_where_a_checkpoint_left_it():
    options = PerSetLabel(loss="am_softmax", scale=10.0, margin=0.4, margin_warm_up=4)
    task, other = (options.build(4, LABELS) for _ in range(2))
    output, targets = torch.zeros(1, 3), torch.tensor([2])
    losses = [task.loss(output, targets)[0].item() for _ in range(6)]
    wanted = [math.log(1 + 2 * math.exp(margin)) for margin in (1.0, 2.0, 3.0, 4.0, 4.0, 4.0)]
    assert losses == pytest.approx([loss - 0 for loss in wanted], rel=1e-5)
    task = options.build(4, LABELS)
    task.loss(output, targets)
    other.load_state_dict(task.state_dict())
    assert other.loss(output, targets)[0].item() == pytest.approx(wanted[1], rel=1e-5)


def test_only_the_direction_of_a_vector_counts_with_am_softmax():
    task = PerSetLabel(pool="mean", loss="am_softmax").build(4, LABELS)
    larger = SETS.with_values(SETS.values * 7)
    torch.testing.assert_close(task(SETS), task(larger))
    assert task(SETS).abs().max() <= task.config.scale * (1 + 1e-6)
    assert [name for name, _ in task.head.named_parameters()] == ["weight"], "no bias"


@pytest.mark.parametrize("loss", ["cross_entropy", "am_softmax"])
def test_further_classes_of_labels_are_for_training_only(loss):
    encoding = replace(LABELS, targets=Labels(LABELS.labels, copies=2))
    options = PerSetLabel(loss=loss, class_weights="balanced", margin=0.0)
    task = options.build(4, encoding)
    targets = torch.tensor([4, 0, IGNORE])
    task.observe(torch.tensor([0, 3, 1, 5, 2, IGNORE]))
    assert task.counts.tolist() == [2, 1, 2]
    output = task(SETS)
    assert output.shape == (3, 6)
    total, count = task.loss(output, targets)
    weights = torch.tensor([5 / 6, 5 / 3, 5 / 6])
    logs = output.log_softmax(-1)
    torch.testing.assert_close(total, -(weights[1] * logs[0, 4] + weights[0] * logs[1, 0]))
    assert count == 2
    task.eval()
    kept = task(SETS)
    torch.testing.assert_close(kept, output[:, :3])
    plain, _ = task.loss(kept, torch.tensor([1, 0, IGNORE]))
    torch.testing.assert_close(task.loss(kept, targets)[0], plain)
    metrics = task.metrics()
    task.score(metrics, torch.eye(3), torch.tensor([3, 1, IGNORE]))
    assert metrics.compute()["accuracy"] == 1


def test_a_hidden_layer_gives_the_embedding():
    for loss in ("cross_entropy", "am_softmax"):
        task = PerSetLabel(pool="statistics", hidden=5, loss=loss).build(4, LABELS)
        assert task.embed(SETS).shape == (3, 5)
        assert task(SETS).shape == (3, 3)
        assert task.width == 5
