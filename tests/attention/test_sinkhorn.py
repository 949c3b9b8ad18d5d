"""Blocks sorted by a soft permutation: held to loops over single blocks, to full attention, and to a permutation that is known."""

import pytest
import torch

from regard import Attention, InputError, Layout, attend, plan
from regard.attention import Sinkhorn, SortCut, parse
from regard.attention.adapters.sorting import Sorting, permutation
from regard.attention.dropout import Dropout
from regard.attention.reference import reference
from regard.attention.spec.biases import ALiBi
from regard.attention.spec.normalizers import Relu
from regard.attention.spec.patterns import Causal, Window
from regard.attention.spec.scores import Additive, Synthesized
from regard.layers.attention import SelfAttention
from regard.layers.positions import Rotary
from regard.sets import VectorSets

from . import checks
from .calls import as_called, spoils_its_own_set_alone
from .catalogue import Case, Inputs
from .checks import EXACT, close, results

CAUSAL = Attention(pattern=Causal())
ADAPTERS = [
    Sinkhorn(size=4),
    Sinkhorn(CAUSAL, size=4),
    Sinkhorn(size=5, blocks=30, temperature=2.0, steps=3),
    Sinkhorn(CAUSAL, size=3, blocks=50, steps=1),
    Sinkhorn(Attention(score=Additive(), normalizer=Relu()), size=64),
    SortCut(size=4),
    SortCut(Attention(score=Additive()), size=6, blocks=25, first=3),
]
CASES = [Case(adapter, e=5, key_heads=2 if n % 2 else 4) for n, adapter in enumerate(ADAPTERS)]
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def sorting_matrix(adapter: Sinkhorn, k: torch.Tensor, hidden: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """P of one head of one set, entry by entry."""
    size, causal = adapter.size, adapter.causal
    blocks = k.split(size)
    number = len(blocks)
    logits = []
    for i in range(number):
        asking = k[: i * size + 1].sum(0) if causal else blocks[i].sum(0)
        answer = (asking @ hidden).relu() @ out
        if adapter.blocks is None:
            answer = torch.stack([answer @ block.sum(0) / (size * k.shape[1] ** 0.5) for block in blocks])
        logits.append(list(answer[:number] / adapter.temperature))
    there = [[not causal or j < i for j in range(number)] for i in range(number)]
    for _ in range(adapter.steps):
        for i in range(number):
            own = [logits[i][j] for j in range(number) if there[i][j]]
            if own:
                total = torch.stack(own).logsumexp(0)
                logits[i] = [x - total for x in logits[i]]
        before = [list(row) for row in logits]
        for i in range(number):
            for j in range(number):
                column = [before[n][j] for n in range(i + 1 if causal else number) if there[n][j]]
                if there[i][j]:
                    logits[i][j] = before[i][j] - torch.stack(column).logsumexp(0)
    nothing = k.new_zeros(())
    return torch.stack(
        [torch.stack([logits[i][j].exp() if there[i][j] else nothing for j in range(number)]) for i in range(number)]
    )


def sorted_block(p: torch.Tensor, blocks: tuple[torch.Tensor, ...], longest: int) -> torch.Tensor:
    """One row of P times blocks, place by place; what a block lacks is shared out among the others."""
    rows = []
    for place in range(longest):
        having = [j for j, block in enumerate(blocks) if len(block) > place]
        part = sum(p[j] * blocks[j][place] for j in having)
        if len(having) < len(blocks) and float(p.detach().sum()):
            part = part * p.sum() / sum(p[j] for j in having)
        rows.append(part)
    return torch.stack(rows)


def by_loops(adapter: Sinkhorn, x: Inputs, dropout: Dropout | None = None) -> torch.Tensor:
    heads, causal, cut = x.q.shape[1], adapter.causal, isinstance(adapter, SortCut)
    keys, values = (y.repeat_interleave(heads // y.shape[1], 1) for y in (x.k, x.v))
    learned = {name: x.parameters[name] for name in adapter.attention.parameters(heads, x.q.shape[2])}
    spec, out = Attention(adapter.attention.score, normalizer=adapter.attention.normalizer), []
    for head in range(heads):
        total = 0 * values[:, head] + sum(0 * y.sum() for y in x.parameters.values())
        for begin, end in zip(x.layout.offsets[:-1].tolist(), x.layout.offsets[1:].tolist(), strict=True):
            if begin == end:
                continue
            k, v = keys[begin:end, head], values[begin:end, head]
            p = sorting_matrix(adapter, k, *(x.parameters[name][head] for name in ("sort_hidden", "sort_out")))
            blocks, longest = (k.split(adapter.size), v.split(adapter.size)), min(adapter.size, end - begin)
            mixed = [[sorted_block(row, parts, longest) for row in p] for parts in blocks]
            for i in range(end - begin):
                n = i // adapter.size
                if cut:
                    seen = [torch.cat(parts[: adapter.first]) for parts in mixed]
                else:
                    own = i % adapter.size + 1 if causal else adapter.size
                    others = [parts[n][:0] if causal and n == 0 else parts[n] for parts in mixed]
                    seen = [torch.cat([other, part[n][:own]]) for other, part in zip(others, blocks, strict=True)]
                one, many = Layout.of_lengths([1]), Layout.of_lengths([len(seen[0])])
                q, parameters = x.q[begin + i, head][None, None], {name: y[head, None] for name, y in learned.items()}
                found = reference(spec, q, seen[0][:, None], seen[1][:, None], one, many, parameters)
                total = total.index_add(0, torch.tensor([begin + i]), found[:, 0])
        out.append(total)
    return torch.stack(out, 1)


@each_case
def test_equals_loops(case):
    # Of one length with whole blocks alone, nothing is gathered.
    even = (3 * min(case.attention.size, 6),) * 2
    for sizes in ((0,), (1,), (2,), (0, 13, 1, 22, 12), even):
        x = case.inputs(sizes)
        close(results(as_called, case.attention, x), results(by_loops, case.attention, x), 1e-9)


@pytest.mark.parametrize("adapter", [Sinkhorn(size=40), Sinkhorn(CAUSAL, size=40), SortCut(size=40, first=1)], ids=repr)
def test_one_block_is_full_attention(adapter):
    x = Case(adapter).inputs((30, 0, 2, 40))
    assert torch.allclose(as_called(adapter, x), attend(adapter.attention, x.q, x.k, x.v, x.layout), atol=EXACT)


def test_values_are_sorted_as_keys_are_and_are_no_keys():
    """With logits far apart P is a permutation: here it moves each block to the next."""
    adapter = Sinkhorn(size=3, blocks=4, temperature=0.001)
    torch.manual_seed(0)
    k, q, v = (torch.randn(12, 1, 4, dtype=torch.float64) for _ in range(3))
    k = k - k.view(4, 3, 1, 4).mean(1).repeat_interleave(3, 0) + torch.eye(4)[:, None].repeat_interleave(3, 0)
    turn = torch.eye(4, dtype=torch.float64).roll(1, 1)[None]
    parameters = {"sort_hidden": torch.eye(4, dtype=torch.float64)[None], "sort_out": turn}
    out = attend(adapter, q, k, v, Layout.of_lengths([12]), None, parameters)
    own, other = torch.arange(12) // 3, (torch.arange(12) // 3 + 1) % 4
    allowed = (own[:, None] == own) | (other[:, None] == own)
    a = (q[:, 0] @ k[:, 0].T / 2).masked_fill(~allowed, -torch.inf).softmax(-1)
    assert torch.allclose(out[:, 0], a @ v[:, 0], atol=EXACT)
    both = SortCut(size=3, blocks=4, temperature=0.001, first=4)
    out = attend(both, q, k, v, Layout.of_lengths([12]), None, parameters)
    assert torch.allclose(out, attend(Attention(), q, k, v, Layout.of_lengths([12])), atol=EXACT)


def test_rows_and_columns_come_to_the_sum_one():
    logits = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    p = permutation(logits, Sorting(60, 1.0, False, True)).exp()
    assert torch.allclose(p.sum(-1), torch.ones(2, 3, 6, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(p.sum(-2), torch.ones(2, 3, 6, dtype=torch.float64), atol=1e-6)
    causal = permutation(logits, Sorting(8, 1.0, True, True)).exp()
    assert (causal.triu() == 0).all()
    assert torch.equal(causal[..., :4, :4], permutation(logits[..., :4, :4], Sorting(8, 1.0, True, True)).exp())


@pytest.mark.parametrize("adapter", [ADAPTERS[1], ADAPTERS[3]], ids=repr)
def test_later_vectors_change_nothing(adapter):
    x = Case(adapter, e=5).inputs((30,))
    out = as_called(adapter, x)
    for place in (1, 4, 11, 12, 22):
        leaves = {name: x.leaves[name].detach().clone() for name in "qkv"}
        for leaf in leaves.values():
            leaf[place:] = torch.randn_like(leaf[place:])
        assert torch.allclose(as_called(adapter, x.but(**leaves))[:place], out[:place], atol=EXACT)


@each_case
@pytest.mark.parametrize(
    "check", [checks.packed_equals_alone, checks.gradients_are_those_of_the_output], ids=lambda check: check.__name__
)
def test_passes_what_executors_pass(case, check):
    check(as_called, case)


@each_case
def test_gradients_over_several_blocks(case):
    x = case.inputs((11,))
    names = list(x.leaves)

    def run(*leaves):
        given = dict(zip(names, leaves, strict=True))
        q, k, v = (given.pop(name) for name in "qkv")
        return as_called(case.attention, Inputs(x.layout, x.layout, q, k, v, given))

    assert torch.autograd.gradcheck(run, tuple(x.leaves.values()), fast_mode=True)


@each_case
def test_a_vector_that_is_no_number_spoils_its_own_set_alone(case):
    spoils_its_own_set_alone(case)


@each_case
def test_rows_in_another_order(case):
    x = case.inputs((20, 5))
    order = torch.cat([torch.randperm(20), 20 + torch.randperm(5)])
    layout = Layout(x.layout.offsets, places=x.layout.index[order])
    moved = Inputs(layout, layout, x.q[order], x.k[order], x.v[order], x.parameters)
    assert torch.allclose(as_called(case.attention, moved), as_called(case.attention, x)[order], atol=EXACT)


def test_logits_far_apart_stay_numbers():
    for adapter in (Sinkhorn(size=4, temperature=1e-6), Sinkhorn(CAUSAL, size=4, temperature=1e-6)):
        found = results(as_called, adapter, Case(adapter).inputs((22, 9), torch.float32))
        assert all(x.isfinite().all() for name, x in found.items() if not name.startswith("d "))


def test_drops_the_same_again():
    x, dropout = CASES[0].inputs((30, 1)), Dropout(0.4, seed=12345678901)
    once, again = (as_called(ADAPTERS[0], x, dropout) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, as_called(ADAPTERS[0], x, Dropout(0.4, seed=3)))


@pytest.mark.parametrize(
    "adapter", [Sinkhorn(size=4), Sinkhorn(CAUSAL, size=4, blocks=3), SortCut(size=4, first=1)], ids=repr
)
def test_layers_learn_through_it(adapter):
    torch.manual_seed(0)
    sets = VectorSets.pack([torch.randn(11, 8), torch.randn(0, 8), torch.randn(3, 8)])
    layer = SelfAttention(8, 2, adapter, rotation=Rotary())
    layer(sets).values.square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in layer.parameters())


def test_pairs_are_two_blocks_for_each_vector():
    assert plan(Sinkhorn(size=50), Layout.of_lengths([1000]), heads=2, d=8).pairs == 2 * 1000 * 100
    assert plan(Sinkhorn(CAUSAL, size=50), Layout.of_lengths([1000]), heads=2, d=8).pairs == 2 * (
        950 * 50 + 20 * 50 * 51 // 2
    )
    assert plan(SortCut(size=50, first=3), Layout.of_lengths([1000]), heads=2, d=8).pairs == 2 * 1000 * 150
    assert plan(SortCut(size=50, first=3), Layout.of_lengths([70, 20, 0]), heads=1, d=8).pairs == 70 * 100 + 20 * 20


@each_case
def test_compiled_code_computes_it(case):
    torch._dynamo.reset()  # Torch compiles one function anew only so many times.
    x = case.inputs((9, 20))
    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    plain = Inputs(x.layout, x.layout, *(leaf.detach() for leaf in (x.q, x.k, x.v)), x.parameters)
    run = lambda adapter, x, _: compiled(adapter, x.q, x.k, x.v, x.layout, None, x.parameters)  # noqa: E731
    close(results(run, case.attention, plain), results(as_called, case.attention, x))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Sinkhorn(size=0), "Sinkhorn has size 0, expected at least 1"),
        (lambda: Sinkhorn(temperature=0.0), "Sinkhorn has temperature 0.0, expected"),
        (lambda: SortCut(first=0), "SortCut has first 0, expected at least 1"),
        (lambda: SortCut(CAUSAL), r"SortCut has pattern Causal\(\), expected Everyone\(\): the first sorted blocks"),
        (lambda: Sinkhorn(Attention(pattern=Window(2, 2))), r"Sinkhorn has pattern Window\(.*, expected Everyone"),
        (lambda: Sinkhorn(Attention(bias=ALiBi())), r"Sinkhorn has bias ALiBi\(\), expected none"),
        (lambda: Sinkhorn(Attention(score=Synthesized(9))), "expected one that reads queries and keys alone"),
    ],
)
def test_what_cannot_be_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_calls_that_cannot_be_are_refused():
    x, layout = torch.ones(9, 2, 2), Layout.of_lengths([9])
    with pytest.raises(InputError, match="expected queries and keys of the same layout"):
        plan(Sinkhorn(), layout, key_layout=Layout.of_lengths([9]))
    with pytest.raises(InputError, match="a set has 9 vectors in 5 blocks, expected at most 4 for Sinkhorn"):
        plan(Sinkhorn(size=2, blocks=4), layout)
    with pytest.raises(InputError, match=r"the parameter 'sort_hidden' of Sinkhorn\(\) is missing"):
        attend(Sinkhorn(), x, x, x, layout)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
def test_it_is_its_text(adapter):
    assert parse(repr(adapter)) == adapter
    shapes = adapter.parameters(4, 8, 6)
    assert shapes["sort_hidden"] == (4, 8, 8)
    assert shapes["sort_out"] == (4, 8, adapter.blocks or 8)
