"""The rows of the table of translation: scores, the nearest training sentence, and seeds that share a row."""

import pytest

from benchmarks.translation import nearest, row, scores


def test_a_text_like_its_target_has_all_points():
    found = scores(["A dog runs through the snow."], ["A dog runs through the snow."])
    assert list(found.values()) == pytest.approx([100] * 4)


def test_only_lower_cased_scores_pass_over_capitals():
    found = scores(["a Dog Runs through the snow."], ["A dog runs through the snow."])
    assert found["BLEU, lower-cased"] == pytest.approx(100)
    assert found["BLEU, as written"] < 80


def test_the_nearest_source_brings_its_target():
    train = [("Ein Hund läuft", "A dog runs"), ("Zwei Männer sitzen am Tisch", "Two men sit at the table")]
    assert nearest(["Drei Männer sitzen", "Der Hund"], train) == ["Two men sit at the table", "A dog runs"]


def test_a_row_of_several_runs_has_mean_and_deviation():
    expected = {"model": "x", "BLEU": "31.0 ± 1.4", "values": {"BLEU": [30.0, 32.0]}, "seeds": 2}
    assert row("x", [{"BLEU": 30.0}, {"BLEU": 32.0}], {"seeds": 2}) == expected
    assert row("x", [{"BLEU": 30.04}], {})["BLEU"] == "30.0"
