"""Layers against loops over single sets and against torch's own layers on padded batches."""

import pytest
import torch
from torch import nn

from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import ALiBi, Shaw
from regard.attention.spec.patterns import Causal, Edges
from regard.errors import InputError
from regard.layers.attention import CrossAttention, SelfAttention
from regard.layers.blocks import Block, FeedForward, Stack
from regard.layers.convolution import Depthwise, Subsample
from regard.layers.embed import Embed, FromCharacters, NGrams
from regard.layers.mixers import Pointwise, WindowedLinear
from regard.layers.pooling import AttentiveStatistics, ClassVector, MultiHeadPooling, SelfAttentionPooling, pooling
from regard.layers.positions import Learned, Rotary, Sinusoidal
from regard.sets import Layout, VectorSets

WIDTH = 16


def some_sets(*lengths: int, width: int = WIDTH) -> VectorSets:
    torch.manual_seed(sum(lengths))
    return VectorSets.pack([torch.randn(n, width, dtype=torch.float64) for n in lengths])


def grid_sets(rows: int, columns: int, count: int = 2) -> VectorSets:
    torch.manual_seed(0)
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
    values = [torch.randn(len(place), WIDTH, dtype=torch.float64) for _ in range(count)]
    return VectorSets.pack(values, coords=[place] * count)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_stack_equals_the_encoder_of_torch_on_padded_batches(norm: str) -> None:
    theirs = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(WIDTH, 4, 32, 0.0, batch_first=True, norm_first=norm == "pre"),
        2,
        nn.LayerNorm(WIDTH) if norm == "pre" else None,
        enable_nested_tensor=False,
    ).double()
    ours = Stack(
        [
            Block(SelfAttention(WIDTH, 4), FeedForward(WIDTH, 32), WIDTH, norm)  # type: ignore[arg-type]
            for _ in range(2)
        ],
        WIDTH,
        final_norm=norm == "pre",
    ).double()
    copy_weights(theirs, ours)
    sets = some_sets(7, 1, 12, 3)
    padded, mask = sets.to_padded()
    expected = theirs(padded, src_key_padding_mask=~mask)[mask]
    torch.testing.assert_close(ours(sets).values, expected)


def copy_weights(theirs: nn.TransformerEncoder, ours: Stack) -> None:
    for layer, block in zip(theirs.layers, ours.blocks, strict=True):
        pairs = [
            (layer.self_attn.in_proj_weight, block.mixer.project.weight),
            (layer.self_attn.in_proj_bias, block.mixer.project.bias),
            (layer.self_attn.out_proj.weight, block.mixer.out.weight),
            (layer.self_attn.out_proj.bias, block.mixer.out.bias),
        ]
        for a, b in ((layer.linear1, block.feed_forward.into), (layer.linear2, block.feed_forward.out)):
            pairs += [(a.weight, b.weight), (a.bias, b.bias)]
        for source, target in pairs:
            target.data.copy_(source.data)


@pytest.mark.parametrize(
    "mixer",
    [
        Pointwise(WIDTH, 8),
        WindowedLinear(WIDTH, 2, 1, 8),
        SelfAttention(WIDTH, 4, key_heads=2, rotation=Rotary()),
        SelfAttention(WIDTH, 2, Attention(pattern=Causal(), bias=Shaw(2))),
        SelfAttention(WIDTH, 2, Attention(bias=ALiBi())),
    ],
    ids=lambda mixer: type(mixer).__name__,
)
def test_mixer_gives_each_set_what_it_gives_it_alone(mixer: nn.Module) -> None:
    mixer = mixer.double()
    sets = some_sets(5, 0, 1, 9)
    together = mixer(sets)
    assert together.values.shape == (15, mixer.width)
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, mixer(alone).values)


def test_windowed_linear_equals_the_joined_neighbors() -> None:
    mixer = WindowedLinear(WIDTH, 2, 1).double()
    (x,) = some_sets(6).unpack()
    padded = torch.cat([x.new_zeros(2, WIDTH), x, x.new_zeros(1, WIDTH)])
    expected = torch.stack([mixer.linear(padded[i : i + 4].flatten()) for i in range(6)])
    torch.testing.assert_close(mixer(some_sets(6)).values, expected)


