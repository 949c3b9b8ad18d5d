"""What every executor must pass, as functions that raise `AssertionError`: the suite applies them, and is itself tested with them.

A `Run` computes `attend` for inputs, in its own way.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from regard.attention.adapters.axes import Axes
from regard.attention.adapters.base import Adapter
from regard.attention.adapters.globals import Globals
from regard.attention.adapters.memory_compressed import MemoryCompressed
from regard.attention.adapters.reduce import Mixed
from regard.attention.adapters.remember import Remember
from regard.attention.call import compute
from regard.attention.dropout import Dropout
from regard.attention.pairs.pairs import Pairs
from regard.attention.problem import USUAL, Tensors, TileSizes
from regard.attention.reference import reference
from regard.attention.spec.attention import Attention
from regard.attention.verb import attend
from regard.sets import Layout

from .catalogue import MIXED, SHORT, Case, Inputs
from .reductions import REDUCTIONS, grouped

Run = Callable[[Attention, Inputs, Dropout | None], Tensor]
Results = dict[str, Tensor]

# An executor may err so many times as much as the meaning itself computed in the same type: it sums in another order.
FACTOR = 4
# Numbers of a tensor whose error in one computation is a matter of luck.
FEWEST = 16
# No two float64 computations of the same meaning differ by more, for numbers about 1.
EXACT = 1e-11


def executor(name: str, tiles: TileSizes = USUAL) -> Run:
    """An executor by name, as users call it, or in tiles that they cannot ask for."""

    def run(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
        return attend(
            attention, x.q, x.k, x.v, x.layout, x.key_layout, x.parameters, dropout=dropout, executor=name
        )  # fmt: skip

    def in_tiles(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
        return compute(attention, Tensors(x.q, x.k, x.v, x.parameters), x.layout, x.key_layout, dropout, name, tiles)

    return run if tiles == USUAL else in_tiles


def the_meaning(attention: Attention | Adapter, x: Inputs, dropout: Dropout | None = None) -> Tensor:
    """By the reference; adapters by what it says of whole sets."""
    if isinstance(attention, Axes):
        return _along_axes(attention, x)
    if isinstance(attention, Remember):
        attention = attention.attention
    if isinstance(attention, Globals):
        attention = attention.whole
    if type(attention) in REDUCTIONS:
        return REDUCTIONS[type(attention)](attention, x)
    return reference(attention, x.q, x.k, x.v, x.layout, x.key_layout, x.parameters, dropout)


def _along_axes(adapter: Axes, x: Inputs) -> Tensor:
    """One attention of whole sets for each axis, added up, or one after another."""
    layout = x.layout
    if adapter.combine == "sum":
        return sum(
            reference(adapter.along(axis), x.q, x.k, x.v, layout, layout, x.parameters) for axis in range(adapter.axes)
        )
    k, v = x.k, x.v
    for axis in range(adapter.axes):
        v = reference(adapter.along(axis), x.q, k, v, layout, layout, x.parameters)
        k = k.repeat_interleave(v.shape[1] // k.shape[1], 1)
    return v


def upstream(out: Tensor) -> Tensor:
    """A gradient for the output, the same for every executor."""
    x = torch.randn(out.shape, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    return x.bfloat16().to(out.dtype)


def results(
    run: Run, attention: Attention, x: Inputs, dropout: Dropout | None = None, only: Tensor | None = None
) -> Results:
    """The output and the gradient of every leaf; `only [t, h]` limits what the gradient comes from."""
    x = x.but()
    out = run(attention, x, dropout)
    gradient = upstream(out) if only is None else upstream(out).masked_fill(~only[..., None], 0)
    gradients = torch.autograd.grad(out, list(x.leaves.values()), gradient, allow_unused=True)
    found = {
        f"d {name}": torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(x.leaves.items(), gradients, strict=True)
    }
    return {"out": out.detach(), **found}


@cache
def truth(case: Case, sizes: Sequence[int], dropout: Dropout | None = None) -> Results:
    return results(the_meaning, case.attention, case.inputs(sizes), dropout)


class Error(NamedTuple):
    """How far a tensor is from the truth, or may be: its largest error, and the root mean square of all of its errors."""

    largest: float
    square: float

    def __str__(self) -> str:
        return f"{self.largest:.2e} and {self.square:.2e} (largest, root mean square)"

    def within(self, budget: "Error") -> bool:
        return self.largest <= budget.largest and self.square <= budget.square


@cache
def budget(case: Case, sizes: Sequence[int], dtype: torch.dtype, dropout: Dropout | None = None) -> dict[str, Error]:
    """How far from the truth each result may be: in proportion to how far the meaning in this type is from it.

    What is added for rounding is a few units of the last place of the tensor itself, so that a small gradient may not be wrong
    by the size of a large one; a tensor that cancels to nothing is allowed the rounding of what cancelled.

    A gradient of a few numbers, to each of which all pairs add, may be exact by luck in one computation: its error is the largest
    of several whose inputs are moved by half a unit of their last places.
    """
    true = truth(case, sizes, dropout)
    lows = [results(the_meaning, case.attention, case.inputs(sizes, dtype), dropout)]
    if any(0 < x.numel() <= FEWEST for x in true.values()):
        lows += [results(the_meaning, case.attention, nudged(case.inputs(sizes, dtype), n), dropout) for n in range(4)]
    everything = max([1.0, *(float(x.abs().max()) for x in true.values() if x.numel())])
    unit, allowed = torch.finfo(dtype).eps, {}
    for name, x in true.items():
        errors = [distances(low[name], x) for low in (lows if x.numel() <= FEWEST else lows[:1])]
        error = Error(max(each.largest for each in errors), max(each.square for each in errors))
        size = distances(x, torch.zeros_like(x))
        largest, square = (
            (min(2 * everything, 8 * size.largest), 2 * size.square) if size.largest else [2 * everything] * 2
        )
        allowed[name] = Error(FACTOR * error.largest + unit * largest, FACTOR * error.square + unit * square)
    return allowed


def nudged(x: Inputs, seed: int) -> Inputs:
    """The same with every vector's numbers moved by at most half a unit of the last place."""
    generator = torch.Generator().manual_seed(seed)

    def moved(leaf: Tensor) -> Tensor:
        by = (torch.rand(leaf.shape, generator=generator) - 0.5) * torch.finfo(leaf.dtype).eps
        return (leaf.detach() * (1 + by.to(leaf))).requires_grad_(leaf.requires_grad)

    return replace(x, q=moved(x.q), k=moved(x.k), v=moved(x.v))


