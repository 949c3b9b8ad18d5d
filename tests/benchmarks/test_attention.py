"""The attention benchmark on tiny cases: what a row holds, what peers compute, and when nothing may be reported."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import attention, charts, choices, conformance, peers, tables
from benchmarks.cases import CASES, Case, Floor, ours
from benchmarks.measure import Contestant, peak_memory, race
from regard.errors import InputError

TINY = Case("window, 64", "window", "Attention(pattern=Window(8, 8))", (64,), heads=2, d=16, peers=("SDPA, mask",))
pytestmark = pytest.mark.unpoisoned


def measured(case: Case) -> dict:
    row = attention.measure(case, repeats=1)
    return row | {"floors": attention.reached(case.floors, row, {})}


def test_a_row_says_time_share_memory_and_peers():
    row = measured(TINY)
    assert row["case"] == "window, 64"
    assert row["ms"] > 0
    assert row["G"] > 0
    assert row["MB"] > 0
    assert row["predicted MB"] > 0
    assert set(row["peers"]) == {"SDPA, mask"}
    assert row["peers"]["SDPA, mask"]["ratio"] == pytest.approx(row["peers"]["SDPA, mask"]["ms"] / row["ms"], rel=1e-2)
    pairs = sum(min(63, i + 8) - max(0, i - 8) + 1 for i in range(64))
    assert row["GFLOP"] == pytest.approx(pairs * 2 * 4 * 16 * 3.5 / 1e9, rel=1e-3)


def test_a_peer_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(peers.PEERS, "nobody", peers.Peer(peers.sdpa, "there_is_no_such_package"))
    row = measured(replace(TINY, peers=("nobody",)))
    assert row["missing"] == {"nobody": "not installed (there_is_no_such_package): `make peers`"}
    assert "nobody missing" in attention.summary(row)
    assert "nobody not installed" in tables.table({"kind": "attention", "rows": [row]})


def test_a_peer_that_fails_is_named(monkeypatch):
    def fail(case, inputs):
        raise RuntimeError("no memory is left\nmore")

    monkeypatch.setitem(peers.PEERS, "greedy", peers.Peer(fail))
    row = measured(replace(TINY, peers=("greedy",)))
    assert row["missing"] == {"greedy": "could not begin: no memory is left"}
    assert "greedy could not begin" in tables.table({"kind": "attention", "rows": [row]})


@pytest.mark.parametrize("name", ["SDPA, mask", "local-attention"])
def test_peers_compute_the_same_window(name):
    if peers.missing(name):
        pytest.skip(peers.missing(name))
    inputs = TINY.inputs()
    theirs = peers.PEERS[name].make(TINY, inputs)(None)
    torch.testing.assert_close(theirs[0].transpose(0, 1), ours(TINY, inputs)(None))


@pytest.mark.parametrize(("name", "text"), [("SDPA", "Attention()"), ("eager", "Attention(score=Additive())")])
def test_peers_compute_the_same_for_everyone(name, text):
    case = replace(TINY, text=text)
    inputs = case.inputs()
    theirs = peers.PEERS[name].make(case, inputs)(None)
    theirs = theirs if theirs.dim() == 3 else theirs[0].transpose(0, 1)
    torch.testing.assert_close(theirs, ours(case, inputs)(None))


@pytest.mark.parametrize(
    ("floor", "reached", "met"),
    [
        (Floor("G", 0.4), 0.5, True),
        (Floor("G", 0.6), 0.5, False),
        (Floor("MB", 200), 150.0, True),
        (Floor("SDPA", 2), 1.9, False),
        (Floor("SDPA", 2, slack=20), 1.9, True),
        (Floor("plain", 1.6), 1.25, True),
        (Floor("plain", 1.1), 1.25, False),
        (Floor("error", 2), 1.5, True),
        (Floor("eager", 2), None, None),
    ],
)
def test_floors(floor, reached, met):
    row = {"ms": 10.0, "of G": 0.5, "MB": 150.0, "errors": {"regard": 3e-3, "SDPA": 2e-3}}
    row["peers"] = {"SDPA": {"ms": 19.0, "ratio": 1.9}}
    (found,) = attention.reached([floor], row, {"plain": {"ms": 8.0}})
    assert (found["reached"], found["met"]) == (reached, met)


def test_contestants_take_turns():
    turns = []

    def contestant(name):
        return Contestant(lambda: turns.append(name) or torch.zeros(()))

    torch.zeros(())
    times = race({"a": contestant("a"), "b": contestant("b"), "slow": Contestant(lambda: torch.zeros(1), once=True)}, 3)
    assert [len(each.runs) for each in times.values()] == [3, 3, 1]
    assert [a for a, b in zip(turns, [*turns[1:], None], strict=True) if a != b] == ["a", "b"] * 4


def test_peak_memory_is_what_was_held_at_once():
    def forward():
        torch.ones(1 << 20)
        return torch.ones(1 << 18) + torch.ones(1 << 18)

    assert 4 << 20 <= peak_memory(Contestant(forward)) < 5 << 20
    x = torch.ones(1 << 20, requires_grad=True)
    # The output, its gradient and that of x.
    assert 12 << 20 <= peak_memory(Contestant(lambda: x * 2, [x])) < 13 << 20


def test_cases_are_named_once_and_have_a_plan(data):
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert case.plan().executor
        assert case.flops() > 0
        assert set(case.peers) <= set(peers.PEERS)


def test_choosing_cases():
    assert {case.group for case in attention.chosen("additive,bfloat16")} == {"additive", "bfloat16"}
    assert [case.name for case in attention.chosen("dropout 0.1")] == ["window ±128, 4,096, dropout 0.1"]
    assert len(attention.chosen(None)) == len(CASES)
    assert max(case.total for case in attention.chosen("window", quick=True)) <= 8192
    with pytest.raises(InputError, match="there is no case 'nothing', expected one of the groups window"):
        attention.chosen("nothing")


def test_nothing_is_measured_on_a_red_suite(monkeypatch, capsys):
    monkeypatch.setattr(attention.conformance, "ensure", lambda: "the conformance suite is red")
    monkeypatch.setattr(attention, "run", lambda *_: pytest.fail("it measured"))
    assert attention.main(["--only", "window"]) == 2
    assert "the conformance suite is red" in capsys.readouterr().err


def test_a_green_suite_leaves_a_stamp_of_the_sources(tmp_path, monkeypatch):
    stamp, ran = tmp_path / "build" / "stamp", tmp_path / "ran"
    red = [sys.executable, "-c", "import sys; print('1 failed'); sys.exit(1)"]
    green = [sys.executable, "-c", f"open({str(ran)!r}, 'a').write('x')"]
    assert conformance.ensure(stamp, red) == "the conformance suite is red, expected green: 1 failed"
    assert not stamp.exists()
    assert conformance.ensure(stamp, green) is None
    assert conformance.ensure(stamp, red) is None
    assert ran.read_text() == "x"
    monkeypatch.setattr(conformance, "fingerprint", lambda: "other sources")
    assert conformance.ensure(stamp, green) is None
    assert ran.read_text() == "xx"


def test_the_fingerprint_changes_with_the_sources(tmp_path):
    source = tmp_path / "regard" / "attention" / "executors" / "some.py"
    source.parent.mkdir(parents=True)
    source.write_text("1")
    before = conformance.fingerprint(tmp_path)
    source.write_text("2")
    assert conformance.fingerprint(tmp_path) != before


def test_tables_and_charts_show_rows(tmp_path, monkeypatch):
    line = replace(TINY, line="window ±128", floors=(Floor("SDPA, mask", 1e9), Floor("MB", 1e9)))
    rows = [measured(replace(line, name=f"window ±128, {n}", lengths=(n,))) for n in (32, 64)]
    result = {"kind": "attention", "rows": rows, "machine": {"cores": 2}}
    text = tables.table(result)
    assert "| case | executor | ms | of G | MB | peers: their time to ours | expected |" in text
    assert "SDPA, mask" in text
    assert "**not reached**" in text
    (tmp_path / "attention-window.json").write_text(json.dumps(result))
    monkeypatch.setattr(charts, "RESULTS", tmp_path)
    axis = charts.scaling().axes[0]
    assert [each.get_label() for each in axis.lines] == ["regard", "SDPA, mask", "limit: the matrix rate G"]
    assert list(axis.lines[0].get_xdata()) == [32, 64]


def test_choices_compare_executors():
    row = choices.measure(replace(TINY, lengths=(512,), heads=4, d=32), repeats=1)
    assert row["choice"] in row["ms"]
    assert row["ms"][row["best"]] == min(row["ms"].values())
    assert row["case"] in tables.table({"kind": "choices", "rows": [row]})
    rows = [{"x": 1.0}, {"x": 1.3}, {}]
    assert choices.share(rows, "x", 0, 1.2) == 0.5
    assert choices.share(rows, "y", 0, 1.2) is None


def test_a_step_is_one_more_vector():
    text = "Attention(score=Kernel(Elu()), normalizer=Sum(), pattern=Causal())"
    step = replace(TINY, text=text, lengths=(8,), backward=False, peers=("SDPA, keys kept",), step=True)
    inputs = step.inputs()
    # The last vector once more.
    longer = replace(step, lengths=(9,), step=False)
    q, k, v = (torch.cat([x, x[-1:]]) for x in (inputs.q, inputs.k, inputs.v))
    whole = ours(longer, replace(inputs, q=q, k=k, v=v, layout=longer.layout()))(None)
    torch.testing.assert_close(ours(step, inputs)(None)[0], whole[-1])
    row = measured(step)
    assert (row["executor"], "new layout ms" in row) == ("a state", False)
    assert row["peers"]["SDPA, keys kept"]["ms"] > 0
