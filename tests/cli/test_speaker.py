"""From a folder of recordings by person to a voice that is recognized, and all that can go wrong on the way."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from .test_whole_way import done, refused

soundfile = pytest.importorskip("soundfile")
PEOPLE = {"Ada": 220, "Bo": 420, "Cy": 900, "Di": 1700, "stranger": 3100}


def record(path, hertz, seed, seconds=0.4):
    generator = np.random.default_rng(seed)
    time = np.arange(int(16000 * seconds)) / 16000
    wave = sum(np.sin(2 * np.pi * hertz * k * time + generator.uniform(0, 6)) / k for k in (1, 2, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * wave + generator.normal(0, 0.01, len(time)), 16000)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on four people, and new recordings of them and of somebody else."""
    from regard.cli import main

    folder = tmp_path_factory.mktemp("voices")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for person, hertz in PEOPLE.items():
            for n in range(24):
                place = folder / "train" / person if person != "stranger" else folder / "new" / person
                record(place / f"{n}.wav", hertz, n)
                if n < 4:
                    record(folder / "train" / "Ed" / f"{n}.wav", 150, n)
                    record(folder / "train" / "Flo" / f"{n}.wav", 2500, n)
            for n in range(3):
                record(folder / "new" / person / f"{n}.wav", hertz, 100 + n)
        options = ["--data.path", str(folder / "train"), "--data.train_crop", "0.2", "--training.epochs", "6"]
        options += [
            "--data.unseen",
            "[Ed, Flo]",
            "--model.width",
            "16",
            "--model.heads",
            "2",
            "--optimizer.warm_up",
            "2",
        ]
        options += ["--optimizer.learning_rate", "0.01", "--task.hidden", "12", "--training.progress", "false"]
        assert main(["train", "speaker", "--folder", str(folder / "run"), *options]) == 0
    return folder


def test_from_recordings_to_a_name(trained, capsys):
    run, new = ["--run", str(trained / "run")], trained / "new"
    capsys.readouterr()
    for person in ("Ada", "Bo", "Cy", "Di"):
        assert "2 recordings enrolled" in done(
            capsys, "speaker", "enroll", person, str(new / person / "0.wav"), str(new / person / "1.wav"), *run
        )
    listed = done(capsys, "speaker", "list", *run)
    assert all(person in listed for person in ("Ada", "Bo", "Cy", "Di"))
    lines = done(
        capsys, "speaker", "identify", *(str(new / person / "2.wav") for person in ("Ada", "Bo", "Cy", "Di")), *run
    )
    found = [json.loads(line) for line in lines.splitlines()]
    assert [max(each["nearest"], key=each["nearest"].get) for each in found] == ["Ada", "Bo", "Cy", "Di"]
    for each in found:
        if abs(each["score"] - each["threshold"]) > 1e-3:
            accepted = each["score"] > each["threshold"]
            assert each["name"] == (max(each["nearest"], key=each["nearest"].get) if accepted else None)
        assert 0 <= each["probability"] <= 1
    told = json.loads(done(capsys, "speaker", "verify", "Ada", str(new / "Di" / "2.wav"), *run))
    assert told["accepted"] == (told["score"] >= told["threshold"])
    assert not told["accepted"], "a voice three octaves higher"
    exported = json.loads(done(capsys, "speaker", "export", "Ada", *run))
    assert np.shape(exported["vectors"]) == (2, 12)
    assert "2 recordings removed" in done(capsys, "speaker", "remove", "Ada", *run)
    assert "Ada" not in done(capsys, "speaker", "list", *run)
    assert "equal error rate" in done(capsys, "speaker", "evaluate", *run)
    unseen = done(capsys, "speaker", "evaluate", "--part", "unseen", "--seconds", "0.3", *run)
    assert "12 pairs of one speaker, 16 of two" in unseen
    assert json.loads((trained / "run" / "labels.json").read_text()) == ["Ada", "Bo", "Cy", "Di"]
    strict = done(capsys, "speaker", "calibrate", "--false_acceptance", "0.001", *run)
    assert "threshold" in strict


