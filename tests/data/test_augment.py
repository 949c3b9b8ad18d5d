"""Variations of training sounds: each by its definition, each with draws of its own."""

from pathlib import Path

import numpy as np
import pytest
from recordings import noise, tone, write

from regard.data.augment import (
    Draws,
    Noise,
    Reverberation,
    SpecAugment,
    Speed,
    add_noise,
    change_speed,
    reverberate,
)
from regard.errors import InputError


def power(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).mean())


@pytest.mark.parametrize("snr", [-5, 0, 12.5])
def test_noise_has_the_ratio_asked_for(snr: float) -> None:
    speech, hiss = tone(440), 3 * noise(16_000)
    added = add_noise(speech, hiss, snr) - speech
    assert 10 * np.log10(power(speech) / power(added)) == pytest.approx(snr, abs=0.01)
    assert np.corrcoef(added, hiss)[0, 1] > 0.999


def test_silence_has_no_ratio() -> None:
    np.testing.assert_array_equal(add_noise(np.zeros(100, np.float32), noise(100), 5), np.zeros(100))
    np.testing.assert_array_equal(add_noise(noise(100), np.zeros(100, np.float32), 5), noise(100))
    np.testing.assert_array_equal(reverberate(np.zeros(100, np.float32), noise(10)), np.zeros(100))


def test_a_room_is_a_convolution_that_begins_at_its_peak() -> None:
    speech, response = noise(500), np.array([0.1, 0.0, 1.0, 0.5, -0.25], np.float32)
    heard = reverberate(speech, response)
    expected = np.convolve(speech, response)[2:502]
    np.testing.assert_allclose(heard, expected * np.sqrt(power(speech) / power(expected)), atol=1e-6)
    assert power(heard) == pytest.approx(power(speech), rel=1e-5)
    np.testing.assert_allclose(reverberate(speech, np.array([2.0], np.float32)), speech, atol=1e-7)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_changes_length_and_pitch(factor: float) -> None:
    changed = change_speed(tone(1000), factor)
    assert len(changed) == pytest.approx(16_000 / factor, abs=1)
    assert np.abs(np.fft.rfft(changed[1000:9000])).argmax() * 2 == pytest.approx(1000 * factor, abs=2)


def test_each_factor_is_drawn_as_often() -> None:
    speed = Speed((0.9, 1.0, 1.1))
    found = [speed.draw(Draws(0, 0, n)) for n in range(3000)]
    assert [found.count(factor) / 3000 for factor in speed.factors] == pytest.approx([1 / 3] * 3, abs=0.03)
    assert Speed().draw(Draws(0, 0, 0)) == 1
    assert (Speed().slowest, speed.slowest) == (1, 0.9)


def test_draws_depend_on_seed_epoch_and_index_and_kinds_do_not_share_them() -> None:
    def draw(kind: str, *where: int) -> float:
        return float(Draws(*where).of(kind).random())

    kinds = ("crop", "speed", "reverberation", "noise", "mask")
    assert draw("noise", 1, 2, 3) == draw("noise", 1, 2, 3)
    found = [draw(kind, *where) for kind in kinds for where in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)]]
    assert len(set(found)) == len(found)


def test_masks_cover_bands_and_frames_with_the_mean() -> None:
    mask = SpecAugment(time_masks=2, time_width=30, time_share=0.5, band_masks=1, band_width=8)
    widths = []
    for n in range(300):
        values = np.random.default_rng(n).normal(3, 1, (100, 40)).astype(np.float32)
        covered, mean = values.copy(), values.mean(0)
        mask.apply(covered, Draws(0, 0, n))
        hit = covered != values
        rows, bands = hit.all(1), hit.all(0)
        assert np.array_equal(hit, rows[:, None] | bands)
        assert rows.sum() <= 60
        assert bands.sum() <= 8
        assert np.diff(np.flatnonzero(bands)).max(initial=1) == 1
        np.testing.assert_array_equal(covered[rows], np.broadcast_to(mean, (rows.sum(), 40)))
        widths.append(int(bands.sum()))
    assert set(widths) == set(range(9))


def test_a_mask_covers_no_more_than_its_share() -> None:
    mask = SpecAugment(time_masks=1, time_width=100, time_share=0.2)
    for n in range(100):
        values = np.random.default_rng(n).normal(size=(10, 4)).astype(np.float32)
        covered = values.copy()
        mask.apply(covered, Draws(0, 0, n))
        assert (covered != values).all(1).sum() <= 2
    one = np.ones((1, 4), np.float32)
    SpecAugment(time_masks=1, time_share=1, band_masks=3, band_width=9).apply(one, Draws(0, 0, 0))
    np.testing.assert_array_equal(one, 1)


def test_folders_are_drawn_from(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / "deep" / f"{n}.flac", noise(8000, n), 8000)
    added = Noise(str(tmp_path), probability=0.5)
    files = added.files()
    assert [path.name for path in files] == ["0.flac", "1.flac", "2.flac"]
    speech = tone(440)
    found = [added.apply(speech, files, Draws(0, 0, n)) for n in range(200)]
    assert sum(np.array_equal(each, speech) for each in found) == pytest.approx(100, abs=25)
    ratios = [10 * np.log10(power(speech) / power(each - speech)) for each in found if not np.array_equal(each, speech)]
    assert 4.9 < min(ratios) < 7 < 18 < max(ratios) < 20.1
    rooms = Reverberation(str(tmp_path), probability=1)
    assert not np.array_equal(rooms.apply(speech, rooms.files(), Draws(0, 0, 0)), speech)
    assert Noise().files() == []
    assert Noise().apply(speech, [], Draws(0, 0, 0)) is speech


def test_bad_folders_and_numbers_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        Noise(str(tmp_path / "nowhere")).files()
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="void has no sound file"):
        Reverberation(str(tmp_path / "void")).files()
    write(tmp_path / "bad" / "a.wav", noise(100))
    (tmp_path / "bad" / "b.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"b\.wav cannot be read as sound"):
        Noise(str(tmp_path / "bad")).files()
    write(tmp_path / "none" / "a.wav", np.zeros(0))
    with pytest.raises(InputError, match=r"a\.wav has no samples"):
        Noise(str(tmp_path / "none")).files()
    for make, sentence in (
        (lambda: Noise(probability=2), r"data\.noise\.probability is 2, expected a number from 0 to 1"),
        (lambda: Noise(snr=(20, 5)), r"data\.noise\.snr is \[20, 5\], expected two decibels"),
        (lambda: Reverberation(probability=-1), r"data\.reverberation\.probability is -1"),
        (lambda: Speed((0.1,)), r"data\.speed\.factors has 0\.1, expected numbers from 0\.5 to 2"),
        (lambda: SpecAugment(time_masks=-1), r"data\.mask\.time_masks is -1"),
        (lambda: SpecAugment(time_share=2), r"data\.mask\.time_share is 2"),
    ):
        with pytest.raises(InputError, match=sentence):
            make()
