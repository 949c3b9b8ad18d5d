"""Calibrations: what is measured, cached and told, and every way in which that can fail."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from regard import Attention, InputError, Layout, plan
from regard.attention import calibration, costs
from regard.attention.calibration import WORTH, Calibration, cached, calibrate, current, place
from regard.attention.planning import EXECUTORS
from regard.attention.verb import attend


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("REGARD_CALIBRATE", raising=False)
    monkeypatch.setattr(calibration, "_known", {})
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 0.5, 0.5))


def timed(monkeypatch: pytest.MonkeyPatch, times: Callable[[int], list[float]]) -> list[int]:
    """Calls that are not made: how long the n-th takes is made up. The list grows by one with each."""
    calls: list[int] = []

    def made_up(run: Any, tensors: Any) -> list[float]:
        calls.append(len(calls))
        return times(len(calls))

    monkeypatch.setattr(calibration, "_times", made_up)
    return calls


def steady(seconds: float = 0.01) -> Callable[[int], list[float]]:
    return lambda n: [seconds] * 5


def long_problem() -> Layout:
    return Layout.of_lengths([2048])


def test_real_calls_are_timed_forward_and_backward() -> None:
    found = calibration._measured(EXECUTORS, 1e9)
    # On a busy machine nothing is found, which is said.
    assert (
        set(found.factors) == {"dense", "blocks", "fused", "edges", "kernelized", "additive", "linear"}
        or "busy" in found.source
    )
    for probe in calibration._PROBES:
        problem, tensors = calibration._posed(probe)
        for name in probe.executors:
            assert EXECUTORS[name].why_not(problem) is None
            q, k, v = tensors.q, tensors.k, tensors.v
            out = attend(problem.attention, q, k, v, problem.layout, parameters=tensors.parameters, executor=name)
            torch.testing.assert_close(EXECUTORS[name].run(problem, tensors), out)


def test_calls_are_timed_whatever_the_program_was_about_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_PROBES", calibration._PROBES[:1])
    monkeypatch.setattr(calibration, "_UNSTEADY", math.inf)
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.device("meta"):
            found = calibration._measured(EXECUTORS, 1e9)
    finally:
        torch.set_default_dtype(torch.float32)
    assert set(found.factors) == {"dense", "blocks", "fused", "linear"}


def test_what_is_measured_is_cached_and_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = timed(monkeypatch, steady())
    first = current(EXECUTORS)
    assert first.source.startswith("measured on this machine on ")
    number = len(calls)
    # And a linear layer by kernels and by torch.
    assert number == sum(len(probe.executors) for probe in calibration._PROBES) + 2
    assert current(EXECUTORS) is first
    calibration._known.clear()
    assert current(EXECUTORS) == first
    assert len(calls) == number, "another process reads what this one has measured"
    again = calibrate(EXECUTORS)
    assert len(calls) == 2 * number
    assert again.factors == first.factors


def test_a_factor_is_how_many_times_as_long_calls_take(monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, steady(0.01))
    once = calibrate(EXECUTORS).factors
    timed(monkeypatch, steady(0.03))
    # That of linear layers is a share, of two that take three times as long.
    wanted = {name: x if name == "linear" else 3 * x for name, x in once.items()}
    assert calibrate(EXECUTORS).factors == pytest.approx(wanted, rel=0.01)


def test_the_plan_multiplies_by_it_where_the_choice_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, steady())
    monkeypatch.setattr(calibration, "_known", {torch.get_num_threads(): Calibration("made up", {"fused": 50.0})})
    report = plan(Attention(), long_problem(), heads=8, d=64)
    assert report.constants == "made up"
    assert report.executor != "fused"
    assert "constants made up" in str(report)
    monkeypatch.setenv("REGARD_CALIBRATE", "0")
    plain = plan(Attention(), long_problem(), heads=8, d=64)
    assert plain.executor == "fused"
    assert plain.constants == costs.of_class() + ", by REGARD_CALIBRATE=0"
    assert report.seconds == pytest.approx({n: x * (50 if n == "fused" else 1) for n, x in plain.seconds.items()})


def test_short_problems_go_by_the_class_and_measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = timed(monkeypatch, steady())
    report = plan(Attention(), Layout.of_lengths([5, 3]), heads=1, d=8)
    assert min(report.seconds.values()) < WORTH
    assert report.constants == costs.of_class()
    assert not calls


def test_a_busy_machine_keeps_the_constants_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = timed(monkeypatch, lambda n: [0.01, 0.03, 0.04, 0.01, 0.03])
    found = current(EXECUTORS)
    assert found.source.endswith("the machine is busy, and the same call took now longer, now shorter")
    assert not found.factors
    assert not place().exists()
    assert calls
    number = len(calls)
    calibration._known.clear()
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 1.0, 1.0))
    assert "the machine is busy, with 1000.0 programs on" in current(EXECUTORS).source
    assert len(calls) == number
    assert plan(Attention(), long_problem(), heads=8, d=64).executor in EXECUTORS


def test_a_measurement_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = timed(monkeypatch, steady())
    monkeypatch.setattr(calibration, "_MOST_SECONDS", -1.0)
    found = current(EXECUTORS)
    assert "took over -1 seconds, and `regard calibrate` goes on" in found.source
    assert len(calls) == 1
    assert not place().exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 60_000,
        lambda text: " " * (1 << 16) + text,
        lambda text: text.replace('"factors": {', '"factors": {"x": 1' + "0" * 400 + ", "),
        lambda text: text.replace('"dense"', '"dense": "quick", "x"'),
        lambda text: json.dumps(json.loads(text) | {"factors": {"dense": float("nan")}}),
        lambda text: json.dumps(json.loads(text) | {"factors": {"dense": 1e9}}),
        lambda text: json.dumps(json.loads(text) | {"factors": {}}),
        lambda text: json.dumps(json.loads(text) | {"key": {"processor": "another"}}),
    ],
)
def test_a_damaged_file_or_one_of_another_machine_is_measured_again(
    damage: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = timed(monkeypatch, steady())
    first = current(EXECUTORS)
    place().write_text(damage(place().read_text()))
    assert cached() is None
    calibration._known.clear()
    number = len(calls)
    assert current(EXECUTORS) == first
    assert len(calls) == 2 * number
    assert cached() == first


def test_an_interrupted_measurement_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(n: int) -> list[float]:
        if n == 4:
            raise KeyboardInterrupt
        return [0.01] * 5

    timed(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        current(EXECUTORS)
    assert not place().parent.exists()
    timed(monkeypatch, steady())
    assert current(EXECUTORS).factors


def test_without_a_folder_to_write_to_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = timed(monkeypatch, steady())
    monkeypatch.setattr("os.access", lambda path, mode: False)
    found = current(EXECUTORS)
    assert "cannot be written to, and `regard calibrate` measures" in found.source
    assert not calls


def test_without_a_home_nothing_is_measured_and_the_plan_goes_by_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has no entry among those of the system."""

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    calls = timed(monkeypatch, steady())
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", none)
    assert (
        "there is no home folder for the cache, expected HOME or XDG_CACHE_HOME to name one"
        in current(EXECUTORS).source
    )
    assert not calls