def scores(capsys, trained, person):
    """What identify says of a new recording, which is enrolled under no name, and verify of each name."""
    sound, run = str(trained / "new" / person / "2.wav"), ["--run", str(trained / "run")]
    mine = ["--store", str(trained / "normed.db")]
    identified = json.loads(done(capsys, "speaker", "identify", sound, *run, *mine))
    verified = {
        name: json.loads(done(capsys, "speaker", "verify", name, sound, *run, *mine)) for name in identified["nearest"]
    }
    # One voice and all together are other products of matrices, whose last digits may differ.
    assert {name: each["score"] for name, each in verified.items()} == pytest.approx(identified["nearest"], rel=1e-9)
    assert {each["threshold"] for each in verified.values()} == {identified["threshold"]}
    assert [name for name, each in verified.items() if each["accepted"]][:1] == [identified["name"]][
        : bool(identified["name"])
    ]
    return identified


def test_normalized_scores_are_used_everywhere(trained, capsys):
    run, mine = ["--run", str(trained / "run")], ["--store", str(trained / "normed.db")]
    (trained / "run" / "calibration.json").unlink(missing_ok=True)
    capsys.readouterr()
    for person in ("Ada", "Bo", "Cy"):
        done(capsys, "speaker", "enroll", person, str(trained / "new" / person / "0.wav"), *run, *mine)
    plain = done(capsys, "speaker", "evaluate", *run)
    assert "cosines" in plain
    assert "threshold" not in plain
    cosine = scores(capsys, trained, "Cy")
    assert "misses at the threshold" in done(capsys, "speaker", "evaluate", *run)
    said = done(capsys, "speaker", "calibrate", "--norm", "3", *run)
    assert "validation part: " in said
    assert "scores normalized by 3 of" in said
    file = trained / "run" / "calibration.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, "voices of the training part are biometric data"
    kept = json.loads(file.read_text())
    del kept["cohort"]["vectors"]  # letters of all kinds
    assert "Ada" not in json.dumps(kept)
    normalized = scores(capsys, trained, "Cy")
    assert max(normalized["nearest"], key=normalized["nearest"].get) == "Cy"
    assert normalized["score"] != cosine["score"]
    assert -1 <= cosine["score"] <= 1
    table = done(capsys, "speaker", "evaluate", "--part", "unseen", *run)
    assert "scores normalized by 3 of" in table
    assert "false acceptances at it" in table
    said = done(capsys, "speaker", "calibrate", "--norm", "3", "--within", "true", *run)
    assert re.search("normalized by 3 of [0-9]+ recordings, within-class covariance normalized", said)
    within = scores(capsys, trained, "Cy")
    assert within["score"] not in (normalized["score"], cosine["score"])
    assert "within-class covariance" in done(capsys, "speaker", "evaluate", *run)
    assert "--norm is -1, expected 0" in refused(capsys, "speaker", "calibrate", "--norm", "-1", *run)
    assert "recordings, of which 1 would count, expected at least 2" in refused(
        capsys, "speaker", "calibrate", "--norm", "1", *run
    )
    assert json.loads(file.read_text())["cohort"]["nearest"] == 3, "what is refused changes nothing"
    file.unlink()


