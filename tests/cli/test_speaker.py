"""From a folder of recordings by person to a voice that is recognized, and all that can go wrong on the way."""

import json
import shutil

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


def test_what_goes_wrong_is_told_in_a_sentence(trained, tmp_path, capsys):
    run, new = ["--run", str(trained / "run")], trained / "new"
    mine = ["--store", str(tmp_path / "mine.db")]
    sound = str(new / "Bo" / "0.wav")
    capsys.readouterr()
    assert "given no --run" in refused(capsys, "speaker", "list")
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
    assert "missing or cannot be read" in refused(capsys, "speaker", "list", "--run", str(tmp_path))
    assert "Eve" not in done(capsys, "speaker", "list", *run, *mine)
    (trained / "run" / "calibration.json").write_text("{}")
    assert "is no calibration" in refused(capsys, "speaker", "identify", sound, *run, *mine)
    (trained / "run" / "calibration.json").unlink()
