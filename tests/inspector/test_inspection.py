"""What a page is answered: numbers of the model itself, and one sentence where something is not there."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from regard.attention.attend import attention_weights
from regard.data.batch import collate
from regard.data.encoding import Encoding, Labels
from regard.data.examples import Example
from regard.errors import InputError
from regard.inspector import inspection as module
from regard.inspector.calls import record
from regard.inspector.inspection import Inspection
from regard.models.encoder import Encoder
from regard.models.pieces import Front
from regard.tasks import PerSetLabel
from regard.train.kinds import build, build_model

ENCODING = Encoding(Labels(("no", "yes")), width=3)


def a_run(attention="Attention()", pooling="mean", **options):
    options = {"width": 8, "layers": 2, "heads": 2, "feed_forward": 8, "attention": attention} | options
    torch.manual_seed(1)
    model = build_model(Encoder(**options), None, ENCODING).eval()
    task = build(PerSetLabel(pool=pooling), model.width, ENCODING).eval()
    task.attach(model)
    return SimpleNamespace(model=model, task=task, folder=Path("/somewhere/my run"))


def an_example(count, name="frames", tokens=None):
    values = np.random.default_rng(0).standard_normal((count, 3)).astype(np.float32)
    return Example(values, None, name, tokens=tokens)


def matrix(inspection, **question):
    answer = inspection.answer({"ask": "matrix", **question})
    return np.frombuffer(answer.buffers[0], "<f4").reshape(answer.content["shape"]), answer


def weights_of(run, example, layer):
    call = record(run.model, lambda: run.model(collate([example])))[layer]
    return attention_weights(call.attention, call.q, call.k, call.layout, parameters=call.parameters).dense()


@pytest.mark.parametrize(
    "attention", ["Attention()", "Attention(pattern=Window(2, 1) | First(1))", "Attention(bias=ALiBi())"]
)
def test_a_matrix_holds_the_weights_of_the_model(attention):
    run, example = a_run(attention), an_example(9)
    inspection = Inspection.of_run(run, [[example]])
    for layer in range(2):
        weights = weights_of(run, example, layer)
        for head in range(2):
            cells, answer = matrix(inspection, layer=layer, head=head)
            np.testing.assert_allclose(np.where(np.isneginf(cells), 0, cells), weights[head], atol=1e-6)
            part, _ = matrix(inspection, layer=layer, head=head, rows=[2, 5], keys=[1, 9])
            np.testing.assert_array_equal(part, cells[2:5, 1:9])
            for sums in answer.buffers[1:]:
                np.testing.assert_allclose(np.frombuffer(sums, "<f4"), 1, atol=1e-6)


def test_a_cell_of_several_pairs_is_their_largest_weight(monkeypatch):
    monkeypatch.setattr(module, "CELLS", 4)
    run, example = a_run("Attention(pattern=Window(3, 0))"), an_example(10)
    cells, answer = matrix(Inspection.of_run(run, [[example]]))
    weights = weights_of(run, example, 0)[0].numpy()
    hidden = np.triu(np.ones((10, 10), bool), 1) | np.tril(np.ones((10, 10), bool), -4)
    weights[hidden] = -np.inf
    assert answer.content["step"] == [3, 3]
    expected = [[weights[r : r + 3, c : c + 3].max() for c in range(0, 10, 3)] for r in range(0, 10, 3)]
    np.testing.assert_allclose(cells, expected, atol=1e-6)
    assert np.isneginf(cells[0, 3])


def test_rows_that_do_not_fit_into_memory_together_are_the_same(monkeypatch):
    run, example = a_run(), an_example(50)
    whole, _ = matrix(Inspection.of_run(run, [[example]]))
    monkeypatch.setattr("regard.inspector.weights._MOST", 350)
    parts, _ = matrix(Inspection.of_run(run, [[example]]))
    np.testing.assert_allclose(parts, whole, atol=1e-7)


def test_an_overview_names_layers_axes_and_the_prediction():
    run = a_run(pooling="multi_head", front=Front(class_vector=True))
    example = an_example(3, "/home/me/secret/one.wav", tokens=("a", "<b>", "c"))
    said = Inspection.of_run(run, [[example]], files=True).answer({"ask": "overview"}).content
    assert (said["run"], said["input"]) == ("my run", "one.wav")
    assert "secret" not in str(said)
    assert [layer["kind"] for layer in said["layers"]] == ["self", "self", "pooling"]
    assert [layer["heads"] for layer in said["layers"]] == [2, 2, 4]
    assert said["axes"][said["layers"][0]["keys"]]["names"] == ["[class]", "a", "<b>", "c"]
    assert said["axes"][said["layers"][2]["queries"]]["names"] == ["pooled"]
    assert sum(said["prediction"]["probabilities"].values()) == pytest.approx(1)


def test_one_vector_attends_to_itself():
    cells, answer = matrix(Inspection.of_run(a_run(), [[an_example(1)]]))
    assert cells.tolist() == [[1.0]]
    assert answer.content["shape"] == [1, 1]


def test_weights_that_are_no_numbers_are_told_as_such():
    run, example = a_run(), an_example(4)
    example.values[2] = np.nan
    inspection = Inspection.of_run(run, [[example]])
    cells, _ = matrix(inspection)
    assert np.isnan(cells).all()
    assert inspection.answer({"ask": "overview"}).content["prediction"]["probability"] == "nan"


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"ask": "everything"}, "'everything' was asked, expected one of overview, matrix"),
        ({}, "None was asked, expected one of overview"),
        ({"ask": "matrix", "layer": 2}, "layer 2 was asked for, expected 0 to 1: there are 2 layers with attention"),
        ({"ask": "matrix", "head": -1}, "head -1 was asked for, expected 0 to 1"),
        ({"ask": "matrix", "head": True}, "head True was asked for, expected 0 to 1"),
        ({"ask": "matrix", "rows": [3, 3]}, r"rows \[3, 3\] were asked for, expected \[first, end\] between 0 and 5"),
        ({"ask": "matrix", "keys": [0, 6]}, r"keys \[0, 6\] were asked for"),
        ({"ask": "matrix", "keys": "all"}, "keys 'all' were asked for"),
    ],
)
def test_what_is_not_there_is_refused(question, sentence):
    inspection = Inspection.of_run(a_run(), [[an_example(5)]])
    with pytest.raises(InputError, match=sentence):
        inspection.answer(question)


@pytest.mark.parametrize(
    ("run", "count", "sentence"),
    [
        (a_run(), 0, "'frames' has no vectors, expected at least one to look at"),
        (a_run(), module.MOST_VECTORS + 1, "'frames' has 65,537 vectors, expected at most 65,536"),
        (a_run(mixer="pointwise"), 4, "the model of my run has no attention, expected one that attends"),
    ],
)
def test_what_cannot_be_looked_into_is_refused(run, count, sentence):
    with pytest.raises(InputError, match=sentence):
        Inspection.of_run(run, [[an_example(count)]])
