"""What an alignment shows are the weights with which a model writes, worked out again from the queries and keys of each step."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from regard.attention.spec.scores import Additive
from regard.data.batch import collate
from regard.data.encoding import BEGIN, END, Encoding
from regard.data.examples import Example, VectorSet
from regard.errors import InputError
from regard.inspector.alignment import align_run, explain_written
from regard.models.encoder import Encoder
from regard.models.encoder_decoder import EncoderDecoder
from regard.models.pieces import Front
from regard.models.recurrent_decoder import RecurrentEncoderDecoder
from regard.tasks import PerSetSequence
from regard.train.kinds import build, build_model

ENTRIES = ("<unknown>", BEGIN, END, *"abcdef")
SIZES = {"width": 16, "layers": 1, "decoder_layers": 2, "heads": 2, "feed_forward": 16}
MODELS = {
    "EncoderDecoder": EncoderDecoder(**SIZES),
    "of frames": EncoderDecoder(**SIZES, front=Front(step=2)),
    "RecurrentEncoderDecoder": RecurrentEncoderDecoder(width=16, hidden=8, aligned=8, maxout=16),
}
WORD = Example(np.array([3, 5, 8, 4, 7]), None, "acfbe", tokens=tuple("acfbe"))
FRAMES = Example(np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32), None, "five frames")


def a_run(name):
    columns = {"token": ENTRIES}
    inputs = {"width": 3} if name == "of frames" else {"columns": columns}
    encoding, options = Encoding(Encoding(columns=columns), **inputs), PerSetSequence(longer=4)
    torch.manual_seed(0)
    model = build_model(MODELS[name], options, encoding).eval()
    task = build(options, model.width, encoding).eval()
    task.attach(model)
    return SimpleNamespace(model=model, task=task), [[FRAMES if name == "of frames" else WORD]]


def of_steps(run, example):
    """What is written, and `[layers, heads, ids, vectors]` the weights of each step."""
    layers = run.model.cross_attentions()
    weights = [[] for _ in layers]

    def keep(module, given, out):
        q, k = (each.detach() for each in given[:2])
        if module.attention.score == Additive():
            scores = ((q[:, None] + k[None]).tanh() * module.learned["score_weight"].detach()).sum(-1)
        else:
            scores = torch.einsum("thd,uhd->tuh", q, k) / math.sqrt(q.shape[-1])
        weights[layers.index(module)].append(scores.softmax(1).permute(2, 0, 1))

    hooks = [module.register_forward_hook(keep) for module in layers]
    ((found,),) = run.task.decode(collate([example]))
    for hook in hooks:
        hook.remove()
    return found, torch.stack([torch.cat(each, 1) for each in weights])


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_of_each_step_of_decoding(name):
    run, inputs = a_run(name)
    found, weights = of_steps(run, inputs[0][0])
    assert found.ids
    names = [ENTRIES[n] for n in found.ids] + [END] * found.finished
    layers, heads = weights.shape[:2]
    for layer in (None, *range(layers)):
        for head in (None, *range(heads)):
            aligned = align_run(run, inputs, layer, head)
            assert (aligned.layer, aligned.head, aligned.given) == (layer, head, False)
            assert list(aligned.written) == names
            assert aligned.text == "".join(names).removesuffix(END)
            chosen = weights.mean(0) if layer is None else weights[layer]
            chosen = chosen.mean(0) if head is None else chosen[head]
            np.testing.assert_allclose(aligned.weights, chosen, atol=1e-6)
    assert aligned.source == (("0-1", "2-3", "4") if name == "of frames" else tuple("acfbe"))


@pytest.mark.parametrize("name", MODELS)
def test_each_row_of_what_is_given_is_explained_by_numbers(name):
    run, inputs = a_run(name)
    target = VectorSet(np.array([4, 4, 2]))
    aligned = align_run(run, inputs, 0, 0, target=target)
    assert (aligned.text, aligned.given, aligned.written) == ("bb", True, ("b", "b", END))
    # The second of two equal ids comes after another one.
    assert aligned.weights[0] != aligned.weights[1]
    for query, row in enumerate(aligned.weights):
        explained = explain_written(run, inputs, query, target=target)
        assert (explained.name, explained.span) == (aligned.written[query], str(query))
        assert [each.name for each in explained.heard] == list(aligned.source)
        assert [each.weight for each in explained.heard] == pytest.approx(row, abs=1e-6)
        assert explained.output == pytest.approx(explained.model_output, abs=1e-5)


def test_a_table_has_lines_of_a_bounded_length():
    run, _ = a_run("EncoderDecoder")
    long = Example(np.arange(200) % 6 + 3, None, "long", tokens=tuple(f"word-{n}" for n in range(200)))
    aligned = align_run(run, [[long]], target=VectorSet(np.array([3, 2])))
    lines = str(aligned).splitlines()
    assert lines[0] == "given: a"
    assert max(map(len, lines)) <= 100
    rows = [line.split() for line in lines if line.startswith("a ")]
    shown = [0.0 if cell == "·" else float(cell) for row in rows for cell in row[1:]]
    np.testing.assert_allclose(shown, aligned.weights[0], atol=5e-3 + 1e-9)
    assert [word for line in lines if "word-" in line for word in line.split()] == list(long.tokens)


def test_a_picture_has_a_row_and_a_column_for_each_name():
    run, inputs = a_run("RecurrentEncoderDecoder")
    aligned = align_run(run, inputs, target=VectorSet(np.array([4, 5, 2])))
    axis = aligned.plot().axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == list("acfbe")
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "c", END]
    np.testing.assert_allclose(axis.images[0].get_array(), aligned.weights)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layer": 2}, "layer 2 was asked for, expected one of the model's 2 cross-attentions, from 0"),
        ({"head": -1}, "head -1 was asked for, expected 0 to 1"),
        ({"set": 1}, "set 1 was asked for, expected 0 to 0: the input has 1 sets"),
        ({"target": VectorSet(np.zeros(0, np.int64))}, "for 'acfbe' nothing is written, expected at least one id"),
        ({"query": 9}, "query 9 was asked for, expected 0 to"),
    ],
)
def test_what_is_not_there_is_refused(options, sentence):
    run, inputs = a_run("EncoderDecoder")
    with pytest.raises(InputError, match=sentence):
        (explain_written if "query" in options else align_run)(run, inputs, **options)


def test_a_model_that_writes_nothing_is_refused():
    run, inputs = a_run("EncoderDecoder")
    run.model = build_model(Encoder(width=8, heads=2), None, Encoding(columns={"token": ENTRIES}))
    with pytest.raises(InputError, match="the model is Model, which writes no sequences, expected one that does"):
        align_run(run, inputs)
