"""Intervals cover, tests keep their level, and what cannot be compared is refused."""

import itertools
import json
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from regard import InputError
from regard.inspector import compare
from regard.inspector.compare import CorpusOutcome, Outcome
from regard.inspector.grading import grade
from regard.tasks.corpus import CorpusMetric


def labels(right, counts=None):
    right = np.asarray(right, float)
    return Outcome(right, np.ones_like(right) if counts is None else np.asarray(counts, float))


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_grade_counts_right_labels_of_each_set(tmp_path):
    vectors = [{"label": "a", "target": "a"}, {"label": "a", "target": "b"}, {"label": "a"}]
    lines = [{"name": "one", "vectors": vectors}, {"name": "two", "vectors": [{"label": "b", "target": "b"}]}]
    graded = grade(write(tmp_path / "p.jsonl", [*lines, {"name": "empty", "vectors": []}]))
    assert graded.outcomes["accuracy"].sums.tolist() == [1, 1]
    assert graded.outcomes["accuracy"].counts.tolist() == [2, 1]
    assert graded.outcomes["accuracy"].metric == 2 / 3
    assert graded.test == (("one", ("a", "b")), ("two", ("b",)))
    assert graded.unit == "set"


def test_grade_takes_the_targets_of_one_set_as_units(tmp_path):
    vectors = [{"label": "a", "target": "a"}, {"label": "b"}, {"label": "a", "target": "b"}]
    graded = grade(write(tmp_path / "p.jsonl", [{"name": "graph", "vectors": vectors}]))
    assert graded.unit == "target"
    assert graded.outcomes["accuracy"].sums.tolist() == [1, 0]
    assert graded.outcomes["accuracy"].binary


def test_grade_squares_errors_of_numbers(tmp_path):
    lines = [{"name": "a", "number": 3.0, "target": 1.0}, {"name": "b", "number": 1.0, "target": 1.5}]
    graded = grade(write(tmp_path / "p.jsonl", lines))
    assert graded.outcomes["mse"].sums.tolist() == [4.0, 0.25]
    assert not graded.outcomes["mse"].labels


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no target"),
        ('{"name": "a", "label": "x"}\n', "holds no target"),
        ('{"name": "a", "label": "x", "target": "x"}\n{"nam', "line 2, is no prediction"),
        ("[1]\n", "line 1, is no prediction"),
        ('{"name": "a", "target": "x"}\n', "line 1, is no prediction"),
        ('{"name": "a", "label": "x", "target": "x"}\n{"name": "b", "number": 1, "target": 2}\n', "of one kind"),
        (b"\xff\xfe\x00\x9d", "is no text in UTF-8"),
        ("[" * 100_000, "line 1, is no prediction"),
        ('{"name": 3, "label": "x", "target": "x"}\n', "line 1, is no prediction"),
        ('{"name": "a", "label": "x", "target": 1}\n', "line 1, is no prediction"),
        ('{"name": "a", "label": ["x"], "target": "x"}\n', "line 1, is no prediction"),
        ('{"name": "a", "number": null, "target": 1}\n', "line 1, is no prediction"),
        ('{"name": "a", "number": true, "target": 1}\n', "line 1, is no prediction"),
        ('{"name": "a", "number": NaN, "target": 1}\n', "line 1, is no prediction"),
        ('{"name": "a", "number": 1e308, "target": 1}\n', "line 1, is no prediction"),
        ('{"name": "a", "number": 1, "target": 2}\n\n', "line 2, is no prediction"),
        ('{"name": "a", "vectors": 3}\n', "line 1, is no prediction"),
    ],
)
def test_grade_refuses_what_evaluation_did_not_write(tmp_path, text, sentence):
    path = tmp_path / "p.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=sentence):
        grade(path)


def test_what_a_metric_of_whole_parts_cannot_read_is_no_prediction(tmp_path):
    metric = CorpusMetric("length", lambda prediction: len(prediction["target"]["text"]), sum)
    path = write(tmp_path / "p.jsonl", [{"name": "a", "target": {"text": "ab"}}, {"name": "b", "target": 3}])
    with pytest.raises(InputError, match="line 2, is no prediction"):
        grade(path, [metric])