def distances(a: Tensor, b: Tensor) -> Error:
    if not a.numel():
        return Error(distance(a, b), 0.0)
    gap = (a.detach().double() - b.detach().double()).square().mean()
    return Error(distance(a, b), float(gap.sqrt()))


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"shapes {list(a.shape)} and {list(b.shape)}"
    assert all(x.isfinite().all() for x in (a, b)), "something is not finite"
    return float((a.detach().double() - b.detach().double()).abs().max()) if a.numel() else 0.0


def close(found: Results, expected: Results, most: float = EXACT) -> None:
    for name in expected:
        gap = distance(found[name], expected[name])
        assert gap <= most, f"{name} is off by {gap:.2e}, expected at most {most:.2e}"


def allowed_pairs(case: Case, x: Inputs) -> Tensor:
    """`[t, u, h]` by the meaning: the pattern, and the same set; what an adapter's output depends on."""
    if isinstance(case.attention, Remember | Mixed):
        return allowed_pairs(replace(case, attention=case.attention.attention), x)
    if isinstance(case.attention, Globals):
        return allowed_pairs(replace(case, attention=case.attention.whole), x)
    if isinstance(case.attention, MemoryCompressed):
        # A key is seen where its group is.
        groups, group_of_row = grouped(x.key_layout, case.attention.rate)
        by_group = allowed_pairs(replace(case, attention=case.attention.attention), replace(x, key_layout=groups))
        return by_group[:, group_of_row]
    if isinstance(case.attention, Axes):
        every = [
            allowed_pairs(replace(case, attention=case.attention.along(axis)), x) for axis in range(case.attention.axes)
        ]
        found = every[0]
        for then in every[1:]:
            # One after another, a row depends on its own keys and on all that these depend on.
            by_way = torch.einsum("ijh,jkh->ikh", then.double(), found.double()) > 0
            found = (by_way if case.attention.combine == "stack" else found) | then
        return found
    queries, keys = torch.arange(x.layout.total)[:, None], torch.arange(x.key_layout.total)
    same = x.layout.set_of_row[:, None] == x.key_layout.set_of_row
    allowed = case.attention.for_heads(case.heads).allows(Pairs(x.layout, x.key_layout, queries, keys))
    return (allowed & same[..., None]).expand(-1, -1, case.heads)


