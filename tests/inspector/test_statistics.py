"""What heads do on the whole, worked out again weight by weight."""

import math

import pytest
import torch

from regard.attention.spec.attention import Attention
from regard.attention.spec.normalizers import Relu
from regard.attention.spec.patterns import Causal, Everyone, Window
from regard.attention.verb import attention_weights
from regard.inspector.calls import Call
from regard.inspector.statistics import head_statistics
from regard.sets import Layout


def a_call(attention, layout, heads=2):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, layout.total, heads, 4, dtype=torch.float64)
    return Call(attention, q, k, v, layout, layout, {}, v)


def worked_out(call, head, rows):
    a = attention_weights(call.attention, call.q, call.k, call.layout).dense()[head]
    numbers = []
    for row in rows:
        weights = (a[row] / a[row].sum()).tolist() if a[row].sum() else None
        if weights is None:
            continue
        i, owner = int(call.layout.index[row]), int(call.layout.set_of_row[row])
        begin = int(call.layout.offsets[owner])
        coords = call.layout.coords

        def apart(j, row=row, i=i, coords=coords):
            return abs(i - int(call.layout.index[j])) if coords is None else math.dist(coords[row], coords[j])

        numbers.append(
            [
                -sum(w * math.log(w) for w in weights if w),
                sum(w * apart(j) for j, w in enumerate(weights)),
                weights[begin],
                weights[row],
                weights[row - 1] if i else 0,
            ]
        )
    return torch.tensor(numbers, dtype=torch.float64).mean(0) if numbers else torch.zeros(5, dtype=torch.float64)


@pytest.mark.parametrize(
    "layout",
    [Layout.of_lengths([7]), Layout.of_lengths([3, 0, 4]), Layout(torch.tensor([0, 6]), torch.rand(6, 2).double())],
    ids=["one set", "several", "coordinates"],
)
@pytest.mark.parametrize(
    "attention",
    [
        Attention(),
        Attention(pattern=Causal()),
        Attention(pattern=Window(0, 1) & ~Window(0, 0)),
        Attention(normalizer=Relu()),
        Attention(pattern=~Everyone()),
    ],
    ids=repr,
)
def test_the_numbers_are_those_of_the_weights(attention, layout):
    call = a_call(attention, layout)
    rows = torch.tensor([5, 0, 3, 4])
    found = head_statistics(call, rows)
    assert found.rows == 4
    for head in range(2):
        numbers = [getattr(found, name)[head] for name in ("entropy", "distance", "first", "itself", "previous")]
        torch.testing.assert_close(torch.stack(numbers), worked_out(call, head, rows.tolist()))
