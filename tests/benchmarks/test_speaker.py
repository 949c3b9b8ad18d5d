"""The ladder of speaker recognition: what is compared with what, and what is drawn of it."""

import csv
import json
import os

import numpy as np
import pytest

from benchmarks import speaker, speaker_charts, tables
from regard.data.encoding import Encoding, Labels
from regard.data.registry import locate
from regard.data.speech import STRANGERS
from regard.train.kinds import build

RUNGS = ("simple", "medium", "strong", "boss")
ENCODING = Encoding(Labels(tuple(map(str, range(80)))), width=40)


def size(variant: str) -> int:
    experiment = speaker.VARIANTS[variant]()
    model = build(experiment.model, ENCODING)
    task = build(experiment.task, model.width, ENCODING)
    return sum(each.numel() for part in (model, task) for each in part.parameters())


@pytest.mark.parametrize("rung", RUNGS)
def test_a_rung_has_at_most_six_hundred_thousand_parameters(rung: str) -> None:
    assert size(rung) <= 600_000


def test_the_first_rung_is_the_sample_of_the_course() -> None:
    width, hidden, speakers = 80, 256, 80
    norms, biases = 4 * width, 4 * width + hidden + width
    layer = 4 * width**2 + 2 * width * hidden + norms + biases
    assert size("simple") == 41 * width + layer + (width + 1) * width + (width + 1) * speakers


def test_all_are_trained_alike() -> None:
    first = speaker.VARIANTS["simple"]()
    for name in (*RUNGS, "strong, self-attention pooling", "strong, AM-softmax"):
        experiment = speaker.VARIANTS[name]()
        assert (experiment.data, experiment.optimizer, experiment.training) == (
            first.data,
            first.optimizer,
            first.training,
        )
    # 14 utterances of 80 voices, 32 segments of 128 frames in a step.
    assert 10_000 <= first.training.epochs * (80 * 14 // 32) < 10_050
    assert first.training.batch_vectors == 32 * 128
    assert first.data.train_crop == 1.28


def test_an_ablation_changes_one_thing() -> None:
    strong, boss = (speaker.VARIANTS[name]() for name in ("strong", "boss"))
    pooled, margin = (speaker.VARIANTS[f"strong, {name}"]() for name in ("self-attention pooling", "AM-softmax"))
    assert {each.model == strong.model for each in (boss, pooled, margin)} == {True}
    assert (pooled.task.pool, pooled.task.loss) == (boss.task.pool, strong.task.loss)
    assert (margin.task.pool, margin.task.loss) == (strong.task.pool, boss.task.loss)
    assert margin.task.margin_warm_up == boss.task.margin_warm_up > 0


def test_strangers_are_strangers_to_those_who_choose() -> None:
    assert not set(STRANGERS) & set(speaker.DEVELOPMENT)
    assert len({*STRANGERS, *speaker.DEVELOPMENT}) == 32


@pytest.mark.skipif(not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data")
def test_half_of_those_who_choose_are_women() -> None:
    with (locate("speechocean762-adults") / "speakers.csv").open() as file:
        gender = {row["speaker"]: row["gender"] for row in csv.DictReader(file)}
    assert sorted(gender[each] for each in speaker.DEVELOPMENT) == 8 * ["f"] + 8 * ["m"]


def test_options_are_changed_in_their_section() -> None:
    changed = speaker._with(speaker.VARIANTS["strong"], model_dropout=0.3, task_pool="attention")
    assert (changed.model.dropout, changed.task.pool) == (0.3, "attention")
    assert changed.data == speaker.VARIANTS["strong"]().data


def test_every_curve_is_drawn(tmp_path, monkeypatch) -> None:
    rates = {"miss": [0.5, 0.1, 0.0], "false acceptance": [0.0, 0.1, 0.6]}
    edges = np.linspace(-1, 1, 5).tolist()
    one = {"weight on voice": 0.9, "voice": 0.8, "seconds per vector": 0.04}
    one |= {"weights": [0.2, 0.8], "voiced": [0, 1], "loudness": [0.1, 0.5]}
    shown = {
        "det": {name: {"1 s": rates, "whole": rates} for name in RUNGS},
        "margins": {name: {"counts": [0, 1, 2, 1], "edges": edges, "median": 0.3} for name in ("strong", "boss")},
        "pooling": {"boss": one},
    }
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "speaker.json").write_text(json.dumps(shown))
    monkeypatch.setattr(speaker_charts, "RESULTS", tmp_path)
    curves = speaker_charts.trade_offs()
    assert [axis.get_title() for axis in curves.axes] == ["1 s", "whole"]
    assert all(len(axis.lines) == len(RUNGS) + 1 for axis in curves.axes), "a line for each rung and the diagonal"
    assert len(speaker_charts.margins().axes[0].patches) == 2
    assert "90 %" in speaker_charts.pooling().axes[0].get_title()


def test_errors_of_single_seeds_are_kept_and_not_shown() -> None:
    row = {"model": "boss", "errors": {"whole": [1.0, 2.0]}, "mean": 0.9}
    assert "errors" not in tables.table({"rows": [row]})
