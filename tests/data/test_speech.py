import csv
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soxr
from recordings import noise, pauses, sounds, write

from regard.data.augment import Noise, Reverberation, SpecAugment, Speed
from regard.data.batching import BudgetSampler, loader
from regard.data.encoding import Labels, Numbers
from regard.data.features import log_mel, mel_frames, voiced_log_mel
from regard.data.sound import read_sound
from regard.data.speech import STRANGERS, Sounds
from regard.data.voice import VoiceActivity
from regard.errors import InputError

published = pytest.mark.skipif(
    not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data"
)
PARTS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "regard" / "features"


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
    assert max(reader.training(reader.fit()).lengths) > 50
    assert set(reader.part("train", reader.fit()).lengths) == {50}


def test_random_cuts_depend_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    root = str(sounds(tmp_path))

    def cuts(seed: int, epoch: int) -> list[bytes]:
        reader = Sounds(root, train_crop=0.5, seed=seed, normalize="none")
        part = reader.training(reader.fit())
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
    for part in (*[reader.part(name, encoding) for name in PARTS], reader.training(encoding)):  # type: ignore[arg-type]
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
    assert len(encoding.labels) == 80
    assert len(replace(reader, unseen=()).fit().labels) == 96
    part = reader.part("validation", encoding)
    assert len(part) == 160
    strangers, labels = reader.strangers(encoding)
    assert len(strangers) == 320
    assert set(labels) == set(STRANGERS)
    assert not set(labels) & set(encoding.labels)
    with (reader.root / "speakers.csv").open() as file:
        gender = {row["speaker"]: row["gender"] for row in csv.DictReader(file)}
    assert sorted(gender[each] for each in STRANGERS) == 8 * ["f"] + 8 * ["m"]
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


def test_the_mean_over_the_training_part_is_kept(tmp_path: Path) -> None:
    root = str(sounds(tmp_path))
    plain, reader = Sounds(root, normalize="none"), Sounds(root, normalize="global")
    encoding = reader.fit()
    train = plain.part("train", encoding)
    mean = np.concatenate([train[i].values for i in range(len(train))]).mean(0, dtype=np.float64)
    np.testing.assert_allclose(encoding.band_mean, mean, rtol=1e-6)
    for name in PARTS:
        raw, found = plain.part(name, encoding), reader.part(name, encoding)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found[0].values, raw[0].values - mean.astype(np.float32))
        assert found[0].target == raw[0].target
    encoding.save(tmp_path)
    again = type(encoding).load(tmp_path)
    whole = str(Path(root) / "up" / "0.wav")
    np.testing.assert_array_equal(
        reader.inputs([whole], again)[0].values, plain.inputs([whole], again)[0].values - mean.astype(np.float32)
    )


def test_numbers_and_the_mean_of_bands_go_together(tmp_path: Path) -> None:
    root = table(tmp_path, "path,split,age\nup/0.wav,train,20\nup/1.wav,train,40\nup/2.wav,test,50\n")
    reader = Sounds(str(root), column="age", numbers=True, normalize="global")
    encoding = reader.fit()
    assert isinstance(encoding.targets, Numbers)
    assert len(encoding.band_mean) == encoding.width
    assert reader.part("test", encoding)[0].target == pytest.approx(2)


VOICE = VoiceActivity(detect=True)


def spoken(tmp_path: Path) -> Path:
    """A folder of sounds with pauses, by label."""
    for label in ("a", "b"):
        for n in range(5):
            write(tmp_path / "spoken" / label / f"{n}.wav", pauses(2 + 0.1 * n), subtype="FLOAT")
    return tmp_path / "spoken"


@pytest.mark.parametrize("cache", [True, False])
def test_frames_without_voice_are_dropped(tmp_path: Path, cache: bool) -> None:
    root = spoken(tmp_path)
    reader = Sounds(str(root), voice=VOICE, normalize="none", cache=cache)
    encoding = reader.fit()
    part = reader.part("test", encoding)
    for i in range(len(part)):
        expected = voiced_log_mel(root / part[i].name, 40, VOICE)
        np.testing.assert_array_equal(part[i].values, expected)
        # Without a cache only the header is known.
        assert (len(expected) == part.lengths[i]) == cache
        assert len(expected) <= part.lengths[i]
    (found,) = (reader.inputs([str(root / part[0].name)], encoding)[0].values,)
    np.testing.assert_array_equal(found, part[0].values)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("rule", [VoiceActivity(), VoiceActivity(detect=True, threshold=10, mean_scale=0)])
