"""The loss of examples that were mixed: shares of labels as targets."""

import pytest
import torch
from torch.nn.functional import log_softmax

from regard import InputError, VectorSets
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.tasks.configs import PerSetLabel
from regard.train.kinds import build

LABELS = Encoding(width=3, targets=Labels(("a", "b", "c")))


def batch(targets: torch.Tensor) -> Batch:
    sets = VectorSets.pack([torch.ones(2, 3)] * len(targets))
    return Batch(sets, targets, names=tuple(map(str, range(len(targets)))), target_kind="set")


def task(**options):
    made = build(PerSetLabel(**options), 3, LABELS)
    made.observe(batch(torch.tensor([0, 0, 1, 2])))
    return made


SHARES = torch.tensor([[0.25, 0.75, 0], [0, 0, 1.0], [0, 0, 0], [0.5, 0, 0.5]])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, "balanced", {"a": 3.0}])
def test_it_is_the_sum_over_labels_each_times_its_share(weights, smoothing: float) -> None:
    made = task(class_weights=weights, label_smoothing=smoothing)
    output = torch.randn(4, 3)
    total, count = made.loss(output, batch(SHARES))
    weight = torch.ones(3) if made.class_weights is None else made.class_weights
    # torch smooths what has no label as well; here the third example must not count.
    known = SHARES.sum(1) > 0
    smoothed = (SHARES * (1 - smoothing) + smoothing / 3)[known]
    torch.testing.assert_close(total, -(weight * smoothed * log_softmax(output[known], 1)).sum())
    torch.testing.assert_close(count, (SHARES * weight).sum())


def test_whole_shares_are_the_loss_of_labels() -> None:
    made, labels = task(label_smoothing=0.1), torch.tensor([2, 0, 1])
    output = torch.randn(3, 3)
    mixed = made.loss(output, batch(torch.eye(3)[labels]))
    for ours, theirs in zip(mixed, made.loss(output, batch(labels)), strict=True):
        torch.testing.assert_close(ours, theirs.to(ours.dtype))


def test_a_margin_and_another_number_of_shares_are_refused() -> None:
    made, mixed = task(loss="am_softmax"), batch(SHARES)
    output = made(mixed.inputs, mixed)
    with pytest.raises(InputError, match="the loss 'am_softmax', and the targets are shares of several labels"):
        made.loss(output, mixed)
    with pytest.raises(InputError, match="the task has one target per set, but found"):
        task().loss(torch.randn(4, 3), batch(torch.ones(4, 2) / 2))
