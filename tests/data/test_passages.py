"""Plain text in passages: what is hidden, what is drawn anew, how text is divided, and which reviews never teach."""

import tarfile

import numpy as np
import pytest

from regard import InputError
from regard.data.augment import Draws
from regard.data.encoding import Encoding
from regard.data.examples import IGNORE, PARTS
from regard.data.masking import MASK, Masking, mask_id
from regard.data.passages import Passages

SENTENCES = [f"Old Mr. Fox number {n} sawed unbelievable trees, didn't he?" for n in range(40)]


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text("\n\n".join(SENTENCES))
    return str(tmp_path / "text.txt")


def masking(share=0.15, whole_words=False, pieces=("▁a", "▁un", "believ", "able", ".", "▁b")):
    encoding = Encoding(columns={"token": ("<unknown>", *pieces, MASK)}, tokenizer="some")
    return Masking.of(encoding, share, whole_words)


def test_of_the_hidden_tokens_four_fifths_are_masked_a_tenth_changed_a_tenth_stays():
    size = 1000
    rule = masking(0.15, pieces=tuple(f"▁{n}" for n in range(1, size)))
    ids = np.random.default_rng(0).integers(1, size, 200_000)
    seen, targets = rule(ids, np.random.default_rng(1))
    hidden = targets != IGNORE
    assert hidden.sum() == 30_000
    np.testing.assert_array_equal(targets[hidden], ids[hidden])
    np.testing.assert_array_equal(seen[~hidden], ids[~hidden])
    masked, same = seen[hidden] == size, seen[hidden] == ids[hidden]
    # Five standard deviations of 30,000 draws.
    assert abs(masked.mean() - 0.8) < 5 * (0.16 / 30_000) ** 0.5
    assert abs(same.mean() - 0.1) < 5 * (0.09 / 30_000) ** 0.5
    changed = seen[hidden][~masked & ~same]
    assert changed.min() >= 1
    assert changed.max() < size
    assert len(np.unique(changed)) > 900


def test_unknown_tokens_are_never_guessed_and_a_short_passage_has_one_gap():
    rule = masking()
    for seed in range(50):
        _, targets = rule(np.array([0, 3, 0, 1]), np.random.default_rng(seed))
        assert (targets != IGNORE).sum() == 1
        assert 0 not in targets
    _, targets = rule(np.zeros(5, np.int64), np.random.default_rng(0))
    assert (targets == IGNORE).all()


def test_a_word_is_hidden_whole_and_marks_are_words():
    rule = masking(0.4, whole_words=True)
    ids = np.array([1, 2, 3, 4, 5, 4, 6, 4, 2, 3, 4])
    # A piece that follows a mark begins a word: "a unbelievable.able bable unbelievable".
    assert rule.words(ids).tolist() == [0, 1, 1, 1, 2, 3, 4, 4, 5, 5, 5]
    seen_sizes = set()
    for seed in range(100):
        _, targets = rule(ids, np.random.default_rng(seed))
        hidden = targets != IGNORE
        for word in range(6):
            assert len(set(hidden[rule.words(ids) == word])) == 1
        assert 1 <= hidden.sum() <= 4
        seen_sizes.add(int(hidden.sum()))
    assert 4 in seen_sizes


def test_draws_are_a_function_of_seed_epoch_and_passage(text):
    reader = Passages(text, vocabulary=120, longest=16)
    encoding = reader.fit()
    part = reader.training(encoding)
    epochs = []
    for epoch in (0, 1, 0):
        part.set_epoch(epoch)
        epochs.append([part[i] for i in range(len(part))])
    for first, _, again in zip(*epochs, strict=True):
        np.testing.assert_array_equal(first.values, again.values)
        np.testing.assert_array_equal(first.target, again.target)
    assert any((first.target != other.target).any() for first, other in zip(*epochs[:2], strict=True))
    twice = Passages(text, vocabulary=120, longest=16, seed=1).training(encoding)
    twice.set_epoch(0)
    assert any((twice[i].target != epochs[0][i].target).any() for i in range(len(part)))
    # A draw of one passage is that of the rule with the generator of its number.
    part.set_epoch(3)
    _, targets = part.masking(part.ids[2].astype(np.int64), Draws(0, 3, 2).of("mask"))
    np.testing.assert_array_equal(part[2].target, targets)


