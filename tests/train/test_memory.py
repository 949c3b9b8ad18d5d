"""What a model would take is known before it is allocated, and equal trainings write equal files."""

import shutil
import sys
import time
from dataclasses import replace

import pytest
import safetensors
import tiny
import torch

from regard.errors import InputError
from regard.models.conformer import Conformer
from regard.models.encoder import Encoder
from regard.models.graph import GraphNetwork
from regard.train import Run, fit
from regard.train.experiment import changed
from regard.train.folder import sizes_of_weights
from regard.train.memory import bounded, free_memory, within_memory


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return fit(tiny.experiment(epochs=1), tmp_path_factory.mktemp("trained") / "run")


@pytest.mark.parametrize("model", [Encoder, Conformer, GraphNetwork])
def test_more_layers_than_any_model_has_are_refused(model):
    assert model(layers=10_000).layers == 10_000
    with pytest.raises(InputError, match=r"model\.layers is 100000000, expected at least . and less than 10,001"):
        model(layers=100_000_000)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 10**8},
        {"width": 10**18},
        {"feed_forward": 10**14},
        {"positions.type": "learned", "positions.longest": 10**15},
    ],
)
def test_a_model_that_the_memory_cannot_hold_is_refused_before_anything_is_written(change, tmp_path):
    whole = tiny.experiment()
    began = time.process_time()
    with pytest.raises(
        InputError, match=r"quarter of the .* GB of memory that are free|expected at most 1,099,511,627,776"
    ):
        fit(replace(whole, model=changed(whole.model, change)), tmp_path / "run")
    assert time.process_time() - began < 20
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("made", "size"),
    [
        (lambda: torch.empty((10, 30)), 1200),
        (lambda: torch.zeros(10, 30, dtype=torch.float64), 2400),
        (lambda: torch.full((10, 30), 7), 1200),
        (lambda: torch.arange(300), 1200),
        (lambda: torch.empty(0).new_zeros((10, 30)), 1200),
        (lambda: torch.nn.Linear(29, 10), 1200),
        (lambda: torch.nn.Embedding(30, 10), 1200),
    ],
)
def test_what_is_made_is_counted_in_bytes(made, size):
    with bounded(size, 9, "too large"):
        made()
    with pytest.raises(InputError, match="too large"), bounded(size - 1, 9, "too large"):
        made()
    with pytest.raises(InputError, match="too large"), bounded(size, 2, "too large"):
        torch.nn.Sequential(*(torch.nn.Linear(1, 1, bias=False) for _ in range(3)))


def test_the_bound_loads_no_compiler_and_ends_with_its_block():
    with within_memory():
        torch.nn.Linear(3, 3)
    assert 0 < free_memory() < 1 << 50
    with bounded(8, 9, "too large"):
        pass
    assert torch.zeros(100).shape == (100,)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("layers: 1", "layers: 10000"),
        ("layers: 1", "layers: 10000000"),
        ("width: 8", "width: 100000000"),
        ("feed_forward: 8", "feed_forward: 1000000000000"),
    ],
)
def test_opening_a_run_allocates_no_more_than_its_weights_have(trained, tmp_path, old, new):
    """The sentence names the weights or the option; the 10,000 layers, which would take a minute to make, are never made."""
    folder = shutil.copytree(trained, tmp_path / "run")
    text = (folder / "config.yaml").read_text()
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, new, 1))
    began = time.process_time()
    with pytest.raises(InputError, match=r"weights of a different model|less than 10,001"):
        Run.open(folder)
    assert time.process_time() - began < 20


def test_the_sizes_of_weights_are_read_without_them(trained):
    run = Run.open(trained)
    tensors = [*run.model.state_dict().values(), *run.task.state_dict().values()]
    assert sorted(sizes_of_weights(trained)) == sorted(each.numel() * each.element_size() for each in tensors)
    (trained.parent / "none").mkdir()
    with pytest.raises(InputError, match="is missing, expected the weights"):
        sizes_of_weights(trained.parent / "none")


def plain(folder):
    """What a run folder holds, where times and checkpoints, which hold times, are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("events.") and path.suffix != ".ckpt":
            lines = path.read_bytes().split(b"\n")
            found[str(path.relative_to(folder))] = [
                line for line in lines if b"seconds: " not in line and b"trained in" not in line
            ]
    return found


def test_equal_trainings_write_equal_files(trained, tmp_path):
    again = fit(tiny.experiment(epochs=1), tmp_path / "run")
    one, two = plain(trained), plain(again)
    assert {"model.safetensors", "config.yaml", "metrics.csv", "curves.png", "card.md", "labels.json"} <= set(one)
    assert one == two
    with safetensors.safe_open(again / "model.safetensors", framework="pt") as file:
        assert len(file.metadata()) == 5
    kept = [torch.load(next(folder.glob("checkpoints/*9.ckpt")), weights_only=True) for folder in (trained, again)]
    for each in kept:
        each["callbacks"] = {
            name: {k: v for k, v in state.items() if k != "seconds"} for name, state in each["callbacks"].items()
        }
    assert repr(kept[0]) == repr(kept[1])
    assert sys.byteorder == "little"
