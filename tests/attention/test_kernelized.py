"""Linear attention in linear time: batches, chunks and pieces of every kind."""

from dataclasses import dataclass, replace

import pytest
import torch

from benchmarks.measure import Contestant, peak_memory
from regard import Attention, InputError, Layout, attend, plan
from regard.attention.executors.linear import executor as kernelized
from regard.attention.problem import USUAL, Problem
from regard.attention.spec.feature_maps import Elu, Favor
from regard.attention.spec.normalizers import Sum
from regard.attention.spec.patterns import Causal, Everyone, Window
from regard.attention.spec.scores import Dot, Kernel

from . import checks
from .catalogue import Case, Inputs


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass(frozen=True, repr=False)
class Unknown(Elu):
    """The same features under a name that no kernel knows, so that torch's operators compute them."""


@dataclass(frozen=True, repr=False)
class UnknownFavor(Favor):
    """The same of random features."""


FAVOR, UNKNOWN_FAVOR = (Kernel(kind(features=12, seed=3)) for kind in (Favor, UnknownFavor))
LINEAR = Attention(score=Kernel(), normalizer=Sum())
CAUSAL = replace(LINEAR, pattern=Causal())
CASES = [
    Case(LINEAR),
    Case(CAUSAL),
    Case(replace(LINEAR, score=FAVOR), key_heads=2, e=5),
    Case(replace(CAUSAL, score=FAVOR), key_heads=2, e=5),
    Case(LINEAR, cross=True),
    Case(LINEAR, key_heads=1, continued=True),
]
CASES += [
    replace(
        case,
        attention=replace(case.attention, score=UNKNOWN_FAVOR if case.attention.score == FAVOR else Kernel(Unknown())),
    )
    for case in CASES
]
# Alone and beside others, on and off the borders of chunks and pieces, nearly alike and not at all.
SIZES = (
    (0,),
    (1,),
    (4,),
    (5,),
    (8,),
    (64,),
    (65,),
    (8, 8, 8),
    (9, 8, 9),
    (33, 31, 0, 32, 3),
    (100, 1, 2, 3, 17, 16, 90),
)
run = checks.executor("kernelized")


def run_in(chunk: int, piece: int) -> checks.Run:
    return checks.executor("kernelized", USUAL._replace(rows=chunk, linear=piece))


# Chunks and pieces, which are parts where kernels serve.
small = pytest.mark.parametrize("run", [run_in(4, 8), run_in(4, 64), run_in(16, 32)], ids=["4, 8", "4, 64", "16, 32"])


@small
@pytest.mark.parametrize("case", CASES, ids=str)
def test_chunks_and_pieces_are_the_meaning(case, run):
    for sizes in SIZES:
        checks.close(checks.results(run, case.attention, case.inputs(sizes)), checks.truth(case, sizes))
    checks.equals_the_meaning(run, case, SIZES[-1])
    checks.equals_the_meaning(run, case, SIZES[-1], torch.bfloat16)


@small
@pytest.mark.parametrize("case", CASES, ids=str)
def test_sets_stay_apart_in_chunks_and_pieces(case, run):
    checks.packed_equals_alone(run, case)
    checks.forbidden_keys_change_nothing(run, case)
    checks.spoils_only_its_own_set(run, case)
    checks.empty_rows_are_zero(run, case)


