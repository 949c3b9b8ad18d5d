"""Sets of boxes: the matching, the loss as DETR wrote it down, and what is written."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from regard.data.batch import Batch, collate
from regard.data.encoding import Encoding, Grid, Labels
from regard.data.examples import UNSEEN, Example, VectorSet
from regard.errors import InputError
from regard.layers.boxes import generalized_iou
from regard.models.detr import Detr
from regard.models.encoder import Encoder
from regard.models.pieces import Denoising
from regard.sets import Layout, VectorSets
from regard.tasks.box_loss import Told, focal_loss, label_costs, matched
from regard.tasks.boxes import BoxTask
from regard.tasks.configs import PerSetBoxes
from regard.train.kinds import build

LABELS = ("a", "b", "c")
ENCODING = Encoding(Encoding(Labels(LABELS), grid=Grid(4)), width=48, grid=Grid(2))
SMALL = Detr(width=16, layers=1, decoder_layers=2, heads=2, feed_forward=16, dropout=0.0, queries=5)


def picture(seed: int, boxes: int, size: tuple[int, int] = (2, 3), label: int | None = None) -> Example:
    r = np.random.default_rng(seed)
    places = np.stack(np.divmod(np.arange(size[0] * size[1]), size[1]), 1).astype(np.float32)
    ids = r.integers(0, 3, boxes) if label is None else np.full(boxes, label)
    coords = np.concatenate([r.uniform(0.3, 0.7, (boxes, 2)), r.uniform(0.1, 0.5, (boxes, 2))], 1).astype(np.float32)
    values = r.random((len(places), 48)).astype(np.float32)
    target = VectorSet(ids.astype(np.int64), coords)
    return Example(values, target, f"p{seed}", "sets", coords=places, pixels=(12, 8))


def made(options: PerSetBoxes, model: Detr = SMALL) -> tuple[Any, BoxTask]:
    torch.manual_seed(0)
    network = build(model, ENCODING)
    task = build(options, network.width, ENCODING)
    task.attach(network)
    return network, task


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_the_matching_is_the_cheapest_of_all(loss: Any) -> None:
    torch.manual_seed(1)
    options = PerSetBoxes(loss=loss, label_cost=1.5)
    for queries, count in ((5, 3), (3, 3), (2, 4), (3, 0)):
        told = Told(torch.randn(queries, 3 + (loss != "focal")), torch.rand(queries, 4) * 0.5 + 0.1)
        labels, boxes = torch.randint(3, (count,)), torch.rand(count, 4) * 0.5 + 0.1
        rows, columns = matched(options, told, labels, boxes)
        assert len(rows) == len(columns) == min(queries, count)
        cost = 1.5 * label_costs(options, told.logits)[:, labels]
        for i, j in ((i, j) for i in range(queries) for j in range(count)):
            cost[i, j] += 5 * (told.boxes[i] - boxes[j]).abs().sum() - 2 * generalized_iou(told.boxes[i], boxes[j])
        few, many = (cost, count) if queries <= count else (cost.T, queries)
        best = min(
            sum(float(few[i, j]) for i, j in enumerate(p)) for p in permutations(range(many), min(queries, count))
        )
        assert float(cost[rows, columns].sum()) == pytest.approx(best, abs=1e-5)


def test_the_loss_is_that_of_the_paper() -> None:
    """Of DETR's code: a weighted mean over all queries of the batch, and sums over boxes divided by their number."""
    model, task = made(PerSetBoxes())
    batch = collate([picture(0, 3), picture(1, 0), picture(2, 4)])
    hidden = model.train()(batch)
    assert len(hidden) == 2 * 3
    output = task(hidden, batch)
    total, count = task.loss(output, batch)
    weight, expected = torch.tensor([1, 1, 1, 0.1]), []
    for logits, boxes in zip(output["logits"], output["boxes"], strict=True):
        classes, parts = torch.full((15,), 3), []
        for n, target in enumerate(batch.target_sets):
            told = Told(logits[5 * n : 5 * n + 5], boxes[5 * n : 5 * n + 5])
            rows, columns = matched(task.config, told, target.values, target.coords)
            classes[rows + 5 * n] = target.values[columns]
            parts += [(told.boxes[i], target.coords[j]) for i, j in zip(rows, columns, strict=True)]
        places = sum((ours - theirs).abs().sum() for ours, theirs in parts) / 7
        overlaps = sum(1 - generalized_iou(ours, theirs) for ours, theirs in parts) / 7
        expected.append(cross_entropy(logits, classes, weight) + 5 * places + 2 * overlaps)
    assert int(count) == 7
    torch.testing.assert_close(total / count, sum(expected) / 2)


