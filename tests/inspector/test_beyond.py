"""Rollout and weight times gradient, worked out again."""

import numpy as np
import pytest
import torch

from regard.errors import InputError
from regard.inspector import beyond
from regard.inspector.answers import Questions
from regard.inspector.beyond import rollout
from regard.inspector.sketch import Sketch
from regard.inspector.steps import step
from tests.inspector.test_inspection import a_run, an_example, asking, weights_of


def cells(questions, **question):
    answer = questions.answer(question)
    return np.frombuffer(answer.buffers[0], "<f4").reshape(answer.content["shape"])


def test_rollout_is_the_product_of_the_layers():
    run, example = a_run("Attention(pattern=Causal())"), an_example(5)
    first, second = (weights_of(run, example, layer).mean(0).numpy() for layer in range(2))
    expected = (second + np.eye(5)) / 2 @ ((first + np.eye(5)) / 2)
    questions = asking(run, example)
    np.testing.assert_allclose(cells(questions, ask="rollout", layer=1), expected, atol=1e-6)
    np.testing.assert_allclose(cells(questions, ask="rollout", layer=0), (first + np.eye(5)) / 2, atol=1e-6)


def test_a_query_without_keys_stays_where_it_is():
    a = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])
    assert rollout([a]).tolist() == [[1.0, 0.0], [0.5, 0.5]]


@pytest.mark.parametrize("attention", ["Attention()", "Attention(pattern=Window(2, 1), bias=Shaw(2))"])
def test_a_gradient_is_the_slope_of_the_score(attention):
    run, example = a_run(attention), an_example(5)
    questions = asking(run, example)
    found = cells(questions, ask="gradient", layer=1, head=1)
    inspection = questions.inspection
    call = inspection.seen[1].calls[0]
    weights = weights_of(run, example, 1)
    score = inspection.likeliest(inspection.seen[1], 0).item()
    slight = 1e-2
    for i, j in ((0, 1), (3, 2), (4, 4)):
        # The output with one weight a little larger.
        steps = step(call, i, 1)
        changed = call.out.clone()
        changed[i, 1] += slight * steps.v[steps.keys == j][0]
        hook = call.module.register_forward_hook(lambda module, given, out, changed=changed: changed)
        slope = (inspection.likeliest(inspection.seen[1], 0).item() - score) / slight
        hook.remove()
        assert found[i, j] == pytest.approx(float(weights[1, i, j]) * slope, abs=3e-4)
    assert np.isfinite(found).all()
    assert not found[weights[1].numpy() == 0].any()


def test_what_has_none_is_refused(monkeypatch):
    questions = asking(a_run(pooling="attention"), an_example(5))
    with pytest.raises(InputError, match="rollout was asked of a layer of the kind 'pooling', expected self-attention"):
        questions.answer({"ask": "rollout", "layer": 2})
    assert cells(questions, ask="gradient", layer=2).shape == (1, 5)
    with pytest.raises(InputError, match="without a run"):
        Questions(Sketch("Causal()", 4)).answer({"ask": "gradient"})
    monkeypatch.setattr(beyond, "MOST", 4)
    for ask in ("rollout", "gradient"):
        with pytest.raises(InputError, match="there are 5 x 5 pairs, expected at most 4 x 4 for this view"):
            questions.answer({"ask": ask})
