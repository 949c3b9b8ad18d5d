"""Linear attention in layers: it makes no weights, so that none are dropped and the memory of training grows with the vectors."""

import pytest
import torch

from regard import Attention, Layout, VectorSets, attend
from regard.attention import parse
from regard.attention.dropout import Dropout
from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.layers.attention import Attend, CrossAttention, SelfAttention
from regard.models.encoder import Encoder
from regard.recipes.systems import SYSTEMS
from regard.train.kinds import build

LINEAR = (
    "Attention(score=Kernel(), normalizer=Sum())",
    "Attention(score=Kernel(Favor(8)), pattern=Causal(), normalizer=Sum())",
    "MemoryCompressed(Attention(score=Kernel(), normalizer=Sum()))",
    "Remember(Attention(score=Kernel(), pattern=Causal(), normalizer=Sum()))",
)
WEIGHTED = (
    "Attention()",
    "Attention(score=Kernel(), pattern=Window(2, 2), normalizer=Sum())",
    "Attention(score=Kernel(), pattern=(Causal(), Everyone()), normalizer=Sum())",
    "Globals(Attention(score=Kernel(), normalizer=Sum()), first=1)",
    "Linformer(longest=20, k=4)",
    "Nystrom(landmarks=4, kernel=3)",
)


def sets() -> VectorSets:
    torch.manual_seed(0)
    return VectorSets.pack([torch.randn(n, 8) for n in (17, 0, 3)])


def layer(text: str) -> SelfAttention:
    torch.manual_seed(1)
    return SelfAttention(8, 2, parse(text), dropout=0.5)


@pytest.mark.parametrize("text", LINEAR)
def test_nothing_is_dropped_of_linear_attention(text):
    made, x = layer(text), sets()
    trained = made(x).values
    torch.testing.assert_close(trained, made.eval()(x).values)


@pytest.mark.parametrize("text", WEIGHTED)
def test_weights_are_dropped_wherever_there_are_some(text):
    made, x = layer(text), sets()
    trained = made(x).values
    assert not torch.allclose(trained, made.eval()(x).values, atol=1e-3)


def test_nothing_is_dropped_of_linear_attention_to_other_sets():
    made, x = CrossAttention(8, 2, attention=parse(LINEAR[0]), dropout=0.5), sets()
    trained = made(x, x).values
    torch.testing.assert_close(trained, made.eval()(x, x).values)


def test_the_verb_drops_what_it_is_asked_to():
    q, k, v = torch.randn(3, 5, 2, 4)
    plain, dropped = (
        attend(parse(LINEAR[0]), q, k, v, Layout.of_lengths([5]), dropout=d) for d in (None, Dropout(0.5))
    )
    assert not torch.allclose(plain, dropped)


@pytest.mark.parametrize("name", ["linear", "performer"])
def test_a_model_with_dropout_trains_it_without_any_pair(name):
    """`kernelized` alone is asked for, which refuses dropout on weights."""
    options = SYSTEMS[name].of(Encoder(width=16, layers=2, heads=2, feed_forward=16))
    assert options.dropout > 0
    model = build(options, Encoding(width=4))
    attends = [module for module in model.modules() if isinstance(module, Attend)]
    assert len(attends) == 2
    for module in attends:
        module.executor = "kernelized"
    x = VectorSets.pack([torch.randn(n, 4) for n in (700, 1)])
    model(Batch(x)).values.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_layer_in_training_goes_on_from_a_running_state():
    made, x = layer(LINEAR[1]), torch.randn(4, 8)
    state = made.new_state(sets=1)
    parts = [made(VectorSets(one, state.following()), state).values for one in x.split(1)]
    torch.testing.assert_close(torch.cat(parts), made(VectorSets.pack([x])).values)


def test_an_attention_says_whether_it_is_linear():
    assert [parse(text).linear for text in (*LINEAR, *WEIGHTED)] == [True] * len(LINEAR) + [False] * len(WEIGHTED)
    assert not Attention().linear
