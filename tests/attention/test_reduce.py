"""Adapters that reduce the keys: at their exact limits they are full attention, and what they cannot do they refuse by name.

That they equal what their papers write, alone and packed, with gradients, is tested with all adapters in `test_adapters`.
"""

import copy
import pickle
from dataclasses import replace

import pytest
import torch

from regard import Attention, InputError, Layout, attend, plan
from regard.attention.adapters.linformer import Linformer
from regard.attention.adapters.memory_compressed import MemoryCompressed
from regard.attention.adapters.nystrom import Nystrom, _pseudo_inverse
from regard.attention.dropout import Dropout
from regard.attention.spec.biases import ALiBi
from regard.attention.spec.normalizers import Sigmoid
from regard.attention.spec.patterns import Causal, Edges, Near, Window
from regard.attention.spec.scores import Additive, Synthesized
from regard.attention.vocabulary import parse
from regard.layers.attention import SelfAttention
from regard.sets import VectorSets

from .catalogue import REDUCED, SHORT, Case
from .checks import EXACT, close, results
from .test_adapters import adapted


def full(attention, x, dropout=None):
    return attend(Attention(), x.q, x.k, x.v, x.layout, x.key_layout)


@pytest.mark.parametrize("case", REDUCED, ids=str)
def test_a_reduction_is_its_text(case):
    adapter = case.attention
    again = parse(repr(adapter))
    assert again == adapter == pickle.loads(pickle.dumps(adapter)) == copy.deepcopy(adapter)
    assert again.text == repr(adapter)
    assert hash(again) == hash(adapter)


@pytest.mark.parametrize("case", [case for case in REDUCED if not (case.cross or case.continued)], ids=str)
def test_rows_in_another_order(case):
    x = case.inputs((20, 0, 5))
    order = torch.cat([torch.randperm(20), 20 + torch.randperm(5)])
    layout = Layout(x.layout.offsets, places=x.layout.index[order])
    out = attend(case.attention, x.q, x.k, x.v, x.layout, parameters=x.parameters)
    moved = attend(case.attention, x.q[order], x.k[order], x.v[order], layout, parameters=x.parameters)
    assert torch.allclose(moved, out[order], atol=EXACT)


@pytest.mark.parametrize("share", ["none", "heads", "values"])
def test_linformer_that_projects_by_the_identity_is_full_attention(share):
    """k = n and E = F = I: every projected key is a key. Sets of fewer vectors would have zeros among their projected keys."""
    n = 9
    adapter = Linformer(longest=n, k=n, share=share)
    x = Case(adapter).inputs((n, 0, n))
    eye = torch.eye(n, dtype=torch.float64)[:, None]
    x.parameters.update({name: eye.expand(table.shape).clone() for name, table in x.parameters.items()})
    found, expected = results(adapted(), adapter, x), results(full, adapter, x.but())
    for name in ("out", "d q", "d k", "d v"):
        assert torch.allclose(found[name], expected[name], atol=EXACT), name


def test_a_shorter_set_uses_the_first_columns_and_no_padding_enters():
    """What is learned for later places, and the length of other sets, changes nothing."""
    adapter = Linformer(longest=30, k=4)
    x = Case(adapter).inputs((12, 30))
    out = attend(adapter, x.q, x.k, x.v, x.layout, parameters=x.parameters)
    cut = {name: table.detach()[:12] for name, table in x.parameters.items()}
    alone = attend(Linformer(longest=12, k=4), x.q[:12], x.k[:12], x.v[:12], Layout.of_lengths([12]), parameters=cut)
    assert torch.allclose(out[:12], alone, atol=EXACT)


@pytest.mark.parametrize(
    "attention", [Attention(), Attention(pattern=Causal(), bias=ALiBi()), Attention(Additive(), Window(3, 2))], ids=repr
)
def test_memory_compressed_of_stride_one_with_the_identity_is_the_attention(attention):
    adapter = MemoryCompressed(attention, rate=1)
    x = Case(adapter).inputs(SHORT)
    eye = torch.eye(8, dtype=torch.float64)
    x.parameters.update({name: eye.expand(4, 1, 8, 8).clone() for name in ("compress_keys", "compress_values")})
    inner = {name: x.parameters[name] for name in attention.parameters(4, 8)}
    plain = replace(x, parameters=inner)
    found, expected = results(adapted(), adapter, x), results(adapted(), attention, plain)
    for name in expected:
        assert torch.allclose(found[name], expected[name], atol=EXACT), name


