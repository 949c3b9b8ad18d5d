import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.examples import PARTS, Encoding, Targets, check_part, split
from regard.errors import InputError

ENCODING = Encoding(
    labels=("a", "ü"),
    vocabularies={"word": ("<unknown>", "the"), "character": ("<unknown>", "t", "\u2028")},
    width=3,
    coords=2,
    extent=(8, 8),
    edge_width=1,
    statistics={"mean": (0.1,), "deviation": (1 / 3,)},
)


def test_an_encoding_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    ENCODING.save(tmp_path / "new")
    assert Encoding.load(tmp_path / "new") == ENCODING
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["encoding.json", "labels.json", "vocabulary.json"]


@pytest.mark.parametrize("name", ["labels.json", "vocabulary.json", "encoding.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    ENCODING.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        Encoding.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("labels.json", '"a"', '"b"'),
        ("labels.json", '"a",', ""),
        ("vocabulary.json", '"the"', '"a"'),
        ("encoding.json", '"width": 3', '"width": 4'),
        ("encoding.json", '"statistics"', '"other"'),
        ("encoding.json", '"checksum"', '"sum"'),
    ],
)
def test_an_altered_file_is_refused(tmp_path: Path, name: str, old: str, new: str) -> None:
    ENCODING.save(tmp_path)
    text = (tmp_path / name).read_text("utf-8")
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new), "utf-8")
    with pytest.raises(InputError, match="altered"):
        Encoding.load(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}"])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    ENCODING.save(tmp_path)
    (tmp_path / "encoding.json").write_text(text)
    with pytest.raises(InputError, match="altered"):
        Encoding.load(tmp_path)


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    ENCODING.save(tmp_path)
    (tmp_path / "labels.json").write_bytes(b'["a", "\xff')
    with pytest.raises(InputError, match=r"labels\.json is not JSON"):
        Encoding.load(tmp_path)


def test_labels_are_plain_json(tmp_path: Path) -> None:
    ENCODING.save(tmp_path)
    assert json.loads((tmp_path / "labels.json").read_text("utf-8")) == ["a", "ü"]


def test_numbers_are_brought_to_mean_0_and_deviation_1() -> None:
    targets = Targets.fit(["1", "2", "6"], numbers=True)
    values = np.array([targets(text, "here") for text in ("1", "2", "6")])
    assert values.mean() == pytest.approx(0, abs=1e-6)
    assert values.std() == pytest.approx(1)
    again = Targets.of(Encoding(statistics=targets.statistics))
    assert again == targets
    with pytest.raises(InputError, match="here holds 'x', expected a finite number"):
        targets("x", "here")


def test_equal_numbers_have_no_deviation_to_divide_by() -> None:
    assert float(Targets.fit(["2", "2"], numbers=True)("2", "here")) == 0


def test_classes_that_are_numbers_are_in_their_order() -> None:
    assert Targets.fit(["10", "9", "b", "a"]).labels == ("9", "10", "a", "b")


@given(
    st.lists(st.tuples(st.text(), st.sampled_from("abc")), unique_by=lambda pair: pair[0], max_size=60), st.randoms()
)
def test_a_division_is_by_name_within_each_label(pairs: list[tuple[str, str]], random) -> None:
    def divide(pairs: list[tuple[str, str]]) -> dict[str, str]:
        names, labels = [name for name, _ in pairs], [label for _, label in pairs]
        return dict(zip(names, split(names, labels), strict=True))

    parts = divide(pairs)
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    assert divide(shuffled) == parts
    for label in "abc":
        found = [parts[name] for name, its in pairs if its == label]
        if len(found) >= 3:
            assert set(found) == set(PARTS)
            assert abs(found.count("test") - len(found) / 10) <= 1
        else:
            assert set(found) <= {"train"}


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'validation'"):
        check_part("validations")


def test_readers_are_imported_without_torch_or_their_libraries() -> None:
    program = (
        "import sys, regard.data.text, regard.data.speech, regard.data.image, regard.data.graph, regard.data.registry\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'soundfile', 'soxr', 'kaldi_native_fbank', 'PIL', 'torchdata'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