def test_a_name_may_hold_what_unicode_calls_the_end_of_a_line(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"name": "a\u2028b", "label": "x", "target": "x"}\n')
    assert grade(path).test == (("a\u2028b", ("x",)),)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Sentences of correlated words: an interval that took words as independent would cover far less often."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        ease = generator.beta(4, 1, 60)
        counts = generator.integers(1, 20, 60)
        low, high = compare.interval(labels(generator.binomial(counts, ease), counts))
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_wilson_never_claims_certainty():
    low, high = compare.interval(labels(np.ones(50)))
    assert low < 0.95
    assert high == 1


@pytest.mark.parametrize("clustered", [False, True])
def test_a_paired_test_keeps_its_level_where_runs_are_alike(clustered):
    generator = np.random.default_rng(1)
    rejected = 0
    for _ in range(200):
        if clustered:
            ease, counts = generator.beta(2, 2, 40), generator.integers(1, 9, 40)
            both = [labels(generator.binomial(counts, ease), counts) for _ in range(2)]
        else:
            both = [labels(generator.random(40) < 0.7) for _ in range(2)]
        rejected += compare.paired(*both).p < 0.05
    assert rejected <= 20


def test_a_clear_difference_is_found_with_its_sign():
    generator = np.random.default_rng(2)
    counts = generator.integers(1, 20, 300)
    good, bad = (labels(generator.binomial(counts, share), counts) for share in (0.95, 0.85))
    verdict = compare.paired(good, bad)
    assert verdict.p < 0.001
    assert 0 < verdict.low < verdict.difference < verdict.high
    assert math.isclose(verdict.difference, good.metric - bad.metric)
    assert compare.paired(bad, good).high == pytest.approx(-verdict.low)


def test_one_label_per_set_gets_the_exact_test_and_it_agrees_with_the_permutation():
    generator = np.random.default_rng(3)
    first, second = (labels(generator.random(300) < share) for share in (0.9, 0.84))
    verdict = compare.paired(first, second)
    assert verdict.method == "McNemar, exact"
    assert compare.sign_flips(first.sums - second.sums) == pytest.approx(verdict.p, abs=0.01)


def test_the_mean_of_seeds_is_taken_unit_by_unit():
    both = compare.mean([labels([1, 0, 1]), labels([1, 1, 0])])
    assert both.sums.tolist() == [1, 0.5, 0.5]
    assert both.seeds == 2
    assert not both.binary
    assert compare.paired(both, labels([0, 0, 0])).method.startswith("permutation")


def test_results_are_the_same_each_time():
    generator = np.random.default_rng(4)
    outcome = labels(generator.binomial(9, 0.5, 30), np.full(30, 9))
    other = labels(generator.binomial(9, 0.5, 30), np.full(30, 9))
    assert compare.interval(outcome) == compare.interval(outcome)
    assert compare.paired(outcome, other) == compare.paired(outcome, other)


def f1(records):
    right, count = (sum(column) for column in zip(*records, strict=True))
    return 2 * right / count if count else 0.0


F1 = CorpusMetric("f1", lambda prediction: prediction.get("found"), f1)
FIRST, SECOND = [(3, 8), (1, 5), (0, 2), (4, 9)], [(2, 9), (1, 4), (1, 3), (0, 7)]


def test_a_metric_of_whole_parts_agrees_with_all_resamples_there_are():
    """Four examples have 4^4 samples with replacement, each as likely as any other."""
    samples = list(itertools.product(range(4), repeat=4))
    exact = np.array([[f1([run[i] for i in sample]) for sample in samples] for run in (FIRST, SECOND)])
    first, second = (CorpusOutcome(F1, (run,)) for run in (FIRST, SECOND))
    assert first.metric == 2 * 8 / 24, "no mean over examples"
    assert compare.interval(first) == pytest.approx(np.percentile(exact[0], [2.5, 97.5]), abs=0.02)
    verdict = compare.paired(first, second)
    differences = exact[0] - exact[1]
    assert verdict.difference == first.metric - second.metric
    assert (verdict.low, verdict.high) == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=0.02)
    assert verdict.p == pytest.approx(2 * min((differences <= 0).mean(), (differences >= 0).mean()), abs=0.03)
    assert compare.paired(first, first).p == 1
    assert compare.paired(second, first).p == verdict.p


