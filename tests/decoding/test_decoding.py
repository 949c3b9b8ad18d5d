"""Decoding by steppers whose scores are known: what is found, in what order, and that no set or hypothesis changes another."""

import itertools
import math
import re

import pytest
import torch

from regard.decoding.beam import LengthPenalty, beam
from regard.decoding.stepper import Hypothesis, Limits, Stepper, best, next_log_probabilities
from regard.decoding.walk import greedy, sample
from regard.errors import InputError
from tests.decoding.toys import Recurrent, Toy, table

PAD, BEGIN, END, UNKNOWN = 0, 1, 2, 3
FORBIDDEN = (PAD, BEGIN, UNKNOWN)
SETS = [0, 1, 2, 3, 4]


def limits(longest, **options):
    return Limits(BEGIN, END, FORBIDDEN, torch.tensor(longest), **options)


def of_table(rows):
    """A toy whose logits are the logarithms of a dictionary's probabilities by prefix, the first id left out."""
    return Toy(lambda b, before: torch.tensor(rows[before[1:]]).log(), len(next(iter(rows.values()))), [0])


def log_probability(toy_logits, b, ids):
    """The sum of log softmax over ids that follow BEGIN."""
    before, total = (BEGIN,), 0.0
    for n in ids:
        total += float(toy_logits(b, before).log_softmax(0)[n])
        before = (*before, n)
    return total


