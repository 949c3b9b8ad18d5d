"""The arena's benchmark: what a step is, what a row says, and its picture."""

import argparse
import json

import pytest
import torch

from benchmarks import arena, arena_charts
from benchmarks.arena_ports import PORTS, Ported
from regard import VectorSets
from regard.recipes.systems import SYSTEMS


def test_no_step_has_more_than_131072_bytes():
    assert [arena.sequences(length) for length in arena.LENGTHS] == [32, 32, 32, 32, 8, 2]
    assert all(arena.sequences(length) * length <= 1 << 17 for length in arena.LENGTHS)


@pytest.mark.parametrize("training", [True, False])
def test_a_measurement_is_a_speed_and_a_memory(training, monkeypatch):
    monkeypatch.setattr(arena, "sequences", lambda length: 2)
    found = arena.measure("local", 128, training, 1, "cpu")
    assert found["steps/s"] > 0
    assert found["MB"] >= 0


def test_a_port_takes_the_place_of_the_attention_layers(monkeypatch):
    made = []

    def make(width, heads, length):
        made.append((width, heads, length))
        return torch.nn.Linear(width, width)

    monkeypatch.setitem(PORTS, "linformer of PyPI", argparse.Namespace(make=make))
    model = arena.model_of("linformer of PyPI", 32)
    assert made == [(64, 2, 32)] * 2
    assert all(isinstance(block.mixer, Ported) for block in model.stack.blocks)
    assert model(arena.batch_of(2, 32)).values.shape == (64, 64)


def test_a_port_gets_sets_as_a_padded_batch():
    class Layer(torch.nn.Module):
        def forward(self, x):
            assert x.shape == (3, 4, 2)
            return x.cumsum(1), "a loss"

    sets = VectorSets.pack(list(torch.arange(24.0).view(3, 4, 2)))
    torch.testing.assert_close(Ported(Layer())(sets)[1].values, sets[1].values.cumsum(0))


@pytest.mark.parametrize("name", PORTS)
def test_ports_that_are_installed_run(name):
    try:
        arena.load(PORTS[name].package)
    except ImportError:
        pytest.skip(f"{name} is not installed: `make peers`")
    step = arena.step_of(name, 512, True, "cpu")
    step(arena.batch_of(2, 512))


def test_ports_name_what_they_are_a_port_of():
    assert {port.system for port in PORTS.values()} <= set(SYSTEMS)
    assert not PORTS.keys() & SYSTEMS.keys(), "a name stands for one of them"


def test_rows_say_how_many_times_as_fast():
    rows = [
        {"system": "transformer", "training, steps/s": {"4K": 2.0}},
        {"system": "local", "training, steps/s": {"4K": 9.0}},
        {"system": "slow", "training, steps/s": {"4K": "over 300 s"}},
    ]
    found = {row["system"]: row.get("times as fast at 4K") for row in arena.with_ratios(rows)}
    assert found == {"transformer": 1.0, "local": 4.5, "slow": None}


def test_what_fails_or_takes_too_long_is_named(monkeypatch):
    options = argparse.Namespace(repeats=1, device="cpu", seconds=0.01)
    assert arena._in_its_own("local", 64, True, options) == "over 0.01 s"
    missing = argparse.Namespace(package="no_such_package", system="local")
    monkeypatch.setitem(PORTS, "linformer of PyPI", missing)
    assert arena.row_of("linformer of PyPI", options)["missing"].startswith("not installed (no_such_package): ")


def test_the_picture_has_a_circle_for_each_system(tmp_path, monkeypatch):
    speeds = [
        {"system": name, "training, steps/s": {"4K": 2.5}, "training, MB": {"4K": 300}}
        for name in ("local", "linear", "unscored")
    ]
    scores = [
        {"task": task, "system": name, "accuracy": 0.3, "without looking": 0.172}
        for task in ("listops", "text")
        for name in ("local", "linear", "unmeasured")
    ]
    for name, rows in (("SPEED", speeds), ("SCORES", scores)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"rows": rows}))
        monkeypatch.setattr(arena_charts, name, path)
    figure = arena_charts.arena()
    assert [axis.get_title() for axis in figure.axes] == ["listops", "text"]
    assert [len(axis.collections) for axis in figure.axes] == [2, 2]
    assert figure.get_supxlabel() == "no speed at 4K: unmeasured; no score: unscored"
