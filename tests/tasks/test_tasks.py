"""What each task computes, against values found by hand or by scikit-learn."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, r2_score, roc_auc_score
from torch.nn.functional import cross_entropy

from regard.data.batch import Batch, collate
from regard.data.encoding import Encoding, Labels, LabelSets, Numbers
from regard.data.examples import IGNORE, UNSEEN, Example
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.graph import GraphNetwork
from regard.models.pieces import Positions
from regard.sets import Layout, VectorSets
from regard.tasks import MultiLabel, PerSetLabel, PerSetNumber, PerVectorLabel, PerVectorNumber
from regard.train.kinds import build, build_model

LABELS = Encoding(Labels(("a", "b", "c")), width=4)
NUMBERS = Encoding(width=4, targets=Numbers(100.0, 5.0))
SETS = VectorSets.pack([torch.randn(2, 4), torch.zeros(0, 4), torch.randn(3, 4)])


def labeled(task, targets):
    """A batch of sets of one vector, with these targets of the task's kind."""
    layout = Layout.of_lengths([1] * len(targets))
    return Batch(VectorSets(torch.zeros(len(targets), 0), layout), targets, target_kind=task.target_kind)


@pytest.mark.parametrize("pool", ["mean", "max", "statistics", "attention"])
def test_a_set_has_one_output_whatever_its_size(pool):
    assert build(PerSetLabel(pool=pool), 4, LABELS)(SETS, Batch(SETS)).shape == (3, 3)
    assert build(PerSetNumber(pool=pool), 4, NUMBERS)(SETS, Batch(SETS)).shape == (3,)


def test_each_vector_has_its_output():
    assert build(PerVectorLabel(), 4, LABELS)(SETS, Batch(SETS)).shape == (5, 3)
    assert build(PerVectorNumber(), 4, NUMBERS)(SETS, Batch(SETS)).shape == (5,)
    nothing = VectorSets.pack([torch.zeros(0, 4)]).select([])
    assert build(PerVectorLabel(), 4, LABELS)(nothing, Batch(nothing)).shape == (0, 3)
    assert build(PerSetNumber(), 4, NUMBERS)(nothing, Batch(nothing)).shape == (0,)


def test_cross_entropy_by_hand():
    task = build(PerVectorLabel(), 4, LABELS)
    output = torch.tensor([[math.log(2), 0.0, 0.0], [0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])
    total, count = task.loss(output, labeled(task, torch.tensor([0, 2, IGNORE])))
    assert total.item() == pytest.approx(-math.log(2 / 4) - math.log(1 / 3))
    assert count == 2


def test_balanced_weights_have_a_mean_of_one_over_the_training_targets():
    task = build(PerSetLabel(class_weights="balanced"), 4, LABELS)
    targets = torch.tensor([0, 0, 0, 1, IGNORE])
    task.observe(labeled(task, targets))
    weights = task.class_weights
    assert weights.tolist() == pytest.approx([4 / (3 * 3), 4 / (3 * 1), 0])
    total, weight = task.loss(torch.zeros(2, 3), labeled(task, torch.tensor([0, 1])))
    assert total.item() == pytest.approx(math.log(3) * (4 / 9 + 4 / 3))
    assert weight.item() == pytest.approx(4 / 9 + 4 / 3)
    assert "counts" in task.state_dict(), "an evaluation weighs like the training"


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weights_by_name_give_the_weighted_mean_of_torch(smoothing):
    task = build(PerSetLabel(class_weights={"c": 0.25, "a": 3}, label_smoothing=smoothing), 4, LABELS)
    output, targets = torch.randn(7, 3), torch.tensor([0, 2, IGNORE, 1, 2, UNSEEN, UNSEEN - 1])
    batch = labeled(task, targets)
    total, weight = task.loss(output, batch)
    weights = torch.tensor([3, 1, 0.25])
    here = targets >= 0
    expected = cross_entropy(output[here], targets[here], weight=weights, label_smoothing=smoothing)
    assert (total / weight).item() == pytest.approx(expected.item())
    assert task.target_count(output, batch) == 6, "the number of targets is what it is"


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"d": 1.0}, "names 'd', which is no label: known are a, b, c"),
        ({"a": 0.0, "b": 0.0, "c": 0.0}, "is 0 for every label"),
        ({"a": -1.0}, "has 'a': -1.0, expected a finite number of at least 0"),
        ({"a": math.nan}, "has 'a': nan, expected a finite number"),
        ({"a": math.inf}, "has 'a': inf, expected a finite number"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights, sentence):
    with pytest.raises(InputError, match=f"task.class_weights {sentence}"):
        build(PerVectorLabel(class_weights=weights), 4, LABELS)


