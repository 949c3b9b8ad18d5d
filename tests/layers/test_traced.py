"""Layers and whole models under `torch.compile` and `torch.export`: one graph, any sizes, the same numbers."""

import io
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Window
from regard.data.batch import Batch, Spelling
from regard.data.encoding import Encoding
from regard.layers.attention import CrossAttention, SelfAttention
from regard.layers.pooling import pooling
from regard.models.encoder import Encoder
from regard.models.graph import GraphNetwork
from regard.models.pieces import Positions
from regard.sets import Layout, VectorSets
from regard.train.experiment import changed
from regard.train.kinds import build

SIZES = ((3, 4), (5, 2, 7), (2, 2, 9, 0), (8,) * 5)
POOLS = ("mean", "sum", "max", "statistics", "attention", "multi_head", "attentive_statistics", "first")


class Whole(nn.Module):
    """An encoder of words, their characters and their places, with every pooling on top."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        encoding = Encoding(columns={"word": tuple("abcdef")}, characters=tuple("xyz"))
        small = Encoder(width=16, layers=2, heads=2, feed_forward=32)
        self.encoder = build(changed(small, {"front.characters": 8} | options), encoding)
        if self.encoder.front.ngrams is not None:
            nn.init.normal_(self.encoder.front.ngrams.table.weight)  # zeros would hide what runs bring
        self.pools = nn.ModuleList(pooling(name, 16) for name in POOLS)

    def forward(self, batch: Batch) -> Tensor:
        hidden = self.encoder(batch)
        return torch.cat([pool(hidden) for pool in self.pools], dim=1)


def vectors(sizes: Sequence[int], width: int = 8) -> VectorSets:
    return VectorSets.pack([torch.randn(size, width) for size in sizes])


def words(sizes: Sequence[int]) -> Batch:
    """A batch of words, and the characters of as many distinct words as there are sets and two."""
    spelled = [1 + n % 4 for n in range(len(sizes) + 2)]
    inputs, inner = (
        VectorSets.pack([torch.randint(n, (size,)) for size in each]) for n, each in ((6, sizes), (3, spelled))
    )
    return Batch(inputs, spelling=Spelling(inner, torch.randint(len(spelled), (sum(sizes),))))


def gradients(out: Tensor, module: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(out.square().sum(), list(module.parameters())))


@pytest.fixture(autouse=True)
def forgotten() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("mixer", "positions"),
    [
        *(("attention", positions) for positions in ("rotary", "sinusoidal", "learned", "floater")),
        # Rotary turns queries and keys, which a window has not.
        *(("window", positions) for positions in ("sinusoidal", "learned", "floater")),
        ("induced", "sinusoidal"),
    ],
)
def test_an_encoder_is_one_graph_for_all_sizes(mixer, positions):
    attention = "Attention(pattern=Window(3, 2))"
    runs = {"front.ngrams": 2, "front.buckets": 50}
    model = Whole(mixer=mixer, attention=attention, dropout=0.1, **runs, **{"positions.type": positions})
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for sizes in SIZES:
        batch, found = words(sizes), []
        for call in (model, compiled):
            torch.manual_seed(5)  # of all dropout
            found.append(call(batch))
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)
        for ours, theirs in zip(*(gradients(out, model) for out in found), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        assert counter.frame_count <= 2


def test_a_graph_attention_network_is_one_graph_for_all_sizes():
    model = build(GraphNetwork(width=16, heads=2), Encoding(width=5))
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for sizes in ((4, 5), (7, 3, 8), (3,) * 6):
        rings = [torch.stack([torch.arange(n), (torch.arange(n) + 1) % n]) for n in sizes]
        batch = Batch(VectorSets.pack([torch.randn(n, 5) for n in sizes], edges=rings))
        found = []
        for call in (model, compiled):
            torch.manual_seed(5)  # of all dropout
            found.append(call(batch).values)
        torch.testing.assert_close(found[1], found[0])
        for ours, theirs in zip(*(gradients(out, model) for out in found), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        assert counter.frame_count <= 2


def test_attention_layers_are_one_graph_for_all_sizes():
    layers = SelfAttention(8, 2, Attention(pattern=Window(2, 1)), key_heads=1), CrossAttention(8, 2)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda x, y: layers[1](layers[0](x), y), backend=counter, fullgraph=True)
    for sizes in SIZES:
        x, y = vectors(sizes), vectors(sizes[::-1])
        found = compiled(x, y)
        assert found.layout.offsets.tolist() == x.layout.offsets.tolist()
        torch.testing.assert_close(found.values, layers[1](layers[0](x), y).values)
        assert counter.frame_count <= 2


def test_layouts_that_already_derived_something_compile_nothing_anew():
    model = SelfAttention(8, 2)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True, dynamic=True)
    compiled(vectors(SIZES[0]))
    before = counter.frame_count
    for sizes in SIZES[1:]:
        sets = vectors(sizes)
        model(sets)
        _ = sets.layout.total, sets.layout.index
        compiled(sets)
    assert counter.frame_count == before


@pytest.mark.parametrize("positions", ["rotary", "floater"])
def test_an_exported_encoder_runs_on_other_sizes(positions):
    model = Whole(**{"positions.type": positions}).eval()
    others = torch.export.AdditionalInputs()
    for sizes in SIZES[:2]:
        others.add((words(sizes),))
    exported = torch.export.export(model, (words(SIZES[1]),), dynamic_shapes=others)
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for sizes in SIZES:
        batch = words(sizes)
        torch.testing.assert_close(loaded(batch), model(batch), rtol=1e-4, atol=1e-4)


def test_exported_training_draws_new_dropout_each_time():
    layer, sets = SelfAttention(8, 2, dropout=0.5), vectors((6, 3))
    exported = torch.export.export(layer, (sets,)).module()
    assert not torch.equal(exported(sets).values, exported(sets).values)


def test_rows_of_sets_without_looking_at_offsets():
    layout = Layout(torch.tensor([0, 0, 3, 3, 5, 5]), starts=torch.tensor([9, 1, 0, 7, 2]))

    def read(layout: Layout, rows: Tensor) -> tuple[Tensor, Tensor]:
        return layout.owners(rows.shape[0]), layout.order(rows.shape[0])

    compiled = torch.compile(read, backend="eager", fullgraph=True)
    for found, eager, expected in zip(
        compiled(layout, torch.zeros(5)), read(layout, torch.zeros(5)), (layout.set_of_row, layout.index), strict=True
    ):
        assert found.tolist() == eager.tolist() == expected.tolist()


@pytest.mark.rare
@pytest.mark.unpoisoned
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, by torch
def test_the_default_compiler_trains_an_encoder():
    model = build(Encoder(width=16, layers=1, heads=2, dropout=0.0, positions=Positions("rotary")), Encoding(width=5))
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    for sizes in SIZES[:2]:
        batch = Batch(vectors(sizes, 5))
        found = [gradients(call(batch).values, model) for call in (compiled, model)]
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
