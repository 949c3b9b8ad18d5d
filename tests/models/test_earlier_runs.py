"""Runs that earlier versions trained still open, and predict what they predicted then."""

import json
import shutil
from pathlib import Path

import pytest

from regard.models.graph import GraphNetwork
from regard.models.pieces import Front, Positions
from regard.train.folder import read_config
from regard.train.runs import Run

EARLIER = Path(__file__).parent / "earlier"
# Written when a model's options were one flat list and weights had other names: characters and runs of ids before two mixers;
# joined vectors, a class vector and FLOATER; a Conformer whose blocks are joined; a graph attention network.
INPUTS = {
    "tagging": "I saw a cat",
    "sentiment": "a very good film so bad",
    "conformer": str(EARLIER / "picture.png"),
    "citation": str(EARLIER / "graph"),
}


def test_options_of_then_are_read_into_the_pieces_of_now() -> None:
    model = read_config(EARLIER / "tagging").model
    assert model.positions == Positions("learned", 16)
    assert model.front == Front(characters=4, ngrams=2, buckets=8, word_dropout=0.25, dropout=0.2)
    assert (model.mixer, model.width, model.attention) == ("lstm+attention", 8, "Attention(bias=Shaw(2))")
    model = read_config(EARLIER / "sentiment").model
    assert model.positions.type == "floater"
    assert model.front == Front(deviation=0.02, word_dropout=0.3, step=2, class_vector=True, dropout=0.4)
    assert isinstance(read_config(EARLIER / "citation").model, GraphNetwork)


@pytest.mark.parametrize("name", INPUTS)
def test_an_earlier_run_predicts_what_it_predicted(name: str, tmp_path: Path) -> None:
    shutil.copytree(EARLIER / name, tmp_path / name)
    (expected,) = json.loads((EARLIER / name / "predictions.json").read_text())
    run, value = Run.open(tmp_path / name), [INPUTS[name]]
    (found,) = run.predict_texts(value) if name in ("tagging", "sentiment") else run.predict(value)
    for key in ("vectors", "label"):
        assert (key in found) == (key in expected)
    rows = zip(found.get("vectors", [found]), expected.get("vectors", [expected]), strict=True)
    for row, before in rows:
        assert row["label"] == before["label"]
        assert row["probabilities"] == pytest.approx(before["probabilities"], rel=1e-5)