def test_unseen_labels_count_as_wrong_as_scikit_learn_says():
    task = build(PerVectorLabel(), 4, LABELS)
    names = [*"abc", "x", "y"]
    output, places = torch.randn(60, 3), torch.randint(0, 5, (60,))
    targets = torch.tensor([place if place < 3 else UNSEEN - (place - 3) for place in places.tolist()])
    metrics = task.metrics()
    for piece in (slice(0, 20), slice(20, 60)):
        task.score(metrics, output[piece], labeled(task, targets[piece]))
    found = {name: value.item() for name, value in metrics.compute().items()}
    truth, guess = [names[place] for place in places], [names[place] for place in output.argmax(-1)]
    assert found["accuracy"] == pytest.approx(np.mean([t == g for t, g in zip(truth, guess, strict=True)]))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro", zero_division=0))
    total, count = task.loss(output, labeled(task, targets))
    here = targets >= 0
    assert total.item() == pytest.approx(cross_entropy(output[here], targets[here], reduction="sum").item(), rel=1e-5)
    assert count == here.sum()


def test_label_smoothing_spreads_the_target():
    task = build(PerVectorLabel(label_smoothing=0.3), 4, LABELS)
    output = torch.randn(1, 3)
    logs = output.log_softmax(-1)[0]
    wanted = -(0.8 * logs[1] + 0.1 * logs[0] + 0.1 * logs[2])
    assert task.loss(output, labeled(task, torch.tensor([1])))[0].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_nothing_to_learn_from_is_a_loss_of_zero_with_gradients():
    for task, targets in (
        (build(PerVectorLabel(), 4, LABELS), torch.full((5,), IGNORE)),
        (build(PerVectorNumber(), 4, NUMBERS), torch.full((5,), torch.nan)),
    ):
        total, count = task.loss(task(SETS, Batch(SETS)), labeled(task, targets))
        total.backward()
        assert (total.item(), count.item()) == (0, 0)
        assert all(each.grad is not None and not each.grad.any() for each in task.parameters())


