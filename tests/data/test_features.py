"""Log-mel features are Kaldi's, by a plain implementation of the definition; those of a stream are those of the file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import noise, pauses, tone, write

from regard.data.features import LogMelStream, count_frames, frames_of, log_mel, mel_frames, voiced_log_mel
from regard.data.sound import read_sound
from regard.data.voice import VoiceActivity
from regard.errors import InputError


def kaldi(samples: np.ndarray, mels: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and logarithms of energies, frame by frame, in float64."""
    samples = samples.astype(np.float64) * 32768
    bins = np.arange(256) * 16_000 / 512

    def mel(hertz: float | np.ndarray) -> np.ndarray:
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mel(20), mel(8000), mels + 2)
    up = (mel(bins)[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    down = (edges[2:] - mel(bins)[:, None]) / np.diff(edges)[1:]
    bank = np.clip(np.minimum(up, down), 0, None)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    features, energies = [], []
    for frame in range((len(samples) + 80) // 160):
        places = np.arange(frame * 160 - 120, frame * 160 + 280)
        while ((places < 0) | (places >= len(samples))).any():
            places = np.where(places < 0, -places - 1, places)
            places = np.where(places >= len(samples), 2 * len(samples) - 1 - places, places)
        cut = samples[places] - samples[places].mean()
        energies.append(np.log(max((cut**2).sum(), np.finfo(np.float32).eps)))
        emphasized = cut - 0.97 * np.concatenate([cut[:1], cut[:-1]])
        power = np.abs(np.fft.rfft(emphasized * window, 512)[:256]) ** 2
        features.append(np.log(np.maximum(power @ bank, np.finfo(np.float32).eps)))
    return np.array(features), np.array(energies)


@pytest.mark.parametrize("mels", [23, 40, 80])
@pytest.mark.parametrize("samples", [80, 239, 400, 8123])
def test_features_are_those_of_the_definition(mels: int, samples: int) -> None:
    sound = noise(samples) + tone(700)[:samples]
    features, energies = kaldi(sound, mels)
    stream = LogMelStream(mels)
    found = np.concatenate([stream.accept_with_energy(sound), stream.finish_with_energy()])
    np.testing.assert_allclose(found[:, 0], energies, atol=1e-4)
    np.testing.assert_allclose(found[:, 1:], features, atol=2e-3)
    np.testing.assert_array_equal(mel_frames(sound, mels), found[:, 1:])


def test_a_tone_is_loudest_in_its_band(tmp_path: Path) -> None:
    features = log_mel(write(tmp_path / "a.wav", tone(1000)), mels=40)
    assert features.shape == (100, 40)
    assert features.dtype == np.float32

    def mel(hertz: float) -> float:
        return 1127 * np.log1p(hertz / 700)

    centers = np.linspace(mel(20), mel(8000), 42)[1:-1]
    assert int(features[50].argmax()) == int(np.abs(centers - mel(1000)).argmin())


@pytest.mark.parametrize("samples", [80, 100, 399, 400, 16_001])
def test_the_header_tells_the_number_of_frames(tmp_path: Path, samples: int) -> None:
    path = write(tmp_path / "a.wav", tone(440, 2)[:samples])
    assert count_frames(path) == len(log_mel(path)) == frames_of(samples) == (samples + 80) // 160


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([(8_000, 1), (16_000, 1), (44_100, 2), (48_000, 1), (96_000, 2)]),
    st.integers(200, 6000),
    st.sampled_from([40, 80]),
    st.lists(st.integers(0, 6000), max_size=12),
)
def test_the_features_of_a_stream_are_those_of_the_file(
    tmp_path: Path, kind: tuple[int, int], samples: int, mels: int, cuts: list[int]
) -> None:
    rate, channels = kind
    samples = max(samples, rate // 100)
    sound = noise(samples, channels=channels)
    path = write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    stream = LogMelStream(mels, rate, channels)
    found = [*map(stream.accept, np.split(sound, sorted(cuts))), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(found), log_mel(path, mels))


def test_a_stream_gives_frames_as_soon_as_their_windows_are_full() -> None:
    stream = LogMelStream()
    counts = [len(stream.accept(noise(160))) for _ in range(10)]
    assert np.cumsum(counts).tolist() == [max(0, (160 * n - 280) // 160 + 1) for n in range(1, 11)]


def test_only_frames_with_voice_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", pauses(), subtype="FLOAT")
    whole, rule = log_mel(path), VoiceActivity(detect=True)
    found = voiced_log_mel(path, 40, rule)
    _, energies = kaldi(read_sound(path), 40)
    np.testing.assert_array_equal(found, whole[rule.voiced(energies)])
    assert len(found) == pytest.approx(150, abs=20)
    np.testing.assert_array_equal(voiced_log_mel(path, 40, VoiceActivity()), whole)


def test_a_sound_without_voice_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "hum.wav", 1e-4 * noise(16_000), subtype="FLOAT")
    with pytest.raises(InputError, match=r"hum\.wav has no voice in its 100 frames"):
        voiced_log_mel(path, 40, VoiceActivity(detect=True))