def test_a_mixture_stands_beside_the_network_until_it_is_taken_away(trained, tmp_path, capsys, monkeypatch):
    from regard.speaker.mixture import Mixture
    from regard.speaker.vectors import unit
    from regard.speaker.voices import CALIBRATION, MIXTURE, Voices

    monkeypatch.setattr("regard.speaker.voices._SECONDS", (0.25, 0.3))  # All sounds are of 0.4 s.
    folder, store = tmp_path / "run", ["--store", str(tmp_path / "voices.db")]
    shutil.copytree(trained / "run", folder, ignore=shutil.ignore_patterns("*.db*", CALIBRATION))
    run, sound = ["--run", str(folder)], str(trained / "new" / "Ada" / "0.wav")
    capsys.readouterr()
    done(capsys, "speaker", "enroll", "Ada", sound, *run, *store)
    before = Voices.open(folder)
    done(capsys, "speaker", "calibrate", "--norm", "3", *run)
    said = done(capsys, "speaker", "calibrate", "--mixture", "5", *run)
    assert f"{folder}, a mixture of 5 Gaussians beside it, validation part: " in said
    assert stat.S_IMODE((folder / MIXTURE).stat().st_mode) == 0o600
    after = Voices.open(folder)
    assert after.width == before.width + after.mixture.width > before.width
    _, (network,) = before.sounds([sound])
    _, (joined,) = after.sounds([sound])
    np.testing.assert_allclose(joined[: before.width], unit(network), atol=1e-6)
    frames = before.sound_reader.inputs([sound], before.run.encoding)[0].values
    np.testing.assert_allclose(joined[before.width :], unit(after.mixture(frames)), atol=1e-5)
    parts = [replace(before.sound_reader, train_crop=cut) for cut in (0, 0.25, 0.3)]
    heard = [each.values for reader in parts for each in reader.training(before.run.encoding)]
    assert sorted({len(each) for each in heard}) == [25, 30, 40]
    np.testing.assert_allclose(Mixture.of(heard, 5).means, after.mixture.means, rtol=1e-5)
    cohort = after.cohort(3, within=False)
    assert len(cohort.vectors) == len(heard) / 3

    for action in (["identify", sound], ["verify", "Ada", sound], ["enroll", "Ada", sound]):
        assert "holds voices of another model" in refused(capsys, "speaker", *action, *run, *store)
    assert "Ada" in done(capsys, "speaker", "list", *run, *store)
    mine = ["--store", str(tmp_path / "others.db")]
    for person in ("Ada", "Cy"):
        done(capsys, "speaker", "enroll", person, str(trained / "new" / person / "0.wav"), *run, *mine)
    found = json.loads(done(capsys, "speaker", "identify", str(trained / "new" / "Cy" / "2.wav"), *run, *mine))
    assert max(found["nearest"], key=found["nearest"].get) == "Cy"
    assert "a mixture of 5 Gaussians" in done(capsys, "speaker", "evaluate", *run)

    kept = [(folder / name).read_bytes() for name in (MIXTURE, CALIBRATION)]
    for options, sentence in (
        (["-1"], "--mixture is -1, expected 0 or a number of Gaussians"),
        (["2000"], "expected two recordings, 1 to 1,024 Gaussians, and ten frames for each"),
        (["6", "--norm", "1"], "of which 1 would count, expected at least 2"),
        (["0", "--false_acceptance", "2"], "expected a part between 0 and 1"),
        (["0", "--trials", "nowhere.txt"], "nowhere.txt"),
    ):
        assert sentence in refused(capsys, "speaker", "calibrate", "--mixture", *options, *run)
        assert [(folder / name).read_bytes() for name in (MIXTURE, CALIBRATION)] == kept, (
            "what is refused changes nothing"
        )
    (folder / MIXTURE).write_bytes(kept[0][:-4])
    assert "is no whole mixture" in refused(capsys, "speaker", "identify", sound, *run, *mine)
    before.learned_mixture(4).write(folder / MIXTURE)
    sentence = "belongs to other weights, or to another mixture, expected `regard speaker calibrate` to be run again"
    assert sentence in refused(capsys, "speaker", "evaluate", *run)

    assert "Gaussians" not in done(capsys, "speaker", "calibrate", "--mixture", "0", *run)
    assert not (folder / MIXTURE).exists()
    assert Voices.open(folder).identity == before.identity
    assert "Ada" in done(capsys, "speaker", "list", *run, *store)


def test_who_is_enrolled_is_listed_exported_and_removed_whatever_has_become_of_the_model(trained, tmp_path, capsys):
    from regard.speaker.voices import MIXTURE, Voices

    folder, new = tmp_path / "run", trained / "new"
    shutil.copytree(trained / "run", folder, ignore=shutil.ignore_patterns("*.db*"))
    run = ["--run", str(folder)]
    capsys.readouterr()
    assert "nobody is enrolled in" in done(capsys, "speaker", "list", *run)
    assert not (folder / "voices.db").exists()
    for person in ("Ada", "Bo", "0560", "Cy", "Di"):
        sound = new / (person if person in PEOPLE else "stranger") / "0.wav"
        done(capsys, "speaker", "enroll", person, str(sound), *run)
    identity = Voices.open(folder).identity
    vectors = {}

    def still_there(people, gone, *options):
        """All of them can be listed and exported, and one of them can be removed."""
        said = done(capsys, "speaker", "list", *options)
        assert [line.split()[0] for line in said.splitlines() if line.split()[0] in [*people, gone]] == sorted(
            [*people, gone]
        )
        for person in people:
            found = json.loads(done(capsys, "speaker", "export", person, *options))
            assert found["model"] == identity
            assert found["vectors"] == vectors.setdefault(person, found["vectors"])
        assert "1 recordings removed" in done(capsys, "speaker", "remove", gone, *options)
        assert "is not enrolled" in refused(capsys, "speaker", "export", gone, *options)

    Voices.open(folder).learned_mixture(4).write(folder / MIXTURE)
    still_there(["0560", "Bo", "Cy", "Di"], "Ada", *run)
    (folder / MIXTURE).write_bytes(b"none")
    still_there(["0560", "Bo", "Cy"], "Di", *run)
    folder.rename(tmp_path / "elsewhere")
    still_there(["0560", "Bo"], "Cy", "--run", str(tmp_path / "elsewhere"))
    shutil.copy(tmp_path / "elsewhere" / "voices.db", tmp_path / "mine.db")
    shutil.rmtree(tmp_path / "elsewhere")
    still_there(["0560"], "Bo", *run, "--store", str(tmp_path / "mine.db"))
    still_there([], "0560", "--store", str(tmp_path / "mine.db"))
    assert "nobody is enrolled in" in done(capsys, "speaker", "list", "--store", str(tmp_path / "mine.db"))
    for action in (["list"], ["export", "Bo"], ["remove", "Bo"]):
        assert "needs --run, expected the folder of a trained run, or --store" in refused(capsys, "speaker", *action)
        assert "nowhere.db is not there" in refused(capsys, "speaker", *action, "--store", str(tmp_path / "nowhere.db"))
        assert "voices.db is not there" in refused(capsys, "speaker", *action, *run)
    assert not (tmp_path / "nowhere.db").exists()
    # A store that nobody is enrolled in any more belongs to no model.
    sound = str(new / "Ada" / "0.wav")
    done(capsys, "speaker", "enroll", "Ada", sound, "--run", str(trained / "run"), "--store", str(tmp_path / "mine.db"))