def test_label_metrics_agree_with_scikit_learn():
    task = build(PerVectorLabel(), 4, LABELS)
    output, targets = torch.randn(50, 3), torch.randint(0, 3, (50,))
    targets[::7] = IGNORE
    metrics = task.metrics()
    for piece in (slice(0, 20), slice(20, 20), slice(20, 50)):
        task.score(metrics, output[piece], labeled(task, targets[piece]))
    found = {name: value.item() for name, value in metrics.compute().items()}
    here = targets != IGNORE
    truth, guess = targets[here].numpy(), output[here].argmax(-1).numpy()
    assert found["accuracy"] == pytest.approx((truth == guess).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro"))


def test_the_area_under_the_roc_curve_of_two_labels_agrees_with_scikit_learn():
    task = build(PerSetLabel(roc_auc=True), 4, Encoding(Labels(("a", "b")), width=4))
    torch.manual_seed(0)
    targets = torch.randint(0, 2, (60,))
    targets[:4], targets[4] = IGNORE, UNSEEN
    output, metrics = torch.randn(60, 2), task.metrics()
    for part in (slice(0, 25), slice(25, 60)):
        task.score(metrics, output[part], labeled(task, targets[part]))
    scores = output[5:].softmax(-1)[:, 1]
    found = metrics.compute()
    assert float(found["roc_auc"]) == pytest.approx(roc_auc_score(targets[5:], scores))
    # A label that no training example has counts as wrong, and is ranked nowhere.
    assert float(found["accuracy"]) == pytest.approx(float((output.argmax(-1) == targets)[4:].sum() / 56))
    with pytest.raises(InputError, match=r"task\.roc_auc is true and there are 3 labels, expected two"):
        build(PerSetLabel(roc_auc=True), 4, LABELS)


def test_numbers_are_scored_in_their_own_units():
    task = build(PerVectorNumber(), 4, NUMBERS)
    output, targets = torch.randn(50), torch.randn(50)
    targets[::7] = torch.nan
    metrics = task.metrics()
    task.score(metrics, output[:30], labeled(task, targets[:30]))
    task.score(metrics, output[30:], labeled(task, targets[30:]))
    found = {name: value.item() for name, value in metrics.compute().items()}
    here = ~targets.isnan()
    guess, truth = (each[here].double().numpy() * 5 + 100 for each in (output, targets))
    assert found["mse"] == pytest.approx(((guess - truth) ** 2).mean())
    assert found["mae"] == pytest.approx(np.abs(guess - truth).mean())
    assert found["r2"] == pytest.approx(r2_score(truth, guess))
    assert found["rmse"] == pytest.approx(math.sqrt(found["mse"]))


def test_r2_of_a_single_number_is_undefined():
    task = build(PerSetNumber(), 4, NUMBERS)
    metrics = task.metrics()
    task.score(metrics, torch.zeros(1), labeled(task, torch.ones(1)))
    assert metrics.compute()["r2"].isnan()


def test_squared_and_huber_losses_by_hand():
    output, targets = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 0.0])
    for loss, wanted in (("squared", 0.25 + 9), ("huber", 0.125 + 2.5)):
        task = build(PerSetNumber(loss=loss), 4, NUMBERS)
        assert task.loss(output, labeled(task, targets))[0].item() == pytest.approx(wanted)


def test_several_numbers_for_each_set_may_have_gaps():
    """Of two sets with three numbers each, four numbers are known: 0.5^2 + 1^2 + 2^2 + 3^2."""
    task = build(PerSetNumber(), 4, NUMBERS)
    output = torch.tensor([[0.0, 1.0, 9.0], [2.0, 9.0, 0.0]], requires_grad=True)
    targets = torch.tensor([[0.5, 0.0, torch.nan], [0.0, torch.nan, -3.0]])
    total, count = task.loss(output, labeled(task, targets))
    assert (total.item(), count.item()) == (pytest.approx(0.25 + 1 + 4 + 9), 4)
    total.backward()
    assert output.grad.tolist() == [[-1.0, 2.0, 0.0], [4.0, 0.0, 6.0]], "a gap has no gradient"
    assert task.present(labeled(task, targets)).tolist() == [[True, True, False], [True, False, True]]
    with pytest.raises(InputError, match=r"found \[2, 3\] targets for \[2\] outputs"):
        task.loss(output[:, 0], labeled(task, targets))


def test_the_trivial_baselines():
    task = build(PerVectorLabel(), 4, LABELS)
    task.observe(labeled(task, torch.tensor([2, 2, 1])))
    assert task.trivial(labeled(task, torch.zeros(4, dtype=torch.int64))).argmax(-1).tolist() == [2] * 4
    number = build(PerVectorNumber(), 4, NUMBERS)
    metrics = number.metrics()
    targets = torch.tensor([-1.0, 1.0])
    number.score(metrics, number.trivial(labeled(number, targets)), labeled(number, targets))
    assert metrics.compute()["r2"].item() == pytest.approx(0)
    assert metrics.compute()["mse"].item() == pytest.approx(25)