def test_a_causal_memory_is_compressed_without_what_comes_later():
    """Whatever the length, a vector gets what it got when the set ended with it; those that no whole group precedes get zeros."""
    adapter = MemoryCompressed(Attention(pattern=Causal()))
    x = Case(adapter).inputs((11,))
    whole = attend(adapter, x.q, x.k, x.v, x.layout, parameters=x.parameters)
    assert (whole[:2] == 0).all()
    assert (whole[2:] != 0).all()
    for n in range(1, 11):
        layout = Layout.of_lengths([n])
        part = attend(adapter, x.q[:n], x.k[:n], x.v[:n], layout, parameters=x.parameters)
        assert torch.allclose(part, whole[:n], atol=EXACT)


def test_the_last_group_of_a_set_may_have_fewer_vectors():
    """Seven vectors make three groups; the third is the last vector under the first tap, and no vector of the next set."""
    adapter = MemoryCompressed()
    x = Case(adapter, heads=1, key_heads=1).inputs((7, 2))
    taps = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    taps[0, 0] = torch.eye(8)
    out = attend(adapter, x.q, x.k, x.v, x.layout, parameters={"compress_keys": taps, "compress_values": taps})
    firsts = [0, 3, 6, 7]
    layout = Layout.of_lengths([3, 1])
    assert torch.allclose(out, attend(Attention(), x.q, x.k[firsts], x.v[firsts], x.layout, layout), atol=EXACT)


@pytest.mark.parametrize("landmarks", [12, 40])
def test_nystrom_with_a_landmark_for_every_vector_is_full_attention(landmarks):
    x = Case(Nystrom()).inputs((12, 0, 5))
    found, expected = results(adapted(), Nystrom(landmarks=landmarks), x), results(full, Attention(), x)
    for name in expected:
        assert torch.allclose(found[name], expected[name], atol=EXACT), name


def test_nystrom_is_full_attention_where_all_vectors_of_a_segment_are_the_same():
    """Then nothing is lost by their mean: the estimate is exact, as far as the pseudo-inverse is."""
    case = Case(Nystrom(landmarks=3, iterations=40), heads=1, key_heads=1)
    x = case.inputs((3,))
    q, k, v = (2 * each.detach().repeat_interleave(4, 0) for each in (x.q, x.k, x.v))
    layout = Layout.of_lengths([12])
    assert torch.allclose(attend(case.attention, q, k, v, layout), attend(Attention(), q, k, v, layout), atol=1e-9)


def test_the_iterations_of_nystrom_come_to_the_pseudo_inverse():
    a = torch.rand(3, 2, 7, 7, dtype=torch.float64).softmax(-1)
    assert torch.allclose(_pseudo_inverse(a, 60), torch.linalg.pinv(a), rtol=1e-6)
    # A start for each matrix by itself: that of one does not depend on the others.
    assert torch.allclose(_pseudo_inverse(a, 2)[1:], _pseudo_inverse(a[1:], 2), rtol=0, atol=0)


def test_segments_of_nystrom_differ_by_at_most_one_vector():
    for n in (8, 9, 11, 100):
        made = Nystrom(landmarks=7).made_of(Layout.of_lengths([n]))
        sizes = [len(segment) for segment in made]
        assert sum(sizes) == n
        assert max(sizes) - min(sizes) <= 1
        assert [segment.start for segment in made[1:]] == [segment.stop for segment in made[:-1]]


def test_nystrom_drops_weights_of_queries():
    x = Case(Nystrom()).inputs((40, 9))
    run, adapter, drop = adapted(), Nystrom(landmarks=10), Dropout(0.5, seed=3)
    once, again = (run(adapter, x, drop) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, run(adapter, x, Dropout(0.5, seed=4)))
    gaps = (
        torch.stack([run(adapter, x, Dropout(0.5, seed)) for seed in range(100)]).detach()
        - run(adapter, x, None).detach()
    )
    # Unbiased: the mean of a hundred is about ten times as close as one.
    assert float(gaps.mean(0).abs().mean() / gaps.abs().mean()) < 0.15


def test_the_plan_of_nystrom_has_full_attention_for_short_sets_alone():
    report = plan(Nystrom(landmarks=8), Layout.of_lengths([100, 5, 0, 50]), heads=2)
    assert list(report.plans) == ["full attention", "landmarks to keys", "queries to landmarks"]
    assert report.pairs == 2 * (25 + 2 * 150 * 8)
    assert list(plan(Nystrom(landmarks=8), Layout.of_lengths([100]), heads=2).plans) == list(report.plans)[1:]


