"""A recording means the same at any level: what is learned from it, and what is said of it, does not depend on a gain."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import noise, pauses, sounds, tone

from regard.data.encoding import Encoding
from regard.data.features import mel_frames
from regard.data.frames import Framing, RunningLevel
from regard.data.speech import Sounds
from regard.data.voice import VoiceActivity
from regard.recipes import RECIPES, recipe
from regard.train import from_yaml, to_yaml

INDIFFERENT = ["level", "running", "utterance"]


def speech(seed: int = 0) -> np.ndarray:
    """Noise whose loudness and color change, at a level as people record."""
    generator = np.random.default_rng(seed)
    loudness = np.repeat(np.exp(generator.normal(-3, 1, 40)), 400)
    return (loudness * (generator.normal(0, 1, 16_000) + 3 * tone(200 + 100 * seed))).astype(np.float32) * 0.3


def normalized(samples: np.ndarray, normalize: str, bands: int = 40) -> np.ndarray:
    return Framing(bands, normalize=normalize).normalized(mel_frames(samples, bands))  # type: ignore[arg-type]


@pytest.mark.parametrize("normalize", INDIFFERENT)
@pytest.mark.parametrize("decibels", [-60, -30, -20, -12, -6, 6, 10, 40])
def test_a_gain_changes_nothing(normalize: str, decibels: float) -> None:
    samples = speech()
    louder = (10 ** (decibels / 20) * samples).astype(np.float32)
    assert np.abs(mel_frames(louder) - mel_frames(samples)).min() > 1, "the features themselves do change"
    np.testing.assert_allclose(normalized(louder, normalize), normalized(samples, normalize), atol=2e-3)


@pytest.mark.parametrize("decibels", [-30, -20, -12, -6, 6, 10])
def test_sixteen_bits_and_clipping_change_little(decibels: float) -> None:
    samples = speech()
    written = np.clip(np.round(10 ** (decibels / 20) * samples * 32768), -32768, 32767).astype(np.float32) / 32768
    found, expected = normalized(written, "level"), normalized(samples, "level")
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.15
    plain = mel_frames(written) - mel_frames(samples)
    assert np.sqrt(np.mean(plain**2)) > 0.6


@pytest.mark.parametrize("decibels", [-20, 10])
def test_digital_silence_moves_no_level(decibels: float) -> None:
    """The logarithm of nothing does not change with a gain; below 60 dB under the level nothing is told apart."""
    silence = np.zeros(8000, np.float32)
    samples = np.concatenate([silence, speech(), silence])
    louder = (10 ** (decibels / 20) * samples).astype(np.float32)
    found, expected = normalized(louder, "level"), normalized(samples, "level")
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert expected.min() == pytest.approx(np.log(1e-6), abs=1e-3)
    # The mean of logarithms does depend on it, which is why it is no measure of a level.
    assert np.abs(normalized(louder, "utterance") - normalized(samples, "utterance")).max() > 0.5


def test_the_level_is_the_mean_energy_of_frames_and_bands() -> None:
    energies = np.array([[1.0, 3.0], [4.0, 8.0]])
    found = Framing(2, normalize="level").normalized(np.log(energies).astype(np.float32))
    np.testing.assert_allclose(found, np.log(energies / 4 + 1e-6), atol=1e-6)
    # Up to each frame: 2, then (2 + 6) / 2.
    found = Framing(2, normalize="running").normalized(np.log(energies).astype(np.float32))
    np.testing.assert_allclose(found, np.log(energies / [[2], [4]] + 1e-6), atol=1e-6)


def test_a_running_level_forgets() -> None:
    frames = np.zeros((2000, 3), np.float32)
    frames[1000:] = 5
    found = RunningLevel().accept(frames)
    assert found[999] == pytest.approx(0, abs=1e-4)
    assert found[1000].min() > 4
    assert found[-1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("normalize", ["level", "running"])
@pytest.mark.parametrize("value", [-15.9, -800.0, 0.0, 800.0])
def test_frames_of_one_value_are_finite(normalize: str, value: float) -> None:
    found = Framing(3, normalize=normalize).normalized(np.full((50, 3), value, np.float32))  # type: ignore[arg-type]
    assert np.isfinite(found).all()


@settings(max_examples=30)
@given(st.lists(st.integers(0, 16_000), max_size=6))
def test_a_stream_has_the_running_level_of_the_whole(cuts: list[int]) -> None:
    reader = Sounds("nowhere", normalize="running", mels=20)
    encoding = Encoding(width=20)
    stream = reader.live(encoding)
    samples = speech()
    found = np.concatenate([*map(stream.accept, np.split(samples, sorted(cuts))), stream.finish()])
    np.testing.assert_array_equal(found, reader.example(samples, encoding).values)


def test_a_rule_for_voice_that_scales_with_the_mean_does_not_depend_on_the_level() -> None:
    energies = np.random.default_rng(0).normal(15, 4, 300)
    rule = VoiceActivity(threshold=-1, mean_scale=1)
    assert 0 < rule.voiced(energies).mean() < 1
    for shift in (-7.0, 2.3):
        np.testing.assert_array_equal(rule.voiced(energies + shift), rule.voiced(energies))


@pytest.mark.parametrize("name", [entry for entry in RECIPES if entry.startswith("speaker")])
def test_examples_of_the_recipes_do_not_depend_on_the_level(tmp_path: Path, name: str) -> None:
    reader = recipe(name).experiment().data
    assert isinstance(reader, Sounds)
    reader = Sounds(str(sounds(tmp_path, 4)), mels=reader.mels, normalize=reader.normalize, voice=reader.voice)
    encoding = reader.fit()
    samples = pauses() + noise(48_000, 2) * 1e-3
    expected = reader.example(samples, encoding).values
    for decibels in (-30, -12, 6, 10):
        found = reader.example((10 ** (decibels / 20) * samples).astype(np.float32), encoding).values
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_runs_that_were_trained_before_keep_what_they_subtract() -> None:
    experiment = recipe("speaker").experiment()
    assert isinstance(experiment.data, Sounds)
    before = replace(experiment, data=replace(experiment.data, normalize="none"))
    text = to_yaml(before)
    assert "  normalize: none\n" in text
    assert from_yaml(text) == before
    # Configurations that do not say it mean the mean of each band.
    older = from_yaml(text.replace("  normalize: none\n", "")).data
    assert isinstance(older, Sounds)
    assert older.normalize == "utterance"