def test_a_full_disk_costs_the_cache_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes, mode: int = 0o644) -> None:
        raise InputError(f"{path} cannot be written: No space left on device")

    timed(monkeypatch, steady())
    monkeypatch.setattr(calibration, "write_atomically", full)
    assert current(EXECUTORS).factors
    found = calibrate(EXECUTORS)
    assert found.factors
    assert ", for this process alone: " in found.source
    assert "No space left on device" in found.source


def test_threads_have_factors_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = timed(monkeypatch, steady())
    before = torch.get_num_threads()
    one = place()
    current(EXECUTORS)
    number = len(calls)
    try:
        torch.set_num_threads(before + 1)
        assert place() != one
        current(EXECUTORS)
    finally:
        torch.set_num_threads(before)
    assert len(calls) == 2 * number


def test_another_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CALIBRATE", "no")
    with pytest.raises(InputError, match="the environment says REGARD_CALIBRATE=no, expected 0 or 1"):
        current(EXECUTORS)


def test_traced_code_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    calls = timed(monkeypatch, steady())
    with FakeTensorMode():
        assert current(EXECUTORS).source.endswith("while code is traced")
    assert not calls


@pytest.mark.parametrize(
    ("torchs", "numbas", "expected"),
    [
        ("AVX512", {}, "avx512"),
        ("AVX2", {}, "avx2"),
        ("DEFAULT", {}, "other"),
        ("SVE256", {}, "neon"),
        ("AVX512", {"+avx2"}, "avx2"),
        ("AVX512", set(), "other"),
        ("AVX2", {"+avx512f,+avx2"}, "avx2"),
    ],
)
def test_the_class_is_what_torch_and_numba_both_compute_with(
    torchs: str, numbas: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regard.kernels.simd import processor

    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: torchs)
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    if numbas != {}:
        features = frozenset(each.lstrip("+") for one in numbas for each in one.split(","))
        monkeypatch.setenv("NUMBA_CPU_FEATURES", ",".join(f"+{each}" for each in features))
        monkeypatch.setattr(processor, "FEATURES", features)
    costs.processor_class.cache_clear()
    try:
        assert costs.processor_class() == expected
        assert costs.of_class().startswith("of the class ")
    finally:
        monkeypatch.undo()
        costs.processor_class.cache_clear()
        costs.measured_class.cache_clear()
