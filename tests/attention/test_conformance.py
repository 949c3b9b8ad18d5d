"""Every executor means the same: one catalogue, one list of checks, and executors broken on purpose that the checks must catch."""

from collections import Counter

import pytest
import torch

from regard.attention.pairs.pairs import Pairs
from regard.attention.problem import USUAL
from regard.attention.spec.normalizers import Softmax
from regard.attention.verb import attention_weights

from . import checks
from .catalogue import BRIEF, CATALOGUE, FEW, MIXED, SHORT, SMALL, TINY, Case, computed

# One case for each sum whose order threads could change; two threads on a busy machine take their time.
SHARED = list({(type(c.attention.score), c.attention.bias): c for c in CATALOGUE}.values())
ORDERLESS = [case for case in CATALOGUE if not case.has_order]
each_case = pytest.mark.parametrize("case", CATALOGUE, ids=str)


COMPUTED = computed(CATALOGUE)
COMPUTED_WITH_DROPOUT = computed(CATALOGUE, dropout=0.4)


def by_executor(pairs: list[tuple[str, Case]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "case"), pairs, ids=[f"{name} {case}" for name, case in pairs])


each_executor = by_executor(COMPUTED)


def in_tiles(name: str) -> list[checks.Run]:
    """An executor as it is, and in tiles so small that short sets cross them."""
    return [checks.executor(name, tiles) for tiles in (USUAL, SMALL)]


@each_executor
def test_equals_the_meaning(case, name):
    for run in in_tiles(name):
        checks.equals_the_meaning(run, case, MIXED)
    for sizes, tiles in TINY:
        run = checks.executor(name, tiles)
        checks.close(checks.results(run, case.attention, case.inputs(sizes)), checks.truth(case, sizes))
    for sizes in FEW:
        checks.equals_the_meaning_on_few(checks.executor(name), case, sizes)


@each_executor
def test_equals_the_meaning_in_bfloat16(case, name):
    for run in in_tiles(name):
        checks.equals_the_meaning(run, case, MIXED, torch.bfloat16)


@each_executor
def test_packed_equals_alone(case, name):
    for run, sizes in zip(in_tiles(name), (SHORT, BRIEF), strict=True):
        checks.packed_equals_alone(run, case, sizes)


@each_executor
def test_forbidden_keys_change_nothing(case, name):
    for run, sizes in zip(in_tiles(name), (SHORT, BRIEF), strict=True):
        checks.forbidden_keys_change_nothing(run, case, sizes)


@each_executor
def test_spoils_only_its_own_set(case, name):
    for run, sizes in zip(in_tiles(name), (SHORT, BRIEF), strict=True):
        checks.spoils_only_its_own_set(run, case, sizes)


@each_executor
def test_empty_rows_are_zero(case, name):
    for run, sizes in zip(in_tiles(name), (SHORT, BRIEF), strict=True):
        checks.empty_rows_are_zero(run, case, sizes)


@by_executor(COMPUTED_WITH_DROPOUT)
def test_drops_like_the_meaning(case, name):
    for run in in_tiles(name):
        checks.drops_like_the_meaning(run, case)


@by_executor(computed(ORDERLESS))
def test_permuting_vectors_permutes_the_output(case, name):
    for run, sizes in zip(in_tiles(name), (SHORT, BRIEF), strict=True):
        checks.permuting_vectors_permutes_the_output(run, case, sizes)


@each_executor
def test_gradients_are_those_of_the_output(case, name):
    checks.gradients_are_those_of_the_output(checks.executor(name), case)


@pytest.mark.unpoisoned
@by_executor(computed(SHARED, dropout=0.1))
def test_repeats_itself(case, name, two_threads):
    for run in in_tiles(name):
        checks.repeats_itself(run, case)


@each_case
def test_weights_reproduce_the_output(case):
    x = case.inputs(SHORT)
    arguments = (case.attention, x.q, x.k, x.layout, x.key_layout, x.parameters)
    weights = attention_weights(*arguments)
    a = weights.dense()
    allowed = checks.allowed_pairs(case, x)
    assert (a.movedim(0, -1)[~allowed] == 0).all(), "weight where nothing may attend"
    v = x.v.repeat_interleave(case.heads // case.key_heads, 1)
    out = torch.einsum("htu,uhe->the", a, v)
    bias = case.attention.bias
    if bias is not None and bias.has_values:
        every = Pairs(x.layout, x.key_layout, torch.arange(x.layout.total)[:, None], torch.arange(x.key_layout.total))
        out = out + torch.einsum(
            "htu,tuhe->the", a, bias.value_bias(every, x.parameters).expand(-1, -1, case.heads, -1)
        )
    checks.close({"out": out.detach()}, {"out": checks.truth(case, SHORT)["out"]})
    if isinstance(case.attention.normalizer, Softmax):
        sums, some = a.sum(-1).T, allowed.any(1)
        torch.testing.assert_close(sums, some.double())
    rows = torch.tensor([5, 0, 40])
    few = attention_weights(*arguments, rows=rows).dense()
    torch.testing.assert_close(few[:, rows], a[:, rows], rtol=0, atol=checks.EXACT)
    others = torch.ones(x.layout.total, dtype=torch.bool).index_fill(0, rows, False)
    assert (few[:, others] == 0).all()


def test_weights_carry_gradients():
    case = CATALOGUE[0]
    x = case.inputs((4, 3))
    weights = attention_weights(case.attention, x.q, x.k, x.layout, None, x.parameters)
    weights.dense().square().sum().backward()
    assert x.q.grad is not None
    assert x.q.grad.abs().sum() > 0


def test_what_is_not_refused_is_enough():
    """What is refused is not tested: everything by the general executors, many cases by each of the others."""
    cases = Counter(name for name, _ in COMPUTED)
    assert {cases[name] for name in ("dense", "blocks", "edges")} == {len(CATALOGUE)}
    assert cases["fused"] >= 30
    assert cases["additive"] >= 20
    assert cases["kernelized"] >= 10
    assert set(COMPUTED) - set(COMPUTED_WITH_DROPOUT) == {pair for pair in COMPUTED if pair[0] == "kernelized"}


def test_the_catalogue_is_what_it_says():
    assert len(set(CATALOGUE)) == len(CATALOGUE)
    assert len(ORDERLESS) >= 10
    empty = [case for case in CATALOGUE if not checks.allowed_pairs(case, case.inputs(SHORT)).any(1).all()]
    assert len(empty) >= 10, "hardly any row is without keys"
