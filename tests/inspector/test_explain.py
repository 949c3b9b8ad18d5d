"""Explanations by numbers, also of layers whose attention is an adapter: each call that it makes counts as a layer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from regard import Attention, InputError
from regard.attention.adapters.axes import Axes
from regard.attention.adapters.linformer import Linformer
from regard.attention.adapters.memory_compressed import MemoryCompressed
from regard.attention.adapters.nystrom import Nystrom
from regard.attention.adapters.remember import Remember
from regard.attention.spec.biases import Shaw
from regard.attention.spec.patterns import Causal
from regard.data.batch import collate
from regard.data.encoding import Encoding
from regard.data.examples import Example
from regard.inspector.distances import attention_distances
from regard.inspector.explain import explain_run
from regard.layers.attention import Attend, SelfAttention
from regard.layers.induced import InducedAttention
from regard.models.encoder import Encoder, make_encoder
from regard.models.pieces import Front

# A task whose model reads what it is given.
READS_ALL = SimpleNamespace(read=lambda batch: batch)


class Model(nn.Module):
    def __init__(self, attention: object) -> None:
        super().__init__()
        self.attention = SelfAttention(8, 2, attention)

    def forward(self, batch):
        return self.attention(batch.inputs)


def a_run(attention: object) -> tuple[SimpleNamespace, list[list[Example]]]:
    """A run of one layer, and its input: a picture of three rows and four columns whose pixels have names."""
    names = tuple(f"{row}{column}" for row in "abc" for column in "1234")
    coords = np.stack(np.divmod(np.arange(12), 4), 1).astype(np.float32)
    values = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    example = Example(values, None, "picture", coords=coords, tokens=names)
    torch.manual_seed(0)
    return SimpleNamespace(model=Model(attention), task=READS_ALL), [[example]]


@pytest.mark.parametrize("bias", [None, Shaw(2)], ids=repr)
def test_each_axis_is_explained_as_a_layer(bias):
    run, picture = a_run(Axes(Attention(bias=bias)))
    for layer, heard in ((0, ["a2", "b2", "c2"]), (1, ["b1", "b2", "b3", "b4"])):
        explained = explain_run(run, picture, query=5, layer=layer, head=1)
        assert explained.name == "b2"
        assert explained.index == 5
        assert [each.name for each in explained.heard] == heard
        assert sum(each.weight for each in explained.heard) == pytest.approx(1, abs=1e-6)
        assert explained.output == pytest.approx(explained.model_output, abs=1e-5)
    with pytest.raises(InputError, match="expected one of the model's 2 attention layers"):
        explain_run(run, picture, query=5, layer=2)
    with pytest.raises(InputError, match="query 12 was asked for, expected 0 to 11"):
        explain_run(run, picture, query=12)


def test_keys_made_of_several_are_named_by_what_they_are_made_of():
    run, picture = a_run(MemoryCompressed(rate=5))
    explained = explain_run(run, picture, query=11, head=1)
    assert explained.name == "c4"
    assert [(each.span, each.name) for each in explained.heard] == [
        ("0-4", "a1 ... b1"),
        ("5-9", "b2 ... c2"),
        ("10-11", "c3 ... c4"),
    ]
    assert explained.output == pytest.approx(explained.model_output, abs=1e-5)
    landmarks, queries = (explain_run(*a_run(Nystrom(landmarks=5)), query=11, layer=n) for n in range(2))
    assert (landmarks.name, landmarks.heard[11].name) == ("c2 ... c4", "c4")
    assert (queries.name, queries.heard[4].name) == ("c4", "c2 ... c4")
    explained = explain_run(*a_run(Linformer(longest=20, k=2)), query=0)
    assert [(each.span, each.name) for each in explained.heard] == [("0-11", "a1 ... c4")] * 2


def test_learned_vectors_are_not_called_by_the_names_of_inputs():
    run, picture = a_run(Attention())
    for learned in (2, 12, 20):
        run.model.attention = InducedAttention(8, 2, learned)
        explained = explain_run(run, picture, query=1, layer=0)
        assert (explained.span, explained.name) == ("learned", "learned 1")
        assert [each.name for each in explained.heard] == list(picture[0][0].tokens)
        explained = explain_run(run, picture, query=11, layer=1)
        assert explained.name == "c4"
        assert [each.name for each in explained.heard] == [f"learned {n}" for n in range(learned)]
        assert {each.index for each in explained.heard} == {-1}
        assert explained.output == pytest.approx(explained.model_output, abs=1e-5)
        with pytest.raises(
            InputError, match=f"query {learned} was asked for, expected 0 to {learned - 1}: the layer's learned"
        ):
            explain_run(run, picture, query=learned, layer=0)
        with pytest.raises(InputError, match="keys that are learned"):
            attention_distances(run.model, collate(picture[0]))


def test_what_remembers_is_explained_as_what_it_remembers_for():
    attention = Attention(pattern=Causal())
    alike = [explain_run(*a_run(each), query=2) for each in (attention, Remember(attention))]
    assert alike[0] == alike[1]
    assert [each.name for each in alike[0].heard] == ["a1", "a2", "a3"]


@pytest.mark.parametrize(
    ("front", "spans"),
    [
        (Front(), ["0", "1", "2", "3", "4"]),
        (Front(class_vector=True), ["class", "0", "1", "2", "3", "4"]),
        (Front(step=2), ["0-1", "2-3", "4"]),
        (Front(step=2, stem="convolution", reach=1, class_vector=True), ["class", "0-1", "2-3", "4"]),
        (Front(step=9, class_vector=True), ["class", "0-4"]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("tokens", [tuple("abcde"), None], ids=["words", "frames"])
def test_places_are_those_of_the_inputs(front, spans, tokens):
    """A class vector is none of them, and a vector that was made of several says which."""
    model = make_encoder(Encoder(width=8, layers=1, heads=2, front=front), Encoding(width=3))
    example = Example(np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32), None, "x", tokens=tokens)
    run = SimpleNamespace(model=model, task=READS_ALL)
    of_input = [explain_run(run, [[example]], query=query) for query in range(5)]
    assert [each.span for each in of_input[0].heard] == spans
    for query, explained in enumerate(of_input):
        first, _, last = explained.span.partition("-")
        inputs = range(int(first), int(last or first) + 1)
        assert query in inputs
        assert explained.index == inputs[0]
        assert explained.name == (explained.span if tokens is None else " ".join(tokens[n] for n in inputs))
        # Its query is that of the row which the place names.
        row = spans.index(explained.span)
        sets = model.class_vector(model.positions(model.front(collate([example]))))
        attention = model.stack.blocks[0]
        assert len(sets.values) == len(spans)
        q = queries(attention, sets)[row]
        assert explained.query == pytest.approx(q.tolist(), abs=1e-5)
    if spans[0] == "class":
        explained = explain_run(run, [[example]], query="class")
        assert (explained.index, explained.span, explained.name) == (-1, "class", "[class]")
        with pytest.raises(InputError, match="query 5 was asked for, expected 0 to 4 or class"):
            explain_run(run, [[example]], query=5)
    else:
        with pytest.raises(InputError, match="query class was asked for, expected 0 to 4"):
            explain_run(run, [[example]], query="class")


def queries(block, sets):
    """`[t, d]` of the first head of a block that norms first."""
    found = []
    attend = next(module for module in block.modules() if isinstance(module, Attend))
    hook = attend.register_forward_hook(lambda module, given, out: found.append(given[0][:, 0]))
    block(sets)
    hook.remove()
    return found[0]
