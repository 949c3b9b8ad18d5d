"""`attend`, the one verb, and `attention_weights`, its inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attention.dropout import Dropout
from regard.attention.executors.edges import pair_weights
from regard.attention.pairs import Rows
from regard.attention.plan import EXECUTORS, check, choose
from regard.attention.problem import Problem, Tensors
from regard.attention.scores import Shapes
from regard.attention.spec import Attention
from regard.errors import InputError
from regard.sets import Layout

__all__ = ["Weights", "attend", "attention_weights"]

_NONE: Mapping[str, Tensor] = {}
# A size of which nothing is known.
_ANY = -1


def attend(
    attention: Attention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    key_layout: Layout | None = None,
    parameters: Mapping[str, Tensor] = _NONE,
    *,
    dropout: Dropout | None = None,
    executor: str | None = None,
) -> Tensor:
    """Each query's weighted sum of the values of the keys it may attend to.

        s_ij = score(q_i, k_j) + bias(q_i, i, j)        for the pairs that the pattern allows
        a_ij = normalizer over those j
        out_i = sum_j a_ij (v_j + value_bias(i, j))

    A row with no allowed key gives zeros.

    Args:
        attention: which score, pattern, normalizer and bias.
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
    tensors = Tensors(q, k, v, parameters)
    problem = _problem(attention, tensors, layout, key_layout, dropout)
    _check_parameters(attention, parameters, attention.parameters(problem.heads, problem.d, problem.e))
    return EXECUTORS[choose(problem, executor).executor].run(problem, tensors)


@dataclass(frozen=True)
class Weights:
    """Attention weights on the pattern's support: packed row `query[p]` attends to `key[p]`, per head with `values[p]`."""

    query: Tensor
    key: Tensor
    values: Tensor
    shape: tuple[int, int]

    def dense(self) -> Tensor:
        """`[h, t, u]`, zero where nothing attends."""
        out = self.values.new_zeros(*self.shape, self.values.shape[1])
        return out.index_put((self.query, self.key), self.values).movedim(-1, 0)


def attention_weights(
    attention: Attention,
    q: Tensor,
    k: Tensor,
    layout: Layout,
    key_layout: Layout | None = None,
    parameters: Mapping[str, Tensor] = _NONE,
    *,
    rows: Sequence[int] | Tensor | None = None,
) -> Weights:
    """The weights a_ij of `attend`, exact, for the query rows asked for (packed rows; None means all), without dropout.

    Time and memory grow with the allowed pairs of those rows, whatever executor trained the model.

    Raises:
        InputError: as `attend`, or a row that is not there.

    >>> x = torch.zeros(3, 1, 4)
    >>> attention_weights(Attention(), x, x, Layout.of_lengths([1, 2]), rows=[2]).values.tolist()
    [[0.5], [0.5]]
    """
    tensors = Tensors(q, k, k, parameters)
    problem = _problem(attention, tensors, layout, key_layout, None)
    # The values' width is unknown here, and so is the shape of what is learned for them.
    _check_parameters(attention, parameters, attention.parameters(problem.heads, problem.d, _ANY))
    check(problem)
    chosen = torch.arange(layout.total) if rows is None else torch.as_tensor(rows)
    if chosen.numel() and (chosen.dtype != torch.int64 or chosen.min() < 0 or chosen.max() >= layout.total):
        raise InputError(f"rows {chosen.tolist()} were asked for, expected rows between 0 and {layout.total - 1}")
    asked = Rows(chosen.to(q.device, torch.int64).unique(), layout, problem.key_layout)
    query_rows, key_rows = problem.union.keys(asked).pairs()
    values, _ = pair_weights(problem, tensors, query_rows, key_rows)
    return Weights(query_rows, key_rows, values, (layout.total, problem.key_layout.total))


def _problem(
    attention: Attention,
    tensors: Tensors,
    layout: Layout,
    key_layout: Layout | None,
    dropout: Dropout | None,
) -> Problem:
    """The problem that these tensors pose, after checking that they fit each other and the layouts."""
    q, k, v = tensors.q, tensors.k, tensors.v
    key_layout = layout if key_layout is None else key_layout
    for name, x, total in (("q", q, layout.total), ("k", k, key_layout.total), ("v", v, key_layout.total)):
        if x.dim() != 3 or x.shape[0] != total:
            raise InputError(
                f"{name} has shape {list(x.shape)}, expected [{total}, heads, width]: one row per vector of its layout"
            )
    if q.shape[2] != k.shape[2]:
        raise InputError(f"queries have width {q.shape[2]} and keys {k.shape[2]}, expected the same")
    if k.shape[1] != v.shape[1] or k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        found = f"{q.shape[1]}, {k.shape[1]} and {v.shape[1]}"
        raise InputError(
            f"queries, keys and values have {found} heads, expected keys and values alike and a divisor of the queries'"
        )
    if layout.sets != key_layout.sets:
        raise InputError(f"there are {layout.sets} sets of queries and {key_layout.sets} of keys, expected as many")
    if not q.is_floating_point() or not q.dtype == k.dtype == v.dtype:
        found = f"{q.dtype}, {k.dtype} and {v.dtype}"
        raise InputError(f"queries, keys and values are of types {found}, expected the same floats")
    drop = dropout if dropout is not None and dropout.p else None
    heads, key_heads, d, e = q.shape[1], k.shape[1], q.shape[2], v.shape[2]
    return Problem(attention.for_heads(heads), layout, key_layout, heads, key_heads, d, e, q.dtype, drop)


def _check_parameters(attention: Attention, parameters: Mapping[str, Tensor], expected: Shapes) -> None:
    for name, shape in expected.items():
        given = tuple(parameters[name].shape) if name in parameters else None
        if given is None:
            raise InputError(f"the parameter {name!r} of {attention!r} is missing, expected a tensor for it")
        if len(given) != len(shape) or any(a not in (b, _ANY) for a, b in zip(shape, given, strict=True)):
            wanted = ["any" if size == _ANY else size for size in shape]
            raise InputError(
                f"the parameter {name!r} of {attention!r} has shape {list(given)}, expected shape {wanted}"
            )
