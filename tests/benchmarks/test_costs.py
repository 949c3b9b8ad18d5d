"""The cost model's measurement: the fit, the grid, and when it refuses."""

import json

import numpy as np
import pytest

from benchmarks import costs
from benchmarks.costs import UnsteadyError, errors, fit, steadily
from benchmarks.grid import GRID, sentences
from regard.attention.planning import EXECUTORS
from regard.errors import InputError

TRUE = {"calls": 2e-4, "pairs": 3e-9, "products": 2e-11}


def made_up(noise: float) -> tuple[list[dict[str, float]], list[float]]:
    random = np.random.default_rng(0)
    works = [
        {"calls": 1.0, "pairs": n * m, "products": n * m * 64 * h}
        for n in (10, 300, 9000)
        for m in (10, 400)
        for h in (1, 8)
    ]
    seconds = [
        sum(TRUE[kind] * x for kind, x in work.items()) * (1 + noise * random.standard_normal()) for work in works
    ]
    return works, seconds


def test_the_fit_recovers_known_constants():
    works, seconds = made_up(0)
    found = fit(works, seconds)
    assert found == pytest.approx(TRUE, rel=1e-3)
    assert errors(found, works, seconds) == pytest.approx([1] * len(works), rel=1e-3)


def test_noise_moves_the_fit_a_little():
    works, seconds = made_up(0.03)
    found = fit(works, seconds)
    assert all(value >= 0 for value in found.values())
    assert errors(found, works, seconds) == pytest.approx([1] * len(works), rel=0.15)


def test_no_kind_of_work_costs_less_than_nothing():
    assert fit([{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 3}], [3.0, 2.0, 1.0])["b"] == 0


def test_too_little_is_as_wrong_as_too_much():
    works = [{"pairs": 1.0, "held": h} for h in (1.0, 1.0, 1.0, 100.0)]
    found = fit(works, [1.0, 1.0, 1.0, 100.0])
    assert errors(found, works, [1.0, 1.0, 1.0, 100.0]) == pytest.approx([1] * 4, rel=0.05)
    both = fit([{"a": 1}, {"a": 1}], [1.0, 9.0])["a"]
    assert both == pytest.approx(3, rel=0.01)


def test_a_kind_that_no_case_has_is_refused():
    with pytest.raises(InputError, match="no case has work of the kind 'pairs', expected one on the grid"):
        fit([{"calls": 1, "pairs": 0}, {"calls": 2, "pairs": 0}], [1.0, 2.0])


def test_an_unsteady_rate_is_refused_after_some_attempts():
    rates, parts = iter([150.0, 120.0, 100.0]), []
    with pytest.raises(UnsteadyError, match="went from 200 to 100 GFLOP/s, expected it to keep within 10%"):
        steadily(lambda: parts.append(1), lambda: next(rates), 200.0, attempts=3, pause=0)
    assert len(parts) == 3


def test_a_rate_that_comes_back_is_enough():
    rates, parts = iter([150.0, 195.0]), iter(["disturbed", "kept"])
    assert steadily(lambda: next(parts), lambda: next(rates), 200.0, pause=0) == ("kept", 195.0)


def test_the_rate_to_compare_with_must_keep_itself():
    rates = iter([60.0, 200.0, 210.0, 205.0])
    assert steadily(lambda: next(rates), lambda: next(rates), None, pause=0) == (210.0, 205.0)


def test_the_command_refuses_in_a_sentence_and_writes_nothing(monkeypatch, capsys, tmp_path):
    path = tmp_path / costs.COSTS.name
    path.write_text("{}")
    monkeypatch.setattr(costs, "known", lambda path: {"seconds": {}})
    rates = iter([200.0, 200.0, *[100.0] * 9])
    monkeypatch.setattr(costs, "COSTS", path)
    monkeypatch.setattr(costs, "matrix_rate", lambda: next(rates))
    monkeypatch.setattr(costs, "GRID", GRID[:2])
    monkeypatch.setattr(costs.time, "sleep", lambda seconds: None)
    assert costs.main(["--only", "dense"]) == 2
    assert "the matrix rate went from 200 to 100 GFLOP/s" in capsys.readouterr().err
    assert path.read_text() == "{}"


def test_what_was_not_measured_stays(monkeypatch, tmp_path):
    path = tmp_path / costs.COSTS.name
    earlier = {"linear": {"share": 0.5}, "seconds": {"dense": {"calls": 1.0}}, "least": {"edges": 2.0}}
    monkeypatch.setattr(costs, "known", lambda path: earlier)
    monkeypatch.setattr(costs, "COSTS", path)
    monkeypatch.setattr(costs, "matrix_rate", lambda: 100.0)
    monkeypatch.setattr(costs, "measure", lambda *given: ([], [], []))
    assert costs.main(["--only", "dense"]) == 0
    written = json.loads(path.read_text())
    assert written.pop("machine")["matrix GFLOP/s"] == 100.0
    assert written == earlier


def test_linear_layers_are_measured_as_a_calibration_does(monkeypatch, capsys):
    times = iter([(0.03, 0.05), (0.02, 0.04), (0.03, 0.06)])
    monkeypatch.setattr(costs.calibration, "times_of_product", lambda: next(times))
    rows, d, e = costs.calibration.PRODUCT
    assert costs.linear() == {"multiplications": float(f"{0.04 / (rows * d * e):.3g}"), "share": 0.5}
    assert "0.5 of torch's time" in capsys.readouterr().out
    monkeypatch.setattr(costs.calibration, "times_of_product", lambda: None)
    assert costs.linear() is None


def test_every_kind_of_work_is_on_the_grid():
    suiting = []
    for name, module in EXECUTORS.items():
        works = [module.work(problem) for case in GRID if module.why_not(problem := case.problem()) is None]
        suiting += [name] if works else []
        missing = {kind for work in works for kind in work} - {kind for work in works for kind, x in work.items() if x}
        assert not missing, f"the grid has no case with {missing} for {name}"
    # The others are for another device.
    assert {"dense", "blocks", "edges", "fused", "kernelized", "additive"} <= set(suiting)


def test_what_was_measured_is_what_executors_name():
    for path in costs.COSTS.parent.glob("costs-*.json"):
        measured = set(json.loads(path.read_text())["seconds"])
        # Those for a CPU alone are not measured on another device.
        assert measured == set(EXECUTORS) - ({"fused", "additive"} if path == costs.COSTS_CUDA else set())
    assert set(costs.known(costs.COSTS)["seconds"]) == set(EXECUTORS)


def test_sentences_are_the_same_every_time():
    assert sentences(5) == sentences(5)
    assert len(sentences(64)) == 64
    assert min(sentences(64)) >= 1
