"""What the mixers are measured on, and how results of one variant enter a table."""

import pytest
import torch

from benchmarks import mixers, train
from benchmarks.mixers import CLASSES, NOISE, clues


@pytest.mark.parametrize("distance", [1, 7, 128])
def test_a_question_stands_so_far_behind_its_clue_and_nothing_else_tells(distance: int) -> None:
    sets, questions, answers = clues(50, distance, torch.Generator().manual_seed(3))
    ids = sets.values
    torch.testing.assert_close(ids[questions], torch.full((50,), NOISE + CLASSES))
    torch.testing.assert_close(ids[questions - distance], NOISE + answers)
    assert sets.layout.set_of_row[questions].tolist() == list(range(50))
    assert sets.layout.set_of_row[questions - distance].tolist() == list(range(50))
    assert (ids >= NOISE).sum() == 2 * 50
    assert set(answers.tolist()) == set(range(CLASSES))


def test_a_small_model_hears_a_clue_within_its_window_and_guesses_beyond() -> None:
    window = {"mixer": "window", "mixing.neighbors": 2}
    assert mixers._answered(window, 2, steps=120, sets=32, width=16) > 0.9
    assert mixers._answered(window, 3, steps=20, sets=32, width=16) < 0.25


def test_new_rows_join_a_table_before_the_simple_models_and_keep_what_else_was_measured() -> None:
    rows = [{"model": "a", "parameters": 1, "words per second": 5, "mean": 0.1}, {"model": "simple", "mean": 0.3}]
    found = train.merged(rows, [{"model": "b", "parameters": 2}, {"model": "a", "parameters": 1, "mean": 0.2}])
    assert [row["model"] for row in found] == ["a", "b", "simple"]
    assert found[0] == {"model": "a", "parameters": 1, "words per second": 5, "mean": 0.2}
