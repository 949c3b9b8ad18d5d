import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from regard.data.features import count_frames, log_mel
from regard.data.sound import read_sound
from regard.data.speech import Sounds
from regard.errors import InputError

published = pytest.mark.skipif(
    not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data"
)
PARTS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "regard" / "features"


def tone(hertz: float, seconds: float = 1.0, rate: int = 16_000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = 16_000, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def sounds(tmp_path: Path, each: int = 10) -> Path:
    """A folder of sounds by label that sweep upwards or downwards."""
    for label in ("up", "down"):
        for i in range(each):
            hertz = np.linspace(300, 3000, 16_000 + 800 * i)[:: 1 if label == "up" else -1]
            write(tmp_path / "own" / label / f"{i}.wav", 0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / 16_000))
    return tmp_path / "own"


def test_a_tone_is_loudest_in_its_band(tmp_path: Path) -> None:
    features = log_mel(write(tmp_path / "a.wav", tone(1000)), mels=40)
    assert features.shape == (100, 40)
    assert features.dtype == np.float32

    def mel(hertz: float) -> float:
        return 1127 * np.log1p(hertz / 700)

    centers = np.linspace(mel(20), mel(8000), 42)[1:-1]
    assert int(features[50].argmax()) == int(np.abs(centers - mel(1000)).argmin())


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_any_rate_and_stereo_sound_alike(tmp_path: Path, rate: int) -> None:
    mono = log_mel(write(tmp_path / "a.wav", tone(1000)))
    samples = tone(1000, rate=rate)
    stereo = np.stack([1.5 * samples, 0.5 * samples], 1)
    other = log_mel(write(tmp_path / "b.flac", stereo, rate))
    assert other.shape == mono.shape
    loud = mono[50] > mono[50].max() - 8
    np.testing.assert_allclose(other[10:-10, loud], mono[10:-10, loud], atol=0.1)