@pytest.mark.parametrize("kind", [Linformer, MemoryCompressed, Nystrom])
def test_compiled_code_computes_reductions(kind):
    case = next(case for case in REDUCED if isinstance(case.attention, kind))
    x, compiled = case.inputs(SHORT), torch.compile(attend, backend="aot_eager", fullgraph=True)

    def run(adapter, x, dropout):
        return compiled(adapter, x.q, x.k, x.v, x.layout, None, x.parameters)

    plain = replace(x, **{name: getattr(x, name).detach() for name in "qkv"})
    close(results(run, case.attention, plain), results(adapted(), case.attention, x))


def test_pairs_grow_with_the_vectors():
    pairs = [plan(Linformer(longest=1 << 16, k=32), Layout.of_lengths([n]), heads=2).pairs for n in (1000, 64_000)]
    assert pairs == [2 * 32 * 1000, 2 * 32 * 64_000]


def test_a_layer_begins_with_projected_keys_about_as_large_as_keys():
    torch.manual_seed(0)
    layer = SelfAttention(32, 4, Linformer(longest=1024, k=128))
    learned = layer.attend.learned["project_keys"]
    numbers = learned.detach()
    assert 0.8 < float(numbers.std() * (1024 + 128) ** 0.5 / 2**0.5) < 1.2
    layer(VectorSets.pack([torch.ones(1024, 32), torch.ones(0, 32)])).values.sum().backward()
    assert learned.grad.isfinite().all()


def test_under_autocast_a_reduction_computes_in_the_type_of_the_vectors():
    case = REDUCED[0]
    x = case.inputs(SHORT, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = adapted()(case.attention, x, None)
    assert torch.equal(found, adapted()(case.attention, x, None))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Linformer(longest=0, k=1), "Linformer has longest 0, expected at least 1"),
        (lambda: Linformer(longest=8, k=2, share="layers"), "Linformer has share 'layers', expected 'none', 'heads'"),
        (lambda: Linformer(Attention(pattern=Causal()), longest=8, k=2), "whose pattern reads where a key lies"),
        (lambda: Linformer(Attention(pattern=Window(2, 2)), longest=8, k=2), r"expected Everyone\(\) and no bias"),
        (lambda: Linformer(Attention(bias=ALiBi()), longest=8, k=2), "whose bias or score reads where a key lies"),
        (lambda: Linformer(Attention(Synthesized(8)), longest=8, k=2), "whose bias or score reads where a key lies"),
        (lambda: Linformer(Attention(pattern=Edges()), longest=8, k=2), "whose bias or score reads where a key lies"),
        (lambda: MemoryCompressed(rate=0), "MemoryCompressed has rate 0, expected at least 1"),
        (lambda: MemoryCompressed(Attention(pattern=Edges())), "which reads edges, expected one that reads none"),
        (lambda: MemoryCompressed(Attention(pattern=Near(1))), "which reads coordinates, expected one that reads none"),
        (lambda: Nystrom(landmarks=0), "Nystrom has landmarks 0, expected at least 1"),
        (lambda: Nystrom(kernel=4), "Nystrom has kernel 4, expected an odd number, or 0 for none"),
        (
            lambda: Nystrom(Attention(pattern=Causal())),
            "Nystrom has attention .*, whose pattern reads where a key lies",
        ),
        (lambda: Nystrom(Attention(normalizer=Sigmoid())), r"expected the normalizer Softmax\(\)"),
        (
            lambda: plan(Nystrom(kernel=3), Layout.of_lengths([2]), key_layout=Layout.of_lengths([2])),
            "expected queries and keys of the same layout",
        ),
        (lambda: parse("Linformer(k=4)"), "missing 1 required keyword-only argument: 'longest'"),
        (
            lambda: plan(Linformer(longest=8, k=2), Layout.of_lengths([3, 9])),
            r"set 1 has keys at places 0 to 8, expected places 0 to 7: the length of Linformer\(longest=8, k=2\)",
        ),
        (
            lambda: plan(Linformer(longest=8, k=2), Layout(torch.tensor([0, 2]), starts=torch.tensor([7]))),
            "set 0 has keys at places 7 to 8",
        ),
    ],
)
def test_what_no_reduction_can_do_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


@pytest.mark.parametrize("lengths", [[], [0, 0]])
@pytest.mark.parametrize("kernel", [1, 3])
def test_the_taps_of_nystrom_have_nothing_to_join_where_there_is_no_vector(lengths, kernel):
    x = torch.randn(0, 1, 4)
    taps = {"value_taps": torch.randn(kernel, 1)}
    assert attend(Nystrom(landmarks=2, kernel=kernel), x, x, x, Layout.of_lengths(lengths), None, taps).shape == (
        0,
        1,
        4,
    )
