"""Pairs of stretches of text: their marks and segments, which second stretch stands there, and what is asked."""

from dataclasses import replace

import numpy as np
import pytest

from regard import InputError
from regard.data.examples import IGNORE
from regard.data.masking import MASK, mask_id
from regard.data.passages import Passages
from regard.data.segments import CLS, SEP, Marks


@pytest.fixture
def text(tmp_path):
    """Every word of a document has its letter, and its number says where it stands."""
    words = [" ".join(f"{letter}{n}" for n in range(40)) for letter in "abcdefghijklmnopqrst"]
    (tmp_path / "text.txt").write_text("\n\n".join(words))
    return str(tmp_path / "text.txt")


def reader(text, pairs, **options):
    return Passages(text, tokens="words", minimum_count=1, longest=15, pairs=pairs, **options)


def restored(example, encoding):
    """The words of both stretches as they stood before any was hidden."""
    entries = next(iter(encoding.columns.values()))
    ids = np.where(example.target != IGNORE, example.target, example.values[:, 0])
    ids[0] = example.values[0, 0]
    words = [entries[n] for n in ids]
    ends = [n for n, word in enumerate(words) if word == SEP]
    assert words[0] == CLS
    assert ends[-1] == len(words) - 1
    segments = example.values[:, 1].tolist()
    assert segments == [0] * (ends[0] + 1) + [1] * (len(words) - ends[0] - 1)
    return words[1 : ends[0]], words[ends[0] + 1 : -1]


@pytest.mark.parametrize("pairs", ["neighbors", "next", "order"])
def test_pairs_are_neighbors_another_or_swapped_and_the_target_says_so(text, pairs):
    data = reader(text, pairs)
    encoding = data.fit()
    marks = Marks.of(encoding)
    assert len(marks.answers) == (0 if pairs == "neighbors" else 2)
    part = data.training(encoding)
    answers, alone = [], 0
    for epoch in range(6):
        part.set_epoch(epoch)
        for n in range(len(part)):
            example = part[n]
            assert len(example.values) <= part.lengths[n] <= 15
            first, second = restored(example, encoding)
            if not second:
                alone += 1
                assert example.target[0] == IGNORE
                continue
            follows = first[-1][0] == second[0][0] and int(second[0][1:]) == int(first[-1][1:]) + 1
            answers.append(follows)
            if pairs == "neighbors":
                assert follows
                assert example.target[0] == IGNORE
                continue
            assert follows == (example.target[0] == marks.answers[0])
            if pairs == "order" and not follows:
                assert second[-1][0] == first[0][0]
                assert int(first[0][1:]) == int(second[-1][1:]) + 1
    # Of 40 words 7 stretches of 6 are made: three pairs and one that is alone.
    assert alone == 6 * len(part) / 4
    if pairs != "neighbors":
        # Five standard deviations.
        assert abs(np.mean(answers) - 0.5) < 2.5 / len(answers) ** 0.5


def test_marks_are_never_hidden_nor_drawn(text):
    data = reader(text, "next", mask=0.9)
    encoding = data.fit()
    mask, part = mask_id(encoding), data.training(encoding)
    for whole_words in (False, True):
        part = replace(data, whole_words=whole_words).training(encoding)
        hidden = 0
        for n in range(len(part)):
            example = part[n]
            ids, target = example.values[:, 0], example.target
            assert (target[1:] < mask).all()
            places = np.flatnonzero(target[1:] != IGNORE) + 1
            assert (ids[places] <= mask).all()
            assert ids[0] == Marks.of(encoding).cls
            hidden += len(places)
        assert hidden


def test_draws_are_a_function_of_seed_epoch_and_pair(text):
    data = reader(text, "next")
    encoding = data.fit()
    part = data.training(encoding)
    epochs = []
    for epoch in (0, 1, 0):
        part.set_epoch(epoch)
        epochs.append([part[n] for n in range(len(part))])
    for first, again in zip(epochs[0], epochs[2], strict=True):
        np.testing.assert_array_equal(first.values, again.values)
        np.testing.assert_array_equal(first.target, again.target)
    assert any(len(a.values) != len(b.values) or (a.target != b.target).any() for a, b in zip(*epochs[:2], strict=True))
    validation = data.part("validation", encoding)
    for n, target in enumerate(validation.targets):
        np.testing.assert_array_equal(validation[n].target, target)


def test_texts_to_predict_for_have_marks_and_at_most_one_between(text):
    data = reader(text, "order")
    encoding = data.fit()
    entries = next(iter(encoding.columns.values()))
    one, two = data.texts(["a1 [MASK] a3", f"a1 [MASK] {SEP} a3"], ["x", "y"], encoding)
    assert one.tokens == (CLS, "a1", MASK, "a3", SEP)
    assert two.tokens == (CLS, "a1", MASK, SEP, "a3", SEP)
    assert [entries[n] for n in two.values[:, 0]] == list(two.tokens)
    assert two.values[:, 1].tolist() == [0, 0, 0, 0, 1, 1]
    with pytest.raises(InputError, match=r"has 2 times \[SEP\], expected it at most once"):
        data.texts([f"a {SEP} b {SEP} c"], ["x"], encoding)


def test_a_passage_too_short_for_two_is_refused():
    with pytest.raises(InputError, match=r"data.longest is 4, expected at least 5"):
        Passages(pairs="next", longest=4)