def batch(target, tokens=None, kind="set"):
    values = [np.zeros((2, 4), np.float32), np.zeros((0, 4), np.float32), np.zeros((1, 4), np.float32)]
    return collate(
        [
            Example(
                value,
                None if target is None else target[i],
                f"set {i}",
                kind,
                tokens=None if tokens is None else tokens[i],
            )
            for i, value in enumerate(values)
        ]
    )


def test_labels_of_vectors_are_written_by_set_and_token():
    task = build(PerVectorLabel(top=2), 4, LABELS)
    output = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 3.0]])
    target = [np.array([0, IGNORE]), np.zeros(0, np.int64), np.array([1])]
    found = task.predictions(output, batch(target, [("I", "saw"), (), ("it",)], "vector"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [each["name"] for each in found] == ["set 0", "set 1", "set 2"]
    assert [[v["token"] for v in each["vectors"]] for each in found] == [["I", "saw"], [], ["it"]]
    first, second = found[0]["vectors"]
    assert (first["label"], first["target"], second["label"]) == ("a", "a", "b")
    assert "target" not in second
    assert list(second["probabilities"]) == ["b", "c"]
    assert first["probability"] == pytest.approx(output[0].softmax(-1)[0].item())


def test_numbers_are_written_in_their_own_units():
    task = build(PerSetNumber(), 4, NUMBERS)
    found = task.predictions(torch.tensor([0.0, 1.0, -1.0]), batch([np.float32(0), np.float32(np.nan), np.float32(2)]))
    assert found == [
        {"name": "set 0", "number": 100.0, "target": 100.0},
        {"name": "set 1", "number": 105.0},
        {"name": "set 2", "number": 95.0, "target": 110.0},
    ]
    unlabeled = task.predictions(torch.zeros(3), batch(None))
    assert unlabeled[0] == {"name": "set 0", "number": 100.0}


@pytest.mark.parametrize(
    ("config", "encoding", "kind", "targets", "sentence"),
    [
        (
            PerVectorLabel(),
            LABELS,
            "vector",
            torch.zeros(3).long(),
            r"per vector, but found \[3\] targets for \[5\] outputs",
        ),
        (
            PerVectorLabel(),
            LABELS,
            "set",
            torch.zeros(3).long(),
            "one target per vector, but the data has one target per set",
        ),
        (
            PerSetLabel(),
            LABELS,
            "vector",
            torch.zeros(5).long(),
            "one target per set, but the data has one target per vector",
        ),
        (PerSetLabel(), LABELS, "sets", SETS, "one target per set, but the data has a set of targets per set"),
        (PerSetLabel(), LABELS, "set", torch.zeros(3), "about labels, but the targets are numbers"),
        (PerSetNumber(), NUMBERS, "set", torch.zeros(3).long(), "about numbers, but the targets are labels"),
        (PerSetLabel(), LABELS, None, None, "a has no target, expected a labeled part"),
    ],
)
def test_data_that_need_another_task_are_refused(config, encoding, kind, targets, sentence):
    task, given = build(config, 4, encoding), Batch(SETS, targets, names=("a", "b", "c"), target_kind=kind)
    with pytest.raises(InputError, match=sentence):
        task.loss(task(SETS, given), given)


def test_a_task_without_anything_to_choose_from_is_refused():
    with pytest.raises(InputError, match="has one label, 'a', expected at least 2"):
        build(PerSetLabel(), 4, Encoding(Labels(("a",))))
    with pytest.raises(InputError, match="about labels, but the targets are numbers"):
        build(PerSetLabel(), 4, NUMBERS)
    with pytest.raises(InputError, match="about numbers, but the targets are labels"):
        build(PerSetNumber(), 4, LABELS)


def test_am_softmax_by_hand():
    """Two classes, vectors at known angles: s = 10, m = 0.3."""
    task = build(PerSetLabel(loss="am_softmax", scale=10.0, margin=0.3), 2, Encoding(Labels(("a", "b")), width=2))
    task.head.weight.data = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    sets = VectorSets.pack([torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 7.0]])])
    output = task(sets, Batch(sets))
    torch.testing.assert_close(output, torch.tensor([[6.0, 8.0], [0.0, 10.0]]))
    total, count = task.loss(output, labeled(task, torch.tensor([0, 1])))
    first = -math.log(math.exp(10 * (0.6 - 0.3)) / (math.exp(10 * (0.6 - 0.3)) + math.exp(8.0)))
    second = -math.log(math.exp(10 * (1.0 - 0.3)) / (math.exp(10 * (1.0 - 0.3)) + 1))
    assert total.item() == pytest.approx(first + second)
    assert count == 2
    task.eval()
    plain, _ = task.loss(output, labeled(task, torch.tensor([0, 1])))
    assert plain.item() == pytest.approx(math.log(1 + math.exp(2.0)) + math.log(1 + math.exp(-10.0)))


