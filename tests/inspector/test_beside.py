"""What stands beside an inspection: another run, or another attention for the same queries and keys."""

import numpy as np
import pytest

from regard.attention.verb import attention_weights
from regard.attention.vocabulary import parse
from regard.errors import InputError
from regard.inspector.answers import Questions
from regard.inspector.beside import Otherwise
from regard.inspector.inspection import Inspection
from tests.inspector.test_inspection import a_run, an_example, asking, matrix, weights_of


@pytest.mark.parametrize(
    "text", ["Attention(normalizer=Relu(), pattern=Causal())", "Window(1, 1)", "Attention(bias=ALiBi())"]
)
def test_the_same_queries_and_keys_go_through_another_attention(text):
    inspection = asking(a_run("Attention(bias=Shaw(2))"), an_example(6)).inspection
    questions = Questions(inspection, Otherwise(text, inspection))
    assert questions.answer({"ask": "overview"}).content["beside"]["name"] == text
    call = inspection.seen[1].calls[0]
    spec = questions.beside.seen[1].calls[0].attention
    assert spec == parse(text) or spec.pattern == parse(text)
    learned = call.parameters if spec.parameters(2, 4) else {}
    expected = attention_weights(spec, call.q, call.k, call.layout, parameters=learned).dense().detach()
    for head in range(2):
        cells, _ = matrix(questions, layer=1, head=head, of="beside")
        np.testing.assert_allclose(np.where(np.isneginf(cells), 0, cells), expected[head], atol=1e-6)


def test_another_run_reads_the_same_input():
    example, other = an_example(5), a_run("Attention(pattern=Causal())")
    questions = Questions(asking(a_run(), example).inspection, Inspection.of_run(other, [[example]]))
    cells, _ = matrix(questions, layer=0, head=1, of="beside")
    np.testing.assert_allclose(np.where(np.isneginf(cells), 0, cells), weights_of(other, example, 0)[1], atol=1e-6)
    assert {"ask": "matrix", "of": "beside", "layer": 1, "head": 0} in list(questions.all())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Attention(score=Additive())", "learns score_weight, expected an attention that learns nothing"),
        ("Edges()", "edges"),
        ("Softmax()", "expected a run, a pattern or an Attention"),
    ],
)
def test_what_cannot_stand_beside_is_refused(text, sentence):
    inspection = asking(a_run(), an_example(5)).inspection
    with pytest.raises(InputError, match=sentence):
        Otherwise(text, inspection)


@pytest.mark.parametrize(
    "question", [{"ask": "matrix", "of": "beside"}, {"ask": "heads", "of": "beside"}, {"ask": "matrix", "of": 1}]
)
def test_nothing_stands_beside(question):
    with pytest.raises(InputError, match="was asked, expected a matrix of what stands beside"):
        asking(a_run(), an_example(5)).answer(question)