def test_evaluation_hides_the_same_each_time_whatever_the_seed(text):
    one, other = (Passages(text, vocabulary=120, seed=seed) for seed in (0, 5))
    encoding = one.fit()
    for i in range(len(one.part("validation", encoding))):
        a, b = one.part("validation", encoding)[i], other.part("validation", encoding)[i]
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.target, b.target)


@pytest.mark.parametrize("tokens", ["words", "bpe", "unigram", "characters", "bytes"])
def test_passages_hold_all_tokens_of_their_documents(text, tokens):
    reader = Passages(text, tokens=tokens, vocabulary=0 if tokens == "words" else 150, minimum_count=1, longest=7)
    encoding = reader.fit()
    (entries,) = encoding.columns.values()
    assert entries[-1] == MASK
    assert mask_id(encoding) == len(entries) - 1
    part = reader.part("test", encoding)
    assert max(part.lengths) <= 7
    total = sum(len(reader.example(document.text, encoding).values) for document in reader._documents("test"))
    assert sum(part.lengths) == total


def test_documents_are_divided_once_and_for_all(text):
    reader = Passages(text)
    counts = {part: len(reader._documents(part)) for part in PARTS}
    assert counts == {"train": 32, "validation": 4, "test": 4}
    together = [document.text for part in PARTS for document in reader._documents(part)]
    assert sorted(together) == sorted(SENTENCES)


def test_one_long_document_is_divided_into_stretches(tmp_path):
    words = [f"word{n}" for n in range(3000)]
    (tmp_path / "long.txt").write_text(" ".join(words))
    reader = Passages(str(tmp_path / "long.txt"))
    parts = [[word for document in reader._documents(part) for word in document.text.split()] for part in PARTS]
    assert all(parts)
    assert sorted(word for part in parts for word in part) == sorted(words)


def test_names_of_folders_and_files_in_an_archive_divide(tmp_path):
    for name in ("train/a.txt", "train/b.txt", "dev/c.txt", "test/d.txt"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / name).write_text(f"the text of {name}")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "all", "all")
    for place in ("all", "all.tar.gz"):
        reader = Passages(str(tmp_path / place))
        named = {part: sorted(document.text[-5:] for document in reader._documents(part)) for part in PARTS}
        assert named == {"train": ["a.txt", "b.txt"], "validation": ["c.txt"], "test": ["d.txt"]}


def test_a_text_with_gaps_is_read_as_training_cut_it(text):
    reader = Passages(text, vocabulary=200)
    encoding = reader.fit()
    (entries,) = encoding.columns.values()
    whole = reader.example("old mr. fox sawed trees, he", encoding)
    gaps = reader.example("old mr. fox sawed [MASK], he", encoding)
    tail = whole.tokens[whole.tokens.index(",") :]
    assert gaps.tokens[-len(tail) - 1 :] == (MASK, *tail)
    assert gaps.values[-len(tail) - 1] == len(entries) - 1
    assert reader.example(MASK, encoding).values.tolist() == [len(entries) - 1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mask": 0.0}, "data.mask is 0.0, expected a share between 0 and 1"),
        ({"mask": 1.0}, "data.mask is 1.0, expected a share"),
        ({"longest": 1}, "data.longest is 1, expected"),
        ({"tokens": "bytes", "whole_words": True}, "data.whole_words is true and data.tokens is bytes"),
    ],
)
def test_options_without_meaning_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Passages(**options)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.txt", None, "is not there, expected a file, a folder or an archive of text"),
        ("empty.txt", "  \n\n", "is empty, expected text"),
        ("short.txt", "word", "has no text in its validation part"),
        ("bad.tar", "no archive", "is no whole archive"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=sentence):
        Passages(str(tmp_path / name)).labels("validation")


def test_an_encoding_without_a_mask_is_refused():
    with pytest.raises(InputError, match=r"the vocabulary has no \[MASK\], expected that of data read as Passages"):
        mask_id(Encoding(columns={"token": ("<unknown>", "a")}))


@pytest.mark.rare
@pytest.mark.usefixtures("data")
def test_of_imdb_no_review_of_the_test_half_teaches():
    reader = Passages(dataset="imdb")
    (skipped,) = reader.survey().skipped
    assert (skipped[0], skipped[1].count) == ("training reviews that stand in the test half as well", 123)
    parts = {part: {" ".join(document.text.split()) for document in reader._documents(part)} for part in PARTS}
    assert not (parts["train"] | parts["validation"]) & parts["test"]
    assert len(reader._documents("test")) == 25_000