@pytest.mark.parametrize(
    ("ending", "subtype"),
    [("wav", "FLOAT"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("opus", "OPUS"), ("mp3", None), ("aiff", "PCM_24")],
)
def test_formats(tmp_path: Path, ending: str, subtype: str | None) -> None:
    options = {"subtype": subtype} if subtype else {}
    if ending == "opus":
        options["format"] = "OGG"
    path = write(tmp_path / f"a.{ending}", tone(440), **options)
    # The middle, as lossy formats overshoot where a tone sets in.
    assert np.sqrt(np.mean(read_sound(path)[4000:12_000] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.03)
    assert abs(count_frames(path) - len(log_mel(path))) <= 1


@pytest.mark.parametrize("samples", [80, 100, 399, 400, 16_001])
def test_the_header_tells_the_number_of_frames(tmp_path: Path, samples: int) -> None:
    path = write(tmp_path / "a.wav", tone(440, 2)[:samples])
    assert count_frames(path) == len(log_mel(path)) == (samples + 80) // 160


def test_bad_sounds_are_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.flac", np.random.default_rng(0).normal(0, 0.1, 16_000)).read_bytes()
    (tmp_path / "truncated.flac").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not a sound")
    write(tmp_path / "none.wav", np.zeros(0))
    write(tmp_path / "short.wav", tone(440)[:79])
    write(tmp_path / "nan.wav", np.array([0.0] * 500 + [np.nan]), subtype="FLOAT")
    for name, sentence in (
        ("truncated.flac", "cannot be read as sound: .*lost sync"),
        ("empty.wav", "cannot be read as sound: it is empty"),
        ("text.wav", "cannot be read as sound: .*not recognised"),
        ("none.wav", "has no samples"),
        ("short.wav", "has 79 samples at 16 kHz, expected at least 80"),
        ("nan.wav", "has a sample 500 that is not a finite number"),
        ("nowhere.wav", "is not there"),
    ):
        with pytest.raises(InputError, match=sentence) as caught:
            log_mel(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_of_sounds_by_label(tmp_path: Path) -> None:
    reader = Sounds(str(sounds(tmp_path)), mels=23)
    encoding = reader.fit()
    assert (encoding.labels, encoding.width) == (("down", "up"), 23)
    parts = [reader.part(name, encoding) for name in PARTS]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [16, 2, 2]
    for part in parts:
        for i, length in enumerate(part.lengths):
            example = part[i]
            assert example.values.shape == (length, 23)
            np.testing.assert_allclose(example.values.mean(0), 0, atol=1e-4)
            assert example.target is not None
            assert example.target.shape == ()
            assert example.name.startswith(encoding.labels[int(example.target)])


def test_features_without_the_cache_are_the_same(tmp_path: Path, cache: Path) -> None:
    root = str(sounds(tmp_path))
    direct, kept = Sounds(root, cache=False), Sounds(root)
    encoding = direct.fit()
    first = direct.part("test", encoding)
    assert not cache.exists()
    second = kept.part("test", encoding)
    assert first.lengths == second.lengths
    for i in range(len(first)):
        np.testing.assert_array_equal(first[i].values, second[i].values)


def test_the_middle_is_cut_before_the_mean_is_taken(tmp_path: Path) -> None:
    root = sounds(tmp_path)
    reader = Sounds(str(root), crop=0.5)
    part = reader.part("test", reader.fit())
    assert part.lengths == [50, 50]
    whole = log_mel(root / part[0].name)
    start = (len(whole) - 50) // 2
    middle = whole[start : start + 50]
    np.testing.assert_allclose(part[0].values, middle - middle.mean(0), atol=1e-5)
    assert max(reader.part("train", reader.fit()).lengths) > 50


def test_random_cuts_depend_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    root = str(sounds(tmp_path))

    def cuts(seed: int, epoch: int) -> list[bytes]:
        reader = Sounds(root, train_crop=0.5, seed=seed, normalize="none")
        part = reader.part("train", reader.fit())
        part.set_epoch(epoch)
        assert set(part.lengths) == {50}
        return [part[i].values.tobytes() for i in reversed(range(len(part)))]

    assert cuts(0, 1) == cuts(0, 1)
    assert cuts(0, 1) != cuts(0, 2)
    assert cuts(0, 1) != cuts(1, 1)
    whole = Sounds(root, crop=0.5, train_crop=0.5)
    assert set(whole.part("test", whole.fit()).lengths) == {50}


def test_a_shorter_sound_than_the_crop_is_kept_whole(tmp_path: Path) -> None:
    reader = Sounds(str(sounds(tmp_path)), crop=60, train_crop=60)
    encoding = reader.fit()
    for name in PARTS:
        part = reader.part(name, encoding)  # type: ignore[arg-type]
        assert [len(part[i].values) for i in range(len(part))] == part.lengths
    with pytest.raises(InputError, match=r"crop is -1 seconds, expected 0 or at least 0\.01"):
        Sounds(reader.path, crop=-1).fit()


def test_inputs_are_files_and_folders(tmp_path: Path, cache: Path) -> None:
    root = sounds(tmp_path, each=3)
    reader = Sounds(str(root), crop=0.5)
    found = reader.inputs([str(root / "up" / "0.wav"), str(root / "down")], reader.fit())
    assert [found[i].name for i in range(4)] == [
        str(root / "up/0.wav"),
        *(str(root / f"down/{i}.wav") for i in range(3)),
    ]
    assert found[0].target is None
    assert found.lengths == [50] * 4
    assert not cache.exists()
    (root / "void").mkdir()
    with pytest.raises(InputError, match="void has no sound file"):
        reader.inputs([str(root / "void")], reader.fit())


def table(tmp_path: Path, text: str) -> Path:
    root = sounds(tmp_path)
    (root / "utterances.csv").write_text(text)
    return root


def test_a_table_gives_labels_and_parts(tmp_path: Path) -> None:
    root = table(
        tmp_path,
        "path,who,split,age\nup/0.wav,x,train,20\nup/1.wav,y,train,40\nup/2.wav,x,dev,30\nup/3.wav,y,test,60\n",
    )
    reader = Sounds(str(root), column="who")
    encoding = reader.fit()
    assert encoding.labels == ("x", "y")
    assert [reader.part(name, encoding)[0].target for name in PARTS] == [0, 0, 1]  # type: ignore[arg-type]
    numbers = Sounds(str(root), column="age", numbers=True)
    encoding = numbers.fit()
    assert numbers.part("test", encoding)[0].target == pytest.approx(3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,speaker\nup/0.wav,\n", "line 2, .* has an empty speaker"),
        ("path,speakers\nup/0.wav,x\n", "has no column 'speaker' .*did you mean 'speakers'"),
        ("path,speaker,split\nup/0.wav,x,trial\n", "has the split 'trial'"),
        ("path,speaker,split\nup/0.wav,x,test\n", "no sound in the train part"),
        ("path,speaker,split\nup/0.wav,x,train\nup/1.wav,z,test\n", r"line 3, \(up/1.wav\) has the label 'z'"),
        ("path,speaker,split\nup/99.wav,x,train\nup/1.wav,x,test\n", r"99\.wav is not there"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    reader = Sounds(str(table(tmp_path, text)))

    def read() -> None:
        encoding = reader.fit()
        reader.part("train", encoding)
        reader.part("test", encoding)

    with pytest.raises(InputError, match=sentence):
        read()


@published
def test_the_published_utterances() -> None:
    reader = Sounds(cache=False)
    encoding = reader.fit()
    assert len(encoding.labels) == 96
    part = reader.part("validation", encoding)
    assert len(part) == 192
    example = part[0]
    assert example.values.shape == (part.lengths[0], 40)
    assert example.target is not None
    assert encoding.labels[int(example.target)] == example.name.split("/")[1]


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Sounds(str(sounds(tmp_path)))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(
        InputError, match=r"\.npy cannot be written: Not a directory; XDG_CACHE_HOME .* --data\.cache false"
    ):
        reader.part("train", reader.fit())


def test_no_bands_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.mels is 0, expected at least 1"):
        Sounds(str(sounds(tmp_path)), mels=0).fit()
