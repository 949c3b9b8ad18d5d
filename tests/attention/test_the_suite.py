"""The suite is tested: executors broken on purpose, each in a way that has happened to somebody, must fail the check for it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from regard.attention.dropout import Dropout
from regard.attention.executors import dense
from regard.attention.executors.edges import executor as edges
from regard.attention.planning import EXECUTORS
from regard.attention.problem import USUAL
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import Shaw
from regard.attention.spec.patterns import Causal, Edges, Window
from regard.attention.spec.scores import Additive, Dot
from regard.sets import Layout

from . import checks
from .catalogue import CATALOGUE, MIXED, SMALL, Case, Inputs, computed

right = checks.executor("dense")


def across_sets(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Forgets where one set ends and the next begins."""
    layouts = [Layout.of_lengths([layout.total]) for layout in (x.layout, x.key_layout)]
    if x.key_layout is x.layout:
        layouts[1] = layouts[0]
    return right(attention, replace(x, layout=layouts[0], key_layout=layouts[1]), dropout)


def dense_softmax(scores: Tensor, x: Inputs, allowed: Tensor, dim: int) -> Tensor:
    """Attention by one big matrix, `allowed [t, u, h]`; the start of several mistakes below."""
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(dim).masked_fill(~allowed, 0)
    return torch.einsum("tuh,uhe->the", weights, x.v)


def scores_of(x: Inputs) -> Tensor:
    return torch.einsum("thd,uhd->tuh", x.q, x.k) * x.q.shape[-1] ** -0.5


