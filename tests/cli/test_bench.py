"""`regard bench`: what it shows of this machine, and of one that was measured before."""

import json
from pathlib import Path

import pytest
import torch

from regard.cli import bench, bench_cases, main

NAMES = [case.name for case in bench_cases.CASES]
MACHINE = {
    "processor": "a processor",
    "class": "avx2",
    "features": ["avx2"],
    "cores": 2,
    "threads": 2,
    "torch": "2.13",
    "load": 0.1,
    "matrix GFLOP/s": 50.0,
    "peak GFLOP/s": 100.0,
    "memory GB/s": 10.0,
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CALIBRATE", "0")
    monkeypatch.setattr(bench_cases, "_SAMPLE_SECONDS", 1e-9)
    monkeypatch.setattr(bench, "_machine", lambda: dict(MACHINE))
    attention, lengths = bench_cases.Attention(), [5, 5]
    cases = [
        bench_cases.Case("small", lambda: bench_cases._attention(attention, lengths, ["SDPA"], 2, 4)),
        bench_cases.Case("large", lambda: bench_cases._step(bench_cases._RUNNING, 3, 2, 4), quick=False),
    ]
    monkeypatch.setattr(bench_cases, "CASES", cases)


def test_json_holds_the_machine_and_a_row_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machine"] == MACHINE
    assert [row["case"] for row in found["rows"]] == ["small", "large"]
    assert all(row["ms"] > 0 and row["others"]["SDPA"] > 0 for row in found["rows"])
    # 2 sets of 25 pairs, 2 heads, 2 (4 + 4) operations, forward and two and a half times as many backward.
    assert found["rows"][0]["GFLOP"] == pytest.approx(2 * 25 * 2 * 16 * 3.5 / 1e9)
    assert main(["bench", "--json", "--quick"]) == 0
    assert [row["case"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["small"]


def test_rows_stand_next_to_those_of_the_class(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"case": "small", "executor": "dense", "ms": 4.0, "GFLOP": 0.2, "others": {"SDPA": 6.0}}
    monkeypatch.setattr(bench, "_committed", lambda name: {"machine": MACHINE | {"threads": 8}, "rows": [before]})
    assert main(["bench"]) == 0
    shown = capsys.readouterr().out
    assert "a processor, avx2, 2 threads, G 50.0 GFLOP/s, peak 100.0 GFLOP/s, memory 10.0 GB/s, torch 2.13" in shown
    assert "measured  a processor, avx2, 8 threads" in shown
    # 0.2 GFLOP in 4 ms are 50 GFLOP/s, half of the peak.
    assert any(line.startswith("small") and "0.50" in line and "1.50 SDPA" in line for line in shown.splitlines())


def test_what_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "_committed", lambda name: None)
    monkeypatch.setattr(bench, "_machine", lambda: MACHINE | {"load": 7.5})
    monkeypatch.setattr(bench_cases, "PEERS", {"nobody": "no_module_of_this_name"})
    assert main(["bench", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert "nothing was measured on a processor of the class avx2" in shown
    assert "not installed, and so not measured: nobody" in shown
    assert "the machine is busy, with 7.5 programs on 2 cores" in shown


def test_what_is_committed_has_a_row_for_each_case_and_says_its_class() -> None:
    files = sorted(Path(bench.__file__).parent.glob("bench-*.json"))
    for path in files:
        found = bench._committed(path.stem.removeprefix("bench-"))
        assert found is not None
        assert [row["case"] for row in found["rows"]] == NAMES
        assert f"bench-{found['machine']['class']}" == path.stem
        assert bench._about(found["machine"])
    assert bench._committed("no such class") is None


def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        assert main(["bench", "--threads", "-1"]) == 2
        assert "--threads is -1, expected 0 to 1024" in capsys.readouterr().err
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "pose",
    [
        lambda: bench_cases._attention(bench_cases.Attention(), [4, 4], ["SDPA, padded"], 2, 4),
        lambda: bench_cases._attention(bench_cases._LINEAR, [7], ["einsums"], 2, 4),
        lambda: bench_cases._attention(
            bench_cases.Attention(score=bench_cases.Additive()), [6], ["eager"], heads=1, d=4
        ),
        lambda: bench_cases._attention(
            bench_cases.Attention(pattern=bench_cases.Window(2, 2)), [9], ["SDPA, mask"], 2, 4
        ),
    ],
    ids=["padded", "einsums", "eager", "mask"],
)
def test_contestants_compute_the_same(pose) -> None:
    """Their gradients, whose sums do not depend on how rows lie."""
    posed = pose()
    (other,) = posed.others.values()
    ours, theirs = ([float(x.sum()) for x in call()] for call in (posed.ours, other))
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_steps_begin_anew_after_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_cases, "_STEPS", 3)
    for attention in (bench_cases._RUNNING, bench_cases.Attention(pattern=bench_cases.Causal())):
        posed = bench_cases._step(attention, 4, 2, 4)
        outs = [posed.ours() for _ in range(7)]
        torch.testing.assert_close(outs[3], outs[0])
        torch.testing.assert_close(outs[6], outs[0])
        assert not torch.equal(outs[1], outs[0])


def test_an_encoder_takes_a_step() -> None:
    posed = bench_cases._encoder(2, 8, 1, 2, 16)
    assert len(posed.ours()) == len(posed.others["nn.TransformerEncoder"]())
