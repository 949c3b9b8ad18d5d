"""A model with a memory trains on streams of segments: in their order, over several processes, and killed at any moment."""

import signal

import numpy as np
import pytest
import safetensors.torch
import torch
from processes import in_process, in_processes, kill_when

from regard import VectorSets
from regard.data.batch import Batch
from regard.data.batching import BudgetSampler, measured
from regard.data.running_text import RunningText, Streams
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks.configs import NextToken
from regard.train import Experiment, Optimizer, Run, Training, fit
from regard.train.checkpoints import Checkpoints, newest
from regard.train.experiment import changed
from regard.train.learner import Learner
from regard.train.recorder import read_metrics

WINDOW, STREAMS = 16, 4


def experiment(path, **changes):
    """A tiny language model; 23 steps an epoch."""
    tiny = Experiment(
        "tiny",
        RunningText(str(path), window=WINDOW, streams=STREAMS),
        Encoder(
            width=8,
            layers=2,
            heads=2,
            feed_forward=8,
            dropout=0.1,
            attention="Segments(memory=20)",
            positions=Positions("none"),
            front=Front(deviation=0.5),
        ),
        NextToken(),
        Optimizer(learning_rate=1e-2, warm_up=3),
        Training(epochs=2, batch_vectors=64, checkpoint_every=5, log_every=1, device="cpu", progress=False),
    )
    for name, value in changes.items():
        section, _, option = name.partition("__")
        tiny = changed(tiny, {f"{section}.{option}": value})
    return tiny


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    generator = np.random.default_rng(0)
    path.write_text("".join(generator.choice(["abc ", "cab ", "de ", "edda "], 420)))
    return path


def train(folder, path, resume=False, killed=None, changes=()):
    if killed:
        kill_when(*killed)
    fit(experiment(path, **dict(changes)), folder, resume)


def left(folder):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    _, state = newest(folder / "checkpoints")
    memory = [each.numpy().tobytes() for rank in state["memory"] for each in rank["values"]]
    return (folder / "metrics.csv").read_text(), {n: each.numpy().tobytes() for n, each in weights.items()}, memory


@pytest.fixture(scope="module")
def undisturbed(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert in_process(train, folder, text) == 0
    return folder


@pytest.mark.parametrize(
    "moment",
    [
        (Learner, "training_step", 3),
        (Learner, "training_step", 13),
        (Learner, "validation_step", 1),
        (Checkpoints, "on_train_epoch_end", 1, True),
        (Learner, "training_step", 30),
    ],
)
def test_a_killed_training_goes_on_with_what_it_remembered(moment, text, undisturbed, tmp_path):
    folder = tmp_path / "run"
    assert in_process(train, folder, text, False, moment) == -signal.SIGKILL
    assert in_process(train, folder, text, True) == 0
    assert left(folder) == left(undisturbed)


def test_two_processes_have_streams_of_their_own(text, tmp_path):
    changes = {"model__dropout": 0.0}
    alone, calm, killed = (tmp_path / name for name in ("alone", "calm", "killed"))
    assert in_process(train, alone, text, False, None, changes) == 0
    assert in_processes(2, train, calm, text, False, None, changes) == [0, 0]
    losses = [[float(row["loss"]) for row in read_metrics(each) if row["kind"] == "step"] for each in (alone, calm)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert in_processes(2, train, killed, text, False, (Learner, "training_step", 13), changes) != [0, 0]
    assert in_processes(2, train, killed, text, True, None, changes) == [0, 0]
    assert left(killed) == left(calm)


def test_what_compresses_goes_on_too(text, tmp_path):
    changes = {"model__attention": "Compressive(memory=8, compressed=8, rate=4)"}
    calm, killed = (tmp_path / name for name in ("calm", "killed"))
    assert in_processes(2, train, calm, text, False, None, changes) == [0, 0]
    assert in_processes(2, train, killed, text, False, (Learner, "training_step", 13), changes) != [0, 0]
    assert in_processes(2, train, killed, text, True, None, changes) == [0, 0]
    assert left(killed) == left(calm)


def test_evaluation_may_remember_more(text, undisturbed):
    run = Run.open(undisturbed)
    found = {memory: run.evaluate(memory=memory)["metrics"]["nats"] for memory in (None, 20, 0, 3, 1000)}
    assert found[None] == found[20]
    assert len({found[0], found[3], found[1000]}) == 3
    # Everything is remembered: as if each stream were read in one pass.
    part, total = run.part("test"), 0.0
    assert isinstance(part, Streams)
    for b in range(STREAMS):
        ids = [torch.from_numpy(part[n].values) for n in range(b, len(part), STREAMS)]
        targets = torch.cat([torch.from_numpy(part[n].target) for n in range(b, len(part), STREAMS)])
        batch = Batch(VectorSets.pack([torch.cat(ids)]))
        with torch.no_grad():
            scores = run.task(run.model(batch), batch)
        total += float(torch.nn.functional.cross_entropy(scores, targets, reduction="sum"))
    assert found[1000] == pytest.approx(total / sum(part.lengths), rel=1e-5)


def test_batches_are_one_segment_of_each_stream():
    part = Streams(np.arange(200), 16, 4, "a")
    lengths, budget = measured(part, 64)
    batches = BudgetSampler(lengths, budget, shuffle=False).batches(3)
    assert batches == [[4 * t + b for b in range(4)] for t in range(len(part) // 4)]
    lengths, budget = measured(part, 32, ranks=2)
    for rank in range(2):
        own = BudgetSampler(lengths, budget, shuffle=False, rank=rank, ranks=2).batches(0)
        assert own == [[4 * t + 2 * rank, 4 * t + 2 * rank + 1] for t in range(len(part) // 4)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__streams": 0}, "the model remembers the segments before one, and the data come in any order, expected"),
        ({"data__streams": 5}, "5 streams of segments of 16 are 80 vectors at a time, expected at most the 64 of trai"),
        ({"model__mixer": "lstm"}, None),
        (
            {"model__mixer": "attention+lstm"},
            r"the model has Segments\(memory=20\), and joins ids, or has other mixers",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(changes, message, text, tmp_path):
    options = changes | {"training__epochs": 1, "model__mixing.bidirectional": False}
    if message is None:
        assert Run.open(fit(experiment(text, **options), tmp_path / "run")).evaluate()["metrics"]
        return
    with pytest.raises(InputError, match=message):
        fit(experiment(text, **options), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="there are 4 streams for 3 processes, expected a multiple of 3"):
        measured(Streams(np.arange(200), 16, 4, "a"), 64, ranks=3)
