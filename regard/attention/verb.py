"""`attend`, the one verb, and `attention_weights`, its inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.attention.adapters.base import Adapter, check_attention
from regard.attention.call import ANY, check_given, check_parameters, compute, in_one_type, in_order, pose
from regard.attention.dropout import Dropout
from regard.attention.pairs.pairs import Rows
from regard.attention.planning import check
from regard.attention.problem import Tensors
from regard.attention.spec.attention import Attention
from regard.attention.tail import pair_weights
from regard.attention.torch_op import traced_attend
from regard.errors import InputError
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Weights", "attend", "attention_weights"]

_NONE: Mapping[str, Tensor] = {}


def attend(
    attention: Attention | Adapter,
    q: Float[Tensor, "t h d"],
    k: Float[Tensor, "u g d"],
    v: Float[Tensor, "u g e"],
    layout: Layout,
    key_layout: Layout | None = None,
    parameters: Mapping[str, Float[Tensor, " ..."]] = _NONE,
    *,
    dropout: Dropout | None = None,
    executor: str | None = None,
) -> Float[Tensor, "t h e"]:
    """Each query's weighted sum of the values of the keys it may attend to.

        s_ij = score(q_i, k_j) + bias(q_i, i, j)        for the pairs that the pattern allows
        a_ij = normalizer over those j
        out_i = sum_j a_ij (v_j + value_bias(i, j))

    A row with no allowed key gives zeros. Everything is computed for the type of the vectors, also under `torch.autocast`.

    Args:
        attention: which score, pattern, normalizer and bias; or an adapter, which says what it computes instead.
        q: `[t, h, d]` queries, the rows of all sets one after another.
        k: `[u, g, d]` keys; g divides h, and consecutive query heads share a key head.
        v: `[u, g, e]` values.
        layout: whose rows the queries are.
        key_layout: whose rows the keys are, where they belong to other sets; set b attends to set b.
        parameters: the learned tensors that `attention.parameters(h, d, e)` names.
        dropout: on the normalized weights.
        executor: a name, to run this one and no other; None lets the plan choose.

    Returns:
        `[t, h, e]`

    Raises:
        InputError: tensors whose shapes or types do not fit each other, the layouts or the attention; an executor that refuses.

    >>> layout = Layout.of_lengths([2, 3])
    >>> x = torch.arange(5.0)[:, None, None].expand(5, 1, 4)
    >>> attend(Attention(), torch.zeros(5, 1, 4), x, x, layout)[:, 0, 0].tolist()
    [0.5, 0.5, 3.0, 3.0, 3.0]
    """
    check_attention(attention)
    check_given(q, k, v, layout, key_layout)
    tensors = Tensors(q, k, v, parameters)
    if torch.compiler.is_compiling():
        return traced_attend(attention, tensors, layout, key_layout, dropout, executor)
    return compute(attention, tensors, layout, key_layout, dropout, executor)


@dataclass(frozen=True)
class Weights:
    """Attention weights on the pattern's support: packed row `query[p]` attends to `key[p]`, per head with `values[p]`."""

    query: Int[Tensor, " pairs"]
    key: Int[Tensor, " pairs"]
    values: Float[Tensor, "pairs h"]
    shape: tuple[int, int]

    def dense(self) -> Float[Tensor, "h t u"]:
        """`[h, t, u]`, zero where nothing attends."""
        out = self.values.new_zeros(*self.shape, self.values.shape[1])
        return out.index_put((self.query, self.key), self.values).movedim(-1, 0)


def attention_weights(
    attention: Attention | Adapter,
    q: Float[Tensor, "t h d"],
    k: Float[Tensor, "u g d"],
    layout: Layout,
    key_layout: Layout | None = None,
    parameters: Mapping[str, Float[Tensor, " ..."]] = _NONE,
    *,
    rows: Sequence[int] | Int[Tensor, " rows"] | None = None,
) -> Weights:
    """The weights a_ij of `attend`, exact, for the query rows asked for (packed rows; None means all), without dropout.

    Time and memory grow with the allowed pairs of those rows, whatever executor trained the model.

    Raises:
        InputError: as `attend`, or a row that is not there; an adapter, whose calls have weights each.

    >>> x = torch.zeros(3, 1, 4)
    >>> attention_weights(Attention(), x, x, Layout.of_lengths([1, 2]), rows=[2]).values.tolist()
    [[0.5], [0.5]]
    """
    check_attention(attention)
    check_given(q, k, k, layout, key_layout)
    if isinstance(attention, Adapter):
        raise InputError(
            f"weights of {attention.text} were asked for, expected an Attention: each call of it has its own"
        )
    tensors = Tensors(q, k, k, parameters)
    problem = pose(attention, tensors, layout, key_layout, None)
    # The values' width is unknown here, and so is the shape of what is learned for them.
    check_parameters(attention, parameters, attention.parameters(problem.heads, problem.d, ANY))
    check(problem)
    chosen = torch.arange(layout.total) if rows is None else torch.as_tensor(rows)
    if chosen.numel() and (chosen.dtype != torch.int64 or chosen.min() < 0 or chosen.max() >= layout.total):
        raise InputError(f"rows {chosen.tolist()} were asked for, expected rows between 0 and {layout.total - 1}")
    asked = Rows(layout.ranks[chosen.to(q.device, torch.int64)].unique(), problem.layout, problem.key_layout)
    support = problem.union.keys(asked)
    query_rows, key_rows = support.pairs()
    tensors = in_order(tensors, layout, key_layout)
    with in_one_type(problem, tensors) as tensors:
        prepared = problem.attention.prepare(tensors.parameters, support.reach)
        values, _ = pair_weights(problem, replace(tensors, parameters=prepared), query_rows, key_rows)
    shape = layout.total, problem.key_layout.total
    ours, theirs = layout.row_order, (layout if key_layout is None else key_layout).row_order
    if ours is None and theirs is None:
        return Weights(query_rows, key_rows, values, shape)
    query_rows = query_rows if ours is None else ours[query_rows]
    key_rows = key_rows if theirs is None else theirs[key_rows]
    order = torch.argsort(query_rows * shape[1] + key_rows)
    return Weights(query_rows[order], key_rows[order], values.index_select(0, order), shape)
