"""ELECTRA: a small generator that shares the table of ids, what is drawn from it, and which tokens it replaced."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from regard import InputError
from regard.cli import main
from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.data.masking import MASK
from regard.data.passages import Passages
from regard.data.text import Texts
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.sets import VectorSets
from regard.tasks.configs import MaskedTokens, PerSetLabel, ReplacedTokens
from regard.tasks.replaced import drawn, uniform_of
from regard.train import Experiment, Optimizer, Run, Training, fit
from regard.train.kinds import build

NAMES = ["anna", "ben", "carla", "dora", "emil"]
THINGS = {"anna": "apples", "ben": "bread", "carla": "cherries", "dora": "dates", "emil": "eggs"}
PLAIN = ReplacedTokens()
MODEL = Encoder(
    width=32, layers=1, heads=4, feed_forward=32, dropout=0.0, positions=Positions("rotary"), front=Front(deviation=0.1)
)
ENCODING = Encoding(columns={"token": ("<unknown>", "a", "b", "c", MASK)})


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Who eats what is fixed, so that what was replaced can be known."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(f"{name} eats {THINGS[name]} number {n % 7} ." for n in range(60) for name in NAMES))
    return path


def experiment(path, task=PLAIN, **training):
    options = {"epochs": 20, "batch_vectors": 128, "checkpoint_every": 0, "device": "cpu", "progress": False}
    return Experiment(
        "mine",
        Passages(str(path), tokens="words", vocabulary=0, mask=0.3, longest=32),
        MODEL,
        task,
        Optimizer(learning_rate=1e-2, warm_up=10),
        Training(**options | training),
    )


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    return fit(experiment(text), tmp_path_factory.mktemp("runs") / "pieces")


def made(options=PLAIN, model=MODEL):
    torch.manual_seed(0)
    model = build(model, ENCODING)
    task = build(options, model.width, ENCODING)
    task.attach(model)
    return model.eval(), task.eval()


def batch():
    values = torch.tensor([1, 4, 3, 4, 4, 2])
    targets = torch.tensor([-100, 2, -100, 1, 3, -100])
    return Batch(
        VectorSets.pack([values[:3], values[3:]]), targets, names=("x", "y"), tokens=(None, None), target_kind="vector"
    )


def test_the_generator_is_a_quarter_as_wide_and_owns_no_table():
    model, task = made()
    assert (task.generator.width, task.generator.stack.blocks[0].mixer.heads) == (8, 1)
    assert task.generator.stack.blocks[0].feed_forward.into.out_features == 8
    own = {name: each.shape for name, each in task.named_parameters()}
    assert not [name for name, shape in own.items() if len(ENCODING.columns["token"]) == shape[0] and len(shape) > 1]
    # Both read the table of the model, and the generator's scores are products with it.
    table = model.front.embed.tables[0].weight
    before = task.read(batch()).scores
    with torch.no_grad():
        table[4] += 1
    assert not torch.equal(task.read(batch()).scores, before)


def test_scores_of_the_generator_are_those_of_the_paper():
    model, task = made()
    torch.nn.init.normal_(task.masked.bias)
    read = task.read(batch())
    hidden = task.generator(batch()).values[[1, 3, 4]]
    layer, _, norm = task.masked.transform
    table = model.front.embed.tables[0].weight
    expected = norm(torch.nn.functional.gelu(layer(hidden))) @ table.T + task.masked.bias
    torch.testing.assert_close(read.scores, expected)
    first = task.generator.front(batch()).values
    torch.testing.assert_close(first, task.generator.front.embed.project(table[batch().inputs.values]))


def test_what_equals_the_original_counts_as_real():
    model, task = made()
    kinds = set()
    original = torch.tensor([1, 2, 3, 1, 3, 2])
    for shift in range(40):
        # Whatever stands beside the gaps, the draws are others.
        given = replace(batch(), inputs=batch().inputs.with_values(torch.tensor([1, 4, 3, 4, 4, shift % 4])))
        with torch.no_grad():
            task.masked.bias.copy_(torch.tensor([-9.0, 0, 1, 2, -9]).roll(shift // 4 % 3))
        read = task.read(given)
        places = torch.tensor([1, 3, 4])
        ids, targets = read.inputs.values, given.targets
        assert torch.equal(ids[[0, 2, 5]], given.inputs.values[[0, 2, 5]])
        assert not read.replaced[[0, 2, 5]].any()
        assert torch.equal(read.replaced[places], ids[places] != targets[places])
        kinds |= set(read.replaced[places].tolist())
    assert kinds == {True, False}
    assert task(model(read), read).ids[0] == original[0]


def test_the_loss_is_that_of_hidden_tokens_and_fifty_times_that_of_all():
    model, task = made()
    read = task.read(batch())
    output = task(model(read), read)
    total, count = task.loss(output, batch())
    guessed = cross_entropy(output.scores, torch.tensor([2, 1, 3]))
    detected = binary_cross_entropy_with_logits(output.logits, read.replaced.float())
    torch.testing.assert_close(total / count, guessed + 50 * detected)
    _, other = made(ReplacedTokens(weight=2.0))
    other.load_state_dict(task.state_dict())
    torch.testing.assert_close(other.loss(output, batch())[0] / count, guessed + 2 * detected)


def test_detection_teaches_the_model_and_not_the_generator():
    model, task = made()
    read = task.read(batch())
    output = task(model(read), read)
    binary_cross_entropy_with_logits(output.logits, read.replaced.float()).backward()
    assert all(each.grad is None for each in [*task.generator.parameters(), *task.masked.parameters()])
    assert all(each.grad is not None for each in [*model.parameters(), *task.detect.parameters()])
    task.zero_grad()
    task.masked.loss(task.read(batch()).scores, batch())[0].backward()
    assert all(each.grad is not None for each in [*task.generator.parameters(), *task.masked.parameters()])


def test_a_batch_is_filled_as_each_set_alone():
    generator = torch.Generator().manual_seed(0)
    model, task = made()
    values = [torch.randint(1, 4, (n,), generator=generator) for n in (5, 1, 9, 3)]
    targets = [value.where(torch.rand(len(value), generator=generator) < 0.5, -100) for value in values]
    for value, target in zip(values, targets, strict=True):
        value[target >= 0] = 4
    names = tuple("abcd")
    together = Batch(VectorSets.pack(values), torch.cat(targets), names=names, target_kind="vector")
    whole = task.read(together)
    logits = task(model(whole), whole).logits.split([5, 1, 9, 3])
    for n, (value, target) in enumerate(zip(values, targets, strict=True)):
        alone = task.read(Batch(VectorSets.pack([value]), target, names=names[n : n + 1], target_kind="vector"))
        assert torch.equal(alone.inputs.values, whole.inputs.unpack()[n])
        torch.testing.assert_close(task(model(alone), alone).logits, logits[n])


def test_tokens_are_drawn_from_the_softmax():
    probabilities = torch.tensor([0.5, 0.25, 0.2, 0.05])
    # Sets of three ids, all of them different.
    ids = torch.cartesian_prod(*[torch.arange(30)] * 3)
    sets = VectorSets.pack(list(ids))
    uniform = uniform_of(sets)
    assert len(uniform.unique()) > 0.99 * len(uniform)
    found = torch.bincount(drawn(probabilities.log().expand(len(uniform), -1), uniform), minlength=4) / len(uniform)
    # Five standard deviations.
    assert ((found - probabilities).abs() < 5 * (probabilities * (1 - probabilities) / len(uniform)).sqrt()).all()
    # Places of a set, and sets that differ in one id, are drawn independently of each other.
    rows = uniform.view(-1, 3)
    noise = 5 / len(rows) ** 0.5
    assert torch.corrcoef(rows.T).fill_diagonal_(0).abs().max() < noise
    assert abs(float(torch.corrcoef(torch.stack([rows[:-1, 0], rows[1:, 0]]))[0, 1])) < noise
    certain = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    assert drawn(certain.expand(2, -1), torch.tensor([1e-9, 1 - 1e-9])).tolist() == [1, 1]


def test_a_gap_of_which_nothing_is_known_is_filled_with_the_best_guess():
    model, task = made()
    bare = Batch(VectorSets.pack([torch.tensor([1, 4, 2])]), names=("x",), tokens=(None,))
    read = task.read(bare)
    assert read.inputs.values.tolist() == [1, int(read.scores[0].argmax()), 2]
    (written,) = task.predictions(task(model(read), read), bare)
    assert [gap["place"] for gap in written["gaps"]] == [1]
    assert [vector["token"] for vector in written["vectors"]] == ["a", written["gaps"][0]["token"], "b"]
    assert all("target" not in vector for vector in written["vectors"])


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (lambda: made()[1].attach(torch.nn.Linear(8, 8)), "by the model's table of ids, expected a model that has one"),
        (lambda: made(model=replace(MODEL, front=Front(step=2))), "expected a model that reads one id for each vector"),
        (lambda: ReplacedTokens(generator=0.0), "task.generator is 0.0, expected a share from above 0 to 1"),
        (lambda: ReplacedTokens(weight=-1.0), "task.weight is -1.0, expected"),
        (
            lambda: made()[1](made()[0](batch()), batch()),
            "was not filled by a generator, expected what the task's read",
        ),
    ],
)
def test_what_does_not_fit_is_refused(refused, sentence):
    with pytest.raises(InputError, match=sentence):
        refused()


def test_training_finds_what_was_replaced(run):
    evaluation = Run.open(run).evaluate("test")
    metrics, baseline = evaluation["metrics"], evaluation["baseline"]
    assert baseline["roc_auc"] == 0.5
    assert metrics["roc_auc"] > 0.8
    assert metrics["guess_accuracy"] > baseline["guess_accuracy"] + 0.2
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    vectors = [vector for line in lines for vector in line["vectors"]]
    chosen, there = (np.array([vector[name] == "replaced" for vector in vectors]) for name in ("label", "target"))
    assert [vector["replaced"] >= 0.5 for vector in vectors] == chosen.tolist()
    assert 2 * (chosen & there).sum() / (chosen.sum() + there.sum()) == pytest.approx(metrics["f1"])
    gaps = [gap for line in lines for gap in line["gaps"]]
    assert np.mean([gap["token"] == gap["target"] for gap in gaps]) == pytest.approx(metrics["guess_accuracy"])
    assert evaluation["targets"] == len(gaps)


def test_predict_fills_gaps_and_finds_what_does_not_belong(run, capsys):
    texts = ["anna eats [MASK] number 3 .", "ben eats apples number 2 ."]
    assert main(["predict", str(run), *(word for text in texts for word in ("--text", text))]) == 0
    gap, odd = map(json.loads, capsys.readouterr().out.splitlines())
    assert (len(gap["gaps"]), odd["gaps"]) == (1, [])
    most = max(odd["vectors"], key=lambda vector: vector["replaced"])
    assert most["token"] in ("apples", "ben")


def test_a_resumed_training_draws_the_same(text, tmp_path):
    def of(epochs):
        made_of = experiment(text, epochs=epochs, log_every=1)
        return replace(made_of, optimizer=replace(made_of.optimizer, schedule="constant"))

    whole = fit(of(2), tmp_path / "whole")
    parts = fit(of(1), tmp_path / "parts")
    fit(of(2), parts, resume=True)
    assert (whole / "metrics.csv").read_text() == (parts / "metrics.csv").read_text()


def test_texts_begin_with_the_model_that_detects(run, tmp_path):
    rows = "".join(f"{name} eats {THINGS[name]},{'good' if name < 'c' else 'bad'}\n" for name in NAMES * 6)
    (tmp_path / "texts.csv").write_text("text,label\n" + rows)
    options = Training(epochs=1, batch_vectors=64, device="cpu", progress=False, checkpoint_every=0, start=str(run))
    data = Texts(str(tmp_path / "texts.csv"), tokens="words", vocabulary=0)
    fit(Experiment("next", data, MODEL, PerSetLabel(pool="mean"), Optimizer(), options), tmp_path / "run")
    report = json.loads((tmp_path / "run" / "start.json").read_text())
    before = Run.open(run)
    assert sum(report["taken"].values()) == sum(each.numel() for each in before.model.state_dict().values())
    assert report["misfits"] == {}
    assert sum(report["unused"].values()) == sum(each.numel() for each in before.task.parameters())


def test_detection_begins_with_a_masked_language_model(text, tmp_path):
    masked = fit(experiment(text, MaskedTokens(), epochs=1), tmp_path / "masked")
    fit(experiment(text, epochs=1, start=str(masked)), tmp_path / "run")
    report = json.loads((tmp_path / "run" / "start.json").read_text())
    model = Run.open(masked).model
    assert sum(report["taken"].values()) == sum(each.numel() for each in model.state_dict().values())