def test_cross_attention_equals_torch_set_by_set() -> None:
    ours = CrossAttention(WIDTH, 4, memory_width=6).double()
    theirs = nn.MultiheadAttention(WIDTH, 4, kdim=6, vdim=6, batch_first=True).double()
    key, value = ours.project_memory.weight.chunk(2)
    for target, source in (
        (theirs.q_proj_weight, ours.project_query.weight),
        (theirs.k_proj_weight, key),
        (theirs.v_proj_weight, value),
        (theirs.out_proj.weight, ours.out.weight),
    ):
        target.data.copy_(source.data)
    queries, memory = some_sets(3, 5), some_sets(4, 2, width=6)
    out = ours(queries, memory)
    for b in range(2):
        q, m = queries[b].values[None], memory[b].values[None]
        torch.testing.assert_close(out[b].values, theirs(q, m, m)[0][0])


def test_cross_attention_of_an_empty_memory_gives_the_output_bias() -> None:
    layer = CrossAttention(WIDTH, 4).double()
    out = layer(some_sets(3, 2), some_sets(0, 4))
    torch.testing.assert_close(out[0].values, layer.out.bias.expand(3, -1))


@pytest.mark.parametrize("position", [Sinusoidal(WIDTH), Learned(WIDTH, (9,))], ids=["sinusoidal", "learned"])
def test_positions_tell_permuted_vectors_apart_and_start_anew_in_each_set(position: nn.Module) -> None:
    sets = some_sets(4, 4)
    added = position.double()(sets).values - sets.values
    torch.testing.assert_close(added[:4], added[4:])
    assert (torch.cdist(added[:4], added[:4]) + torch.eye(4) > 1e-3).all()


