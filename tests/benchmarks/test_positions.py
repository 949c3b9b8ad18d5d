"""The comparison of positions: what its letters and labels are, and what each method does past the trained length."""

import io
import tarfile
from pathlib import Path

import pytest
import torch

from benchmarks import position_figures, positions
from regard.errors import InputError

TEXT = "(1) The cat's tail! "


@pytest.fixture
def novels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two authors with three novels each; a novel of one letter, over and over, and one that has words."""
    (tmp_path / "novels").mkdir()
    with tarfile.open(tmp_path / "novels" / "novels.tar.xz", "w:xz") as archive:
        for name, text in {"B_c": "c ", "A_b": "bb ", "A_a": TEXT, "B_a": TEXT, "A_c": "c ", "B_b": "bb "}.items():
            given = (text * 60_000)[: positions.SKIP] + text * 400
            member = tarfile.TarInfo(f"{name}.txt")
            member.size = len(given)
            archive.addfile(member, io.BytesIO(given.encode()))
    monkeypatch.setenv("REGARD_DATA", str(tmp_path))


@pytest.mark.usefixtures("novels")
def test_letters_are_labelled_where_words_end_and_novels_are_split_by_title() -> None:
    ids, ends = positions.letters("train")
    word = "thecatstail"
    assert "".join(positions.ALPHABET[n - 1] for n in ids[: 2 * len(word)]) == word * 2
    assert ends[: len(word)].tolist() == [0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1]
    assert len(ids) == 2 * 400 * len(word)
    assert set(positions.letters("validation")[0].tolist()) == {2}
    assert set(positions.letters("test")[0].tolist()) == {3}


def test_the_score_is_the_harmonic_mean_of_precision_and_recall() -> None:
    found, true = torch.tensor([True, True, True, False]), torch.tensor([True, False, False, True])
    assert positions.score(found, true) == 0.4  # of 1/3 and 1/2


def test_a_linear_model_reads_the_letters_around_inside_of_the_set() -> None:
    features = positions._around(torch.tensor([[1, 2], [3, 4]]), reach=1)
    assert features.shape == (4, 3 * 27 + 2 * 27**2 + 27**3)
    first, last = features[0].indices, features[1].indices
    assert first[:3].tolist() == [0, 27 + 1, 54 + 2]  # nothing before it, a, b
    assert last[:3].tolist() == [1, 27 + 2, 54]  # a, b, and nothing of the next set


@pytest.mark.parametrize("name", positions.METHODS)
def test_every_method_has_a_word_on_sets_four_times_as_long(name: str) -> None:
    torch.manual_seed(0)
    model = positions.Speller(name)
    given = torch.randint(1, 27, (256,)), torch.ones(256)
    found = positions.held(model, given)
    assert [isinstance(found[str(n)], float) for n in positions.LENGTHS] == [True, name != "learned", name != "learned"]
    if name == "learned":
        with pytest.raises(InputError, match="learned positions end there"):
            model(torch.ones(1, 64, dtype=torch.int64))
        longer = positions.held(positions.lengthened(model), given)
        assert longer["32"] == found["32"]
        assert isinstance(longer["128"], float)


@pytest.mark.parametrize("name", positions.METHODS)
def test_maps_are_weights_of_each_row_and_what_the_method_says(name: str) -> None:
    torch.manual_seed(0)
    model = positions.Speller(name)
    ids = torch.randint(1, 27, (3, 32))
    found = position_figures.maps(name, model, ids)
    assert found["weights"].sum(1).tolist() == pytest.approx([1.0] * 32, abs=1e-5)
    says = torch.from_numpy(found["says"])
    if name == "none":
        assert not says.any()
    elif name in ("sinusoidal", "learned", "FLOATER"):
        torch.testing.assert_close(says.diagonal(), torch.ones(32))
    elif name.startswith("ALiBi"):
        assert (says == says.T).all()
        assert says[0, 8] == pytest.approx(8 * float(says[0, 1]))
    else:
        assert says[0, 5] != pytest.approx(float(says[5, 0]))


def test_the_verdict_names_who_keeps_within_two_points() -> None:
    def row(model: str, mean: float, double: str, fourfold: str, learned: str) -> dict[str, object]:
        return {"model": model, "seeds": [0], "mean": mean, "at 64": double, "at 128": fourfold, "data-driven": learned}

    rows = [
        row("a", 0.8, "0.7900 ± 0.0100", "0.7000 ± 0.0100", "no"),
        row("b", 0.8, "0.7850 ± 0.0100", "0.7700 ± 0.0100", "yes"),
        row("c", 0.8, "refuses", "refuses", "yes"),
        row("none", 0.3, "0.3000 ± 0.0100", "0.3000 ± 0.0100", "no"),
    ]
    found = positions.verdict(rows)
    assert found == {"within 2 points at 64": "b (learned from data), a", "within 2 points at 128": "none"}
