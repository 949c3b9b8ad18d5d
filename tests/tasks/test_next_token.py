"""The next token: its loss by hand, the baseline that never looks, and what is refused."""

import math
import re

import pytest
import torch

from regard import VectorSets
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels, Numbers
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.pieces import Front
from regard.tasks.configs import NextToken
from regard.train.kinds import build

ENTRIES = ("<unknown>", "a", "b", "c")
ENCODING = Encoding(Labels(ENTRIES), {"token": ENTRIES})
CAUSAL = "Attention(pattern=Causal())"


def made(attention=CAUSAL, encoding=ENCODING, **options):
    torch.manual_seed(0)
    model = build(Encoder(width=8, heads=2, attention=attention, **options), encoding)
    task = build(NextToken(top=2), 8, encoding)
    task.attach(model)
    return model.eval(), task.eval()


def batch_of(sets, targets=None):
    joined = None if targets is None else torch.tensor([n for each in targets for n in each])
    names = tuple(f"text {n}" for n in range(len(sets)))
    kind = None if targets is None else "vector"
    return Batch(VectorSets.pack([torch.tensor(ids) for ids in sets]), joined, names=names, target_kind=kind)


def test_scores_are_products_with_the_models_own_table():
    model, task = made(front=Front(deviation=0.1))
    batch = batch_of([[1, 2, 3], [2]])
    hidden = model(batch)
    table = model.front.embed.tables[0].weight
    torch.testing.assert_close(task(hidden, batch), hidden.values @ table.T)
    # The table is trained, and saved, as the model's alone.
    assert list(task.parameters()) == []
    task(hidden, batch).sum().backward()
    assert table.grad is not None


def test_the_loss_is_in_nats_at_all_places():
    _, task = made()
    probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]])
    batch = batch_of([[1, 2], [3]], [[2, 3], [0]])
    total, count = task.loss(probabilities.log(), batch)
    assert int(count) == 3
    assert float(total) == pytest.approx(-math.log(0.3) - math.log(0.25) - math.log(0.7))
    metrics = task.metrics()
    task.score(metrics, probabilities.log(), batch)
    computed = metrics.compute()
    assert float(computed["nats"]) == pytest.approx(float(total) / 3)
    assert float(computed["accuracy"]) == pytest.approx(1 / 3)
    first, second = task.predictions(probabilities.log(), batch)
    assert first == {"name": "text 0", "nats": pytest.approx(-math.log(0.3 * 0.25) / 2), "targets": 2}
    assert second == {"name": "text 1", "nats": pytest.approx(-math.log(0.7)), "targets": 1}
    (metric,) = NextToken.corpus_metrics
    assert metric.of([first, second]) == pytest.approx(float(total) / 3)
    assert math.isnan(metric.of([{"name": "x"}]))


def test_no_place_hears_of_a_later_one():
    model, task = made()
    early, late = batch_of([[1, 2, 3, 1]]), batch_of([[1, 2, 1, 2]])
    torch.testing.assert_close(task(model(early), early)[:2], task(model(late), late)[:2])


def test_the_baseline_is_how_often_each_comes():
    _, task = made()
    task.observe(batch_of([[1, 1, 1, 2]], [[1, 1, 2, 3]]))
    batch = batch_of([[1, 2]], [[1, 3]])
    scores = task.trivial(batch)
    assert scores.exp().tolist() == [pytest.approx([1 / 8, 3 / 8, 2 / 8, 2 / 8])] * 2


def test_a_text_to_predict_for_has_its_next_tokens_and_its_own_nats():
    model, task = made()
    batch = batch_of([[1, 2, 0], [3]])
    output = task(model(batch), batch).detach()
    first, second = task.predictions(output, batch)
    best = output[2].softmax(-1).topk(2)
    assert list(first["next"]) == [ENTRIES[n] for n in best.indices.tolist()]
    assert list(first["next"].values()) == pytest.approx(best.values.tolist())
    logs = output.log_softmax(-1)
    assert first["nats"] == pytest.approx(-float(logs[0, 2] + logs[1, 0]) / 2)
    assert first["unknown"] == 1
    assert second.keys() == {"name", "next"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made("Attention()"), "the model looks at later ones, expected one that only looks back"),
        (lambda: made("Attention(pattern=Window(2, 1))"), "the model looks at later ones"),
        (lambda: made(mixer="lstm"), "the model looks at later ones"),
        (lambda: made(front=Front(step=2)), "the model looks at later ones"),
        (lambda: made(front=Front(class_vector=True)), "the model looks at later ones"),
        (lambda: made(encoding=Encoding(Numbers(0.0, 1.0), {"token": ENTRIES})), "the targets are numbers"),
        (
            lambda: made(encoding=Encoding(Labels(("a", "b")), {"token": ENTRIES})),
            "the targets are labels, expected the ids",
        ),
        (lambda: build(NextToken(), 8, ENCODING).attach(torch.nn.Linear(8, 8)), "the model is no Encoder but Linear"),
        (lambda: build(NextToken(), 8, ENCODING).scores(torch.zeros(1, 8)), "the task has no table of ids yet"),
        (lambda: NextToken(top=0), "task.top is 0, expected at least 1"),
        (lambda: NextToken(dropout=1.0), "task.dropout is 1.0, expected at least 0 and less than 1"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def test_a_prompt_is_made_of_known_tokens():
    _, task = made()
    assert task.ids_of("abca") == [1, 2, 3, 1]
    message = "the prompt has 'x', 'é', which the training part lacks, expected some of its 3 characters"
    with pytest.raises(InputError, match=re.escape(message)):
        task.ids_of("axéx")
    with pytest.raises(InputError, match=re.escape("'l', 'm' and 3 more, which")):
        task.ids_of("defghijklmnop")
    with pytest.raises(InputError, match="<unknown>"):
        task.ids_of(["<unknown>"])