def test_data_that_cannot_be_cut_to_seconds_are_refused(tmp_path, capsys):
    from regard.cli import main

    options = ["--training.epochs", "1", "--model.width", "8", "--model.layers", "1", "--training.progress", "false"]
    assert main(["train", "digits", "--folder", str(tmp_path / "run"), *options]) == 0
    capsys.readouterr()
    for more in (["--norm", "3"], ["--mixture", "4"]):
        said = refused(capsys, "speaker", "calibrate", *more, "--run", str(tmp_path / "run"))
        assert "the data are of the type Digits, expected sounds, which can be cut to seconds" in said


def test_trial_lists_from_a_folder_to_error_rates(trained, tmp_path, capsys):
    run, listed = ["--run", str(trained / "run")], tmp_path / "list.txt"
    said = done(capsys, "speaker", "trials", listed, "--part", "test", *run)
    same, other = 4, 24
    assert f"{same} pairs of one speaker, {other} of two, of 8 sounds in {trained / 'train'}" in said
    whole = done(capsys, "speaker", "evaluate", *run).splitlines()
    by_list = done(capsys, "speaker", "evaluate", "--trials", listed, *run).splitlines()
    # The same pairs; and the same speakers, since every two recordings of one are linked.
    assert by_list[0] == whole[0].replace("test part", f"list {listed}")
    assert by_list[1:] == whole[1:]
    again = tmp_path / "again.txt"
    done(capsys, "speaker", "trials", again, "--part", "test", *run)
    assert again.read_text() == listed.read_text()

    new = tmp_path / "new.txt"
    assert "30 pairs of one" in done(capsys, "speaker", "trials", new, "--data", trained / "new", "--pairs", "30")
    said = done(capsys, "speaker", "calibrate", "--trials", new, "--data", trained / "new", *run)
    assert f"list {new}: 30 pairs of one speaker, 30 of two" in said
    (trained / "run" / "calibration.json").unlink()
    sentence = refused(capsys, "speaker", "evaluate", "--trials", new, *run)
    assert f"{new}, line " in sentence
    assert f"names {trained / 'train' / 'stranger'}" in sentence
    assert "expected one of them" in refused(capsys, "speaker", "evaluate", "--trials", new, "--part", "test", *run)
    assert "--data needs --trials" in refused(capsys, "speaker", "evaluate", "--data", trained / "new", *run)
    assert "already exists" in refused(capsys, "speaker", "trials", new, "--data", trained / "new")
    assert "--pairs is -1" in refused(capsys, "speaker", "trials", "x.txt", "--data", trained / "new", "--pairs", "-1")
    assert "expected the file to write" in refused(capsys, "speaker", "trials", *run)


