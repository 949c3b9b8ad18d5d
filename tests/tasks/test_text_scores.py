"""BLEU and chrF of records are sacreBLEU's of whole corpora; edits are those of the written-out recurrence, rates torchmetrics'."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.text import CharErrorRate, WordErrorRate

from regard.tasks.configs import PerSetSequence
from regard.tasks.corpus import corpus_metrics
from regard.tasks.text_scores import TEXT_SCORES, edits, signatures

sacrebleu = pytest.importorskip("sacrebleu")

METRICS = {metric.name: metric for metric in TEXT_SCORES}
WORDS = ["a", "A", "dog", "runs,", "(two)", "3.5%", "T-shirt", "don't", "Hund", "ä", ".", "the", "in", "water"]


def corpus(count, seed):
    """Texts that share most words with their targets."""
    draw = np.random.default_rng(seed)
    targets = [[WORDS[i] for i in draw.integers(len(WORDS), size=draw.integers(1, 12))] for _ in range(count)]
    texts = [
        " ".join(word for word in target if draw.random() < 0.8) + (" dog" if draw.random() < 0.3 else "")
        for target in targets
    ]
    return [{"name": "x", "text": text, "target": " ".join(t)} for text, t in zip(texts, targets, strict=True)]


def sides(predictions):
    return [each["text"] for each in predictions], [[each["target"] for each in predictions]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 3, 40])
def test_numbers_of_records_are_those_of_whole_corpora(count, seed):
    predictions = corpus(count, seed)
    texts, targets = sides(predictions)
    assert METRICS["bleu"].of(predictions) == pytest.approx(sacrebleu.corpus_bleu(texts, targets).score, abs=1e-12)
    lowered = sacrebleu.corpus_bleu(texts, targets, lowercase=True).score
    assert METRICS["bleu_lowercase"].of(predictions) == pytest.approx(lowered, abs=1e-12)
    assert METRICS["chrf"].of(predictions) == pytest.approx(sacrebleu.corpus_chrf(texts, targets).score, abs=1e-9)


def test_words_are_lower_cased_and_cut_before_they_are_compared():
    predictions = [{"text": "A dog runs (fast), now here.", "target": "a Dog runs ( fast ) , now here ."}]
    assert METRICS["bleu_words"].of(predictions) == pytest.approx(100)
    assert METRICS["bleu"].of(predictions) < 100
    cut, other = "a dog runs ( fast ) , now", "a dog runs ( quickly ) , now"
    expected = sacrebleu.corpus_bleu([cut], [[other]], tokenize="none", force=True).score
    assert METRICS["bleu_words"].of([{"text": "A dog runs (fast), now", "target": "a dog runs (quickly), now"}]) == (
        pytest.approx(expected, abs=1e-12)
    )


@pytest.mark.parametrize("name", ["bleu", "bleu_lowercase", "bleu_words", "chrf"])
def test_the_best_is_100_and_nothing_written_is_0(name):
    target = "A small dog runs in the water ."
    assert METRICS[name].of([{"text": target, "target": target}]) == pytest.approx(100)
    assert METRICS[name].of([{"text": "", "target": target}, {"target": target}]) == 0
    assert math.isnan(METRICS[name].of([{"text": "a"}]))


def test_records_add_up_so_that_examples_can_be_drawn_again():
    predictions = corpus(30, 1)
    drawn = np.random.default_rng(0).integers(30, size=30)
    metric = METRICS["bleu"]
    records = [metric.record(each) for each in predictions]
    texts, targets = sides([predictions[i] for i in drawn])
    assert metric.value([records[i] for i in drawn]) == pytest.approx(
        sacrebleu.corpus_bleu(texts, targets).score, abs=1e-12
    )


def written_out(one, other):
    @cache
    def distance(i, j):
        if not i or not j:
            return i + j
        same = one[i - 1] == other[j - 1]
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (not same))

    return distance(len(one), len(other))


@given(st.text("abä😀", max_size=8), st.text("abä😀", max_size=8))
def test_edits_are_those_of_the_written_out_recurrence(one, other):
    assert edits(one, other) == written_out(one, other) == edits(other, one)


def test_the_rate_of_wrong_characters_is_of_the_whole_part():
    predictions = [{"text": "a  bc", "target": "a bc"}, {"text": "", "target": "abcdef"}, {"text": "x"}]
    assert METRICS["character_error"].of(predictions) == pytest.approx(6 / 10)
    # More may be wrong than there is.
    assert METRICS["character_error"].of([{"text": "abc", "target": "x"}]) == 3


@pytest.mark.parametrize(("name", "oracle"), [("character_error", CharErrorRate), ("word_error", WordErrorRate)])
def test_rates_of_errors_are_those_of_torchmetrics(name, oracle):
    predictions = [*corpus(40, 3), {"text": "", "target": "a dog"}, {"text": "a a dog", "target": "dog a"}]
    texts, (targets,) = sides(predictions)
    assert METRICS[name].of(predictions) == pytest.approx(float(oracle()(texts, targets)), abs=1e-6)


def test_signatures_say_how_numbers_were_computed():
    version = f"version:{sacrebleu.__version__}"
    assert signatures()["bleu"] == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|{version}"
    assert signatures()["bleu_lowercase"] == f"nrefs:1|case:lc|eff:no|tok:13a|smooth:exp|{version}"
    chrf = sacrebleu.metrics.CHRF()
    chrf.corpus_score(["a"], [["a"]])
    assert signatures()["chrf"] == str(chrf.get_signature())


def test_the_task_of_sequences_has_them():
    assert corpus_metrics(PerSetSequence()) == TEXT_SCORES
