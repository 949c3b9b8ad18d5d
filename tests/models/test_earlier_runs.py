"""Runs that earlier versions trained still open, and predict what they predicted then."""

import json
import shutil
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", INPUTS)
def test_an_earlier_run_predicts_what_it_predicted(name: str, tmp_path: Path) -> None:
    shutil.copytree(EARLIER / name, tmp_path / name)
    (expected,) = json.loads((EARLIER / name / "predictions.json").read_text())
    (found,) = Run.open(tmp_path / name).predict([INPUTS[name]])
    for key in ("vectors", "label"):
        assert (key in found) == (key in expected)
    rows = zip(found.get("vectors", [found]), expected.get("vectors", [expected]), strict=True)
    for row, before in rows:
        assert row["label"] == before["label"]
        assert row["probabilities"] == pytest.approx(before["probabilities"], rel=1e-5)
