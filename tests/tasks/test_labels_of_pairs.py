"""Labels of pairs: two towers with the same weights, and a head on what both made."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from regard import VectorSets
from regard.data.batch import Batch, collate
from regard.data.encoding import Encoding, Labels
from regard.data.examples import Example, VectorSet
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.tasks.configs import PerPairLabel
from regard.train.kinds import build

ENCODING = Encoding(Labels(("no", "yes")), width=3, context=Encoding(width=3))


def examples(lengths, others, seed=0):
    generator = np.random.default_rng(seed)
    made = []
    for n, (one, other) in enumerate(zip(lengths, others, strict=True)):
        first, second = (generator.normal(size=(length, 3)).astype(np.float32) for length in (one, other))
        made.append(Example(first, np.array(n % 2), f"pair {n}", context=VectorSet(second)))
    return made


@pytest.fixture
def made():
    torch.manual_seed(0)
    model = build(Encoder(width=8, layers=1, heads=2, feed_forward=8, dropout=0.0), ENCODING).double().eval()
    task = build(PerPairLabel(hidden=5), model.width, ENCODING).double().eval()
    return model, task


def output(made, pairs):
    model, task = made
    batch = collate(pairs)
    batch = replace(
        batch,
        inputs=batch.inputs.with_values(batch.inputs.values.double()),
        context=batch.context.with_values(batch.context.values.double()),
    )
    read = task.read(batch)
    return task(model(read), read), read


def test_the_output_is_the_formula(made):
    model, task = made
    pairs = examples([4, 2, 5], [3, 6, 1])
    found, _ = output(made, pairs)
    for n, pair in enumerate(pairs):
        one, other = (
            model(Batch(VectorSets.pack([torch.from_numpy(values).double()]))).values.mean(0)
            for values in (pair.values, pair.context.values)
        )
        joined = torch.cat([one, other, one * other, one - other])
        expected = task.head(task.hidden(joined).relu())
        torch.testing.assert_close(found[n], expected)


def test_pairs_of_a_batch_change_nothing(made):
    pairs = examples([4, 2, 5], [3, 6, 1])
    whole, _ = output(made, pairs)
    for n, pair in enumerate(pairs):
        torch.testing.assert_close(output(made, [pair])[0][0], whole[n])


def test_the_order_of_a_pair_matters_only_where_the_difference_is(made):
    """With a hidden layer that reads products alone, both orders are the same."""
    _, task = made
    (pair,) = examples([4], [3])
    turned = replace(pair, values=pair.context.values, context=VectorSet(pair.values))
    assert not torch.allclose(output(made, [pair])[0], output(made, [turned])[0])
    with torch.no_grad():
        task.hidden.weight.view(5, 4, 8)[:, [0, 1, 3]] = 0
    torch.testing.assert_close(output(made, [pair])[0], output(made, [turned])[0])


def test_an_empty_set_of_a_pair_is_zeros(made):
    found, read = output(made, examples([0, 2], [3, 0]))
    assert found.isfinite().all()
    loss, count = made[1].loss(found, read)
    assert loss.isfinite()
    assert count == 2


def test_gradients_are_those_of_differences(made):
    _, task = made
    hidden = VectorSets.pack([torch.randn(n, 8, dtype=torch.float64) for n in (3, 2, 4, 1)])

    def of(values):
        return task(hidden.with_values(values), Batch(hidden))

    assert torch.autograd.gradcheck(of, hidden.values.requires_grad_())


def test_what_is_no_pair_is_refused(made):
    with pytest.raises(InputError, match="the task is about pairs and the data has none"):
        build(PerPairLabel(), 8, Encoding(Labels(("no", "yes")), width=3))
    with pytest.raises(InputError, match="pair 0 has no second set, expected pairs"):
        made[1].read(collate([replace(examples([2], [2])[0], context=None)]))
    with pytest.raises(InputError, match=r"task.hidden is 0, expected at least 1"):
        PerPairLabel(hidden=0)