def test_the_margin_warms_up_and_goes_on_where_a_checkpoint_left_it():
    options = PerSetLabel(loss="am_softmax", scale=10.0, margin=0.4, margin_warm_up=4)
    task, other = (build(options, 4, LABELS) for _ in range(2))
    output, targets = torch.zeros(1, 3), torch.tensor([2])
    losses = [task.loss(output, labeled(task, targets))[0].item() for _ in range(6)]
    wanted = [math.log(1 + 2 * math.exp(margin)) for margin in (1.0, 2.0, 3.0, 4.0, 4.0, 4.0)]
    assert losses == pytest.approx([loss - 0 for loss in wanted], rel=1e-5)
    task = build(options, 4, LABELS)
    task.loss(output, labeled(task, targets))
    other.load_state_dict(task.state_dict())
    assert other.loss(output, labeled(other, targets))[0].item() == pytest.approx(wanted[1], rel=1e-5)


def test_only_the_direction_of_a_vector_counts_with_am_softmax():
    task = build(PerSetLabel(pool="mean", loss="am_softmax"), 4, LABELS)
    larger = SETS.with_values(SETS.values * 7)
    torch.testing.assert_close(task(SETS, Batch(SETS)), task(larger, Batch(larger)))
    assert task(SETS, Batch(SETS)).abs().max() <= task.config.scale * (1 + 1e-6)
    assert [name for name, _ in task.head.named_parameters()] == ["weight"], "no bias"


@pytest.mark.parametrize("loss", ["cross_entropy", "am_softmax"])
def test_further_classes_of_labels_are_for_training_only(loss):
    encoding = replace(LABELS, targets=Labels(LABELS.labels, copies=2))
    options = PerSetLabel(loss=loss, class_weights="balanced", margin=0.0)
    task = build(options, 4, encoding)
    targets = torch.tensor([4, 0, IGNORE])
    task.observe(labeled(task, torch.tensor([0, 3, 1, 5, 2, IGNORE])))
    assert task.counts.tolist() == [2, 1, 2]
    output = task(SETS, Batch(SETS))
    assert output.shape == (3, 6)
    total, count = task.loss(output, labeled(task, targets))
    weights = torch.tensor([5 / 6, 5 / 3, 5 / 6])
    logs = output.log_softmax(-1)
    torch.testing.assert_close(total, -(weights[1] * logs[0, 4] + weights[0] * logs[1, 0]))
    assert count == weights[1] + weights[0]
    task.eval()
    kept = task(SETS, Batch(SETS))
    torch.testing.assert_close(kept, output[:, :3])
    plain, _ = task.loss(kept, labeled(task, torch.tensor([1, 0, IGNORE])))
    torch.testing.assert_close(task.loss(kept, labeled(task, targets))[0], plain)
    metrics = task.metrics()
    task.score(metrics, torch.eye(3), labeled(task, torch.tensor([3, 1, IGNORE])))
    assert metrics.compute()["accuracy"] == 1


