"""What a page is answered: numbers of the model itself, and one sentence where something is not there."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from regard.attention.verb import attention_weights
from regard.data.batch import collate
from regard.data.encoding import Encoding, Labels
from regard.data.examples import Example
from regard.errors import InputError
from regard.inspector import answers, inspection
from regard.inspector.answers import Questions
from regard.inspector.calls import record
from regard.inspector.inspection import Inspection
from regard.inspector.switching import Off, switched_off
from regard.models.encoder import Encoder
from regard.models.pieces import Front
from regard.tasks import PerSetLabel
from regard.train.kinds import build, build_model

ENCODING = Encoding(Labels(("no", "yes")), width=3)


def a_run(attention="Attention()", pooling="mean", width_in=3, **options):
    options = {"width": 8, "layers": 2, "heads": 2, "feed_forward": 8, "attention": attention} | options
    torch.manual_seed(1)
    encoding = replace(ENCODING, width=width_in)
    model = build_model(Encoder(**options), None, encoding).eval()
    task = build(PerSetLabel(pool=pooling), model.width, encoding).eval()
    task.attach(model)
    return SimpleNamespace(
        model=model, task=task, folder=Path("/somewhere/my run"), experiment=SimpleNamespace(data=None)
    )


def an_example(count, name="frames", tokens=None):
    values = np.random.default_rng(0).standard_normal((count, 3)).astype(np.float32)
    return Example(values, None, name, tokens=tokens)


def asking(run, example, **options):
    return Questions(Inspection.of_run(run, [[example]], **options))


def matrix(questions, **question):
    answer = questions.answer({"ask": "matrix", **question})
    return np.frombuffer(answer.buffers[0], "<f4").reshape(answer.content["shape"]), answer


def weights_of(run, example, layer):
    call = record(run.model, lambda: run.model(collate([example])))[layer]
    return attention_weights(call.attention, call.q, call.k, call.layout, parameters=call.parameters).dense().detach()


@pytest.mark.parametrize(
    "attention", ["Attention()", "Attention(pattern=Window(2, 1) | First(1))", "Attention(bias=ALiBi())"]
)
def test_a_matrix_holds_the_weights_of_the_model(attention):
    run, example = a_run(attention), an_example(9)
    questions = asking(run, example)
    for layer in range(2):
        weights = weights_of(run, example, layer)
        for head in range(2):
            cells, answer = matrix(questions, layer=layer, head=head)
            np.testing.assert_allclose(np.where(np.isneginf(cells), 0, cells), weights[head], atol=1e-6)
            part, _ = matrix(questions, layer=layer, head=head, rows=[2, 5], keys=[1, 9])
            np.testing.assert_array_equal(part, cells[2:5, 1:9])
            for sums in answer.buffers[1:]:
                np.testing.assert_allclose(np.frombuffer(sums, "<f4"), 1, atol=1e-6)


def test_a_cell_of_several_pairs_is_their_largest_weight(monkeypatch):
    monkeypatch.setattr(answers, "CELLS", 4)
    run, example = a_run("Attention(pattern=Window(3, 0))"), an_example(10)
    cells, answer = matrix(asking(run, example))
    weights = weights_of(run, example, 0)[0].numpy()
    hidden = np.triu(np.ones((10, 10), bool), 1) | np.tril(np.ones((10, 10), bool), -4)
    weights[hidden] = -np.inf
    assert answer.content["step"] == [3, 3]
    expected = [[weights[r : r + 3, c : c + 3].max() for c in range(0, 10, 3)] for r in range(0, 10, 3)]
    np.testing.assert_allclose(cells, expected, atol=1e-6)
    assert np.isneginf(cells[0, 3])


def test_rows_that_do_not_fit_into_memory_together_are_the_same(monkeypatch):
    run, example = a_run(), an_example(50)
    whole, _ = matrix(asking(run, example))
    monkeypatch.setattr("regard.inspector.weights._MOST", 350)
    parts, _ = matrix(asking(run, example))
    np.testing.assert_allclose(parts, whole, atol=1e-7)


def test_an_overview_names_layers_axes_and_the_prediction():
    run = a_run(pooling="multi_head", front=Front(class_vector=True))
    example = an_example(3, "/home/me/secret/one.wav", tokens=("a", "<b>", "c"))
    said = asking(run, example, files=True).answer({"ask": "overview"}).content
    assert (said["run"], said["input"]) == ("my run", "one.wav")
    assert "secret" not in str(said)
    assert [layer["kind"] for layer in said["layers"]] == ["self", "self", "pooling"]
    assert [layer["heads"] for layer in said["layers"]] == [2, 2, 4]
    assert said["axes"][said["layers"][0]["keys"]]["names"] == ["[class]", "a", "<b>", "c"]
    assert said["axes"][said["layers"][2]["queries"]]["names"] == ["pooled"]
    assert sum(said["prediction"]["probabilities"].values()) == pytest.approx(1)


def test_one_vector_attends_to_itself():
    cells, answer = matrix(asking(a_run(), an_example(1)))
    assert cells.tolist() == [[1.0]]
    assert answer.content["shape"] == [1, 1]


def test_weights_that_are_no_numbers_are_told_as_such():
    run, example = a_run(), an_example(4)
    example.values[2] = np.nan
    questions = asking(run, example)
    cells, _ = matrix(questions)
    assert np.isnan(cells).all()
    assert questions.answer({"ask": "overview"}).content["prediction"]["probability"] == "nan"


def numbers(answer):
    return [torch.from_numpy(np.frombuffer(buffer, "<f4").copy()) for buffer in answer.buffers]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_steps_end_in_the_stream_of_the_model(norm):
    run, example = a_run("Attention(bias=ALiBi())", norm=norm), an_example(6)
    questions = asking(run, example)
    hidden = []
    blocks = run.model.stack.blocks
    hooks = [
        block.norm_feed_forward.register_forward_hook(lambda _, x, y: hidden.append((x[0], y))) for block in blocks
    ]
    run.model(collate([example]))
    for hook in hooks:
        hook.remove()
    for layer in range(2):
        given = questions.answer({"ask": "step", "layer": layer, "head": 1, "query": 4})
        _, product, bias, weight, out, model_out, _, v, own, gives, together, _, before, after = numbers(given)
        assert given.content["keys"] == [0, 1, 2, 3, 4, 5]
        assert given.content["bias"] == "ALiBi()"
        assert bias.tolist() == pytest.approx([-abs(4 - j) * 2**-8 for j in range(6)])
        torch.testing.assert_close((given.content["scale"] * product + bias).softmax(0), weight)
        torch.testing.assert_close(weight @ v.view(6, -1), out)
        torch.testing.assert_close(out, model_out)
        assert own.abs().max() > 0.01
        torch.testing.assert_close(together, gives)
        torch.testing.assert_close(before + gives, after)
        assert given.content["norm"] == (norm == "post")
        if norm == "pre":
            torch.testing.assert_close(hidden[layer][0][4], after)


def test_steps_of_pooling_and_of_hidden_keys():
    questions = asking(a_run("Attention(pattern=Causal())", pooling="attention"), an_example(4))
    found = questions.answer({"ask": "step", "layer": 0, "query": 1}).content
    assert (found["keys"], found["hidden"]) == ([0, 1], 2)
    pooled = questions.answer({"ask": "step", "layer": 2})
    assert pooled.content["keys"] == [0, 1, 2, 3]
    torch.testing.assert_close(*numbers(pooled)[4:6])
    assert not len(numbers(pooled)[2])


def test_heads_have_numbers():
    found = asking(a_run("Attention(pattern=Window(1, 0))"), an_example(5)).answer({"ask": "heads", "layer": 1}).content
    assert (found["rows"], found["queries"], found["unit"]) == (5, 5, "places")
    for itself, previous, distance in zip(found["self"], found["previous"], found["distance"], strict=True):
        assert itself + previous == pytest.approx(1)
        assert distance == pytest.approx(previous)


def test_a_prediction_without_a_key_is_that_of_a_model_that_hides_it():
    example = an_example(5)
    questions = asking(a_run(), example)
    found = questions.answer({"ask": "switched", "off": [{"key": 4}, {"layer": 0, "head": 1}]}).content
    with switched_off([Off(block.mixer.attend, key=4) for block in questions.inspection.model.stack.blocks]):
        first = questions.inspection.model.stack.blocks[0].mixer.attend
        with switched_off([Off(first, head=1)]):
            expected = list(questions.inspection._predicted(collate([example]))["probabilities"].values())
    assert list(found["prediction"]["probabilities"].values()) == pytest.approx(expected)
    kept = questions.answer({"ask": "switched", "off": []}).content
    assert kept["prediction"] == questions.answer({"ask": "overview"}).content["prediction"]
    assert found["prediction"]["probabilities"] != kept["prediction"]["probabilities"]


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"ask": "everything"}, "'everything' was asked, expected one of overview, place, matrix"),
        ({}, "None was asked, expected one of overview"),
        ({"ask": "matrix", "layer": 2}, "layer 2 was asked for, expected 0 to 1: there are 2 layers with attention"),
        ({"ask": "matrix", "head": -1}, "head -1 was asked for, expected 0 to 1"),
        ({"ask": "matrix", "head": True}, "head True was asked for, expected 0 to 1"),
        ({"ask": "matrix", "rows": [3, 3]}, r"rows \[3, 3\] were asked for, expected \[first, end\] between 0 and 5"),
        ({"ask": "matrix", "keys": [0, 6]}, r"keys \[0, 6\] were asked for"),
        ({"ask": "matrix", "keys": "all"}, "keys 'all' were asked for"),
        ({"ask": "step", "query": 5}, "query 5 was asked for, expected 0 to 4: there are 5 queries"),
        ({"ask": "switched", "off": [3]}, "off is '.3.', expected a list of at most 64 objects"),
        ({"ask": "switched", "off": [{}]}, "all layers were to be switched off, expected a layer, or a key"),
        ({"ask": "switched", "off": [{"layer": 9}]}, "layer 9 was asked for, expected 0 to 1"),
        ({"ask": "switched", "off": [{"key": 5}]}, "key 5 was asked for, expected 0 to 4: there are 5 keys"),
    ],
)
def test_what_is_not_there_is_refused(question, sentence):
    questions = asking(a_run(), an_example(5))
    with pytest.raises(InputError, match=sentence):
        questions.answer(question)


@pytest.mark.parametrize(
    ("run", "count", "sentence"),
    [
        (a_run(), 0, "'frames' has no vectors, expected at least one to look at"),
        (a_run(), inspection.MOST_VECTORS + 1, "'frames' has 65,537 vectors, expected at most 65,536"),
        (a_run(mixer="pointwise"), 4, "the model of my run has no attention, expected one that attends"),
    ],
)
def test_what_cannot_be_looked_into_is_refused(run, count, sentence):
    with pytest.raises(InputError, match=sentence):
        Inspection.of_run(run, [[an_example(count)]])


def test_learned_vectors_are_named_as_such_and_never_as_inputs():
    questions = asking(a_run(mixer="induced", norm="post"), an_example(20, tokens=tuple("abcdefghijklmnopqrst")))
    gather, spread = questions.inspection.seen[:2]
    assert (gather.kind, spread.kind) == ("cross", "cross")
    assert gather.queries.names == spread.keys.names == tuple(f"learned {n}" for n in range(16))
    assert gather.keys.names == spread.queries.names == tuple("abcdefghijklmnopqrst")
    assert len(questions.inspection.seen) == 4
