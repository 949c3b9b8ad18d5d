"""`compute`: what `attend` does once it is called: check that the tensors fit, choose an executor, run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.attention.adapters.base import Adapter
from regard.attention.dropout import Dropout
from regard.attention.planning import EXECUTORS, check_adapter, choose
from regard.attention.problem import USUAL, Problem, Tensors, TileSizes
from regard.attention.spec.attention import Attention
from regard.attention.spec.base import Shapes
from regard.errors import InputError
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["ANY", "check_given", "check_parameters", "compute", "in_one_type", "in_order", "pose"]

# A size of which nothing is known.
ANY = -1


def compute(
    attention: Attention | Adapter,
    tensors: Tensors,
    layout: Layout,
    key_layout: Layout | None,
    dropout: Dropout | None,
    executor: str | None,
    tiles: TileSizes = USUAL,
) -> Float[Tensor, "t h e"]:
    """`[t, h, e]`; see `attend`, which takes the usual tiles. Rows out of the order of their places are sorted and put back."""
    if isinstance(attention, Adapter):
        return _adapted(attention, tensors, layout, key_layout, dropout, executor, tiles)
    problem = pose(attention, tensors, layout, key_layout, dropout, tiles)
    check_parameters(attention, tensors.parameters, attention.parameters(problem.heads, problem.d, problem.e))
    chosen = choose(problem, executor)
    tensors = in_order(tensors, layout, key_layout)
    with in_one_type(problem, tensors) as tensors:
        prepared = problem.attention.prepare(tensors.parameters, lambda: problem.reach)
        if prepared is not tensors.parameters:
            tensors = replace(tensors, parameters=prepared)
        out: Tensor = EXECUTORS[chosen.executor].run(problem, tensors)
    return out if layout.row_order is None else out.index_select(0, layout.ranks)


def _adapted(
    adapter: Adapter,
    tensors: Tensors,
    layout: Layout,
    key_layout: Layout | None,
    dropout: Dropout | None,
    executor: str | None,
    tiles: TileSizes,
) -> Float[Tensor, "t h e"]:
    """`[t, h, e]` by an adapter, whose calls come back to `compute`."""
    problem = pose(adapter.attention, tensors, layout, key_layout, dropout, tiles)
    check_parameters(adapter, tensors.parameters, adapter.parameters(problem.heads, problem.d, problem.e))
    keys = layout if key_layout is None else key_layout
    check_adapter(adapter, layout, keys, executor)

    def verb(
        attention: Attention,
        tensors: Tensors,
        layout: Layout,
        key_layout: Layout | None = None,
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "t h e"]:
        return compute(attention, tensors, layout, key_layout, dropout, executor, tiles)

    with in_one_type(problem, tensors) as tensors:
        return adapter.attend(verb, tensors, layout, keys, problem.dropout)


def in_order(tensors: Tensors, layout: Layout, key_layout: Layout | None) -> Tensors:
    """The tensors with the rows of each set in order of their places, as `Layout.in_order`."""
    ours, theirs = layout.row_order, (layout if key_layout is None else key_layout).row_order
    if ours is None and theirs is None:
        return tensors
    q = tensors.q if ours is None else tensors.q.index_select(0, ours)
    k, v = (x if theirs is None else x.index_select(0, theirs) for x in (tensors.k, tensors.v))
    return replace(tensors, q=q, k=k, v=v)


@contextmanager
def in_one_type(problem: Problem, tensors: Tensors) -> Iterator[Tensors]:
    """The tensors with what is learned in the type of the vectors, and no autocast that would change types in between."""
    if any(x.dtype != problem.dtype for x in tensors.parameters.values()):
        learned = {name: x.to(problem.dtype) for name, x in tensors.parameters.items()}
        tensors = replace(tensors, parameters=learned)
    device = problem.device.type
    if not torch.is_autocast_enabled(device):
        yield tensors
        return
    with torch.autocast(device, enabled=False):
        yield tensors


def check_given(q: object, k: object, v: object, layout: object, key_layout: object) -> None:
    """Refuse arguments of another type.

    Raises:
        InputError: what is no tensor where one belongs, or no layout.
    """
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor):
            raise InputError(f"{name} is of type {type(x).__name__}, expected a tensor [rows, heads, width]")
    for name, y in (("layout", layout), ("key_layout", key_layout)):
        if not (isinstance(y, Layout) or (y is None and name == "key_layout")):
            raise InputError(
                f"{name} is of type {type(y).__name__}, expected a Layout, such as Layout.of_lengths([2, 3])"
            )


def pose(
    attention: Attention,
    tensors: Tensors,
    layout: Layout,
    key_layout: Layout | None,
    dropout: Dropout | None,
    tiles: TileSizes = USUAL,
) -> Problem:
    """The problem that these tensors pose, after checking that they fit each other and the layouts.

    Its layouts have their rows in order of their places.

    Raises:
        InputError: shapes, types or numbers of sets that do not fit.
    """
    q, k, v = tensors.q, tensors.k, tensors.v
    key_layout = layout if key_layout is None else key_layout
    for name, x, total in (("q", q, layout.total), ("k", k, key_layout.total), ("v", v, key_layout.total)):
        if x.dim() != 3 or x.shape[0] != total:
            raise InputError(
                f"{name} has shape {list(x.shape)}, expected [{total}, heads, width]: one row per vector of its layout"
            )
    if q.shape[2] != k.shape[2]:
        raise InputError(f"queries have width {q.shape[2]} and keys {k.shape[2]}, expected the same")
    if q.shape[1] == 0 or q.shape[2] == 0:
        raise InputError(
            f"queries have {q.shape[1]} heads of width {q.shape[2]}, expected at least one head and a width of at least 1"
        )
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
    ours = layout.in_order()
    theirs = ours if key_layout is layout else key_layout.in_order()
    return Problem(attention.for_heads(heads), ours, theirs, heads, key_heads, d, e, q.dtype, drop, tiles)


def check_parameters(
    attention: Attention | Adapter, parameters: Mapping[str, Float[Tensor, " ..."]], expected: Shapes
) -> None:
    """Whether the learned tensors are those expected.

    Raises:
        InputError: one that is missing, or has another shape.
    """
    for name, shape in expected.items():
        given = tuple(parameters[name].shape) if name in parameters else None
        if given is None:
            raise InputError(f"the parameter {name!r} of {attention!r} is missing, expected a tensor for it")
        if len(given) != len(shape) or any(a not in (b, ANY) for a, b in zip(shape, given, strict=True)):
            wanted = ["any" if size == ANY else size for size in shape]
            raise InputError(
                f"the parameter {name!r} of {attention!r} has shape {list(given)}, expected shape {wanted}"
            )