def test_seeds_of_a_metric_of_whole_parts_are_averaged():
    both = compare.mean([CorpusOutcome(F1, (FIRST,)), CorpusOutcome(F1, (SECOND,))])
    assert both.metric == pytest.approx((f1(FIRST) + f1(SECOND)) / 2)
    assert both.resampled([0, 0]) == pytest.approx((f1(FIRST[:1]) + f1(SECOND[:1])) / 2)
    assert both.units == 4


def test_grade_leaves_targets_that_are_no_labels_to_metrics_of_whole_parts(tmp_path):
    lines = [
        {"name": "a", "found": [1, 2], "target": [[0, 1]]},
        {"name": "b", "found": [0, 3], "target": []},
        {"name": "c"},
    ]
    path = write(tmp_path / "p.jsonl", lines)
    graded = grade(path, [F1])
    assert list(graded.outcomes) == ["f1"]
    assert graded.outcomes["f1"].metric == 2 / 5
    assert graded.test == (("a", ("[[0, 1]]",)), ("b", ("[]",)))
    with pytest.raises(InputError, match="line 1, is no prediction"):
        grade(path)
    vectors = [{"label": "x", "target": "x"}, {"label": "y", "target": "x"}]
    labeled = write(tmp_path / "q.jsonl", [{"name": name, "vectors": vectors, "found": [1, 2]} for name in "ab"])
    graded = grade(labeled, [F1])
    assert {name: outcome.metric for name, outcome in graded.outcomes.items()} == {"accuracy": 0.5, "f1": 1.0}
    with pytest.raises(InputError, match="holds no target"):
        grade(write(tmp_path / "r.jsonl", [{"name": "a"}]), [F1])


def test_the_area_under_the_curve_is_resampled_by_sets_or_by_targets(tmp_path):
    draw = np.random.default_rng(0)
    truth = draw.random(120) < 0.3
    scores = np.clip(0.3 * truth + draw.random(120) * 0.7, 0, 1).round(2)
    entries = [
        {
            "label": "yes",
            "probabilities": {"yes": float(score), "no": 1 - float(score)},
            "target": "yes" if right else "no",
        }
        for score, right in zip(scores, truth, strict=True)
    ]
    sets = write(tmp_path / "sets.jsonl", [{"name": str(n)} | entry for n, entry in enumerate(entries)])
    one = write(tmp_path / "one.jsonl", [{"name": "graph", "vectors": [*entries, {"label": "no"}]}])
    assert "roc_auc" not in grade(sets).outcomes
    found = [grade(path, ranked=True) for path in (sets, one)]
    assert [graded.unit for graded in found] == ["set", "target"]
    expected = roc_auc_score(truth, scores)
    for graded in found:
        outcome = graded.outcomes["roc_auc"]
        assert outcome.units == 120
        assert outcome.metric == pytest.approx(expected)
        low, high = compare.interval(outcome)
        assert low < expected < high
        # Hanley and McNeil 1982: its deviation, from the numbers of positives and negatives.
        q1, q2, a, m, n = (
            expected / (2 - expected),
            2 * expected**2 / (1 + expected),
            expected,
            truth.sum(),
            (~truth).sum(),
        )
        deviation = math.sqrt((a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (m * n))
        assert 2.4 * deviation < high - low < 5.6 * deviation
    same = compare.paired(*(graded.outcomes["roc_auc"] for graded in found))
    assert (same.difference, same.p) == (pytest.approx(0), 1)


def test_draws_without_an_area_are_left_out(tmp_path):
    """A draw of three sets may hold one label alone."""
    lines = [
        {"name": str(n), "label": "a", "probabilities": {"a": 1 - p, "b": p}, "target": "ab"[n == 2]}
        for n, p in enumerate((0.1, 0.7, 0.6))
    ]
    outcome = grade(write(tmp_path / "p.jsonl", lines), ranked=True).outcomes["roc_auc"]
    assert compare.interval(outcome) == (0, 1)
    alone = grade(write(tmp_path / "q.jsonl", lines[:2]), ranked=True).outcomes["roc_auc"]
    assert all(map(math.isnan, compare.interval(alone)))
