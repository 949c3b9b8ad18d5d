"""How near written texts come to their targets: BLEU in three forms, chrF, and the rates of wrong characters and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np

from regard.data.words import tokenize
from regard.tasks.corpus import CorpusMetric

__all__ = ["TEXT_SCORES", "edits", "signatures"]

Form = Literal["raw", "lowercase", "words"]
_ORDERS = 6
_BETA = 2
_Pair = tuple[str, str]


def _pair(prediction: Mapping[str, Any]) -> _Pair | None:
    """The written text and its target; None without a target, and an empty text where nothing was written."""
    if prediction.get("target") is None:
        return None
    return prediction.get("text", ""), prediction["target"]


@lru_cache(maxsize=3)
def _bleu(form: Form) -> Any:
    # Here, so that options load without it; it takes longer than help has.
    from sacrebleu.metrics import BLEU

    # Lower-casing is said of the words' form too, for its signature; it is done before cutting.
    return BLEU(lowercase=form != "raw", tokenize="none" if form == "words" else "13a", effective_order=True)


def _bleu_counts(prediction: Mapping[str, Any], form: Form) -> tuple[int, ...] | None:
    """Lengths of both, then the matching and all n-grams of each order."""
    pair = _pair(prediction)
    if pair is None or not _RAW.installed:
        return None
    text, target = (" ".join(tokenize(each.lower())) if form == "words" else each for each in pair)
    score = _bleu(form).sentence_score(text, [target])
    return score.sys_len, score.ref_len, *score.counts, *score.totals


def _bleu_of(records: Sequence[tuple[int, ...]]) -> float:
    sums = [int(each) for each in np.asarray(records, np.int64).sum(0)]
    score = _bleu("raw").compute_bleu(
        correct=sums[2:6], total=sums[6:10], sys_len=sums[0], ref_len=sums[1], smooth_method="exp"
    )
    return float(score.score)


def _chrf_counts(prediction: Mapping[str, Any]) -> tuple[int, ...] | None:
    """For n = 1, ..., 6 the n-grams of characters of the text and of its target, and those in both; without white space."""
    pair = _pair(prediction)
    if pair is None:
        return None
    text, target = ("".join(each.split()) for each in pair)
    counts: list[int] = []
    for n in range(1, _ORDERS + 1):
        written, wanted = (Counter(each[i : i + n] for i in range(len(each) - n + 1)) for each in (text, target))
        # As sacreBLEU does: nothing is counted of an order that the target lacks.
        counts += [written.total() if wanted else 0, wanted.total(), (written & wanted).total()]
    return tuple(counts)


def _chrf_of(records: Sequence[tuple[int, ...]]) -> float:
    """100 (1 + b^2) P R / (b^2 P + R), b = 2, P and R the means of precision and recall over the orders that both sides have."""
    written, wanted, both = np.asarray(records, np.float64).sum(0).reshape(_ORDERS, 3).T
    there = (written > 0) & (wanted > 0)
    if not both.any():
        return 0.0
    precision, recall = (both[there] / written[there]).mean(), (both[there] / wanted[there]).mean()
    return float(100 * (1 + _BETA**2) * precision * recall / (_BETA**2 * precision + recall))


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """The least number of entries to insert, take out or replace that makes one sequence the other (Levenshtein 1966).

    Entries are the characters of texts, or words.

    >>> edits("kitten", "sitting"), edits("", "abc"), edits("same", "same"), edits(["a", "dog"], ["a", "small", "dog"])
    (3, 3, 0, 1)
    """
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(entry, len(numbers)) for entry in other], np.int64)
    places = np.arange(len(other) + 1)
    row = places.copy()
    for number, entry in enumerate(one, 1):
        # Without insertions, then with any number of them: row[j] = min over k <= j of best[k] + j - k.
        best = np.empty_like(row)
        best[0] = number
        best[1:] = np.minimum(row[1:] + 1, row[:-1] + (codes != numbers.get(entry, -1)))
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def _errors(prediction: Mapping[str, Any], words: bool) -> tuple[int, int] | None:
    """The edits from the target to the text, and the target's characters or words; white space counts as one blank."""
    pair = _pair(prediction)
    if pair is None:
        return None
    text, target = (each.split() if words else " ".join(each.split()) for each in pair)
    return edits(target, text), len(target)


def _error_rate(records: Sequence[tuple[int, int]]) -> float:
    wrong, length = np.asarray(records, np.int64).sum(0)
    return float(wrong / length) if length else float("nan")


# Where sacreBLEU is not installed the other metrics are computed all the same, and `signatures` says so.
_RAW = CorpusMetric("bleu", partial(_bleu_counts, form="raw"), _bleu_of, package="sacrebleu")
TEXT_SCORES = (
    _RAW,
    CorpusMetric("bleu_lowercase", partial(_bleu_counts, form="lowercase"), _bleu_of, package="sacrebleu"),
    CorpusMetric("bleu_words", partial(_bleu_counts, form="words"), _bleu_of, package="sacrebleu"),
    CorpusMetric("chrf", _chrf_counts, _chrf_of),
    CorpusMetric("character_error", partial(_errors, words=False), _error_rate, higher_is_better=False),
    CorpusMetric("word_error", partial(_errors, words=True), _error_rate, higher_is_better=False),
)
"""Of written texts: BLEU (0 to 100) of texts as they are, of lower-cased ones, and of lower-cased ones cut into words by
`regard.data.words`, which is near to numbers of others on tokens; chrF (0 to 100); the rates of wrong characters
and of wrong words, which white space divides."""


def signatures() -> dict[str, str]:
    """What says how each of sacreBLEU's numbers was computed, by the metric's name.

    >>> signatures()["bleu"].rpartition("|")[0]
    'nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp'
    """
    if not _RAW.installed:
        return {"bleu": "not computed: sacrebleu is not installed"}
    from sacrebleu import __version__
    from sacrebleu.metrics import BLEU

    forms = {"bleu": (False, "13a"), "bleu_lowercase": (True, "13a"), "bleu_words": (True, "none")}
    found = {}
    for name, (lowercase, cut) in forms.items():
        metric = BLEU(lowercase=lowercase, tokenize=cut)
        # It knows how many references there are once it has seen some.
        metric.corpus_score(["a"], [["a"]])
        found[name] = str(metric.get_signature())
    return found | {"chrf": f"nrefs:1|case:mixed|eff:yes|nc:{_ORDERS}|nw:0|space:no|version:{__version__}"}
