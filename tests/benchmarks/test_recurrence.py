"""What the steps are measured of: the same scores, whatever is remembered."""

import pytest
import torch

from benchmarks import charts, machine, recurrence


@pytest.mark.parametrize("attention", [recurrence.SOFTMAX, recurrence.LINEAR])
def test_a_step_gives_the_scores_that_are_computed_again(attention):
    writer = recurrence.Writer(attention, layers=2)
    ids = writer.ids(3, 9)
    stepper = writer.begun(ids[:, :8])
    torch.testing.assert_close(stepper.next(ids[:, 8]), writer.again(ids), rtol=1e-3, atol=1e-3)


def test_what_is_remembered_grows_with_softmax_alone():
    rows = {name: recurrence.steps(name, (4, 90), layers=1, repeats=1) for name in recurrence.ATTENTIONS}
    few, many = rows["softmax, cached"]["MB remembered at"].values()
    # Keys and values of width 256 in float32, and room for more of them.
    assert many > 90 * 256 * 2 * 4 / 1e6 > few
    assert len(set(rows["linear, a state"]["MB remembered at"].values())) == 1
    assert set(rows["softmax, recomputed"]["MB remembered at"].values()) == {0}
    assert all(ms > 0 for row in rows.values() for ms in row["ms at"].values())


def test_images_are_compared_with_those_that_are_computed_again():
    rows = {row["what"]: row for row in recurrence.images(pixels=6, layers=1, points=2)}
    again = rows["softmax, recomputed"]
    assert again["times as many images"] == 1
    ratio = again["seconds for an image"] / rows["linear, a state"]["seconds for an image"]
    assert rows["linear, a state"]["times as many images"] == pytest.approx(ratio, rel=0.02)


def test_a_chart_has_a_line_for_each_way(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    monkeypatch.setattr(charts, "RESULTS", tmp_path)
    rows = [{"what": "a", "ms at": {"64": 1.0, "1,024": 2.0}, "MB remembered at": {"64": 0.0, "1,024": 0.0}}]
    machine.write("recurrence", {"case": "recurrence", "rows": rows}, show=False)
    time, memory = charts.recurrence().axes
    assert time.lines[0].get_xydata().tolist() == [[64, 1], [1024, 2]]
    # What remembers nothing has no line on a logarithmic axis.
    assert not memory.lines