def over_the_wrong_dimension(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Normalizes over the queries of each key."""
    return dense_softmax(scores_of(x), x, checks.allowed_pairs(Case(attention), x), dim=0)


def transposed_mask(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Takes the pattern for one of (key, query)."""
    return dense_softmax(scores_of(x), x, checks.allowed_pairs(Case(attention), x).transpose(0, 1), dim=1)


def unscaled(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    return right(attention, replace(x, q=x.q * x.q.shape[-1] ** 0.5), dropout)


def adds_what_is_forbidden(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Masks with a large negative number instead of leaving out: a row without keys becomes a mean of forbidden ones."""
    allowed = checks.allowed_pairs(Case(attention), x)
    weights = scores_of(x).masked_fill(~allowed, -1e9).softmax(1)
    return torch.einsum("tuh,uhe->the", weights, x.v)


def multiplies_with_the_mask(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Normalizes over all keys of the set, then strikes out the forbidden ones and scales back."""
    everyone = Case(Attention())
    allowed = checks.allowed_pairs(Case(attention), x)
    weights = scores_of(x).masked_fill(~checks.allowed_pairs(everyone, x), -torch.inf).softmax(1).nan_to_num(0)
    weights = weights * allowed
    return torch.einsum("tuh,uhe->the", weights / (weights.sum(1, keepdim=True) + 1e-9), x.v)


def interleaved_groups(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Lets head h read key head h mod g instead of consecutive heads sharing one."""
    times = x.q.shape[1] // x.k.shape[1]
    return right(attention, replace(x, k=x.k.repeat(1, times, 1), v=x.v.repeat(1, times, 1)), dropout)


def cuts_the_gradient(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    return right(attention, replace(x, k=x.k.detach()), dropout)


def scales_the_gradient(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    return right(attention, replace(x, v=x.v * 2 - x.v.detach()), dropout)


def drops_by_torch(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Takes another mask than the one that the seed says."""
    return right(attention, x, dropout and replace(dropout, seed=dropout.seed + 1))


def forgets_to_drop(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    return right(attention, x, None)


def reads_everything(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Touches every value of the batch, with weight zero."""
    return right(attention, x, dropout) + 0 * x.v.sum()


def leans_on_the_place(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    return right(attention, x, dropout) * (1 + 1e-6 * x.layout.index[:, None, None])


def is_never_the_same(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    return right(attention, x, dropout) + 1e-6 * torch.rand(())


def ignores_value_biases(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    return right(replace(attention, bias=Shaw(radius=2, values=False)), x, dropout)


def rounds(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Computes in half the precision that it was given."""
    low = {name: leaf.bfloat16() for name, leaf in x.leaves.items()}
    q, k, v = (low.pop(name) for name in "qkv")
    return right(attention, replace(x, q=q, k=k, v=v, parameters=low), dropout).to(x.q.dtype)


def meaning(run: checks.Run, case: Case) -> None:
    checks.equals_the_meaning(run, case, MIXED)


def at_old_sizes(run: checks.Run, case: Case) -> None:
    for sizes in ((0,), (1,), (2,), (7,), (63,), (7, 0, 63, 1, 2, 7, 6)):
        checks.equals_the_meaning(run, case, sizes)


def drops_the_last_tile(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """Of sets with full tiles of 64 keys, forgets the keys after the last of them."""
    length = x.key_layout.lengths[x.key_layout.set_of_row]
    lost = (length >= 64) & (x.key_layout.index >= length // 64 * 64)
    allowed = checks.allowed_pairs(Case(attention), x) & ~lost[:, None]
    return dense_softmax(scores_of(x), x, allowed, dim=1)


def loses_a_neighbor_between_tiles(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """The first row of a tile does not see the last key of the tile before."""
    i, j = x.layout.index[:, None], x.key_layout.index
    lost = (i % 64 == 0) & (j == i - 1)
    return dense_softmax(scores_of(x), x, checks.allowed_pairs(Case(attention), x) & ~lost[..., None], dim=1)


def scales_a_small_gradient(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
    """By 2e-5, where the gradient of queries is a thousandth of that of the values."""
    return right(attention, replace(x, q=x.q * (1 + 2e-5) - (x.q * 2e-5).detach()), dropout)


PLAIN = Case(Attention())
FAINT = Case(Attention(score=Dot(scale=1e-3)))
WINDOW = Case(Attention(pattern=Window(2, 0)))
BROKEN = [
    (across_sets, PLAIN, [meaning, checks.packed_equals_alone, checks.spoils_only_its_own_set]),
    (across_sets, Case(Attention(score=Additive(), pattern=Causal())), [meaning, checks.packed_equals_alone]),
    (over_the_wrong_dimension, PLAIN, [meaning]),
    (transposed_mask, WINDOW, [meaning, checks.forbidden_keys_change_nothing]),
    (unscaled, PLAIN, [meaning]),
    (adds_what_is_forbidden, Case(Attention(pattern=Edges())), [meaning, checks.empty_rows_are_zero]),
    (multiplies_with_the_mask, WINDOW, [checks.forbidden_keys_change_nothing]),
    (interleaved_groups, Case(Attention(), key_heads=2), [meaning]),
    (cuts_the_gradient, PLAIN, [meaning, checks.gradients_are_those_of_the_output]),
    (scales_the_gradient, PLAIN, [meaning, checks.gradients_are_those_of_the_output]),
    (drops_by_torch, PLAIN, [checks.drops_like_the_meaning]),
    (forgets_to_drop, PLAIN, [checks.drops_like_the_meaning]),
    (reads_everything, PLAIN, [checks.spoils_only_its_own_set]),
    (leans_on_the_place, PLAIN, [checks.permuting_vectors_permutes_the_output]),
    (is_never_the_same, PLAIN, [checks.repeats_itself]),
    (ignores_value_biases, Case(Attention(bias=Shaw(radius=2))), [meaning]),
    (rounds, PLAIN, [meaning]),
    (drops_the_last_tile, PLAIN, [meaning]),
    (loses_a_neighbor_between_tiles, WINDOW, [meaning]),
    (scales_a_small_gradient, FAINT, [meaning]),
]


@pytest.mark.parametrize(
    ("broken", "case", "check"),
    [(broken, case, check) for broken, case, checks_for_it in BROKEN for check in checks_for_it],
    ids=lambda x: "" if isinstance(x, Case) else x.__name__,
)
def test_a_broken_executor_is_caught(broken, case, check):
    check(right, case)
    with pytest.raises(AssertionError):
        check(broken, case)


@pytest.mark.parametrize(("broken", "case"), [(drops_the_last_tile, PLAIN), (loses_a_neighbor_between_tiles, WINDOW)])
def test_short_sets_do_not_show_what_is_wrong_between_tiles(broken, case):
    at_old_sizes(broken, case)


def test_the_largest_number_of_all_hides_a_small_gradient():
    found = checks.results(scales_a_small_gradient, FAINT.attention, FAINT.inputs(MIXED, torch.float32))
    true = checks.truth(FAINT, MIXED)
    largest = max(float(x.abs().max()) for x in true.values())
    rounding = 2 * torch.finfo(torch.float32).eps * largest
    for name in true:
        assert (
            checks.distance(found[name], true[name])
            <= checks.budget(FAINT, MIXED, torch.float32)[name].largest + rounding
        )


@pytest.mark.parametrize("name", ["blocks", "additive", "fused", "kernelized", "edges"])
def test_small_tiles_are_smaller(name):
    """Asked for small tiles, an executor cuts its work into more pieces."""
    case = next(case for other, case in computed(CATALOGUE) if other == name)
    counted = ("tile batches", "steps", "units", "pieces")
    usual, small = (EXECUTORS[name].work(case.problem(MIXED, tiles=tiles)) for tiles in (USUAL, SMALL))
    if name == "edges":
        parts = [
            edges._compressed(case.problem(MIXED, tiles=t), case.attention.patterns[0]).bounds(64)
            for t in (USUAL, SMALL)
        ]
        assert len(parts[1]) > 2 * len(parts[0])
        return
    assert sum(small.get(key, 0) for key in counted) > sum(usual.get(key, 0) for key in counted)


def test_padding_that_is_not_masked_is_caught(monkeypatch):
    """The vectors that fill up shorter sets are counted as if they were theirs."""
    rows = dense._rows

    def all_real(layout: Layout, sets: Tensor) -> tuple[Tensor, Tensor]:
        each, real = rows(layout, sets)
        return each, torch.ones_like(real)

    case = Case(Attention(score=Additive()))
    meaning(right, case)
    monkeypatch.setattr(dense, "_rows", all_real)
    with pytest.raises(AssertionError):
        meaning(right, case)


def test_memory_that_nobody_wrote_is_caught():
    def forgets_a_row(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
        out = right(attention, x, dropout)
        return torch.cat([out[:-1], torch.empty_like(out[-1:])])

    with pytest.raises(AssertionError, match="not finite"):
        meaning(forgets_a_row, PLAIN)