WAYS = {
    "greedy": lambda stepper, some, seeds: greedy(stepper, some),
    "sample": lambda stepper, some, seeds: sample(stepper, some, seeds, 0.9, top_k=7, top_p=0.95),
    "sample from all": lambda stepper, some, seeds: sample(stepper, some, seeds),
    "beam 1": lambda stepper, some, seeds: beam(stepper, some, 1),
    "beam 4, average": lambda stepper, some, seeds: beam(stepper, some, 4, 4),
    "beam 3, wu": lambda stepper, some, seeds: beam(stepper, some, 3, 2, LengthPenalty("wu", 0.6)),
    "beam 20": lambda stepper, some, seeds: beam(stepper, some, 20, 5, LengthPenalty("average", 0.5)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("make", [Recurrent, lambda n, sets: Toy(table(n), n, sets)], ids=["recurrent", "table"])
def test_a_batch_is_each_set_alone_bit_for_bit(way, make):
    longest, seeds = [6, 0, 9, 1, 14], [11, 12, 13, 14, 15]
    together = way(make(12, SETS), limits(longest), seeds)
    alone = [way(make(12, [b]), limits([longest[b]]), [seeds[b]])[0] for b in SETS]
    assert together == alone
    assert len({found[0].ids for found in together}) > 3


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_set_that_is_done_changes_nobody_and_leaves(way):
    """Beside a set that ends at once, the others find the same; the stepper is never asked about it again."""
    other = Recurrent(12, [1, 2])
    expected = way(other, limits([8, 8]), [5, 6])
    beside = Recurrent(12, [1, 0, 2])
    found = way(beside, limits([8, 1, 8]), [5, 9, 6])
    assert [found[0], found[2]] == expected
    assert beside.sizes[1:] == other.sizes[1:]


@pytest.mark.parametrize("seed", range(5))
def test_beam_1_is_greedy(seed):
    some = limits([10] * 5)
    first, second = (way(Recurrent(9, SETS, seed), some) for way in (greedy, lambda s, x: beam(s, x, 1)))
    assert [[one.ids for one in found] for found in first] == [[one.ids for one in found] for found in second]
    for found in second:
        length = len(found[0].ids) + found[0].finished
        assert found[0].score == found[0].log_probability / length


def test_greedy_takes_the_most_probable_id_each_time():
    logits = table(10, seed=3)
    for b, (found,) in enumerate(greedy(Toy(logits, 10, SETS), limits([7] * 5))):
        before = (BEGIN,)
        for place in range(len(found.ids) + found.finished):
            scores = logits(b, before).clone()
            scores[[*FORBIDDEN, *([END] if place == 0 else [])]] = -math.inf
            chosen = (*found.ids, END)[place]
            assert int(scores.argmax()) == chosen
            before = (*before, chosen)
        assert found.finished or len(found.ids) == 7
        ids = (*found.ids, *([END] if found.finished else []))
        assert found.log_probability == pytest.approx(log_probability(logits, b, ids), abs=1e-5)


@pytest.mark.parametrize(
    "penalty",
    [
        LengthPenalty("average"),
        LengthPenalty("wu", 0.6),
        LengthPenalty("wu", 3.0),
        LengthPenalty("average", 0.0),
        LengthPenalty("average", 0.3),
    ],
    ids=str,
)
def test_a_beam_as_wide_as_all_sequences_finds_the_best_by_enumeration(penalty):
    vocabulary, longest = 6, 4
    logits = table(vocabulary, seed=1)
    some = Limits(BEGIN, END, (PAD, BEGIN), torch.tensor([longest] * 5))
    found = beam(Toy(logits, vocabulary, SETS), some, vocabulary**longest, 20, penalty)
    allowed = [n for n in range(vocabulary) if n not in (PAD, BEGIN, END)]
    for b in SETS:
        scored = []
        for length in range(1, longest):
            for ids in itertools.product(allowed, repeat=length):
                total = log_probability(logits, b, (*ids, END))
                divisor = (length + 1) if penalty.kind == "average" else (5 + length + 1) / 6
                scored.append((total / divisor**penalty.alpha, ids))
        scored.sort(reverse=True)
        assert [one.ids for one in found[b]] == [ids for _, ids in scored[:20]]
        assert [one.score for one in found[b]] == pytest.approx([score for score, _ in scored[:20]], abs=1e-5)
        assert all(one.finished for one in found[b])


@pytest.mark.parametrize("penalty", [LengthPenalty("average"), LengthPenalty("wu", 1.5)], ids=str)
@pytest.mark.parametrize("n_best", [1, 3])
def test_the_stop_loses_nothing(penalty, n_best, monkeypatch):
    """What is found equals what the same search finds when no hypothesis is ever given up."""
    from regard.decoding.beam import _Search

    asked = [0, 0]
    for seed in range(10):
        some, stepper, slow = limits([12] * 5), Recurrent(12, SETS, seed), Recurrent(12, SETS, seed)
        found = beam(stepper, some, 4, n_best, penalty)
        with monkeypatch.context() as patched:
            patched.setattr(_Search, "_to_beat", lambda self, sets: torch.full((len(sets),), -torch.inf).double())
            assert beam(slow, some, 4, n_best, penalty) == found
        asked = [asked[0] + sum(stepper.sizes), asked[1] + sum(slow.sizes)]
    assert asked[0] < asked[1]


def test_a_longer_hypothesis_wins_where_its_mean_is_better():
    """By hand: ending at once has log .4 + log .6, going on has .6 * .9 * .9 * .9."""
    e = 1e-9
    rows = {
        (): [e, e, e, 0.6, 0.4],
        (3,): [e, e, 0.1, 0.9, e],
        (4,): [e, e, 0.6, 0.2, 0.2],
        (3, 3): [e, e, 0.9, 0.1, e],
        (3, 4): [e, e, 0.9, 0.1, e],
        (4, 3): [e, e, 1.0, e, e],
        (4, 4): [e, e, 1.0, e, e],
    }
    some = Limits(BEGIN, END, (PAD, BEGIN), torch.tensor([3]))
    (plain,) = beam(of_table(rows), some, 2, 2, LengthPenalty("average", 0.0))
    assert [one.ids for one in plain] == [(3, 3), (4,)]
    assert plain[0].log_probability == pytest.approx(math.log(0.6 * 0.9 * 0.9), abs=1e-5)
    assert plain[1].score == pytest.approx(math.log(0.4 * 0.6), abs=1e-5)
    (mean,) = beam(of_table(rows), some, 2, 2, LengthPenalty("average", 1.0))
    assert mean[0].score == pytest.approx(math.log(0.6 * 0.9 * 0.9) / 3, abs=1e-5)
    (wu,) = beam(of_table(rows), some, 2, 2, LengthPenalty("wu", 1.0))
    assert wu[0].score == pytest.approx(math.log(0.6 * 0.9 * 0.9) / (8 / 6), abs=1e-5)


def test_an_end_counts_among_the_first_candidates_alone():
    """The end is third of four candidates at a width of 2, so that it finishes nothing; at a width of 3 it does."""
    e = 1e-9
    rows = {(): [e, e, e, 0.5, 0.5], (3,): [e, e, 0.2, 0.4, 0.4], (4,): [e, e, e, 0.5, 0.5]}
    some = Limits(BEGIN, END, (PAD, BEGIN), torch.tensor([2]))
    assert not any(one.finished for one in beam(of_table(rows), some, 2, 2)[0])
    rows[(4,)] = [e, e, e, 0.01, 0.99]
    assert [one.finished for one in beam(of_table(rows), some, 4, 2)[0]] == [True, False]


@pytest.mark.parametrize("longest", [0, 1, 2, 5])
def test_what_never_ends_is_as_long_as_it_may_become(longest):
    toy = lambda: Toy(lambda b, before: torch.tensor([0.0, 0, -math.inf, 0, 1, 0]), 6, [0, 1])  # noqa: E731
    for way in WAYS.values():
        for found in way(toy(), limits([longest] * 2), [3, 4]):
            assert all(len(one.ids) == longest and not one.finished for one in found)
            assert found


def test_nothing_forbidden_comes_and_no_set_ends_before_the_least():
    def eager(b, before):
        return torch.tensor([3.0, 3, 9, 3, 0, 0.5, -1])

    for way in WAYS.values():
        for found in way(Toy(eager, 7, [0, 1]), limits([9, 9], least=3), [1, 2]):
            for one in found:
                assert len(one.ids) >= 3
                assert not {*one.ids} & {*FORBIDDEN, END}
    for found in greedy(Toy(eager, 7, [0]), limits([9], least=0)):
        assert found[0].ids == ()
        assert found[0].finished


def test_a_beam_wider_than_the_vocabulary():
    logits = table(5)
    found = beam(Toy(logits, 5, SETS), limits([4] * 5), 50, 50)
    # One id is allowed: 4, 44, 444 can end within 4, and 4444 cannot.
    assert [[one.ids for one in each if one.finished] for each in found]
    for each in found:
        assert sorted(len(one.ids) for one in each) == [1, 2, 3, 4]
        assert [one.finished for one in each] == [True, True, True, False]
        assert [one.score for one in each[:3]] == sorted((one.score for one in each[:3]), reverse=True)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_ids_without_probability_are_never_taken(way):
    """Scores of -inf: a set that has no way to go on stays as it is, unfinished."""

    def logits(b, before):
        scores = torch.full((7,), -math.inf)
        if b == 0 and len(before) < 4:
            scores[4 + len(before) % 2] = 0.0
        if b == 1:
            scores[END], scores[6] = 1.0, 0.5
        return scores

    first, second = way(Toy(logits, 7, [0, 1]), limits([9, 9]), [1, 2])
    assert [(one.ids, one.finished) for one in first] == [((5, 4, 5), False)]
    assert second[0].ids[0] == 6
    assert {*second[0].ids} == {6}


def test_equal_scores_go_to_the_first_id():
    flat = lambda: Toy(lambda b, before: torch.zeros(40), 40, [0])  # noqa: E731
    assert greedy(flat(), limits([9], least=3))[0][0][::3] == ((4, 4, 4), True)
    assert [one.ids for one in beam(flat(), Limits(BEGIN, None, FORBIDDEN, torch.tensor([1])), 3, 3)[0]] == [
        (2,),
        (4,),
        (5,),
    ]
    values, places = best(torch.zeros(2, 500), 7)
    assert places.tolist() == [[0, 1, 2, 3, 4, 5, 6]] * 2
    assert values.tolist() == [[0.0] * 7] * 2


class TestSampling:
    probabilities = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.5, 0.25, 0.15, 0.1])

    def drawn(self, number=4000, **options):
        """How often each id comes first."""
        toy = Toy(lambda b, before: self.probabilities.log(), 8, range(number))
        some = Limits(BEGIN, None, (), torch.tensor([1] * number))
        found = sample(toy, some, list(range(number)), **options)
        return torch.bincount(torch.tensor([each[0].ids[0] for each in found]), minlength=8) / number

    def test_ids_come_as_often_as_their_probabilities_say(self):
        assert self.drawn().sub(self.probabilities).abs().max() < 0.03

    def test_a_temperature_raises_probabilities_to_its_inverse(self):
        for temperature in (0.5, 2.0):
            expected = self.probabilities ** (1 / temperature)
            assert self.drawn(temperature=temperature).sub(expected / expected.sum()).abs().max() < 0.03
        for temperature in (0.0, 1e-320, 0.01):
            assert self.drawn(200, temperature=temperature)[4] == 1

    def test_top_k_and_top_p_leave_the_most_probable(self):
        for options, kept in (
            ({"top_k": 2}, [0.5, 0.25]),
            ({"top_k": 100}, [0.5, 0.25, 0.15, 0.1]),
            ({"top_p": 0.7}, [0.5, 0.25]),
            ({"top_p": 0.8}, [0.5, 0.25, 0.15]),
            ({"top_p": 0.0}, [0.5]),
            # Of the two that are left, the first has two thirds.
            ({"top_k": 2, "top_p": 0.6}, [0.5]),
            ({"top_k": 2, "top_p": 0.7}, [0.5, 0.25]),
        ):
            expected = torch.zeros(8)
            expected[4 : 4 + len(kept)] = torch.tensor(kept) / sum(kept)
            drawn = self.drawn(**options)
            assert drawn.sub(expected).abs().max() < 0.03
            assert ((drawn > 0) == (expected > 0)).all()

    def test_a_seed_draws_the_same_again_and_another_seed_something_else(self):
        first, again, other = (
            sample(Recurrent(30, [0], sharp=0.3), Limits(BEGIN, None, FORBIDDEN, torch.tensor([20])), [seed])
            for seed in (7, 7, 8)
        )
        assert first == again != other

    def test_the_log_probability_is_that_of_the_model_whatever_the_temperature(self):
        logits = table(10, seed=4)
        ((found,),) = sample(Toy(logits, 10, [0]), Limits(BEGIN, None, FORBIDDEN, torch.tensor([5])), [1], 3.0, top_k=4)
        assert found.log_probability == pytest.approx(log_probability(logits, 0, found.ids), abs=1e-5)
        assert found.score == found.log_probability

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"temperature": -1.0}, "sample has temperature -1.0, expected at least 0"),
            ({"temperature": math.nan}, "sample has temperature nan, expected a number"),
            ({"top_k": 0}, "sample has top_k 0, expected at least 1"),
            ({"top_p": 1.5}, "sample has top_p 1.5, expected at most 1"),
            ({"seeds": [1, 2]}, "there are 2 seeds, expected 1: one for each set"),
            ({"seeds": [-1]}, "sample has seed -1, expected at least 0"),
        ],
    )
    def test_bad_numbers_are_refused(self, options, message):
        with pytest.raises(InputError, match=re.escape(message)):
            sample(Recurrent(9, [0]), limits([3]), **({"seeds": [1]} | options))


