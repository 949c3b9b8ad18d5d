"""Error rates of verification, against counting by hand and against every threshold tried."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import InputError
from regard.speaker.calibration import Calibration, adaptive_norm
from regard.speaker.rates import Trials, equal_error_rate, interval, minimum_cost, rates, threshold_for
from regard.speaker.vectors import cosines

PAIRS = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=60)


@given(PAIRS)
def test_rates_are_what_counting_gives_at_every_threshold(pairs):
    scores, same = np.array([s / 4 for s, _ in pairs]), np.array([t for _, t in pairs])
    if same.all() or not same.any():
        with pytest.raises(InputError, match="there is no trial of"):
            rates(scores, same)
        return
    found = rates(scores, same)
    for threshold, miss, false in zip(found.thresholds, found.miss, found.false_acceptance, strict=True):
        assert miss == pytest.approx((scores[same] < threshold).mean())
        assert false == pytest.approx((scores[~same] >= threshold).mean())
    equal = equal_error_rate(found)
    assert 0 <= equal <= 1
    # The two straight lines cross between two neighboring thresholds.
    k = int((found.miss >= found.false_acceptance).argmax())
    assert found.miss[max(k - 1, 0)] - 1e-12 <= equal <= found.miss[k] + 1e-12
    cost = min(
        0.01 * m + 0.99 * f for m, f in zip(found.miss, found.false_acceptance, strict=True)
    )  # fmt: skip
    assert minimum_cost(found) == pytest.approx(cost / 0.01)
    assert minimum_cost(found) <= 1 + 1e-12, "refusing everybody costs 1"


def test_an_equal_error_rate_between_two_thresholds():
    """Misses go 0, 1/4, 1/2 where false acceptances go 1/2, 1/2, 0 at the middle thresholds."""
    scores = [0.1, 0.5, 0.2, 0.6, 0.7, 0.8, 0.3]
    same = [False, False, True, True, True, True, False]
    found = rates(scores, same)
    # At .3: miss 1/4, false 2/3; at .5: miss 1/4, false 1/3; at .6: miss 1/4, false 0.
    assert equal_error_rate(found) == pytest.approx(0.25)
    assert equal_error_rate(rates([0.0, 1.0], [False, True])) == 0.0
    assert equal_error_rate(rates([1.0, 0.0], [False, True])) == 1.0
    assert equal_error_rate(rates([0.5, 0.5], [False, True])) == pytest.approx(0.5)


def test_weights_count_like_repeated_trials():
    scores, same, weights = [0.1, 0.4, 0.2, 0.6], [False, False, True, True], [1, 3, 2, 1]
    repeated = rates(np.repeat(scores, weights), np.repeat(same, weights))
    weighted = rates(scores, same, weights)
    assert equal_error_rate(weighted) == pytest.approx(equal_error_rate(repeated))


@given(st.floats(0, 1))
def test_the_threshold_keeps_what_was_asked_for(wanted):
    generator = np.random.default_rng(0)
    same = generator.random(200) < 0.3
    scores = generator.normal(same * 1.5)
    threshold = threshold_for(scores, same, wanted)
    assert (scores[~same] >= threshold).mean() <= wanted
    lower = scores[scores < threshold]
    if len(lower):
        assert (scores[~same] >= lower.max()).mean() > wanted, "a lower threshold would do"


def test_trials_of_all_pairs():
    trials = Trials.of_pairs(np.random.default_rng(0).normal(size=(5, 3)), list("aabbc"))
    assert len(trials.scores) == 10
    assert trials.targets.sum() == 2
    with pytest.raises(InputError, match="expected one score and two speakers for each"):
        Trials(np.zeros(3), np.zeros(2), np.zeros(3))
    with pytest.raises(InputError, match="the score of trial 1 is NaN"):
        rates([0.0, np.nan], [True, False])


def test_the_bootstrap_draws_speakers():
    """With one trial repeated a hundred times the interval stays as wide: repetitions are no evidence."""
    generator = np.random.default_rng(1)
    speakers = np.repeat(np.arange(12), 4)
    vectors = generator.normal(size=(12, 8))[speakers] + generator.normal(size=(48, 8)) * 0.9
    trials = Trials.of_pairs(vectors, [str(each) for each in speakers])
    low, high = interval(trials, draws=200)
    point = equal_error_rate(rates(trials.scores, trials.targets))
    assert low <= point <= high
    assert high - low > 0.01
    again = Trials(*(np.tile(each, 20) for each in (trials.scores, trials.speakers, trials.others)))
    repeated = interval(again, draws=200)
    assert repeated == pytest.approx((low, high), abs=1e-9)
    with pytest.raises(InputError):
        interval(Trials(np.zeros(2), np.array(["a", "a"]), np.array(["a", "a"])))


def test_adaptive_norm_by_hand():
    ours, theirs = [[0.0, 2.0, -9.0]], [[1.0, 5.0, -9.0], [0.0, 0.0, -9.0]]
    found = adaptive_norm([[3.0, 4.0]], ours, theirs, nearest=2)
    first = ((3.0 - 1.0) / 1.0 + (3.0 - 3.0) / 2.0) / 2
    assert found[0, 0] == pytest.approx(first)
    assert np.isfinite(found).all()


def test_calibrated_probabilities_are_honest():
    """Scores of two Gaussians with the same deviation: the log odds are linear, and the line is known."""
    generator = np.random.default_rng(0)
    same = np.arange(40_000) % 4 == 0
    scores = generator.normal(same * 2.0, 1.0)
    people = np.arange(len(same)).astype(str)
    trials = Trials(scores, people, np.where(same, people, "other"))
    found = Calibration.of(trials, false_acceptance=0.01)
    assert found.slope == pytest.approx(2.0, rel=0.05)
    assert found.offset == pytest.approx(-2.0, rel=0.05)
    assert found.probability([1.0])[0] == pytest.approx(0.5, abs=0.02)
    assert (scores[~same] >= found.threshold).mean() <= 0.01
    assert found.probability([-1e4, 1e4]).tolist() == [0.0, 1.0]


def test_a_vector_of_zeros_is_like_nobody():
    assert cosines([[0.0, 0.0]], [[1.0, 0.0]]).tolist() == [[0.0]]