def test_focal_loss_is_the_formula() -> None:
    logits, there = torch.randn(50, dtype=torch.float64), (torch.rand(50) < 0.5).double()
    p = logits.sigmoid()
    expected = torch.where(there > 0, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log())
    torch.testing.assert_close(focal_loss(logits, there), expected)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_the_order_of_boxes_means_nothing(loss: Any) -> None:
    model, task = made(PerSetBoxes(loss=loss))
    example = picture(3, 4)
    assert isinstance(example.target, VectorSet)
    assert example.target.coords is not None
    order = [2, 0, 3, 1]
    other = VectorSet(example.target.values[order], example.target.coords[order])
    turned = Example(example.values, other, "turned", "sets", coords=example.coords)
    losses = [task.loss(task(model(batch), batch), batch)[0] for batch in (collate([example]), collate([turned]))]
    torch.testing.assert_close(*losses)


def test_pictures_without_boxes_are_learned_from() -> None:
    for loss in ("cross_entropy", "focal"):
        model, task = made(PerSetBoxes(loss=loss))  # type: ignore[arg-type]
        batch = collate([picture(0, 0), picture(1, 0)])
        total, count = task.loss(task(model.train()(batch), batch), batch)
        total.backward()
        assert (int(count), bool(total > 0)) == (0, True)
        assert task.classify.weight.grad is not None
        assert task.classify.weight.grad.abs().sum() > 0


def test_more_boxes_than_queries_are_refused_before_training_and_missed_after() -> None:
    model, task = made(PerSetBoxes())
    batch = collate([picture(0, 9)])
    with pytest.raises(InputError, match=r"a training picture has 9 boxes, and the model 5 queries.*--model.queries 9"):
        task.observe(batch)
    output = task.eval()(model.eval()(batch), batch)
    assert torch.isfinite(task.loss(output, batch)[0])
    assert len(task.predictions(output, batch)[0]["boxes"]) == 5


def test_labels_that_no_training_box_has_count_as_missed() -> None:
    model, task = made(PerSetBoxes())
    batch = collate([picture(0, 2), picture(1, 2, label=UNSEEN)])
    batch = Batch(**{**vars(batch), "unseen": ("new",)})
    output = task.eval()(model.eval()(batch), batch)
    assert (int(task.loss(output, batch)[1]), int(task.target_count(output, batch))) == (2, 4)
    written = task.predictions(output, batch)
    assert [each["label"] for each in written[1]["target"]] == ["new", "new"]
    metrics = task.metrics()
    perfect = Told(torch.full((2, 4), -9.0), batch.target_sets.coords[:2])
    perfect.logits[range(2), batch.target_sets.values[:2]] = 9
    empty = torch.full((2, 4), -9.0)
    empty[:, 3] = 9
    told = {
        "logits": torch.cat([perfect.logits, empty])[None],
        "boxes": torch.cat([perfect.boxes, perfect.boxes])[None],
        "queries": 2,
    }
    task.score(metrics, told, batch)
    kinds = len(set(batch.target_sets.values[:2].tolist()))
    assert float(metrics.compute()["map_50"]) == pytest.approx(kinds / (kinds + 1))


