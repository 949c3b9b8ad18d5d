"""A run directory is all that evaluation and prediction need, and nothing in it is trusted."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import PerVectorLabel
from regard.train import Run, fit, from_yaml
from regard.train.card import read_facts
from regard.train.folder import save_weights
from regard.train.recorder import read_metrics
from regard.train.scoring import in_order


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return fit(tiny.experiment(), tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def folder(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_everything_that_a_run_is_lies_in_its_folder(trained):
    found = {path.name for path in trained.iterdir() if not path.name.startswith("events")}
    assert found == {
        *("config.yaml", "labels.json", "vocabulary.json", "encoding.json", "model.safetensors"),
        *("metrics.csv", "curves.png", "card.md", "checkpoints"),
    }
    assert len(list(trained.glob("events.out.tfevents.*"))) == 1
    assert len(list((trained / "checkpoints").iterdir())) == 2
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert from_yaml((trained / "config.yaml").read_text()) == tiny.experiment()


def test_the_metrics_say_what_happened(trained):
    rows = read_metrics(trained)
    assert [row["step"] for row in rows if row["kind"] == "step"] == [str(n + 1) for n in range(27)]
    assert [row["step"] for row in rows if row["kind"] == "epoch"] == ["9", "18", "27"]
    rates = [float(row["learning_rate"]) for row in rows if row["kind"] == "step"]
    assert rates[:3] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2])
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_the_card_names_what_was_trained(trained):
    facts = read_facts(trained)
    assert facts["recipe"] == "tiny"
    assert facts["seed"] == 0
    assert facts["parameters"] == Run.open(trained).parameters
    assert facts["versions"]["lightning"] == "2.6.6"
    epochs = [row for row in read_metrics(trained) if row["kind"] == "epoch"]
    best = max(epochs, key=lambda row: float(row["validation_accuracy"]))
    assert facts["epoch"] == int(best["epoch"])
    assert facts["validation"]["accuracy"] == float(best["validation_accuracy"])
    assert f"| accuracy | {facts['validation']['accuracy']:.4f} |" in (trained / "card.md").read_text()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[:40], "is missing or has no head"),
        (lambda text: "---\n" + "[" * 9999 + "---\n", "is missing or has no head"),
        (lambda text: text.replace("parameters: ", "numbers: "), "says parameters: nothing, expected the number"),
        (lambda text: text.replace("seconds: ", "seconds: x"), "says seconds: 'x"),
        (lambda text: text.replace("seconds: ", "seconds: -1"), "says seconds: -1"),
    ],
)
def test_a_card_that_was_altered_is_refused(damage, sentence, trained, tmp_path):
    (tmp_path / "card.md").write_text(damage((trained / "card.md").read_text()))
    with pytest.raises(InputError, match=sentence):
        read_facts(tmp_path)


def test_the_weights_are_those_of_the_best_epoch(trained):
    found = Run.open(trained).evaluate("validation")["metrics"]
    facts = read_facts(trained)["validation"]
    assert found["accuracy"] == facts["accuracy"]
    assert found["loss"] == pytest.approx(facts["loss"], rel=1e-5)


def test_later_training_leaves_written_weights_alone(folder):
    run = Run.open(folder)
    save_weights(folder, run.experiment, run.model, run.task)
    before = (folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        for each in run.model.parameters():
            each.zero_()
    assert (folder / "model.safetensors").read_bytes() == before
    assert any(each.any() for each in Run.open(folder).model.parameters())


def test_evaluation_is_written_beside_the_trivial_baseline(folder):
    shutil.rmtree(folder / "checkpoints")
    run = Run.open(folder)
    found = run.evaluate()
    assert json.loads((folder / "evaluation.json").read_text()) == found
    lines = [json.loads(line) for line in (folder / "predictions-test.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == [f"test-{i}" for i in range(20)]
    right = sum(line["label"] == line["target"] for line in lines)
    assert found["metrics"]["accuracy"] == pytest.approx(right / 20)
    common = run.encoding.labels[int(run.task.counts.argmax())]
    assert found["baseline"]["accuracy"] == pytest.approx(sum(line["target"] == common for line in lines) / 20)
    assert (found["part"], found["sets"], found["targets"]) == ("test", 20, 20)
    run.evaluate()
    card = (folder / "card.md").read_text()
    assert card.count("## Evaluation on the test part") == 1
    assert card.rstrip().endswith("```")


def test_predictions_have_probabilities(trained):
    first, second = Run.open(trained).predict(["3,0,0", "-3,0,0"])
    assert (first["name"], first["label"], second["label"]) == ("3,0,0", "up", "down")
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert first["probability"] == max(first["probabilities"].values()) > 0.5
    assert "target" not in first


@pytest.mark.parametrize(
    "name", ["config.yaml", "labels.json", "vocabulary.json", "encoding.json", "model.safetensors"]
)
def test_a_missing_file_is_named(name, folder):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing") as refusal:
        Run.open(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("labels.json", "up", "side", "one of labels.json, vocabulary.json, encoding.json in .* was altered"),
        ("labels.json", "[", "", "labels.json is not JSON"),
        ("config.yaml", "heads: 2", "heads: 4", "config.yaml does not belong to model.safetensors"),
        ("config.yaml", "heads: 2", "head: 2", "no option model.head: did you mean 'heads'"),
        ("config.yaml", "type: Encoder", "type: os.system", "has model.type 'os.system', which is not known"),
    ],
)
def test_an_altered_file_is_named(name, old, new, sentence, folder):
    path = folder / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=sentence):
        Run.open(folder)


def test_data_may_move_and_training_options_change(folder):
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("path: null", "path: elsewhere").replace("epochs: 3", "epochs: 30"))
    assert Run.open(folder).experiment.data.path == "elsewhere"


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", [torch.save, lambda each, path: path.write_bytes(pickle.dumps(each))])
def test_a_pickle_bomb_is_refused_and_never_goes_off(save, folder, tmp_path):
    save(Bomb(tmp_path / "boom"), folder / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors is not a whole safetensors file"):
        Run.open(folder)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("place", [-1, -1000, 40])
def test_altered_weights_are_refused(place, folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        Run.open(folder)


def test_cut_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"model\.safetensors is not a whole safetensors file"):
        Run.open(folder)


def test_a_training_that_fails_says_so(tmp_path):
    wild = tiny.experiment("set number", clip=0.0)
    wild = replace(wild, optimizer=replace(wild.optimizer, learning_rate=1e30))
    with pytest.raises(InputError, match=r"the loss is (nan|inf) by step \d+, expected a finite number"):
        fit(wild, tmp_path / "run")


def test_an_empty_part_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(tiny.SIZES, "validation", 0)
    with pytest.raises(InputError, match="the validation part is empty"):
        fit(tiny.experiment(), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing half-written"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"task": PerVectorLabel()}, "the data needs another task"),
        ({"model": Encoder(width=8, heads=2, attention="Attention(pattern=Edges())")}, "the sets have no edges"),
        ({"model": Encoder(width=8, heads=2, positions=Positions("learned", 6))}, "the learned positions end there"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_a_run_is_begun(options, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        fit(replace(tiny.experiment(), **options), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing half-written"


def test_bfloat16_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", "avx512_bf16": False})
    folder = fit(tiny.experiment(precision="bf16-mixed"), tmp_path / "run")
    slow = "training.precision is bf16-mixed, and this processor has no instructions for bfloat16: float32 is quicker"
    assert slow in capsys.readouterr().err.splitlines()
    run = Run.open(folder)
    assert {each.dtype for each in run.model.parameters()} == {torch.float32}
    assert run.evaluate()["metrics"]["accuracy"] > 0.5


def test_a_part_without_examples_is_not_evaluated(trained, monkeypatch):
    monkeypatch.setitem(tiny.SIZES, "test", 0)
    with pytest.raises(InputError, match="the part has no examples"):
        Run.open(trained).evaluate()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_not_used(tmp_path):
    with pytest.raises(InputError, match=r"training\.device is 'cuda', but torch finds no GPU"):
        fit(tiny.experiment(device="cuda"), tmp_path / "run")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_run_that_was_trained_on_a_gpu_is_used_where_there_is_none(folder):
    config = folder / "config.yaml"
    here = f"device: {tiny.experiment().training.device}"
    assert here in config.read_text()
    config.write_text(config.read_text().replace(here, "device: cuda"))
    assert Run.open(folder).evaluate()["metrics"]["accuracy"] > 0.5


def test_batches_in_order_hold_what_fits():
    assert [list(each) for each in in_order([3, 3, 9, 1, 0], 6)] == [[0, 1], [2], [3, 4]]
    assert list(in_order([], 6)) == []


def test_training_takes_the_threads_it_is_told_to_and_gives_them_back(tmp_path):
    before = torch.get_num_threads()
    told = tiny.experiment()
    told = replace(told, training=replace(told.training, epochs=1, threads=before + 1))
    assert read_facts(fit(told, tmp_path / "run"))["threads"] == before + 1
    assert torch.get_num_threads() == before