def test_the_vectors_of_a_stream_are_those_of_the_file(tmp_path: Path, rate: int, rule: VoiceActivity) -> None:
    reader = Sounds(str(spoken(tmp_path)), normalize="global", voice=rule)
    encoding = reader.fit()
    samples = np.resize(pauses(), (100_000, 2)) * np.float32([1, 0.5])
    path = write(tmp_path / "long.wav", samples, rate, subtype="FLOAT")
    stream = reader.live(encoding, rate, channels=2)
    found = [stream.accept(chunk) for chunk in np.split(samples, [0, 1, 7, 5000, 5160, 60_000])] + [stream.finish()]
    np.testing.assert_array_equal(np.concatenate(found), reader.inputs([str(path)], encoding)[0].values)


def test_a_stream_of_what_needs_the_whole_is_refused(tmp_path: Path) -> None:
    root = str(spoken(tmp_path))
    encoding = Sounds(root).fit()
    for reader, sentence in (
        (Sounds(root), r"data\.normalize is 'utterance', expected 'none', 'global' or 'running'"),
        (Sounds(root, normalize="level"), r"data\.normalize is 'level', expected 'none', 'global' or 'running'"),
        (Sounds(root, normalize="none", crop=1), r"data\.crop is 1, expected 0"),
        (Sounds(root, normalize="none", voice=VOICE), r"data\.voice\.mean_scale is 0\.5, expected 0"),
    ):
        with pytest.raises(InputError, match=sentence):
            reader.live(encoding)