def test_sinusoidal_is_the_formula_of_the_paper() -> None:
    sets = some_sets(5)
    added = Sinusoidal(WIDTH)(sets).values - sets.values
    angle = torch.tensor(3 / 10000 ** (4 / WIDTH), dtype=torch.float64)
    torch.testing.assert_close(added[3, 4], angle.sin(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(added[3, 5], angle.cos(), rtol=1e-6, atol=1e-6)


def test_positions_go_on_where_a_set_starts() -> None:
    sets = some_sets(6)
    later = VectorSets(sets.values[4:], Layout(torch.tensor([0, 2]), starts=torch.tensor([4])))
    whole = Sinusoidal(WIDTH)(sets).values
    torch.testing.assert_close(Sinusoidal(WIDTH)(later).values, whole[4:])


def test_learned_positions_refuse_a_place_past_their_end() -> None:
    with pytest.raises(InputError, match="set 1 has a vector at place 3, expected less than 3"):
        Learned(WIDTH, (3,))(some_sets(2, 5))


def test_two_coordinates_have_their_own_shares() -> None:
    sets = grid_sets(2, 3, count=1)
    added = Sinusoidal(WIDTH, coordinates=2)(sets).values - sets.values
    half = WIDTH // 2
    torch.testing.assert_close(added[0, :half], added[1, :half])  # the same row
    torch.testing.assert_close(added[1, half:], added[4, half:])  # the same column
    learned = Learned(WIDTH, (2, 3), coordinates=2).double()
    torch.testing.assert_close(
        learned(sets).values - sets.values, (learned.tables[0][[0, 0, 0, 1, 1, 1]] + learned.tables[1][[0, 1, 2] * 2])
    )
    with pytest.raises(InputError, match="the vectors have 0 coordinates, expected at least 2"):
        Sinusoidal(WIDTH, coordinates=2)(some_sets(2))


@pytest.mark.parametrize("coordinates", [0, 2])
def test_rotary_products_depend_on_differences_of_places_alone(coordinates: int) -> None:
    rotary = Rotary(coordinates)
    q, k = torch.randn(2, 1, 1, 8, dtype=torch.float64).expand(2, 2, 1, 8)

    def product(a: list[float], b: list[float]) -> torch.Tensor:
        place = torch.tensor([a, b])
        if coordinates:
            layout = Layout.of_lengths([1, 1])
            layout = Layout(layout.offsets, coords=place)
        else:
            layout = Layout(torch.tensor([0, 1, 2]), starts=place[:, 0].long())
        return (rotary(q, layout)[0] * rotary(k, layout)[1]).sum()

    torch.testing.assert_close(product([1, 2], [4, 3]), product([5, 7], [8, 8]), rtol=1e-5, atol=1e-5)
    assert (product([1, 2], [4, 3]) - product([1, 2], [9, 3])).abs() > 1e-3


@pytest.mark.parametrize("name", ["mean", "sum", "max", "statistics", "attention"])
def test_pooling_equals_each_set_alone_and_gives_zeros_for_none(name: str) -> None:
    pool = pooling(name, WIDTH).double()  # type: ignore[arg-type]
    if isinstance(pool, SelfAttentionPooling):
        nn.init.normal_(pool.query)
    sets = some_sets(3, 0, 7)
    out = pool(sets)
    assert out.shape == (3, pool.width)
    for x, pooled in zip(sets.unpack(), out, strict=True):
        if len(x) == 0:
            expected = (
                x.new_zeros(WIDTH)
                if name != "statistics"
                else torch.cat([x.new_zeros(WIDTH), x.new_full((WIDTH,), 1e-4)])
            )
        elif name == "mean":
            expected = x.mean(0)
        elif name == "sum":
            expected = x.sum(0)
        elif name == "max":
            expected = x.amax(0)
        elif name == "statistics":
            expected = torch.cat([x.mean(0), x.std(0, correction=0)])
        else:
            expected = (x @ pool.query).softmax(0) @ x
        torch.testing.assert_close(pooled, expected)


def test_pooling_by_multi_head_attention_begins_with_vectors_as_large_as_its_own() -> None:
    torch.manual_seed(0)
    sizes = [MultiHeadPooling(64).before(torch.randn(500, 64)).square().mean().sqrt().item() for _ in range(5)]
    assert all(0.8 < size < 1.25 for size in sizes)


def test_pooling_by_multi_head_attention_is_that_of_the_set_transformer() -> None:
    """Lee et al. 2019, eq. 6, 7 and 11, written out head by head; zeros for a set of nobody."""
    torch.manual_seed(0)
    pool = MultiHeadPooling(WIDTH, heads=2).double()
    sets, d = some_sets(3, 0, 1, 9), WIDTH // 2
    attend, (seed,) = pool.attend, pool.seed
    for x, pooled in zip(sets.unpack(), pool(sets), strict=True):
        if not len(x):
            assert pooled.tolist() == [0] * WIDTH
            continue
        q = attend.project_query(seed)
        k, v = attend.project_memory(pool.before(x)).chunk(2, dim=1)
        heads = [(k[:, n : n + d] @ q[n : n + d] / d**0.5).softmax(0) @ v[:, n : n + d] for n in (0, d)]
        h = pool.norm(seed + attend.out(torch.cat(heads)))
        torch.testing.assert_close(pooled, pool.last_norm(h + pool.after(h)))


def test_heads_of_a_pooling_divide_its_width() -> None:
    assert [pooling("multi_head", width).attend.heads for width in (8, 6, 7)] == [4, 2, 1]
    with pytest.raises(InputError, match="expected heads to divide the width"):
        MultiHeadPooling(7, heads=2)


def test_attentive_statistics_are_the_weighted_mean_and_deviation() -> None:
    """Okabe et al. 2018, eq. 3 to 6, written out."""
    pool = AttentiveStatistics(WIDTH, hidden=5).double()
    nn.init.normal_(pool.query)
    sets = some_sets(3, 1, 9)
    out = pool(sets)
    w = pool.attend.learned["score_weight"][0]
    for x, pooled in zip(sets.unpack(), out, strict=True):
        a = ((x @ pool.project.weight.T + pool.query).tanh() @ w).softmax(0)[:, None]
        mean = (a * x).sum(0)
        deviation = ((a * (x - mean).square()).sum(0)).clamp(min=1e-8).sqrt()
        torch.testing.assert_close(pooled, torch.cat([mean, deviation]))


def test_statistics_of_equal_vectors_have_a_finite_gradient() -> None:
    x = torch.ones(4, WIDTH, requires_grad=True)
    pooling("statistics", WIDTH)(VectorSets(x, Layout.of_lengths([4]))).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_embedding_is_the_linear_layer_of_one_hot_vectors() -> None:
    embed = Embed((5, 3), WIDTH)
    ids = torch.tensor([[4, 0], [1, 2]])
    one_hot = [nn.functional.one_hot(ids[:, c], size).float() for c, size in enumerate((5, 3))]
    expected = sum(x @ table.weight for x, table in zip(one_hot, embed.tables, strict=True))
    torch.testing.assert_close(embed(VectorSets(ids, Layout.of_lengths([2]))).values, expected)
    with pytest.raises(InputError, match="set 0 has id 7, expected less than 5"):
        embed(VectorSets(torch.tensor([[7, 0]]), Layout.of_lengths([1])))


def test_dropped_ids_become_the_unknown_one_only_while_training() -> None:
    embed = Embed((50,), WIDTH, drop_ids=0.5)
    sets = VectorSets(torch.arange(1, 50), Layout.of_lengths([49]))
    unknown = embed.tables[0].weight[0]
    dropped = (embed(sets).values == unknown).all(1).sum()
    assert 10 < dropped < 40
    assert not (embed.eval()(sets).values == unknown).all(1).any()


def test_runs_of_ids_have_one_vector_each_wherever_they_stand() -> None:
    torch.manual_seed(0)
    grams = NGrams(3, 1 << 16, WIDTH).double()
    nn.init.normal_(grams.table.weight)
    sets = VectorSets.pack(
        [torch.tensor([3, 1, 4, 1, 5]), torch.tensor([], dtype=torch.int64), torch.tensor([1, 4, 1])]
    )
    known: dict[tuple[int, ...], int] = {}
    expected = []
    for ids in (each.tolist() for each in sets.unpack()):
        for end in range(1, len(ids) + 1):
            runs = [tuple(ids[end - n : end]) for n in (2, 3) if end >= n]
            places = grams.rows(sets)[len(expected), : len(runs)].tolist()
            for run, place in zip(runs, places, strict=True):
                assert known.setdefault(run, place) == place
            expected.append(sum((grams.table.weight[place] for place in places), torch.zeros(WIDTH).double()))
    assert len(set(known.values())) == len(known) == 7
    assert 0 not in known.values()
    torch.testing.assert_close(grams(sets), torch.stack(expected))


def test_runs_of_ids_are_spread_evenly_and_learn_by_themselves() -> None:
    grams = NGrams(2, 1000, 1).double()
    pairs = VectorSets(
        torch.cartesian_prod(torch.arange(70), torch.arange(70)).flatten(), Layout.of_lengths([2] * 4900)
    )
    counts = grams.rows(pairs)[1::2, 0].bincount(minlength=1001).double()
    assert counts[0] == 0
    # As many as if each had drawn a row: then the variance is the mean.
    assert 0.8 < float(counts[1:].var() / counts[1:].mean()) < 1.2
    grams(pairs).sum().backward()
    assert torch.equal(grams.table.weight.grad[:, 0], counts)  # type: ignore[index]


def test_runs_are_dropped_only_while_training() -> None:
    torch.manual_seed(0)
    grams, sets = NGrams(2, 1000, WIDTH, drop=0.5), VectorSets.pack([torch.arange(200)])
    assert grams(sets).eq(0).all()
    nn.init.ones_(grams.table.weight)
    there = grams(sets)[1:]
    assert 60 < int(there.eq(0).all(1).sum()) < 140
    assert set(there.unique().tolist()) == {0.0, 2.0}
    assert not grams.eval()(sets)[1:].eq(0).all(1).any()


def test_runs_need_two_ids_and_a_row() -> None:
    with pytest.raises(InputError, match="runs of up to 1 ids in 8 rows, expected at least 2 ids and 1 row"):
        NGrams(1, 8, WIDTH)


def test_a_word_spells_the_same_whatever_words_stand_beside_it() -> None:
    spell = FromCharacters(10, WIDTH)
    words = VectorSets(torch.tensor([1, 2, 3, 4, 5, 1, 2, 3]), Layout.of_lengths([3, 0, 2, 3]))
    out = spell(words)
    torch.testing.assert_close(out[0], out[3])
    assert out[1].eq(0).all()


def test_attention_along_edges_hears_neighbors_only() -> None:
    layer = SelfAttention(WIDTH, 4, Attention(pattern=Edges())).double()
    x = some_sets(3).values
    edges = torch.tensor([[0, 1, 1], [1, 1, 2]])
    out = layer(VectorSets(x, Layout(torch.tensor([0, 3]), edges=edges))).values
    changed = x.clone()
    changed[2] += 1
    again = layer(VectorSets(changed, Layout(torch.tensor([0, 3]), edges=edges))).values
    torch.testing.assert_close(out[0], again[0])
    torch.testing.assert_close(out[2], layer.out.bias)
    assert not torch.allclose(out[1], again[1])


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="width 16, 3 heads and 3 key heads"):
        SelfAttention(WIDTH, 3)


@pytest.mark.parametrize(
    "layer",
    [
        Sinusoidal(WIDTH),
        Learned(WIDTH, (9,)),
        WindowedLinear(WIDTH, 1, 1),
        SelfAttention(WIDTH, 4, rotation=Rotary()),
        Subsample(WIDTH, WIDTH, 2),
        Depthwise(WIDTH, 1, 1),
    ],
    ids=["sinusoidal", "learned", "windowed", "rotary", "subsample", "depthwise"],
)
def test_a_layout_that_inference_used_first_serves_training(layer: nn.Module) -> None:
    sets = VectorSets(torch.ones(5, WIDTH, requires_grad=True), Layout.of_lengths([2, 3]))
    with torch.inference_mode():
        layer(sets)
    layer(sets).values.sum().backward()
    assert sets.values.grad is not None


@pytest.mark.parametrize("name", ["attention", "multi_head", "attentive_statistics"])
def test_pooling_serves_training_on_a_layout_that_inference_used_first(name: str) -> None:
    pool = pooling(name, WIDTH)  # type: ignore[arg-type]
    sets = VectorSets(torch.ones(5, WIDTH, requires_grad=True), Layout.of_lengths([2, 3]))
    with torch.inference_mode():
        pool(sets)
    pool(sets).sum().backward()
    assert sets.values.grad is not None


def test_a_class_vector_stands_in_front_of_each_set_and_the_first_pooling_takes_it() -> None:
    front, sets = ClassVector(WIDTH).double(), some_sets(3, 0, 2)
    longer = front(sets)
    assert longer.offsets.tolist() == [0, 4, 5, 8]
    for before, after in zip(sets.unpack(), longer.unpack(), strict=True):
        torch.testing.assert_close(after, torch.cat([front.vector[None], before]))
    torch.testing.assert_close(pooling("first", WIDTH)(longer), front.vector.expand(3, -1))
    assert front(sets).layout is longer.layout
    torch.autograd.gradcheck(lambda x: front(sets.with_values(x)).values, sets.values.requires_grad_())


def test_a_class_vector_hears_its_own_set_alone() -> None:
    front, attend = ClassVector(WIDTH).double(), SelfAttention(WIDTH, 4).double()
    sets = some_sets(3, 0, 2)
    packed = pooling("first", WIDTH)(attend(front(sets)))
    for b in range(3):
        torch.testing.assert_close(pooling("first", WIDTH)(attend(front(sets[b])))[0], packed[b])


def test_a_class_vector_begins_no_set_that_has_begun() -> None:
    later = VectorSets(torch.ones(2, WIDTH), Layout(torch.tensor([0, 2]), starts=torch.tensor([4])))
    with pytest.raises(InputError, match="continue others, expected whole sets"):
        ClassVector(WIDTH)(later)


def test_the_first_vector_of_an_empty_set_is_zeros() -> None:
    sets = some_sets(0, 2, 0)
    torch.testing.assert_close(
        pooling("first", WIDTH)(sets), torch.stack([torch.zeros(WIDTH), sets.values[0], torch.zeros(WIDTH)]).double()
    )