def test_each_step_is_told_as_it_is_made():
    steps = []
    found = greedy(Recurrent(9, [0, 1]), limits([3, 6]), lambda sets, ids: steps.append((sets, ids)))
    grown = {0: [], 1: []}
    for sets, ids in steps:
        for b, n in zip(sets, ids, strict=True):
            grown[b].append(n)
    for b, (one,) in enumerate(found):
        assert grown[b] == [*one.ids, *([END] if one.finished else [])]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("number", "shown"), [(math.nan, "nan"), (math.inf, "inf")])
def test_scores_that_are_no_numbers_are_refused(way, number, shown):
    def logits(b, before):
        scores = torch.zeros(9)
        scores[END] = -50.0
        if b == 1 and len(before) == 3:
            scores[5] = number
        return scores

    message = f"the score of id 5 at place 2 of set 1 is {shown}, expected numbers"
    with pytest.raises(InputError, match=re.escape(message)):
        way(Toy(logits, 9, [0, 1]), limits([9, 9]), [1, 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: limits([-1]), "Limits has longest [-1], expected a number of at least 0 for each set"),
        (lambda: limits([4], least=-1), "Limits has least -1, expected at least 0"),
        (lambda: Limits(1, 2, (2,), torch.tensor([3])), "Limits has the end 2 among what is forbidden"),
        (lambda: Limits(torch.tensor([1, 1]), 2, (), torch.tensor([3])), "Limits has [2] ids that begin, expected one"),
        (lambda: LengthPenalty("mean"), "LengthPenalty has kind 'mean', expected 'average' or 'wu'"),
        (lambda: LengthPenalty("wu", -0.5), "LengthPenalty has alpha -0.5, expected at least 0"),
        (lambda: greedy(Recurrent(9, [0]), limits([3, 3])), "the limits are of 2 sets, expected 1: one for each row"),
        (
            lambda: greedy(Recurrent(3, [0]), limits([3])),
            "the limits name the id 3, expected at least 0 and less than 3",
        ),
        (
            lambda: greedy(Recurrent(4, [0]), limits([3])),
            "of 4 ids none may come first, expected fewer that are forbidden",
        ),
        (lambda: beam(Recurrent(9, [0]), limits([3]), 0), "beam has width 0, expected at least 1"),
        (lambda: beam(Recurrent(9, [0]), limits([3]), 2, 3), "beam has n_best 3, expected at most its width, 2"),
        (lambda: beam(Recurrent(9, [0]), limits([3]), 2, 0), "beam has n_best 0, expected at least 1"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def test_no_set_at_all():
    none = Limits(BEGIN, END, FORBIDDEN, torch.zeros(0, dtype=torch.int64))
    for way in WAYS.values():
        assert way(Recurrent(9, []), none, []) == []


def test_a_prompt_begins_each_set_with_its_own_id():
    some = Limits(torch.tensor([4, 5]), None, (), torch.tensor([1, 1]))
    toy = Toy(lambda b, before: torch.nn.functional.one_hot(torch.tensor(before[0] + 1), 8) * 9.0, 8, [0, 1])
    assert [found[0].ids for found in greedy(toy, some)] == [(5,), (6,)]


def test_log_probabilities_do_not_depend_on_how_logits_lie():
    logits = torch.randn(40, 7).T
    some = Limits(BEGIN, None, (), torch.tensor([3] * 7))
    together = next_log_probabilities(logits, some, 0, list(range(7)))
    alone = [next_log_probabilities(logits[b : b + 1].contiguous(), some, 0, [b]) for b in range(7)]
    assert torch.equal(together, torch.cat(alone))


def test_toys_are_steppers():
    assert isinstance(Recurrent(9, [0]), Stepper)
    assert isinstance(greedy(Recurrent(9, [0]), limits([3]))[0][0], Hypothesis)
