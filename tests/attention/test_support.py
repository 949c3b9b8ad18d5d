"""The support table says what executors say, and every combination has one that does not build n x n."""

import pytest

from benchmarks import support
from regard.attention.planning import EXECUTORS
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Everyone

from .catalogue import CATALOGUE


def test_the_committed_table_is_what_the_executors_say():
    assert support.PAGE.read_text() == support.page(), "run `make tables` to write it"


def test_the_table_knows_every_score_normalizer_pattern_and_bias():
    """All that the conformance suite has a case for."""
    for axis, name in zip(support.AXES, ("score", "normalizer", "pattern", "bias"), strict=True):
        known = {type(value) for value in axis.values()}
        assert {type(getattr(case.attention, name)) for case in CATALOGUE} <= known


@pytest.mark.parametrize("pattern", support.PATTERNS)
def test_every_legal_cell_has_an_executor_without_a_matrix(pattern):
    """Of a set of twice as many vectors, less than three times the memory, where a matrix takes four times as much."""
    short, long = support.sets(3000), support.sets(6000)
    cells = [(names, attention) for names, attention in support.legal().items() if names[2] == pattern]
    assert len(cells) > 150
    seen = set()
    for names, attention in cells:
        # Normalizers and biases of the distance have no part in what is held.
        kind = (names[0], attention.bias is None, attention.bias is not None and attention.bias.has_values)
        posed = support.problem(attention, long)
        serving = [name for name, module in EXECUTORS.items() if module.why_not(posed) is None]
        assert set(serving) - {"dense"}, f"{names} has no other executor than dense"
        if kind not in seen:
            seen.add(kind)
            before, after = (
                min(EXECUTORS[name].memory(support.problem(attention, layout)) for name in serving)
                for layout in (short, long)
            )
            assert after < 3 * before, f"{names} takes {before:,} and {after:,} bytes"


def test_a_cell_that_nobody_serves_is_not_hidden(monkeypatch):
    support._answers.cache_clear()
    for module in EXECUTORS.values():
        monkeypatch.setattr(module, "why_not", lambda problem: "no")
    answers = support._answers()
    support._answers.cache_clear()
    assert set(answers.values()) == {("",) * len(EXECUTORS)}
    rows = support._rows(answers)
    assert next(row[:4] for row in rows if "`Dot`" in row[0])[1:] == ["`Softmax`, `Relu`, `Sigmoid`", "all", "all"]


def test_rows_cover_every_cell_once():
    answers = support._answers()
    rows = support._rows(answers)
    assert len(rows) < 40, "no longer something to read"
    covered = 0
    for scores, normalizers, patterns, biases, *_ in rows:
        sizes = [len(axis) for axis in support.AXES]
        numbers = [len(scores.split(", ")), len(normalizers.split(", "))]
        for said, size in ((patterns, sizes[2]), (biases, sizes[3])):
            listed = len(said.removeprefix("all but ").split(", "))
            numbers.append(size if said == "all" else size - listed if said.startswith("all but ") else listed)
        covered += numbers[0] * numbers[1] * numbers[2] * numbers[3]
    assert covered == len(answers) == len(support.legal())


def test_attention_by_default_is_in_the_table():
    assert Attention() in support.legal().values()
    assert Everyone() in support.PATTERNS.values()
