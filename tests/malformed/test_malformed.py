"""Whatever is wrong with a file, a command ends with 0 or 2, says why in one sentence, soon, and leaves nothing half-written."""

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from regard.cli import main
from tests.malformed.damage import DAMAGES, damage
from tests.malformed.made import DATA, PLAIN, RECIPES

SECONDS = 20  # of the processor: other tests run beside these
RUN_FILES = ("config.yaml", "labels.json", "vocabulary.json", "encoding.json", "model.safetensors")

TRAINED: dict[str, Path] = {}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
    TRAINED.clear()


@pytest.fixture
def trained(tmp_path_factory: pytest.TempPathFactory):
    """A folder with a run named `run`, and the data that it was trained on, by the kind of the data; trained once."""

    def find(kind: str) -> Path:
        if kind not in TRAINED:
            root = tmp_path_factory.mktemp(kind)
            assert main(training(kind, DATA[kind](root), root / "run")) == 0
            TRAINED[kind] = root
        return TRAINED[kind]

    return find


def drawn(things: Iterable[str], each: int) -> list[tuple[str, str]]:
    """Pairs of a thing and a kind of damage: so many for each thing, the same in every run, and every kind for some thing."""
    kinds = list(DAMAGES)
    return [(thing, kinds[(7 * n + 5 * k) % len(kinds)]) for n, thing in enumerate(things) for k in range(each)]


def training(kind: str, data: Path, folder: Path) -> list[str]:
    options = ["--data.type", "LogMelFolder"] if kind == "tensors" else []
    if RECIPES[kind] == "speaker-simple":
        options += ["--data.train_crop", "0", "--data.crop", "0"]
    return ["train", RECIPES[kind], *options, "--data.path", str(data), "--folder", str(folder), *PLAIN]


def ends_well(capsys, arguments: list[str], *places: Path) -> int:
    """Runs a command and checks how it ends; the places must be as they were before."""
    before = [tree(place) for place in places]
    capsys.readouterr()
    began = time.process_time()
    status = main(arguments)
    seconds = time.process_time() - began
    out, err = capsys.readouterr()
    assert status in (0, 2), f"{arguments} ended with {status}"
    assert seconds < SECONDS, f"{arguments} took {seconds:.0f} s"
    if status == 2:
        last = err.splitlines()[-1]
        assert last.startswith("regard: "), err
        assert 20 < len(last) < 1000, last
        assert "Traceback" not in err
        assert "Error" not in last, f"an error of another library is not a sentence: {last}"
    assert [tree(place) for place in places] == before
    if arguments[0] == "predict":
        for line in out.splitlines():
            json.loads(line)
    return status


def tree(place: Path) -> dict[str, int]:
    """The names and sizes of all that lies at a place."""
    return {str(path): path.lstat().st_size for path in sorted(place.rglob("*"))}


def first_file(place: Path, names: tuple[str, ...] = ()) -> Path:
    """The file itself, or the first of a folder, or of those that are named so."""
    if place.is_file():
        return place
    return sorted(path for path in place.rglob("*") if path.is_file() and (not names or path.name in names))[0]


@pytest.mark.parametrize(("kind", "how"), drawn(DATA, 16))
def test_a_look_at_damaged_data(kind: str, how: str, tmp_path: Path, capsys) -> None:
    data = DATA[kind](tmp_path)
    damage(first_file(data), how)
    ends_well(capsys, ["data", "look", str(data)], tmp_path)


@pytest.mark.parametrize(("kind", "how"), drawn(["csv", "treebank", "pictures", "sounds", "tensors", "graph"], 8))
def test_training_on_damaged_data(kind: str, how: str, tmp_path: Path, capsys) -> None:
    data = DATA[kind](tmp_path)
    for path in [data] if data.is_file() else [path for path in data.rglob("*") if path.is_file()][:3]:
        damage(path, how)
    run = tmp_path / "run"
    status = ends_well(capsys, training(kind, data, run), data)
    assert (run / "model.safetensors").exists() == (status == 0)


INPUTS = {
    "csv": "own.csv",
    "json_lines": "own.jsonl",
    "text_folder": "own",
    "treebank": "own.conllu",
    "graph": "own",
    "pictures": "own/dark/0.png",
    "sounds": "own/low/0.wav",
    "tensors": "own",
}


@pytest.mark.parametrize(("kind", "how"), drawn(INPUTS, 16))
def test_predicting_for_damaged_inputs(kind: str, how: str, trained, tmp_path: Path, capsys) -> None:
    DATA[kind](tmp_path)
    given = tmp_path / INPUTS[kind]
    for path in [given] if given.is_file() else [path for path in given.rglob("*") if path.is_file()][:1]:
        damage(path, how)
    ends_well(capsys, ["predict", str(trained(kind) / "run"), str(given)], tmp_path)


@pytest.mark.parametrize(
    ("suffix", "how"),
    [(s, how) for n, s in enumerate(("flac", "ogg", "mp3", "jpg")) for how in list(DAMAGES)[n % 2 :: 2]],
)
def test_predicting_for_damaged_files_of_other_forms(suffix: str, how: str, trained, tmp_path: Path, capsys) -> None:
    kind = "pictures" if suffix == "jpg" else "sounds"
    given = sorted(DATA[kind](tmp_path).rglob(f"*.{suffix}"))[0]
    damage(given, how)
    ends_well(capsys, ["predict", str(trained(kind) / "run"), str(given)], tmp_path)


@pytest.mark.parametrize(("name", "how"), drawn(RUN_FILES, 14))
def test_a_damaged_run_folder(name: str, how: str, trained, tmp_path: Path, capsys) -> None:
    root = trained("csv")
    run = Path(shutil.copytree(root / "run", tmp_path / "run"))
    damage(run / name, how)
    ends_well(capsys, ["predict", str(run), "--text", "a good film"], run)


@pytest.mark.parametrize("how", list(DAMAGES)[::3])
@pytest.mark.parametrize("name", ["card.md", "data.json", "metrics.csv", "evaluation.json", "predictions-test.jsonl"])
def test_a_comparison_of_damaged_runs(name: str, how: str, trained, tmp_path: Path, capsys) -> None:
    root = trained("csv")
    if not (root / "run" / "evaluation.json").exists():
        assert main(["evaluate", str(root / "run")]) == 0
    runs = [Path(shutil.copytree(root / "run", tmp_path / each)) for each in "ab"]
    damage(runs[1] / name, how)
    ends_well(capsys, ["compare", *map(str, runs)], tmp_path)


@pytest.mark.parametrize("how", [how for how in DAMAGES if how not in ("a folder", "a pipe", "a loop", "gone")])
@pytest.mark.parametrize("kind", ["csv", "treebank", "pictures", "sounds"])
def test_damaged_standard_input(kind: str, how: str, trained, tmp_path: Path, capsys, monkeypatch) -> None:
    DATA[kind](tmp_path)
    given = tmp_path / INPUTS[kind]
    damage(given, how)
    with given.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        ends_well(capsys, ["predict", str(trained(kind) / "run")], tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize("kind", DATA)
def test_files_that_may_not_be_read(kind: str, tmp_path: Path, capsys) -> None:
    data = DATA[kind](tmp_path)
    first_file(data).chmod(0)
    ends_well(capsys, ["data", "look", str(data)], tmp_path)
