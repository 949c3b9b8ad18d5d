"""Clusters that follow the vectors: held to loops over single clusters, and to full attention."""

import pytest
import torch
from torch.nn.functional import normalize

from regard import Attention, InputError, Layout, attend, plan
from regard.attention import Routing, parse
from regard.attention.adapters.folding import of_unit_length
from regard.attention.dropout import Dropout
from regard.attention.problem import Tensors
from regard.attention.reference import reference
from regard.attention.spec.biases import ALiBi
from regard.attention.spec.normalizers import Relu
from regard.attention.spec.patterns import Causal, First, Near, RandomBlocks, Window
from regard.attention.spec.scores import Additive
from regard.layers.attention import Attend, SelfAttention
from regard.layers.positions import Rotary
from regard.sets import VectorSets

from . import checks
from .calls import as_called, spoils_its_own_set_alone
from .catalogue import SHORT, Case, Inputs
from .checks import EXACT, close, results

CAUSAL = Attention(pattern=Causal())
ADAPTERS = [
    Routing(clusters=3),
    Routing(CAUSAL, clusters=3),
    Routing(clusters=2, size=4),
    Routing(CAUSAL, clusters=4, size=5, local=Window(2, 0) | First(1)),
    Routing(Attention(normalizer=Relu()), clusters=30, local=Window(1, 1)),
]
CASES = [Case(adapter, e=5, key_heads=2 if n % 2 == 0 else 4) for n, adapter in enumerate(ADAPTERS)]
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def by_loops(adapter: Routing, x: Inputs, dropout: Dropout | None = None) -> torch.Tensor:
    """Set by set, head by head, cluster by cluster."""
    heads, causal = x.q.shape[1], adapter.attention.pattern == Causal()
    k, v = (y.repeat_interleave(heads // y.shape[1], 1) for y in (x.q if causal else x.k, x.v))
    local = heads // 2 if adapter.local is not None else 0
    out = []
    if local:
        near = Attention(
            normalizer=adapter.attention.normalizer, pattern=adapter.local & Causal() if causal else adapter.local
        )
        out.append(reference(near, x.q[:, :local], k[:, :local], v[:, :local], x.layout, x.layout, {}))
    for head in range(local, heads):
        total, times = 0 * v[:, head] + 0 * x.parameters["centroids"].sum(), torch.zeros(len(x.q), 1)
        for begin, end in zip(x.layout.offsets[:-1].tolist(), x.layout.offsets[1:].tolist(), strict=True):
            number = end - begin
            size = -(-number // adapter.clusters) if adapter.size is None else min(adapter.size, number)
            for centroid in x.parameters["centroids"][head - local] if number else ():
                picks = []
                for y in (x.q, k):
                    near = (of_unit_length(y[begin:end, head].detach()) @ centroid.detach()).tolist()
                    picks.append(sorted(sorted(range(number), key=lambda i, near=near: -near[i])[:size]))
                i, j = (torch.tensor(pick) + begin for pick in picks)
                one, two = (Layout(torch.tensor([0, len(pick)]), places=torch.tensor(pick)) for pick in picks)
                part = reference(
                    adapter.attention, x.q[i, head, None], k[j, head, None], v[j, head, None], one, two, {}
                )
                total = total.index_add(0, i, part[:, 0])
                times[i] += 1
        out.append((total / times.clamp(min=1))[:, None])
    return torch.cat(out, 1)


def but_for_centroids(found):
    return {name: x for name, x in found.items() if name != "d centroids"}


@each_case
def test_equals_loops(case):
    for sizes in ((0,), (1,), (2,), (0, 13, 1, 22, 13)):
        x = case.inputs(sizes)
        expected = but_for_centroids(results(by_loops, case.attention, x))
        close(but_for_centroids(results(as_called, case.attention, x)), expected)
        blocks = results(lambda a, x, d: as_called(a, x, d, "blocks"), case.attention, x)
        close(but_for_centroids(blocks), expected)


@pytest.mark.parametrize("size", [None, 40])
def test_one_cluster_of_all_is_full_attention(size):
    for attention in (Attention(), CAUSAL, Attention(normalizer=Relu())):
        adapter = Routing(attention, clusters=1, size=size)
        x = Case(adapter).inputs((30, 0, 2, 17))
        k = x.q if attention == CAUSAL else x.k
        assert torch.allclose(as_called(adapter, x), attend(attention, x.q, k, x.v, x.layout), atol=EXACT)


def test_clusters_that_all_take_everything_give_the_mean_of_the_same():
    adapter = Routing(clusters=5, size=1 << 30)
    x = Case(adapter).inputs((30, 3))
    assert torch.allclose(as_called(adapter, x), attend(Attention(), x.q, x.k, x.v, x.layout), atol=EXACT)


def test_a_vector_in_no_cluster_gives_zero():
    adapter = Routing(clusters=1, size=3)
    x = Case(adapter).inputs((30,))
    out = as_called(adapter, x)
    assert ((out != 0).any(-1).sum(0) == 3).all()


@each_case
@pytest.mark.parametrize("check", [checks.packed_equals_alone], ids=lambda check: check.__name__)
def test_passes_what_executors_pass(case, check):
    check(as_called, case)


@each_case
def test_gradients_are_those_of_the_output(case):
    x = case.inputs((4, 0, 3))
    run = lambda q, k, v: as_called(case.attention, Inputs(x.layout, x.layout, q, k, v, x.parameters))  # noqa: E731
    assert torch.autograd.gradcheck(run, (x.q, x.k, x.v), fast_mode=True)


@each_case
def test_a_vector_that_is_no_number_spoils_its_own_set_alone(case):
    spoils_its_own_set_alone(case)


def test_later_vectors_change_nothing_in_clusters_that_stay():
    adapter = Routing(CAUSAL, clusters=2, size=1 << 30)
    x = Case(adapter).inputs((30,))
    q, v = x.q.detach().clone(), x.v.detach().clone()
    q[20:], v[20:] = 3.0, 7.0
    before, after = as_called(adapter, x), as_called(adapter, x.but(q=q, v=v))
    assert torch.allclose(before[:20], after[:20], atol=EXACT)
    assert not torch.allclose(before[20:], after[20:])


def test_rows_in_another_order():
    case = CASES[3]
    x = case.inputs((20, 5))
    order = torch.cat([torch.randperm(20), 20 + torch.randperm(5)])
    layout = Layout(x.layout.offsets, places=x.layout.index[order])
    moved = Inputs(layout, layout, x.q[order], x.k[order], x.v[order], x.parameters)
    assert torch.allclose(as_called(case.attention, moved), as_called(case.attention, x)[order], atol=EXACT)


def test_drops_anew_for_each_cluster_and_the_same_again():
    x, dropout = CASES[3].inputs((30, 1)), Dropout(0.4, seed=12345678901)
    once, again = (as_called(CASES[3].attention, x, dropout) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, as_called(CASES[3].attention, x, Dropout(0.4, seed=3)))


@pytest.mark.parametrize(
    "adapter", [Routing(clusters=3, decay=0.9), Routing(CAUSAL, clusters=3, decay=0.5, local=Window(1, 0))], ids=repr
)
def test_centroids_move_to_the_mean_of_what_is_nearest(adapter):
    torch.manual_seed(0)
    layer = Attend(adapter, heads=2, d=4)
    assert not list(layer.parameters())
    q, k = torch.randn(12, 2, 4), torch.randn(12, 2, 4)
    layout, before = Layout.of_lengths([12]), layer.centroids.clone()
    expected = before.clone()
    for head, centroids in enumerate(normalize(before, dim=-1)):
        own = head + 2 - len(before)
        seen = normalize(torch.cat([q[:, own]] if adapter.shared else [q[:, own], k[:, own]]), dim=-1)
        nearest = (seen @ centroids.T).argmax(1)
        for n in nearest.unique().tolist():
            mean = seen[nearest == n].mean(0)
            expected[head, n] = normalize(adapter.decay * centroids[n] + (1 - adapter.decay) * mean, dim=0)
    out = layer(q, k, q, layout)
    assert torch.allclose(layer.centroids, expected, atol=1e-6)
    assert torch.equal(out, attend(adapter, q, k, q, layout, None, {"centroids": before}))
    layer.eval()
    layer(q, k, q, layout)
    assert torch.allclose(layer.centroids, expected, atol=1e-6)


def test_layers_learn_through_it_and_keep_their_centroids():
    torch.manual_seed(1)
    sets = VectorSets.pack([torch.randn(11, 8), torch.randn(0, 8), torch.randn(3, 8)])
    for attention, keys in ((Attention(), 1), (CAUSAL, 0)):
        layer = SelfAttention(8, 2, Routing(attention, clusters=2), rotation=Rotary())
        assert layer.project.out_features == 8 * (2 + keys)
        layer(sets).values.square().sum().backward()
        assert all(x.grad is not None and x.grad.abs().max() > 0 for x in layer.parameters())
        other = SelfAttention(8, 2, Routing(attention, clusters=2), rotation=Rotary())
        other.load_state_dict(layer.state_dict())
        assert torch.equal(other.eval()(sets).values, layer.eval()(sets).values)
        assert "attend.centroids" in layer.state_dict()


def test_centroids_find_clumps():
    """Three clumps of vectors: after some steps each has a centroid, and vectors attend within their clump."""
    torch.manual_seed(0)
    clumps = torch.eye(3)[torch.arange(60) % 3][:, None] * 4 + 0.1 * torch.randn(60, 1, 3)
    layer = Attend(Routing(clusters=3, decay=0.8), heads=1, d=3)
    for _ in range(60):
        layer(clumps, clumps, clumps, Layout.of_lengths([60]))
    nearest = (normalize(clumps[:, 0], dim=-1) @ layer.centroids[0].T).argmax(1)
    assert len(nearest.unique()) == 3
    assert torch.allclose(layer.centroids.norm(dim=-1), torch.ones(1, 3))
    out = layer.eval()(clumps, clumps, clumps, Layout.of_lengths([60]))[:, 0]
    assert torch.allclose(out, torch.eye(3)[torch.arange(60) % 3] * 4, atol=0.2)


def test_pairs_grow_with_n_sqrt_n():
    few, many = (plan(Routing(clusters=s), Layout.of_lengths([s * s]), heads=2, d=8) for s in (16, 64))
    assert many.pairs == 64 * few.pairs == 2 * 64 * 64 * 64
    assert "clusters" in str(many)
    both = plan(Routing(CAUSAL, clusters=4, local=Window(2, 0)), Layout.of_lengths([50]), heads=2, d=8)
    assert list(both.plans) == ["clusters, of a head that has some", "local, of a head that is"]


def test_compiled_code_computes_it():
    case = CASES[3]
    x = case.inputs((9, 20))
    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    leaves = [x.but().leaves[name] for name in "qkv"]
    out = compiled(case.attention, *leaves, x.layout, None, {"centroids": x.parameters["centroids"].detach()})
    assert torch.allclose(out, as_called(case.attention, x), atol=EXACT)
    out.sum().backward()
    assert all(leaf.grad is not None for leaf in leaves[::2])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Routing(clusters=0), "Routing has clusters 0, expected at least 1"),
        (lambda: Routing(decay=1.5), "Routing has decay 1.5, expected"),
        (lambda: Routing(local=3), "Routing has local 3, expected None or one pattern"),
        (lambda: Routing(local=RandomBlocks(1, 2)), "Routing has local RandomBlocks"),
        (
            lambda: Routing(Attention(pattern=Window(2, 2))),
            r"Routing has pattern Window\(.*, expected Everyone\(\) or Causal",
        ),
        (lambda: Routing(Attention(bias=ALiBi())), r"Routing has bias ALiBi\(\), expected none"),
        (lambda: Routing(Attention(score=Additive())), r"Routing has score Additive\(\), expected one without learned"),
        (lambda: Routing(local=Window(1, 1)).parameters(3, 4), "there are 3 heads, expected an even number"),
    ],
)
def test_what_cannot_be_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_calls_that_cannot_be_are_refused():
    x, layout = torch.ones(4, 2, 2), Layout.of_lengths([4])
    centroids = {"centroids": torch.ones(2, 8, 2)}
    with pytest.raises(InputError, match="expected queries and keys of the same layout"):
        attend(Routing(), x, x, x, layout, Layout.of_lengths([4]), centroids)
    with pytest.raises(InputError, match=r"the parameter 'centroids' of Routing\(\) is missing"):
        attend(Routing(), x, x, x, layout)
    with pytest.raises(InputError, match="the sets have 0 coordinates"):
        attend(Routing(local=Near(1)), x, x, x, layout, None, {"centroids": torch.ones(1, 8, 2)})


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
def test_it_is_its_text(adapter):
    assert parse(repr(adapter)) == adapter
    assert adapter.averages == tuple(adapter.parameters(4, 8, 6)) == ("centroids",)


@each_case
def test_what_is_shown_is_what_is_computed(case):
    x = case.inputs(SHORT)

    def verb(attention, tensors, layout, key_layout=None, dropout=None):
        return attend(attention, tensors.q, tensors.k, tensors.v, layout, key_layout)

    shown = case.attention.by_pairs(verb, Tensors(x.q, x.k, x.v, x.parameters), x.layout, x.layout)
    assert torch.allclose(shown, as_called(case.attention, x), atol=EXACT)
