"""Locality-sensitive hashing: held to loops over single vectors, to the paper's way to merge rounds, and to full attention."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from regard import Attention, InputError, Layout, attend, plan
from regard.attention import LSH, Axes, parse
from regard.attention.adapters.folding import of_unit_length
from regard.attention.dropout import Dropout
from regard.attention.problem import Tensors
from regard.attention.spec.biases import ALiBi
from regard.attention.spec.normalizers import Sigmoid
from regard.attention.spec.patterns import Causal, Everyone, Window
from regard.attention.spec.scores import Additive, Dot
from regard.kernels.hashing import hashed_normal
from regard.layers.attention import SelfAttention
from regard.layers.positions import Rotary
from regard.sets import VectorSets

from . import checks
from .calls import as_called
from .catalogue import SHORT, Case, Inputs
from .checks import EXACT, close, results

CAUSAL = Attention(pattern=Causal())
ADAPTERS = [
    LSH(chunk=4),
    LSH(CAUSAL, chunk=4, rounds=3),
    LSH(Attention(score=Dot(scale=1.0)), chunk=5, rounds=1, buckets=6),
    LSH(CAUSAL, chunk=3, buckets=2, rounds=4, seed=1 << 40),
    LSH(chunk=64, rounds=2, buckets=1),
]
CASES = [Case(adapter, e=5, key_heads=2 if n == 2 else 4) for n, adapter in enumerate(ADAPTERS)]
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def met(adapter: LSH, q: torch.Tensor, n: int, head: int) -> torch.Tensor:
    """`[t, t]` which pairs of one set meet in round n, one vector after another; of its own with itself too."""
    t, d = q.shape
    buckets = adapter.buckets or (2 * math.ceil(t / adapter.chunk) if t > adapter.chunk else 1)
    seed, hashes = (adapter.seed, adapter.seed >> 32, n, torch.tensor(head)), []
    rotations = [[float(hashed_normal(*seed, row, column)) for column in range(buckets // 2)] for row in range(d)]
    for x in q.tolist():
        rotated = [sum(x[row] * rotations[row][column] for row in range(d)) for column in range(buckets // 2)]
        both = rotated + [-y for y in rotated]
        hashes.append(max(range(len(both)), key=both.__getitem__) if both else 0)
    order = sorted(range(t), key=lambda i: (hashes[i], i))
    chunk = {i: at // adapter.chunk for at, i in enumerate(order)}
    causal = adapter.attention.pattern == Causal()
    return torch.tensor(
        [
            [hashes[i] == hashes[j] and chunk[i] - chunk[j] in (0, 1) and not (causal and j > i) for j in range(t)]
            for i in range(t)
        ]
    ).view(t, t)


def by_loops(adapter: LSH, x: Inputs, dropout: Dropout | None = None) -> torch.Tensor:
    """Softmax over the union of rounds."""
    heads, out = x.q.shape[1], x.v.new_zeros(*x.q.shape[:2], x.v.shape[2]) + 0 * x.v.sum()
    for begin, end in zip(x.layout.offsets[:-1].tolist(), x.layout.offsets[1:].tolist(), strict=True):
        for head in range(heads if end > begin else 0):
            q, v = x.q[begin:end, head], x.v[begin:end, head * x.v.shape[1] // heads]
            allowed = torch.stack([met(adapter, q.detach(), n, head) for n in range(adapter.rounds)]).any(0)
            allowed &= ~torch.eye(end - begin, dtype=torch.bool)
            allowed |= torch.diag(~allowed.any(1))
            s = q @ of_unit_length(q).T * adapter.attention.score.scaling(q.shape[1])
            a = s.masked_fill(~allowed, -torch.inf).softmax(-1)
            if dropout is not None:
                rows = torch.arange(begin, end)
                a = a * dropout.factors(torch.tensor(head), rows[:, None], rows, a.dtype)
            out[begin:end, head] = a @ v
    return out


@each_case
def test_equals_loops(case):
    for sizes in ((0,), (1,), (2,), (0, 13, 1, 22)):
        x = case.inputs(sizes)
        close(results(as_called, case.attention, x), results(by_loops, case.attention, x))


def test_rounds_are_merged_as_the_paper_merges_them():
    """o_i = sum over rounds of exp(z_r - z) o_r, with exp(s_ij) / N_ij in each (Kitaev et al. 2020, appendix A)."""
    adapter = LSH(chunk=6, rounds=4, buckets=4)
    x = Case(adapter, heads=1, key_heads=1).inputs((40,))
    q, v = x.q[:, 0].detach(), x.v[:, 0].detach()
    rounds = torch.stack([met(adapter, q, n, 0) & ~torch.eye(40, dtype=torch.bool) for n in range(4)])
    assert rounds.any(0).any(1).all()
    assert (rounds.sum(0) > 1).any()
    s = q @ of_unit_length(q).T / q.shape[1] ** 0.5 - rounds.sum(0).clamp(min=1).log()
    z = s.expand(4, 40, 40).masked_fill(~rounds, -torch.inf).logsumexp(-1)
    parts = [(s - z[n, :, None]).exp().masked_fill(~rounds[n], 0) @ v for n in range(4)]
    share = (z - z.logsumexp(0)).exp()
    expected = sum(share[n, :, None] * part.nan_to_num() for n, part in enumerate(parts))
    assert torch.allclose(as_called(adapter, x)[:, 0].detach(), expected, atol=EXACT)


@pytest.mark.parametrize("attention", [Attention(), CAUSAL], ids=repr)
@pytest.mark.parametrize("options", [{"chunk": 30}, {"chunk": 200, "buckets": 1, "rounds": 3}], ids=str)
def test_one_bucket_in_one_chunk_is_full_attention_with_shared_queries(attention, options):
    adapter = LSH(attention, **options)
    x = Case(adapter).inputs((30, 2, 17))
    itself = Attention(pattern=attention.pattern & ~Window(0, 0))
    full = attend(itself, x.q, of_unit_length(x.q), x.v, x.layout)
    # What may attend to nothing else attends to itself.
    first = x.layout.index[:, None, None] == 0
    expected = torch.where(first, x.v, full) if attention == CAUSAL else full
    assert torch.allclose(as_called(adapter, x), expected, atol=EXACT)


@each_case
def test_equals_attention_along_the_pairs(case):
    """Pair by pair through the verb, as it is shown."""
    x = case.inputs(SHORT)

    def by_pairs(adapter, x, _):
        def verb(attention, tensors, layout):
            return attend(attention, tensors.q, tensors.k, tensors.v, layout)

        return adapter.by_pairs(verb, Tensors(x.q, x.k, x.v, {}), x.layout, x.layout)

    close(results(by_pairs, case.attention, x), results(as_called, case.attention, x))


@each_case
@pytest.mark.parametrize(
    "check", [checks.packed_equals_alone, checks.gradients_are_those_of_the_output], ids=lambda check: check.__name__
)
def test_passes_what_executors_pass(case, check):
    check(as_called, case)


@each_case
def test_a_vector_that_is_no_number_spoils_its_own_set_alone(case):
    x = case.inputs((9, 14, 5))
    before = results(as_called, case.attention, x)
    for bad in (torch.nan, torch.inf):
        q, v = x.q.detach().clone(), x.v.detach().clone()
        q[9:23:2], v[9:23:2] = bad, bad
        after = results(as_called, case.attention, x.but(q=q, v=v))
        for name in ("out", "d q", "d v"):
            for rows in (slice(0, 9), slice(23, 28)):
                assert torch.equal(before[name][rows], after[name][rows]), name


def test_many_tiles_equal_one(monkeypatch):
    case = CASES[1]
    x = case.inputs((50, 3))
    whole = results(as_called, case.attention, x)
    monkeypatch.setattr("regard.attention.adapters.chunks.AT_ONCE", 1)
    monkeypatch.setattr("regard.attention.adapters.lsh._ROTATED", 1)
    close(results(as_called, case.attention, x), whole)


def test_later_vectors_change_nothing():
    adapter = LSH(CAUSAL, chunk=8, rounds=2, buckets=4)
    x = Case(adapter).inputs((60,))
    out = as_called(adapter, x)
    q, v = x.q.detach().clone(), x.v.detach().clone()
    q[40:], v[40:] = torch.randn(20, 4, 8), 7.0
    # Which chunk a vector is in depends on all vectors, as in the paper; not so with chunks that hold buckets whole.
    whole = LSH(CAUSAL, chunk=60, rounds=2, buckets=4)
    before, after = (as_called(whole, Inputs(x.layout, x.layout, q, q, v, {})) for q, v in ((x.q, x.v), (q, v)))
    assert torch.allclose(before[:40], after[:40], atol=EXACT)
    assert not torch.allclose(before[40:], after[40:])
    assert out.isfinite().all()


def test_keys_that_are_given_are_not_read():
    x = CASES[0].inputs((20,))
    other = Inputs(x.layout, x.layout, x.q, torch.full_like(x.k, torch.nan), x.v, {})
    assert torch.equal(as_called(ADAPTERS[0], x), as_called(ADAPTERS[0], other))


def test_drops_the_weights_that_others_drop():
    for case in CASES[:2]:
        x, dropout = case.inputs((30, 1)), Dropout(0.4, seed=12345678901)
        assert torch.allclose(as_called(case.attention, x, dropout), by_loops(case.attention, x, dropout), atol=EXACT)


def test_rows_in_another_order():
    case = CASES[1]
    x = case.inputs((20, 5))
    order = torch.cat([torch.randperm(20), 20 + torch.randperm(5)])
    layout = Layout(x.layout.offsets, places=x.layout.index[order])
    moved = Inputs(layout, layout, x.q[order], x.k[order], x.v[order], {})
    assert torch.allclose(as_called(case.attention, moved), as_called(case.attention, x)[order], atol=EXACT)


@pytest.mark.unpoisoned
def test_repeats_itself(two_threads):
    checks.repeats_itself(as_called, CASES[0])


def test_in_bfloat16_it_is_near():
    case = CASES[4]
    x, low = case.inputs((70,)), case.inputs((70,), torch.bfloat16)
    assert as_called(case.attention, low).dtype == torch.bfloat16
    assert torch.allclose(as_called(case.attention, low).double(), as_called(case.attention, x), atol=0.05)


def test_far_vectors_fall_into_different_buckets():
    """Of vectors at a right angle, few share a bucket; of a vector and what is near, nearly all do."""
    torch.manual_seed(0)
    near = torch.randn(500, 1, 16)
    both = torch.cat([near, near + 0.02 * torch.randn(500, 1, 16), torch.randn(500, 1, 16)])
    buckets = LSH(buckets=64).hashes(both, Layout.of_lengths([1500]), 0).flatten()
    assert (buckets[:500] == buckets[500:1000]).double().mean() > 0.85
    assert (buckets[:500] == buckets[1000:]).double().mean() < 0.05
    assert len(buckets.unique()) > 56


def test_pairs_grow_with_the_vectors():
    small, large = (plan(LSH(), Layout.of_lengths([n]), heads=2, d=8) for n in (2000, 16_000))
    assert 7 < large.pairs / small.pairs < 9
    assert large.pairs < 2 * 2 * 16_000 * 64
    assert large.memory < 10 * small.memory
    assert str(large).startswith("LSH()\n")
    assert "2 rounds" in str(large)
    assert large.executor.endswith("chunks")
    assert large.flops == large.pairs * 4 * 8


def test_a_layer_with_shared_queries_projects_no_keys():
    layer = SelfAttention(8, 2, LSH(chunk=4), rotation=Rotary())
    assert layer.project.out_features == 16
    sets = VectorSets.pack([torch.randn(11, 8), torch.randn(0, 8), torch.randn(3, 8)])
    layer(sets).values.square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in layer.parameters())
    with pytest.raises(InputError, match=r"there are 1 key heads, expected 2: queries are the keys of LSH\(chunk=4\)"):
        SelfAttention(8, 2, LSH(chunk=4), key_heads=1)
    with pytest.raises(InputError, match="remembers nothing"):
        layer.new_state(1)


def test_compiled_code_computes_it():
    case = CASES[1]
    x = case.inputs((9, 20))
    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    plain = Inputs(x.layout, x.layout, *(leaf.detach() for leaf in (x.q, x.k, x.v)), {})
    run = lambda adapter, x, _: compiled(adapter, x.q, x.k, x.v, x.layout, None, {})  # noqa: E731
    close(results(run, case.attention, plain), results(as_called, case.attention, x))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LSH(buckets=5), "LSH has buckets 5, expected 1 or an even number"),
        (lambda: LSH(chunk=0), "LSH has chunk 0, expected at least 1"),
        (
            lambda: LSH(Attention(pattern=Window(2, 2))),
            r"LSH has pattern Window\(.*, expected Everyone\(\) or Causal\(\)",
        ),
        (lambda: LSH(Attention(pattern=(Causal(), Everyone()))), "LSH has pattern .*, expected Everyone"),
        (lambda: LSH(Attention(bias=ALiBi())), r"LSH has bias ALiBi\(\), expected none"),
        (lambda: LSH(Attention(score=Additive())), r"LSH has score Additive\(\), expected one without learned tensors"),
        (lambda: LSH(Attention(normalizer=Sigmoid())), r"LSH has normalizer Sigmoid\(\), expected Softmax\(\)"),
        (lambda: LSH(Axes()), r"LSH has attention Axes\(\), expected an Attention"),
    ],
)
def test_what_cannot_be_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_calls_that_cannot_be_are_refused():
    x, layout = torch.ones(4, 1, 2), Layout.of_lengths([4])
    with pytest.raises(InputError, match="expected queries and keys of the same layout"):
        attend(LSH(), x, x, x, layout, Layout.of_lengths([4]))
    with pytest.raises(
        InputError, match=r"the executor 'blocks' was asked for, expected none: LSH\(\) computes its chunks"
    ):
        attend(LSH(), x, x, x, layout, executor="blocks")


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
def test_it_is_its_text(adapter):
    assert parse(repr(adapter)) == adapter
    assert adapter.parameters(4, 8, 6) == {}


def test_the_backward_pass_makes_no_whole_gradient_for_each_part(monkeypatch):
    """As many tensors of zeros for all vectors are made whether chunks are computed together or one by one."""

    class Zeros(TorchDispatchMode):
        number = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            if "zeros" in function.__name__ and found.shape == (128, 3):
                Zeros.number += 1
            return found

    x = torch.randn(64, 2, 3, requires_grad=True)
    numbers = []
    for at_once in (1 << 20, 1):
        monkeypatch.setattr("regard.attention.adapters.chunks.AT_ONCE", at_once)
        out = attend(LSH(chunk=4, rounds=2), x, x, x, Layout.of_lengths([64]))
        Zeros.number = 0
        with Zeros():
            out.sum().backward()
        numbers.append(Zeros.number)
    assert numbers[0] == numbers[1] > 0


def test_a_chunk_that_no_set_fills_takes_no_more_memory_than_the_sets():
    x = torch.randn(9, 1, 16)
    layout = Layout.of_lengths([8, 1])
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            sizes.append(out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    with Sizes():
        out = attend(LSH(chunk=1 << 15), x, x, x, layout)
    assert max(sizes) < 1 << 15
    torch.testing.assert_close(out, attend(LSH(chunk=8), x, x, x, layout))