def test_a_hidden_layer_gives_the_embedding():
    for loss in ("cross_entropy", "am_softmax"):
        task = build(PerSetLabel(pool="statistics", hidden=5, loss=loss), 4, LABELS)
        assert task.embed(SETS).shape == (3, 5)
        assert task(SETS, Batch(SETS)).shape == (3, 3)
        assert task.width == 5


# Without a head: the vectors are the outputs.


@pytest.mark.parametrize("options", [PerVectorLabel(head="none"), PerSetLabel(head="none"), MultiLabel(head="none")])
def test_without_a_head_the_vectors_are_the_outputs(options):
    encoding = Encoding(LabelSets(("a", "b", "c"), "|") if isinstance(options, MultiLabel) else LABELS.targets, width=4)
    task, sets = build(options, 3, encoding), SETS.with_values(torch.randn(5, 3))
    means = torch.stack([x.mean(0) if len(x) else x.new_zeros(3) for x in sets.unpack()])
    expected = sets.values if isinstance(options, PerVectorLabel) else means
    assert torch.allclose(task(sets, Batch(sets)), expected)
    assert not list(task.parameters())
    with pytest.raises(
        InputError, match=r"task\.head is 'none', and the .*vectors have width 4 where .* needs 3 outputs"
    ):
        build(options, 4, encoding)


def test_without_a_head_further_classes_of_labels_are_outputs_as_well():
    encoding = replace(LABELS, targets=Labels(LABELS.labels, copies=2))
    task = build(PerSetLabel(head="none"), 6, encoding)
    sets = SETS.with_values(torch.randn(5, 6))
    whole = task(sets, Batch(sets))
    assert whole.shape == (3, 6)
    assert torch.equal(task.eval()(sets, Batch(sets)), whole[:, :3])


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (PerVectorLabel, "dropout", 0.1),
        (PerSetLabel, "dropout", 0.1),
        (PerSetLabel, "hidden", 8),
        (PerSetLabel, "loss", "am_softmax"),
        (MultiLabel, "dropout", 0.1),
    ],
)
def test_options_of_a_head_are_refused_without_one(kind, option, value):
    with pytest.raises(InputError, match=rf"task\.head is 'none' and task\.{option} is {value!r}, expected"):
        kind(head="none", **{option: value})


@pytest.mark.parametrize("mixer", ["gat", "attention", "gcn", "chebyshev", "pointwise"])
def test_the_last_layer_of_a_graph_network_gives_the_labels(mixer):
    encoding = replace(LABELS, edges=True)
    options = GraphNetwork(width=8, heads=4, mixer=mixer)
    without = build_model(options, PerVectorLabel(head="none"), encoding)
    assert [layer.width for layer in without.stack.layers] == [8, 3]
    assert build_model(options, PerVectorLabel(), encoding).width == 8
    sets = VectorSets.pack([torch.randn(2, 4)], edges=[torch.tensor([[0, 1], [1, 0]])])
    assert without(Batch(sets)).values.shape == (2, 3)


def test_averaged_heads_put_out_the_labels_and_joined_ones_must_divide_them():
    encoding, task = replace(LABELS, edges=True), PerVectorLabel(head="none")
    assert build_model(GraphNetwork(width=8, heads=4, last_heads=2), task, encoding).width == 3
    with pytest.raises(
        InputError, match=r"model\.last_heads is 2 and the last layer gives 3 outputs, expected a divisor"
    ):
        build_model(GraphNetwork(width=8, heads=4, last_heads=2, mixer="attention"), task, encoding)


def test_other_models_need_the_width_of_the_labels():
    task = PerVectorLabel(head="none")
    for width, fits in ((3, True), (4, False)):
        model = build_model(Encoder(width=width, heads=1, positions=Positions("none")), task, LABELS)
        if fits:
            build(task, model.width, LABELS)
            continue
        with pytest.raises(InputError, match=r"have width 4 where the task needs 3 outputs"):
            build(task, model.width, LABELS)
