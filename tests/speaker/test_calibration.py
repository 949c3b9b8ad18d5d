"""Normalized scores, what is kept of them, and what decisions become."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import InputError
from regard.speaker.calibration import Calibration, Cohort
from regard.speaker.rates import Trials, equal_error_rate, rates
from regard.speaker.vectors import cosines
from regard.speaker.within import Within

MODEL = "a" * 64


def voices(speakers: int, each: int, seed: int = 0, width: int = 12) -> tuple[list[str], np.ndarray]:
    """Recordings around a direction of each speaker's own."""
    generator = np.random.default_rng(seed)
    places = np.repeat(np.arange(speakers), each)
    own = generator.normal(size=(speakers, width))[places] + 0.5 * generator.normal(size=(len(places), width))
    return [f"s{n:03}" for n in places], own.astype(np.float32)


@given(st.integers(0, 1000), st.integers(2, 9))
def test_the_norm_is_the_formula_over_sorted_scores(seed, nearest):
    """By loops: the nearest recordings of the cohort give mean and deviation."""
    generator = np.random.default_rng(seed)
    cohort = Cohort(generator.normal(size=(7, 4)).astype(np.float32), nearest)
    a, b = generator.normal(size=(3, 4)), generator.normal(size=(2, 4))
    found = cohort.scores(a, b)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            s, parts = cosines([x], [y])[0, 0], []
            for side in (x, y):
                top = sorted(cosines([side], cohort.vectors)[0], reverse=True)[:nearest]
                parts.append((s - np.mean(top)) / max(np.std(top), 1e-6))
            assert found[i, j] == pytest.approx(sum(parts) / 2, rel=1e-5)


def test_pairs_are_entries_of_the_scores():
    _, x = voices(6, 4)
    first, second = (np.random.default_rng(n).integers(0, len(x), 70) for n in (1, 2))
    within = Within.of(*voices(9, 3, 5))
    for cohort in (Cohort(), Cohort(voices(9, 1, 5)[1], 4), Cohort(within=within), Cohort(voices(9, 1)[1], 4, within)):
        np.testing.assert_allclose(cohort.pairs(x, first, second), cohort.scores(x, x)[first, second], rtol=1e-9)


def test_a_large_cohort_is_scored_in_parts(monkeypatch):
    _, x = voices(6, 4)
    cohort = Cohort(voices(9, 2, 5)[1], 4)
    scores, pairs = cohort.scores(x, x[:5]), cohort.pairs(x, np.arange(9), np.arange(9)[::-1])
    monkeypatch.setattr("regard.speaker.calibration._SCORES", 50)
    np.testing.assert_allclose(cohort.scores(x, x[:5]), scores, rtol=1e-12)
    np.testing.assert_allclose(cohort.pairs(x, np.arange(9), np.arange(9)[::-1]), pairs, rtol=1e-12)
    assert cohort.scores(x[:0], x).shape == (0, 24)
    assert "by 18 of 18 recordings" in replace(cohort, nearest=90).name