def test_what_is_written_is_in_pixels_and_metrics_agree() -> None:
    for loss in ("cross_entropy", "focal"):
        model, task = made(PerSetBoxes(loss=loss, threshold=0.2))  # type: ignore[arg-type]
        model.eval(), task.eval()
        batch = collate([picture(n, 4) for n in range(6)])
        output = task(model(batch), batch)
        written = task.predictions(output, batch)
        scores = [each["score"] for each in written[0]["boxes"]]
        assert scores == sorted(scores, reverse=True)
        assert sum(written[0]["counts"].values()) == sum(score >= 0.2 for score in scores)
        x, y, w, h = batch.target_sets.coords[0].tolist()
        expected = [(x - w / 2) * 12, (y - h / 2) * 8, (x + w / 2) * 12, (y + h / 2) * 8]
        assert written[0]["target"][0]["box"] == pytest.approx(expected, abs=1e-3)
        metrics = task.metrics()
        for n in range(0, 6, 2):
            part = collate([picture(n, 4), picture(n + 1, 4)])
            task.score(metrics, task(model(part), part), part)
        found = metrics.compute()
        for metric in task.config.corpus_metrics:
            assert float(found[metric.name]) == pytest.approx(metric.of(written), abs=1e-9)
        report = task.report(written)["labels"]
        assert sum(each["targets"] for each in report.values()) == 24
        mean = sum(each["average_precision"] for each in report.values()) / len(report)
        assert mean == pytest.approx(float(found["map"]), abs=1e-9)


def test_the_trivial_output_tells_the_mean_box_of_each_label() -> None:
    for loss in ("cross_entropy", "focal"):
        _, task = made(PerSetBoxes(loss=loss), SMALL)  # type: ignore[arg-type]
        batch = collate([picture(0, 2, label=0), picture(1, 1, label=2), picture(2, 0), picture(3, 1, label=0)])
        task.observe(batch)
        places = batch.target_sets.coords
        torch.testing.assert_close(task.middle[0], places[[0, 1, 3]].mean(0))
        assert task.share.tolist() == [0.5, 0, 0.25]
        told = task.predictions(task.trivial(batch), batch)[2]["boxes"]
        assert [each["label"] for each in told] == ["a", "c", "b"]
        assert told[0]["score"] == pytest.approx(0.5, abs=1e-4)


def test_other_data_and_models_are_refused() -> None:
    with pytest.raises(InputError, match="about sets of boxes, but the targets are labels"):
        build(PerSetBoxes(), 16, Encoding(Labels(LABELS), width=48, grid=Grid(2)))
    task = build(PerSetBoxes(), 16, ENCODING)
    with pytest.raises(InputError, match="the model is Model, expected one such as Detr"):
        task.attach(build(Encoder(width=16, heads=2), ENCODING))
    layout = Layout.of_lengths([2])
    other = Batch(
        VectorSets(torch.zeros(2, 1), layout), VectorSets(torch.zeros(2, dtype=torch.int64), layout), target_kind="sets"
    )
    with pytest.raises(InputError, match="about sets of boxes, but the targets are other sets"):
        task.target_count({}, other)
    for options in ({"threshold": 1.0}, {"place_weight": -1}):
        with pytest.raises(InputError, match=f"task.{next(iter(options))}"):
            PerSetBoxes(**options)  # type: ignore[arg-type]


def test_noisy_targets_add_the_mean_over_their_groups() -> None:
    """Without noise two groups are the same twice: their loss is that of one."""
    losses = []
    for groups in (1, 2):
        options = Detr(**{**vars(SMALL), "anchors": True, "denoising": Denoising(groups, 0.0, 0.0)})
        model, task = made(PerSetBoxes(loss="focal"), options)
        batch = collate([picture(0, 3), picture(1, 0), picture(2, 2)])
        total, count = task.loss(task(model.train()(batch), batch), batch)
        assert int(count) == 5
        losses.append(total)
    torch.testing.assert_close(*losses)