def test_without_two_recordings_of_anybody_calibrate_elsewhere(trained, tmp_path, capsys):
    """Four recordings of each: the validation part has one, which makes no pair."""
    few, run = tmp_path / "few", ["--run", str(tmp_path / "run")]
    for person in ("Ada", "Bo", "Cy"):
        for n in range(4):
            record(few / person / f"{n}.wav", PEOPLE[person], n)
    options = ["--data.path", str(few), "--training.epochs", "1", "--training.progress", "false", "--model.width", "16"]
    done(capsys, "train", "speaker", "--folder", str(tmp_path / "run"), *options, "--model.heads", "2")
    sound = str(few / "Ada" / "0.wav")
    done(capsys, "speaker", "enroll", "Ada", sound, *run)
    sentence = refused(capsys, "speaker", "identify", sound, *run)
    assert "the validation part has no two recordings of one person, expected some to choose a threshold on" in sentence
    assert "--part" in sentence
    assert not (tmp_path / "run" / "calibration.json").exists()
    assert "train part: 3 pairs of one speaker" in done(capsys, "speaker", "calibrate", "--part", "train", *run)
    assert json.loads(done(capsys, "speaker", "identify", sound, *run))["nearest"].keys() == {"Ada"}


def test_what_goes_wrong_is_told_in_a_sentence(trained, tmp_path, capsys):
    run, new = ["--run", str(trained / "run")], trained / "new"
    mine = ["--store", str(tmp_path / "mine.db")]
    sound = str(new / "Bo" / "0.wav")
    capsys.readouterr()
    assert "needs --run" in refused(capsys, "speaker", "list")
    assert "did you mean 'enroll'?" in refused(capsys, "speaker", "enrol", "Ada", sound, *run)
    assert "expected a name and at least one file" in refused(capsys, "speaker", "enroll", "Ada", *run)
    assert "nobody is enrolled in" in refused(capsys, "speaker", "identify", sound, *run, *mine)
    done(capsys, "speaker", "enroll", "Bo", sound, *run, *mine)
    copy = shutil.copy(sound, tmp_path / "other name.wav")
    assert "enrolled already, as 'Bo'" in refused(capsys, "speaker", "enroll", "Imposter", str(copy), *run, *mine)
    assert "is not enrolled" in refused(capsys, "speaker", "verify", "Zoe", sound, *run, *mine)
    assert "is not enrolled" in refused(capsys, "speaker", "remove", "Zoe", *run, *mine)
    for name in ("text.wav", "empty.wav"):
        (tmp_path / name).write_text("no sound" if name == "text.wav" else "")
        assert name in refused(capsys, "speaker", "enroll", "Eve", str(tmp_path / name), sound, *run, *mine)
    short = record(tmp_path / "short.wav", 220, 0, seconds=0.01)
    assert "short.wav" in refused(capsys, "speaker", "identify", str(short), *run, *mine)
    assert "is not there, expected a store" in refused(capsys, "speaker", "list", "--run", str(tmp_path))
    assert "Eve" not in done(capsys, "speaker", "list", *run, *mine)
    (trained / "run" / "calibration.json").write_text("{}")
    assert "is no calibration" in refused(capsys, "speaker", "identify", sound, *run, *mine)
    (trained / "run" / "calibration.json").unlink()


def test_the_three_commands_of_the_documentation(tmp_path):
    """From a folder of recordings by person to a name, as the page says; the training made short."""
    page = (Path(__file__).parents[2] / "docs" / "speech.md").read_text()
    commands = page.partition("## Recordings of your own")[2].partition("```sh\n")[2].partition("```")[0]
    assert len(commands.splitlines()) == 3
    small = "--training.epochs 4 --training.progress false --optimizer.learning_rate 0.01 --optimizer.warm_up 2"
    commands = commands.replace("--folder", f"{small} --folder")
    for person, hertz in (("anna", 220), ("bernard", 1700)):
        for n in range(20):
            record(tmp_path / "recordings" / person / f"{n}.wav", hertz, n)
    record(tmp_path / "unknown.wav", 1700, 99)
    here = f'regard() {{ "{sys.executable}" -m regard.cli "$@"; }}\nset -e\n'
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        ["bash", "-c", here + commands], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["file"] == "unknown.wav"
    assert max(told["nearest"], key=told["nearest"].get) == "bernard"
    assert told["nearest"].keys() == {"anna", "bernard"}


def test_what_a_window_costs_strangers_is_measured_on_a_run(trained):
    from benchmarks.long_speech import errors

    full, cut, again = errors(trained / "run", trained / "run", "Window(2, 2)")
    assert full["attention"] == "full"
    assert cut["attention"] == "Window(2, 2) after training"
    assert again["equal error rate"] == full["equal error rate"], "the same run again"
    (same,) = {row["parameters"] for row in (full, cut, again)}
    assert same > 0
    wide = errors(trained / "run", None, "Window(500, 500)")[1]
    assert wide["equal error rate"] == full["equal error rate"], "a window over all of each sound"
