"""What people may hand to the commands of voices: refused in a sentence, or taken for what it is."""

import json
import os
import shutil
import signal
import subprocess
import sys
import wave

import numpy as np
import pytest

from .test_speaker import record
from .test_whole_way import done, refused

soundfile = pytest.importorskip("soundfile")
REFUSED_BY = ("enroll", "identify", "verify")


def voice(seconds=1.0, rate=16000, hertz=220, level=0.2, seed=0, top=3000):
    """A tone with overtones below 3 kHz, in a little noise below `top` hertz."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(rate * seconds)) / rate
    overtones = sum(np.sin(2 * np.pi * hertz * k * time + k) / k for k in range(1, 12))
    hiss = sum(np.sin(2 * np.pi * f * time + p) for f, p in generator.uniform(0, top, (50, 2)))
    return level * (overtones + 0.02 * hiss)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on two people, and one of them enrolled."""
    from regard.cli import main

    folder = tmp_path_factory.mktemp("bad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for person, hertz in (("Ada", 220), ("Bo", 900)):
            for n in range(20):
                record(folder / "train" / person / f"{n}.wav", hertz, n, 0.4)
        options = ["--data.path", str(folder / "train"), "--training.epochs", "2", "--training.progress", "false"]
        options += ["--model.width", "16", "--model.heads", "2", "--optimizer.warm_up", "2"]
        assert main(["train", "speaker", "--folder", str(folder / "run"), *options]) == 0
        soundfile.write(folder / "ada.wav", voice(), 16000)
        run = ["--run", str(folder / "run")]
        assert main(["speaker", "calibrate", *run]) == 0
        assert main(["speaker", "enroll", "Ada", str(folder / "ada.wav"), *run]) == 0
    return folder


def _write(path, samples, rate=16000, **options):
    soundfile.write(path, samples, rate, **options)


def _film(path):
    """The beginning of an MP4 film: boxes of a type, and data in which no sound is marked."""
    kind = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41"
    path.write_bytes(kind + b"\x00\x00\x20\x08mdat" + np.random.default_rng(0).bytes(8192))


def _broken_off(path):
    """Half a file."""
    _write(path, voice(3.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _boasting(path):
    """A header that promises three hours, before a second of sound, as recorders write that were switched off."""
    _write(path, voice())
    header, promised = bytearray(path.read_bytes()), 3 * 3600 * 16000 * 2
    header[4:8], header[40:44] = (promised + 36).to_bytes(4, "little"), promised.to_bytes(4, "little")
    path.write_bytes(header)


def _with(value):
    samples = voice().astype(np.float32)
    samples[5000] = value
    return samples


NO_VOICE = {
    "silence.wav": (lambda path: _write(path, np.zeros(48000)), "is silent"),
    "hardly-silence.wav": (
        lambda path: _write(path, np.random.default_rng(0).integers(-1, 2, 48000) / 32768),
        "has 0.00 s of voice, expected at least 0.2 s above data.voice.threshold",
    ),
    "click.wav": (
        lambda path: _write(path, np.where(np.arange(48000) // 400 == 60, 0.5, 0) * voice(3.0)),
        "s of voice, expected at least 0.2 s above",
    ),
    "50-ms.wav": (lambda path: _write(path, voice(0.05)), "has 0.05 s of voice, expected at least 0.2 s"),
    "text.wav": (lambda path: path.write_text("This is no sound.\n" * 50), "cannot be read as sound"),
    "empty.wav": (lambda path: path.write_bytes(b""), "it is empty"),
    "film.mp4": (_film, "cannot be read as sound"),
    "film.wav": (_film, "cannot be read as sound"),
    "nan.wav": (lambda path: _write(path, _with(np.nan), subtype="FLOAT"), "sample 5000 that is not a finite number"),
    "infinite.wav": (lambda path: _write(path, _with(np.inf), subtype="FLOAT"), "sample 5000 that is not a finite"),
    "broken-off.flac": (_broken_off, "broken-off.flac "),
}


@pytest.mark.parametrize("name", NO_VOICE)
def test_what_holds_no_voice_is_refused(trained, tmp_path, capsys, name):
    make, sentence = NO_VOICE[name]
    path, run = tmp_path / name, ["--run", str(trained / "run")]
    make(path)
    capsys.readouterr()
    before = done(capsys, "speaker", "list", *run)
    for action in REFUSED_BY:
        operands = [path] if action == "identify" else ["Ada", path]
        said = refused(capsys, "speaker", action, *operands, *run)
        assert str(path) in said
        assert sentence in said
        assert said.count("\n") == 1
    assert done(capsys, "speaker", "list", *run) == before


def vector(trained, capsys, tmp_path, path):
    """What is kept of a file."""
    mine = ["--run", str(trained / "run"), "--store", str(tmp_path / f"{path.stem}.db")]
    done(capsys, "speaker", "enroll", "somebody", path, *mine)
    (found,) = json.loads(done(capsys, "speaker", "export", "somebody", *mine))["vectors"]
    return np.array(found)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_what_is_taken_gives_a_vector_near_the_sounds_own(trained, tmp_path, capsys):
    """The same second of sound in other forms; another sound is farther away than any of them."""
    capsys.readouterr()
    copies = {
        "mono-16k.wav": lambda path: _write(path, voice(top=7000)),
        "stereo-96k.wav": lambda path: _write(path, np.stack([voice(rate=96000, top=7000)] * 2, 1), 96000),
        "telephone.wav": lambda path: _write(path, voice(rate=8000), 8000),
        "ulaw.wav": lambda path: _write(path, voice(), subtype="ULAW"),
        "quiet.flac": lambda path: _write(path, voice(level=0.05)),
        "clipped.wav": lambda path: _write(path, np.clip(voice(level=0.4), -0.4, 0.4)),
    }
    own = vector(trained, capsys, tmp_path, trained / "ada.wav")
    record(tmp_path / "other.wav", 1700, 0, 1.0)
    other = cosine(own, vector(trained, capsys, tmp_path, tmp_path / "other.wav"))
    alike, found_of = {}, {}
    for name, make in copies.items():
        make(tmp_path / name)
        found = vector(trained, capsys, tmp_path, tmp_path / name)
        assert np.isfinite(found).all(), name
        alike[name] = cosine(own, found)
        found_of[name] = found
    assert min(alike.values()) > other, alike
    assert cosine(found_of["mono-16k.wav"], found_of["stereo-96k.wav"]) > 0.999
    _boasting(tmp_path / "boasting.wav")
    assert "boasting.wav breaks off: it has 32,044 bytes, its header promises" in refused(
        capsys, "predict", trained / "run", tmp_path / "boasting.wav"
    )


def test_a_long_sound_has_the_mean_direction_of_its_pieces(trained, tmp_path, monkeypatch):
    """With them neither memory nor time per second grow with its length."""
    from regard.speaker.vectors import unit
    from regard.speaker.voices import Voices

    monkeypatch.setattr("regard.speaker.voices._LONGEST", 250)
    run = Voices.open(trained / "run")
    pieces = [voice(2.0, hertz=hertz, seed=hertz) for hertz in (220, 440, 880)]
    _write(tmp_path / "long.wav", np.concatenate(pieces))
    part = run.run.experiment.data.inputs([str(tmp_path / "long.wav"), str(trained / "ada.wav")], run.run.encoding)
    whole = part[0].values
    assert len(whole) == 600
    expected = np.mean([unit(embedded(run, whole[k : k + 200])) for k in (0, 200, 400)], 0)
    found = run.embed(part)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], embedded(run, part[1].values), rtol=1e-4, atol=1e-5)


def test_a_sound_with_less_voice_than_its_header_promises_is_refused_once_it_is_read(trained, tmp_path):
    """Without the cache the lengths of a part are upper bounds: frames without voice are dropped when it is read."""
    from dataclasses import replace

    from regard.data.voice import VoiceActivity
    from regard.errors import InputError
    from regard.speaker.voices import Voices

    voices = Voices.open(trained / "run")
    quiet = np.concatenate([voice(0.1), 1e-4 * voice(1.0)])
    for label in ("a", "b"):
        for n in range(3):
            (tmp_path / label).mkdir(exist_ok=True)
            _write(tmp_path / label / f"{n}.wav", quiet)
    rule = VoiceActivity(detect=True, threshold=10, mean_scale=0, context=0, proportion=1.0)
    reader = replace(voices.sound_reader, path=str(tmp_path), voice=rule, cache=False, unseen=("a",))
    part, _ = reader.strangers(voices.run.encoding)
    assert part.lengths == [110] * 3
    with pytest.raises(InputError, match=r"0\.wav has 0\.1\d s of sound, expected at least 0\.2 s"):
        voices.embed(part)


def embedded(voices, frames):
    import torch

    from regard import VectorSets
    from regard.data.batch import Batch

    with torch.no_grad():
        sets = voices.run.model(Batch(VectorSets.pack([torch.from_numpy(frames)])))
        return voices.task.embed(sets)[0].numpy()


MEASURED = """
import resource, sys
from regard.cli import main
status = main(["speaker", "identify", sys.argv[1], "--run", sys.argv[2]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


@pytest.mark.rare
def test_long_sounds_take_bounded_memory(trained, tmp_path):
    """Half an hour has 58 MB of samples, 29 of features, and attention over all its pairs would have 130 GB of weights."""
    peaks = []
    for minutes in (1, 30):
        path = tmp_path / f"{minutes}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            for _ in range(minutes):
                file.writeframes((record_minute() * 20000).astype("<i2").tobytes())
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(path), str(trained / "run")], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        told, peak = done.stdout.splitlines()
        assert json.loads(told)["nearest"].keys() == {"Ada"}
        peaks.append(int(peak) / 1024)
    assert peaks[1] - peaks[0] < 250, "MB"


def record_minute():
    return np.tile(voice(1.0), 60)


def test_folders_that_teach_no_voices_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for n in range(4):
        record(tmp_path / "one-each" / f"p{n}" / "a.wav", 200 + 100 * n, n)
        record(tmp_path / "alone" / "Ada" / f"{n}.wav", 220, n)
    options = ["--folder", str(tmp_path / "run"), "--training.progress", "false", "--training.epochs", "1"]
    sentence = refused(capsys, "train", "speaker", "--data.path", tmp_path / "one-each", *options)
    assert "a label needs 3 sounds to be divided" in sentence
    sentence = refused(capsys, "train", "speaker", "--data.path", tmp_path / "alone", *options)
    assert "has one label, 'Ada', expected at least 2 to choose from" in sentence
    listed = str(tmp_path / "list.txt")
    sentence = refused(capsys, "speaker", "trials", listed, "--data", tmp_path / "one-each")
    assert "no two recordings of one speaker" in sentence
    assert "no two recordings of two speakers" in refused(
        capsys, "speaker", "trials", listed, "--data", tmp_path / "alone"
    )
    assert not (tmp_path / "list.txt").exists()


def test_one_file_has_one_name_and_one_name_may_have_many(trained, tmp_path, capsys):
    mine = ["--run", str(trained / "run"), "--store", str(tmp_path / "mine.db")]
    capsys.readouterr()
    first, second = (record(tmp_path / f"{n}.wav", 220, n, 1.0) for n in range(2))
    copy = shutil.copy(first, tmp_path / "copy.wav")
    done(capsys, "speaker", "enroll", "Ada", first, *mine)
    assert "enrolled already, as 'Ada'" in refused(capsys, "speaker", "enroll", "Bo", copy, *mine)
    assert "enrolled already, as 'Ada'" in refused(capsys, "speaker", "enroll", "Ada", first, *mine)
    both = refused(capsys, "speaker", "enroll", "Bo", second, second, *mine)
    assert "enrolled already, as 'Bo'" in both
    assert "Bo" not in done(capsys, "speaker", "list", *mine)
    done(capsys, "speaker", "enroll", "Ada", second, *mine)
    assert "2 recordings removed" in done(capsys, "speaker", "remove", "Ada", *mine)


def test_a_store_that_is_deleted_or_damaged_between_commands(trained, tmp_path, capsys):
    path = tmp_path / "mine.db"
    run, sound = ["--run", str(trained / "run"), "--store", str(path)], str(trained / "ada.wav")
    capsys.readouterr()
    done(capsys, "speaker", "enroll", "Ada", sound, *run)
    path.unlink()
    assert "nobody is enrolled in" in refused(capsys, "speaker", "identify", sound, *run)
    done(capsys, "speaker", "enroll", "Ada", sound, *run)
    whole = path.read_bytes()
    for damaged in (whole[:100] + os.urandom(len(whole) - 100), whole[: len(whole) // 2], b"no database\n" * 400):
        path.write_bytes(damaged)
        for action in (["identify", sound], ["verify", "Ada", sound], ["enroll", "Bo", sound], ["list"]):
            said = refused(capsys, "speaker", *action, *run)
            assert f"the store {path} cannot be used" in said
            assert said.count("\n") == 1
        assert path.read_bytes() == damaged
    path.write_bytes(whole)
    assert json.loads(done(capsys, "speaker", "identify", sound, *run))["nearest"].keys() == {"Ada"}


KILLED = """
import os, signal, sys
from regard.cli import main
from regard.speaker import store
connect = store.sqlite3.connect
def deadly(*given, **named):
    file = connect(*given, **named)
    file.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    file.execute("CREATE TEMP TRIGGER dead AFTER INSERT ON voice WHEN NEW.name = 'Bo' BEGIN SELECT die(); END")
    return file
store.sqlite3.connect = deadly
main(["speaker", "enroll", "Bo", *sys.argv[1:]])
"""


def test_a_kill_during_enrolment_loses_nothing_and_leaves_nothing_half_there(trained, tmp_path, capsys):
    store = tmp_path / "mine.db"
    run, sound = ["--run", str(trained / "run"), "--store", str(store)], str(trained / "ada.wav")
    capsys.readouterr()
    done(capsys, "speaker", "enroll", "Ada", sound, *run)
    others = [str(record(tmp_path / f"{n}.wav", 900, n, 1.0)) for n in range(2)]
    child = subprocess.run([sys.executable, "-c", KILLED, *others, *run], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    listed = done(capsys, "speaker", "list", *run)
    assert "Ada" in listed
    assert "Bo" not in listed
    assert "2 recordings enrolled" in done(capsys, "speaker", "enroll", "Bo", *others, *run)