def varied(tmp_path: Path, **options: object) -> Sounds:
    write(tmp_path / "noises" / "hiss.wav", noise(40_000, 5), 8000)
    write(tmp_path / "rooms" / "hall.wav", noise(4000, 6) * np.exp(-np.arange(4000) / 500))
    return Sounds(
        str(spoken(tmp_path)),
        train_crop=0.5,
        speed=Speed((0.9, 1.0, 1.1)),
        noise=Noise(str(tmp_path / "noises"), probability=0.7),
        reverberation=Reverberation(str(tmp_path / "rooms"), probability=0.7),
        mask=SpecAugment(time_masks=1, band_masks=1),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("voice", [VoiceActivity(), VOICE])
def test_varied_sounds_are_functions_of_seed_epoch_and_index(tmp_path: Path, voice: VoiceActivity) -> None:
    def examples(epoch: int, **options: object) -> list[bytes]:
        reader = varied(tmp_path, voice=voice, **options)
        part = reader.training(reader.fit())
        part.set_epoch(epoch)
        found = [part[i].values for i in reversed(range(len(part)))]
        for values, length in zip(found, reversed(part.lengths), strict=True):
            assert 45 <= len(values) <= length == 50
        return [values.tobytes() for values in found]

    assert examples(1) == examples(1) == examples(1, cache=False)
    assert not set(examples(1)) & set(examples(2))
    assert not set(examples(1)) & set(examples(1, seed=1))


def test_only_the_training_part_is_varied(tmp_path: Path) -> None:
    reader = varied(tmp_path, normalize="none")
    plain = Sounds(reader.path, normalize="none")
    encoding = reader.fit()
    for name in PARTS:
        part, expected = reader.part(name, encoding), plain.part(name, encoding)  # type: ignore[arg-type]
        assert part.lengths == expected.lengths
        np.testing.assert_array_equal(part[0].values, expected[0].values)
    source = str(Path(reader.path or "") / "a" / "0.wav")
    np.testing.assert_array_equal(
        reader.inputs([source], encoding)[0].values, plain.inputs([source], encoding)[0].values
    )


def test_what_is_not_drawn_changes_nothing(tmp_path: Path) -> None:
    root = str(spoken(tmp_path))
    write(tmp_path / "noises" / "hiss.wav", noise(40_000, 5))
    plain = Sounds(root, normalize="none")
    never = Sounds(root, normalize="none", noise=Noise(str(tmp_path / "noises"), probability=0))
    encoding = plain.fit()
    first, second = plain.training(encoding), never.training(encoding)
    assert [len(second[i].values) for i in range(len(second))] == first.lengths
    for i in range(len(first)):
        np.testing.assert_array_equal(first[i].values, second[i].values)


@pytest.mark.parametrize("voice", [VoiceActivity(), VOICE])
@pytest.mark.parametrize("crop", [0, 0.03, 1.0])
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("noisy", [True, False])
def test_lengths_are_never_exceeded(
    tmp_path: Path, voice: VoiceActivity, crop: float, cache: bool, noisy: bool
) -> None:
    root = spoken(tmp_path)
    added = Noise(str(root)) if noisy else Noise()
    reader = Sounds(
        str(root), train_crop=crop, voice=voice, speed=Speed((0.5, 0.9, 1.3, 2.0)), noise=added, cache=cache
    )
    part = reader.training(reader.fit())
    ratios = []
    for epoch in range(4):
        part.set_epoch(epoch)
        for i in range(len(part)):
            count = len(part[i].values)
            assert 1 <= count <= part.lengths[i]
            ratios.append(count / part.lengths[i])
    assert max(ratios) > (0.4 if voice.detect and not cache else 0.9)


def test_speed_alone_is_read_from_the_cache_and_is_that_of_the_sound(tmp_path: Path, cache: Path) -> None:
    root = str(spoken(tmp_path))
    reader = Sounds(root, normalize="none", speed=Speed((0.8, 1.0)))
    encoding = reader.fit()
    part = reader.training(encoding)
    plain = Sounds(root, normalize="none").part("train", encoding)
    found = set()
    for epoch in range(4):
        part.set_epoch(epoch)
        for i in range(len(part)):
            values, samples = part[i].values, read_sound(Path(root) / part[i].name)
            if len(values) == len(plain[i].values):
                found.add(1.0)
                np.testing.assert_array_equal(values, plain[i].values)
            else:
                found.add(0.8)
                np.testing.assert_array_equal(values, mel_frames(soxr.resample(samples, 12_800, 16_000)))
    assert found == {0.8, 1.0}


@pytest.mark.parametrize("noisy", [False, True])
def test_a_voice_at_another_speed_is_another_class(tmp_path: Path, noisy: bool) -> None:
    speed = Speed((0.5, 1.0, 2.0), voices=True)
    reader = Sounds(str(spoken(tmp_path)), normalize="none", speed=speed)
    if noisy:
        reader = replace(varied(tmp_path), speed=speed, train_crop=0)
    encoding = reader.fit()
    assert encoding.targets == Labels(("a", "b"), copies=3)
    part, plain = reader.training(encoding), Sounds(reader.path).part("train", encoding)
    found = set()
    for epoch in range(6):
        part.set_epoch(epoch)
        for i in range(len(part)):
            example, recorded = part[i], plain[i]
            copy, label = divmod(int(example.target), 2)
            assert label == recorded.target
            factor = len(recorded.values) / len(example.values)
            assert factor == pytest.approx({0: 1.0, 1: 0.5, 2: 2.0}[copy], rel=0.05)
            found.add((label, copy))
    assert found == {(label, copy) for label in (0, 1) for copy in (0, 1, 2)}
    for other in PARTS:
        rest = reader.part(other, encoding)
        assert rest.targets == [rest[i].target for i in range(len(rest))]
        assert {int(rest[i].target) for i in range(len(rest))} == {0, 1}


def test_further_voices_need_the_recorded_speed_and_labels(tmp_path: Path) -> None:
    for factors in ((0.9, 1.1), (), (1.0, 1.0)):
        with pytest.raises(InputError, match="expected different ones with 1 among them"):
            Speed(factors, voices=True)
    root = tmp_path / "sounds"
    write(root / "1.wav", pauses(2))
    (root / "utterances.csv").write_text("path,age\n1.wav,30\n")
    with pytest.raises(InputError, match=r"with data\.numbers, expected labels"):
        Sounds(str(root), "age", numbers=True, speed=Speed((1.0, 1.1), voices=True)).fit()


def test_a_varied_reader_carries_no_samples_and_works_in_other_processes(tmp_path: Path) -> None:
    reader = varied(tmp_path)
    part = reader.training(reader.fit())
    assert len(pickle.dumps(part)) < 10_000

    def batches(workers: int, stop: int | None = None) -> list[bytes]:
        order = BudgetSampler(part.lengths, budget=50, seed=3)
        order.set_epoch(2)
        loaded = loader(part, order, workers)
        found = []
        for n, batch in enumerate(loaded, 1):
            found.append(batch.inputs.values.numpy().tobytes())
            if n == stop:
                again = loader(part, BudgetSampler(part.lengths, budget=50, seed=3), workers)
                again.load_state_dict(loaded.state_dict())
                return found + [batch.inputs.values.numpy().tobytes() for batch in again]
        return found

    whole = batches(0)
    assert len(whole) > 3
    assert batches(0, stop=2) == whole
    assert batches(1) == whole


def test_a_broken_file_in_the_middle_of_a_folder_is_named(tmp_path: Path) -> None:
    root = sounds(tmp_path, each=4)
    (root / "up" / "2.wav").write_bytes(b"RIFF")
    reader = Sounds(str(root))
    encoding = reader.fit()

    def read() -> None:
        for name in PARTS:
            reader.part(name, encoding)  # type: ignore[arg-type]

    with pytest.raises(InputError, match=r"up/2\.wav cannot be read as sound"):
        read()
    with pytest.raises(InputError, match=r"up/2\.wav cannot be read as sound"):
        reader.inputs([str(root)], encoding)
    noisy = Sounds(str(sounds(tmp_path / "good")), noise=Noise(str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match=r"nowhere is not a folder"):
        noisy.training(encoding)


def test_one_sound_for_each_label_is_too_little(tmp_path: Path) -> None:
    reader = Sounds(str(sounds(tmp_path, each=1)))
    with pytest.raises(InputError, match=r"has no sound in the validation part, expected at least one: .* 3 sounds"):
        reader.part("validation", reader.fit())