@pytest.mark.unpoisoned
@pytest.mark.parametrize("attention", [LINEAR, CAUSAL])
def test_repeats_itself(attention, two_threads):
    x = Case(attention, heads=2, key_heads=2, d=32, e=32).inputs((3000, 65, 20, 20), torch.float32)
    first, second = (checks.results(run, attention, x) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_sums_do_not_depend_on_threads(threads, two_threads):
    x = Case(LINEAR, heads=2, key_heads=1, d=20, e=9).inputs((5000, 90), torch.float32)
    wanted = checks.results(run, LINEAR, x)
    torch.set_num_threads(threads)
    found = checks.results(run, LINEAR, x)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shift", [-60.0, -30.0, 0.0, 1e4])
def test_features_far_from_zero_keep_their_digits(dtype, shift):
    """All keys and queries lie there: what is lost of an exponential is not hidden by larger ones."""
    layout = Layout.of_lengths([150])
    q, k, v = (torch.randn(150, 2, 6, dtype=torch.float64).to(dtype) for _ in range(3))
    q, k = q + shift / 4, k + shift
    truth = checks.the_meaning(LINEAR, Inputs(layout, layout, q.double(), k.double(), v.double(), {}), None)
    found = attend(LINEAR, q, k, v, layout, executor="kernelized")
    assert (found - truth).abs().max() < 30 * torch.finfo(dtype).eps * truth.abs().max()


@pytest.mark.parametrize("scale", [0.01, 1.0, 4.0])
@pytest.mark.parametrize("attention", [LINEAR, CAUSAL], ids=str)
def test_random_features_are_as_exact_in_kernels_as_by_operators(attention, scale):
    layout = Layout.of_lengths([150, 70])
    q, k, v = (normal(220, 2, 20, seed=n) for n in range(3))
    q, k = q * scale, k * scale
    wanted, *found = (
        attend(
            replace(attention, score=Kernel(kind(40))), *(x.to(dtype) for x in (q, k, v)), layout, executor="kernelized"
        )
        for kind, dtype in ((UnknownFavor, torch.float64), (Favor, torch.float32), (UnknownFavor, torch.float32))
    )
    ours, theirs = ((x - wanted).abs().max() for x in found)
    assert ours < 3 * theirs + 1e-6


def test_keys_too_long_for_any_feature_give_zeros():
    q, v = (normal(70, 1, 4, seed=n).requires_grad_() for n in range(2))
    k = torch.full((70, 1, 4), 1e3, dtype=torch.float64, requires_grad=True)
    for attention in (LINEAR, CAUSAL):
        out = attend(replace(attention, score=FAVOR), q, k, v, Layout.of_lengths([67, 3]), executor="kernelized")
        assert (out == 0).all()
        assert all((gradient == 0).all() for gradient in torch.autograd.grad(out.sum(), (q, k, v)))


def test_inputs_that_are_not_contiguous():
    x = Case(CAUSAL).inputs((70, 3), torch.float32)
    q, k, v = (each.detach().transpose(0, 1).contiguous().transpose(0, 1) for each in (x.q, x.k, x.v))
    out = attend(CAUSAL, q, k, v, x.layout, executor="kernelized")
    assert torch.equal(out, attend(CAUSAL, x.q, x.k, x.v, x.layout, executor="kernelized"))


def test_scores_that_are_all_zero_give_zeros():
    q = torch.full((70, 1, 4), -200.0, requires_grad=True)
    k, v = (torch.ones(70, 1, 4, requires_grad=True) for _ in range(2))
    for attention in (LINEAR, CAUSAL):
        out = attend(attention, q, k, v, Layout.of_lengths([67, 3]), executor="kernelized")
        assert (out == 0).all()
        assert all((gradient == 0).all() for gradient in torch.autograd.grad(out.sum(), (q, k, v)))


def test_long_sets_are_chosen_and_all_else_is_refused_in_a_sentence():
    layout = Layout.of_lengths([5000, 3])
    for attention in (LINEAR, CAUSAL):
        assert plan(attention, layout, heads=8).executor == "kernelized"
    later = Layout(layout.offsets, starts=torch.tensor([2, 0]))
    for attention, options, sentence in (
        (Attention(score=Dot()), {}, "it computes the score Kernel, not Dot()"),
        (replace(LINEAR, pattern=Window(1, 1)), {}, "its sums run over Everyone or Causal for all heads, not Window"),
        (replace(LINEAR, pattern=(Causal(), Everyone())), {"heads": 2}, "for all heads, not (Causal(), Everyone())"),
        (LINEAR, {"dropout": 0.1}, "dropout falls on the weight of each pair"),
        (CAUSAL, {"key_layout": Layout(layout.offsets)}, "expected queries and keys of the same layout"),
    ):
        with pytest.raises(InputError) as refusal:
            plan(attention, layout, executor="kernelized", **options)
        assert sentence in str(refusal.value)
    with pytest.raises(InputError, match="from its start on"):
        plan(CAUSAL, later, executor="kernelized")
    assert plan(replace(LINEAR, score=Kernel(Elu())), later).executor == "kernelized"


@pytest.mark.unpoisoned
@pytest.mark.parametrize("phi", [Elu(), Favor(features=96)], ids=repr)
@pytest.mark.parametrize("pattern", [Everyone(), Causal()], ids=repr)
def test_memory_is_foretold(phi, pattern):
    """The output's gradient counts, and what the gradient of random features holds."""
    attention, layout = Attention(score=Kernel(phi), normalizer=Sum(), pattern=pattern), Layout.of_lengths([3000])
    q, k, v = (torch.randn(3000, 8, 32).requires_grad_() for _ in range(3))
    problem = Problem(attention, layout, layout, 8, 8, 32, 32, torch.float32)
    most = peak_memory(Contestant(lambda: attend(attention, q, k, v, layout, executor="kernelized"), (q, k, v)))
    assert 0.9 < kernelized.memory(problem) / most < 1.1


def test_other_executors_are_thought_to_read_every_feature():
    """A score of many features is a long product: what computes every pair takes in proportion as long, and is not chosen."""
    layout = Layout.of_lengths([700])
    few, many = (
        plan(Attention(score=Kernel(Favor(features=n)), normalizer=Sum()), layout, heads=2, d=8).seconds
        for n in (32, 3200)
    )
    assert many["edges"] > 20 * few["edges"]
    assert all(many[name] > 1.5 * few[name] for name in ("dense", "blocks"))
