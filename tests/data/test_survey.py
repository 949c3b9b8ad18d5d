"""What readers say of the data: the counts are those of its parts, and a look picks the reader."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_readers import MADE

from regard.data.encoding import Encoding
from regard.data.examples import PARTS, VectorSet
from regard.data.reader import Reader
from regard.data.readers import reader_of
from regard.data.survey import PartSurvey, Skips, Survey, of_labels, of_numbers, part_surveys
from regard.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# These have no labels, or make them, and their files are those of labeled data as well.
OTHERS = ("MaskedTrees", "ParallelText", "Passages", "PatchLabels", "Pixels", "RunningText", "Transcripts")
LABELED = [name for name in MADE if name not in OTHERS]


@pytest.mark.parametrize("name", LABELED)
def test_a_survey_counts_what_the_parts_hold(tmp_path: Path, name: str) -> None:
    reader: Reader = MADE[name](tmp_path)
    encoding, survey = reader.fit(), reader.survey()
    assert list(survey.as_json()["parts"]) == list(PARTS)
    for part in PARTS:
        held: Any = [t.values if isinstance(t, VectorSet) else t for t in reader.part(part, encoding).targets]
        targets = np.concatenate([np.atleast_1d(np.asarray(t)) for t in held])
        counted = survey.parts[part]
        if counted.labels is None:
            told = targets * encoding.targets.deviation + encoding.targets.mean
            assert counted.numbers == pytest.approx((told.min(), told.mean(), told.max()), abs=1e-5)
            labels = targets
        else:
            known = encoding.targets.labels if isinstance(encoding.targets, Encoding) else encoding.labels
            labels = [known[target] for target in targets[targets >= 0]]
            assert counted.labels == {label: labels.count(label) for label in set(labels)}
        assert counted.examples == len(labels)
    assert survey.source in "\n".join(survey.brief())
    assert survey.format in survey.full()
    assert survey.examples


@pytest.mark.parametrize("name", [name for name in LABELED if name != "Digits"])
def test_a_look_picks_the_reader_that_wrote_the_data(tmp_path: Path, name: str) -> None:
    reader: Any = MADE[name](tmp_path)
    assert reader_of(Path(reader.path)) is type(reader)


def test_a_place_that_no_reader_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        reader_of(tmp_path / "nowhere")
    (tmp_path / "a.exe").write_bytes(b"\0")
    with pytest.raises(InputError, match=r"holds files \(1 ending in .exe\), which no reader reads, expected texts"):
        reader_of(tmp_path)


def test_labels_of_other_parts_are_told_before_training() -> None:
    parts = {"train": "ab", "validation": "ad", "test": "cca"}
    survey = Survey("x", "CSV", {name: of_labels(len(labels), "texts", labels) for name, labels in parts.items()})
    assert survey.unseen == {"test": {"c": 2}, "validation": {"d": 1}}
    assert sum("have no training example" in line or "has no training example" in line for line in survey.brief()) == 2


def test_what_is_skipped_is_counted_and_ten_are_named() -> None:
    one, other = Skips(), Skips()
    for n in range(8):
        one.add("hidden files", f"a{n}")
        other.add("hidden files", f"b{n}")
    other.add("empty rows", "rows 3 to 9", 7)
    one.update(other)
    assert len(one) == 23
    assert one.lines()[0].startswith("16 hidden files: a0, ")
    assert one.lines()[0].endswith("b1 and 6 more")
    assert one.lines()[1] == "7 empty rows: rows 3 to 9 and 6 more"


def test_numbers_are_told_by_their_range() -> None:
    assert of_numbers(3, "sounds", [1, np.nan, 4]) == PartSurvey(3, "sounds", numbers=(1, 2.5, 4))
    assert (
        Survey("x", "CSV", {"test": of_numbers(1, "sounds", [np.nan])}).as_json()["parts"]["test"]["numbers"]
        == [None] * 3
    )


def test_a_part_that_is_not_there_is_told_and_a_training_part_is_needed() -> None:
    def labels(part: str) -> list[tuple[str, str]]:
        if part == lacking:
            raise InputError(f"x has no {part} part")
        return [("a", "x, line 1,")]

    lacking = "test"
    parts, notes = part_surveys(labels, "texts")
    assert (list(parts), notes) == (["train", "validation"], ["there is no test part: x has no test part"])
    with pytest.raises(InputError, match="x, line 1, "):
        part_surveys(labels, "texts", numbers=True)
    lacking = "train"
    with pytest.raises(InputError, match="no train part"):
        part_surveys(labels, "texts")
