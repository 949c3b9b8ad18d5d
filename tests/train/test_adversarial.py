"""Two networks that learn in turn: a killed training goes on to the same losses, sheets are drawn, a judge is looked for."""

import signal

import numpy as np
import pytest
import torch
from PIL import Image
from processes import in_process, kill_when
from test_resume import left

from regard.cli import main
from regard.data.pictures import Pictures
from regard.models.encoder import Encoder
from regard.models.gan import SelfAttentionGan
from regard.models.pieces import Front, Positions
from regard.tasks import PerSetLabel, WrittenPictures
from regard.train import Experiment, Optimizer, Run, Training, fit
from regard.train.checkpoints import newest
from regard.train.recorder import Recorder, read_metrics


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Pictures that are white above or below, and a run of a classifier that knows which."""
    folder = tmp_path_factory.mktemp("halves")
    rng = np.random.default_rng(0)
    for n in range(60):
        pixels = rng.integers(0, 60, (8, 8), np.uint8)
        pixels[4 * (n % 2) :][:4] += 150
        (folder / "data" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "data" / "ab"[n % 2] / f"{n}.png")
    front = Front(stem="convolution2d", stages=(4,))
    model = Encoder(width=8, layers=0, positions=Positions("none"), front=front)
    options = Training(epochs=8, batch_vectors=512, progress=False, device="cpu")
    fit(
        Experiment("cnn", data(folder), model, PerSetLabel(pool="attention"), Optimizer(0.02, warm_up=2), options),
        folder / "cnn",
    )
    assert in_process(train, folder, folder / "gan") == 0
    return folder


def data(folder):
    return Pictures(str(folder / "data"), size=8, patch=1, color="gray")


def train(folder, run, resume=False, killed=None):
    if killed:
        kill_when(*killed)
    options = Training(epochs=3, batch_vectors=512, log_every=1, checkpoint_every=2, progress=False, device="cpu")
    optimizer = Optimizer(2e-3, weight_decay=0.0, betas=(0.0, 0.9), warm_up=2)
    task = WrittenPictures(judge=str(folder / "cnn"), samples=6)
    fit(Experiment("gan", data(folder), SelfAttentionGan(width=4, noise=6), task, optimizer, options), run, resume)


def test_a_killed_training_goes_on_with_the_same_losses(root, tmp_path):
    run = tmp_path / "run"
    # In the second of three epochs of 6 steps, after its first checkpoint.
    assert in_process(train, root, run, False, (Recorder, "on_train_batch_end", 10)) == -signal.SIGKILL
    assert newest(run / "checkpoints")[0] is not None
    assert in_process(train, root, run, True) == 0
    assert left(run) == left(root / "gan")
    for n in (1, 2, 3):
        name = f"samples/epoch-{n:04d}.png"
        assert (run / name).read_bytes() == (root / "gan" / name).read_bytes()


def test_both_networks_learn_each_at_its_own_rate(root):
    _, state = newest(root / "gan" / "checkpoints")
    generator, discriminator = state["optimizer_states"]
    rates = [group["lr"] for each in (generator, discriminator) for group in each["param_groups"]]
    steps = len([row for row in read_metrics(root / "gan") if row["kind"] == "step"])
    assert (state["global_step"], steps) == (18, 18)
    assert all(
        rate == pytest.approx(rates[0] * (1 if n < len(generator["param_groups"]) else 4))
        for n, rate in enumerate(rates)
    )
    run = Run.open(root / "gan")
    assert sum(len(group["params"]) for group in generator["param_groups"]) == len(
        list(run.model.generator.parameters())
    )
    moved = [getattr(run.model, name).attention.gamma.item() for name in ("generator", "discriminator")]
    assert all(moved)


def test_sheets_are_drawn_while_it_learns_and_asked_for_later(root, tmp_path, capsys):
    with Image.open(root / "gan" / "samples" / "epoch-0003.png") as sheet:
        assert (sheet.size, sheet.mode) == ((2 * 9 + 1, 3 * 9 + 1), "L")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(root / "gan"))
    events.Reload()
    assert [each.step for each in events.Images("samples")] == [6, 12, 18]
    out = tmp_path / "sheet.png"
    for seed, same in ((0, True), (1, False)):
        assert main(["generate", str(root / "gan"), "--out", str(out), "--count", "6", "--seed", str(seed)]) == 0
        assert (out.read_bytes() == (root / "gan" / "samples" / "epoch-0003.png").read_bytes()) == same
    for options, message in (
        ([], "generate is not told --out"),
        (["--out", "a.png", "--top-k", "3"], "--top-k was given and"),
        (["--out", "a.png", "b.png"], "generate got 'b.png' and"),
        (["--out", "a.png", "--prompt", "x"], "--prompt was given and"),
    ):
        assert main(["generate", str(root / "gan"), *options]) == 2
        assert message in capsys.readouterr().err


def test_it_is_evaluated_with_its_judge_which_is_missed_when_it_is_gone(root, tmp_path):
    run = Run.open(root / "gan")
    evaluation = run.evaluate()
    assert evaluation["metrics"].keys() == {"loss", "fid", "agreement"}
    assert evaluation["metrics"]["fid"] > 0
    assert evaluation["baseline"] == {}
    assert not any("judge" in name for name in torch.nn.ModuleList([run.model, run.task]).state_dict())
    (root / "cnn").rename(tmp_path / "cnn")
    try:
        # Pictures are written without it.
        assert Run.open(root / "gan").task.sheet(2).shape == (10, 19)
        assert main(["evaluate", str(root / "gan")]) == 2
    finally:
        (tmp_path / "cnn").rename(root / "cnn")