def equals_the_meaning(run: Run, case: Case, sizes: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
    found, true = results(run, case.attention, case.inputs(sizes, dtype)), truth(case, sizes)
    for name, most in budget(case, sizes, dtype).items():
        assert found[name].dtype == dtype, f"{name} is {found[name].dtype}"
        error = distances(found[name], true[name])
        assert error.within(most), f"{name} is off by {error}, expected at most {most}"


def equals_the_meaning_on_few(run: Run, case: Case, sizes: Sequence[int]) -> None:
    """The same in float32 for a handful of vectors, by the largest error alone and rounding relative to the largest number of all.

    One computation over two vectors can err by less than a rounding by luck, so it is no budget for the error of another.
    """
    found, true = results(run, case.attention, case.inputs(sizes, torch.float32)), truth(case, sizes)
    low = results(the_meaning, case.attention, case.inputs(sizes, torch.float32))
    largest = max([1.0, *(float(x.abs().max()) for x in true.values() if x.numel())])
    for name in true:
        most = FACTOR * distance(low[name], true[name]) + 2 * torch.finfo(torch.float32).eps * largest
        gap = distance(found[name], true[name])
        assert gap <= most, f"{name} is off by {gap:.2e}, expected at most {most:.2e}"


def drops_like_the_meaning(run: Run, case: Case) -> None:
    dropout = Dropout(0.4, seed=123456789012345)
    found, true = results(run, case.attention, case.inputs(MIXED), dropout), truth(case, MIXED, dropout)
    close(found, true)


def packed_equals_alone(run: Run, case: Case, sizes: Sequence[int] = SHORT) -> None:
    x = case.inputs(sizes)
    together, summed = results(run, case.attention, x), {}
    for b in range(x.layout.sets):
        ours, theirs = (slice(*layout.offsets[b : b + 2].tolist()) for layout in (x.layout, x.key_layout))
        layout = alone(x.layout, b)
        key_layout = layout if x.key_layout is x.layout else alone(x.key_layout, b)
        single = Inputs(layout, key_layout, x.q[ours], x.k[theirs], x.v[theirs], x.parameters)
        # The gradient that comes from above must be the one of these rows.
        full = run(case.attention, (leaves := single.but()), None)
        above = upstream(together["out"])[ours]
        gradients = torch.autograd.grad(full, list(leaves.leaves.values()), above, allow_unused=True)
        assert distance(full, together["out"][ours]) <= EXACT, f"the output of set {b} depends on other sets"
        for name, gradient in zip(leaves.leaves, gradients, strict=True):
            if name in "qkv" and gradient is not None:
                rows = ours if name == "q" else theirs
                gap = distance(gradient, together[f"d {name}"][rows])
                assert gap <= EXACT, f"the gradient of {name} in set {b} depends on other sets"
            elif gradient is not None:
                summed[f"d {name}"] = summed.get(f"d {name}", 0) + gradient
    close({name: together[name] for name in summed}, summed, EXACT * len(sizes) * 10)


def alone(layout: Layout, b: int) -> Layout:
    """Set b of a layout as a layout, put together by hand."""
    begin, end = layout.offsets[b : b + 2].tolist()
    edges = edge_values = None
    if layout.edges is not None:
        inside = (layout.edges[0] >= begin) & (layout.edges[0] < end)
        edges, edge_values = layout.edges[:, inside] - begin, layout.edge_values[inside]
    coords = None if layout.coords is None else layout.coords[begin:end]
    starts = None if layout.starts is None else layout.starts[b : b + 1]
    return Layout(torch.tensor([0, end - begin]), coords, edges, edge_values, starts)


def forbidden_keys_change_nothing(run: Run, case: Case, sizes: Sequence[int] = SHORT, overflowing: bool = True) -> None:
    """Whatever finite value a key and its value take, rows that may not see it keep output and gradients, bit by bit.

    Not `overflowing`: where sums of values are values again, those of the largest numbers are infinite, which may spoil their set.
    """
    x = case.inputs(sizes, torch.float32)
    allowed = allowed_pairs(case, x)
    changed = torch.arange(x.key_layout.total) % 3 == 1
    blind = ~(allowed & changed[:, None]).any(1)
    before = results(run, case.attention, x, only=blind)
    for far in (-1e3, 1e6):
        other = {name: x.leaves[name].detach().clone() for name in "kv"}
        for leaf in other.values():
            leaf[changed] *= far
        after = results(run, case.attention, x.but(**other), only=blind)
        _same_where_blind(before, after, blind, far)
    # Products of the largest numbers overflow: rows that see them are lost, the others are not. An executor may compute
    # such a batch in another way, whose sums round differently.
    if not overflowing:
        return
    largest = torch.finfo(torch.float32).max
    most = {name: 2 * error.largest for name, error in budget(case, sizes, torch.float32).items()}
    for unseen in (changed, ~allowed.any(0).any(1)):
        other = {name: x.leaves[name].detach().clone() for name in "kv"}
        for leaf in other.values():
            leaf[unseen] = largest
        blind = ~(allowed & unseen[:, None]).any(1)
        after = results(run, case.attention, x.but(**other), only=blind)
        before = results(run, case.attention, x, only=blind)
        if unseen is changed:
            after = {"out": torch.where(blind[..., None], after["out"], 0)}
        _same_where_blind(before, after, blind, largest, most)


def _same_where_blind(
    before: Results, after: Results, blind: Tensor, far: float, most: dict[str, float] | None = None
) -> None:
    for name in after:
        pair = [each[name][blind] if name == "out" else each[name] for each in (before, after)]
        assert distance(*pair) <= (most or {}).get(name, 0.0), f"a forbidden key at {far:g} changes {name}"


def spoils_only_its_own_set(run: Run, case: Case, sizes: Sequence[int] = SHORT) -> None:
    x = case.inputs(sizes, torch.float32)
    before = results(run, case.attention, x)
    b = 2
    masks = [layout.set_of_row == b for layout in (x.layout, x.key_layout)]
    for bad in (torch.nan, torch.inf):
        spoilt = {}
        for name, mask in (("q", masks[0]), ("k", masks[1]), ("v", masks[1])):
            spoilt[name] = x.leaves[name].detach().clone()
            spoilt[name][mask.nonzero()[::2, 0]] = bad
        after = results(run, case.attention, x.but(**spoilt))
        most = budget(case, sizes, torch.float32)
        for name, mask in (("out", masks[0]), ("d q", masks[0]), ("d k", masks[1]), ("d v", masks[1])):
            gap = distance(before[name][~mask], after[name][~mask])
            assert gap <= 2 * most[name].largest, f"{bad} in set {b} reaches {name} of another"


def empty_rows_are_zero(run: Run, case: Case, sizes: Sequence[int] = SHORT) -> None:
    x = case.inputs(sizes, torch.float32)
    allowed = allowed_pairs(case, x)
    found = results(run, case.attention, x)
    nothing, unseen = ~allowed.any(1), ~allowed.any(0)
    assert (found["out"][nothing] == 0).all(), "a row without keys has an output"
    assert (found["d q"][nothing] == 0).all(), "a row without keys has a gradient"
    unseen = unseen.view(len(unseen), case.key_heads, -1).all(-1)
    assert (found["d k"][unseen] == 0).all(), "a key that nobody sees has a gradient"
    assert (found["d v"][unseen] == 0).all(), "a value that nobody sees has a gradient"
    assert all(each.isfinite().all() for each in found.values()), "something is not finite"


def permuting_vectors_permutes_the_output(run: Run, case: Case, sizes: Sequence[int] = SHORT) -> None:
    """The vectors of each set in another order, with their coordinates and edges, give the same in that order."""
    x = case.inputs(sizes)
    order, key_order = (shuffled(layout) for layout in (x.layout, x.key_layout))
    if x.key_layout is x.layout:
        key_order = order
    layout = permuted(x.layout, order)
    key_layout = layout if x.key_layout is x.layout else permuted(x.key_layout, key_order)
    other = Inputs(layout, key_layout, x.q[order], x.k[key_order], x.v[key_order], x.parameters)
    close(
        {"out": run(case.attention, other, None).detach()}, {"out": run(case.attention, x, None).detach()[order]}
    )  # fmt: skip


def shuffled(layout: Layout) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    bounds = zip(layout.offsets[:-1].tolist(), layout.offsets[1:].tolist(), strict=True)
    return torch.cat([torch.randperm(end - begin, generator=generator) + begin for begin, end in bounds])


def permuted(layout: Layout, order: Tensor) -> Layout:
    coords = None if layout.coords is None else layout.coords[order]
    edges = None if layout.edges is None else order.argsort()[layout.edges]
    return Layout(layout.offsets, coords, edges, layout.edge_values)


def repeats_itself(run: Run, case: Case) -> None:
    """Two runs are bit-identical, at a size at which torch shares the work between threads."""
    x = case.inputs((96, 3), torch.float32)
    dropout = Dropout(0.1, seed=5)
    first, second = (results(run, case.attention, x, dropout) for _ in range(2))
    for name in first:
        assert torch.equal(first[name], second[name]), f"{name} differs between two runs"


def gradients_are_those_of_the_output(run: Run, case: Case) -> None:
    x = case.inputs((2, 0, 3))
    names = list(x.leaves)

    def function(*leaves: Tensor) -> Tensor:
        given = dict(zip(names, leaves, strict=True))
        q, k, v = (given.pop(name) for name in "qkv")
        return run(case.attention, Inputs(x.layout, x.key_layout, q, k, v, given), None)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        right = torch.autograd.gradcheck(function, tuple(x.leaves.values()), fast_mode=True, raise_exception=False)
    assert right, "the gradients are not those of the output"