def test_a_norm_helps_where_recordings_differ_in_how_alike_they_are_to_all():
    """Half of the voices lie near a common direction: their impostors score high, and one threshold fits nobody."""
    speakers, x = voices(40, 4)
    crowd = np.arange(len(x)) // 4 % 2 == 0
    x[crowd, 0] += 4
    _, others = voices(60, 2, 7)
    others[np.arange(120) // 2 % 2 == 0, 0] += 4
    cohort = Cohort(others, 40)
    plain, normalized = Trials.of_pairs(x, speakers), Trials.of_pairs(x, speakers, cohort.scores)
    errors = [equal_error_rate(rates(each.scores, each.targets)) for each in (plain, normalized)]
    assert errors[1] < 0.8 * errors[0]


def test_recordings_of_one_voice_differ_alike_in_all_directions_behind_within():
    generator = np.random.default_rng(3)
    middles = generator.normal(size=(300, 1, 6)) * 0.2 + np.eye(6)[0]
    x = (middles + generator.normal(size=(300, 5, 6)) * [0.1, 0.3, 0.1, 0.05, 0.1, 0.1]).reshape(-1, 6)
    speakers = [str(n // 5) for n in range(len(x))]
    y = Within.of(speakers, x, share=0)(x).reshape(300, 5, 6)
    own = (y - y.mean(1, keepdims=True)).reshape(-1, 6)
    np.testing.assert_allclose(own.T @ own / len(own), np.eye(6), atol=1e-4)
    np.testing.assert_allclose(y.reshape(-1, 6).mean(0), 0, atol=1e-4)


def test_within_helps_where_one_direction_says_nothing_about_voices():
    generator = np.random.default_rng(1)
    noise = np.array([3.0] + [0.3] * 11)

    def recordings(count):
        x = generator.normal(size=(count, 1, 12)) + generator.normal(size=(count, 4, 12)) * noise
        return [str(n // 4) for n in range(4 * count)], x.reshape(-1, 12)

    cohort = Cohort(within=Within.of(*recordings(60)))
    speakers, x = recordings(40)
    trials = Trials.of_pairs(x, speakers), Trials.of_pairs(x, speakers, cohort.scores)
    errors = [equal_error_rate(rates(each.scores, each.targets)) for each in trials]
    assert errors[1] < 0.5 * errors[0]
    with pytest.raises(InputError, match="3 recordings of 3 voices do not say"):
        Within.of(["a", "b", "c"], x[:3])


def test_a_cohort_has_enough_for_a_deviation():
    for count, nearest in ((1, 2), (5, 1)):
        with pytest.raises(
            InputError, match=f"has {count} recordings, of which {nearest} would count, expected at least 2"
        ):
            Cohort(voices(count, 1)[1], nearest)


@pytest.mark.parametrize(
    "cohort",
    [Cohort(), Cohort(voices(9, 1)[1], 4), Cohort(voices(9, 1)[1], 4, Within.of(*voices(9, 3, 5)))],
    ids=["cosines", "normalized", "within"],
)
def test_what_is_kept_is_what_was_learned(cohort):
    speakers, x = voices(8, 4, 1)
    made = Calibration.of(Trials.of_pairs(x, speakers, cohort.scores), 0.05, cohort, "validation part")
    again = Calibration.from_json(made.to_json(MODEL), "file", MODEL, 12)
    for name in ("slope", "offset", "threshold", "false_acceptance", "miss", "source"):
        assert getattr(again, name) == getattr(made, name)
    np.testing.assert_array_equal(again.cohort.scores(x, x), cohort.scores(x, x))
    assert speakers[0] not in made.to_json(MODEL)


def test_an_altered_calibration_is_refused():
    speakers, x = voices(8, 4, 1)
    cohort = Cohort(voices(9, 1)[1], 4)
    values = json.loads(Calibration.of(Trials.of_pairs(x, speakers), 0.05, cohort).to_json(MODEL))
    altered = [
        {"threshold": None},
        {"slope": float("nan")},
        {"cohort": {}},
        {"cohort": values["cohort"] | {"recordings": 8}},
        {"cohort": values["cohort"] | {"vectors": "!"}},
        {"cohort": values["cohort"] | {"nearest": 1}},
        {"cohort": values["cohort"] | {"nearest": -1}},
        {"cohort": values["cohort"] | {"nearest": float("inf")}},
        {"cohort": values["cohort"] | {"recordings": float("inf")}},
        {"cohort": values["cohort"] | {"recordings": -1}},
        {"cohort": values["cohort"] | {"recordings": 10**30}},
        {"cohort": []},
        {"cohort": "all"},
        {"slope": 10**400},
        {"slope": [1]},
        {"cohort": values["cohort"] | {"within": [values["cohort"]["vectors"]] * 2}},
    ]
    for each in altered:
        with pytest.raises(InputError, match="file is no calibration"):
            Calibration.from_json(json.dumps(values | each), "file", MODEL, 12)
    whole = json.dumps(values)
    for text in ("", "[]", "{}", "nonsense", "[" * 100_000, whole[: len(whole) // 2]):
        with pytest.raises(InputError, match="file is no calibration"):
            Calibration.from_json(text, "file", MODEL, 12)
    with pytest.raises(InputError, match="belongs to other weights"):
        Calibration.from_json(json.dumps(values), "file", "b" * 64, 12)


def test_a_threshold_that_no_score_may_reach_is_still_a_number():
    """The highest score is one of two speakers, and fewer of them than one may pass."""
    trials = Trials(np.array([0.1, 0.5, 0.9]), np.array(["a", "a", "a"]), np.array(["b", "a", "b"]))
    found = Calibration.of(trials, 0.01)
    assert 0.9 < found.threshold < 0.9001
    assert found.miss == 1.0
    json.loads(found.to_json(MODEL), parse_constant=pytest.fail)
