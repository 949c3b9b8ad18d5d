"""Any file, any rate and any channels become samples at 16 kHz; what cannot is told in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import noise, tone, write

from regard.data.features import count_frames, log_mel
from regard.data.sound import RATE, Resampler, read_header, read_sound, read_span, sound_files
from regard.errors import InputError


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
    assert sound_files(tmp_path) == [path]


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_any_rate_and_stereo_sound_alike(tmp_path: Path, rate: int) -> None:
    mono = log_mel(write(tmp_path / "a.wav", tone(1000)))
    samples = tone(1000, rate=rate)
    stereo = np.stack([1.5 * samples, 0.5 * samples], 1)
    other = log_mel(write(tmp_path / "b.flac", stereo, rate))
    assert other.shape == mono.shape
    loud = mono[50] > mono[50].max() - 8
    np.testing.assert_allclose(other[10:-10, loud], mono[10:-10, loud], atol=0.1)


@pytest.mark.parametrize("channels", [1, 2, 3, 9])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_long_file_is_read_piece_by_piece_as_a_whole(tmp_path: Path, rate: int, channels: int) -> None:
    samples = noise(300_000, channels=channels)
    path = write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    mono = sum(samples[:, c] for c in range(channels)) / np.float32(channels)
    np.testing.assert_array_equal(read_sound(path), mono if rate == RATE else soxr.resample(mono, rate, RATE))


@settings(max_examples=40)
@given(
    st.sampled_from([8_000, 11_025, 16_000, 44_100, 96_000, 12_345.5]),
    st.integers(1, 3),
    st.lists(st.integers(0, 5000), max_size=8),
)
def test_where_a_stream_is_cut_does_not_matter(rate: float, channels: int, cuts: list[int]) -> None:
    samples = noise(5000, channels=channels)

    def joined(chunks: list[np.ndarray]) -> np.ndarray:
        stream = Resampler(rate, channels)
        return np.concatenate([*map(stream.accept, chunks), stream.finish()])

    np.testing.assert_array_equal(joined(np.split(samples, sorted(cuts))), joined([samples]))


def test_a_stream_refuses_what_it_was_not_told_of() -> None:
    with pytest.raises(InputError, match=r"the stream has samples \[5\], expected \[samples, 2\]"):
        Resampler(channels=2).accept(np.zeros(5))
    stream = Resampler()
    stream.accept(np.ones(7))
    with pytest.raises(InputError, match="the stream has a sample 9 that is not a finite number"):
        stream.accept(np.array([0, 0, np.inf]))
    with pytest.raises(InputError, match="has 1 samples per second, expected between 1,000 and 1,000,000"):
        Resampler(1)
    with pytest.raises(InputError, match="has 0 channels"):
        Resampler(channels=0)


def test_bad_sounds_are_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.flac", noise(16_000)).read_bytes()
    (tmp_path / "truncated.flac").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not a sound")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(1000))
    (tmp_path / "samples.raw").write_bytes(bytes(1000))
    write(tmp_path / "none.wav", np.zeros(0))
    write(tmp_path / "short.wav", tone(440)[:79])
    write(tmp_path / "nan.wav", np.array([0.0] * 500 + [np.nan]), subtype="FLOAT")
    write(tmp_path / "late.wav", np.concatenate([noise(300_000), [np.nan]]), 8000, subtype="FLOAT")
    write(tmp_path / "silent.wav", np.zeros((16_000, 2)))
    write(tmp_path / "constant.wav", np.full(16_000, 0.25))
    write(tmp_path / "slow.wav", noise(100), 1)
    for name, sentence in (
        ("truncated.flac", "cannot be read as sound: .*lost sync"),
        ("empty.wav", "cannot be read as sound: it is empty"),
        ("text.wav", "cannot be read as sound: .*not recognised"),
        ("film.mp4", "cannot be read as sound: .*not recognised"),
        ("samples.raw", "holds raw samples, expected a format that says its rate"),
        ("none.wav", "has no samples"),
        ("short.wav", "has 79 samples at 16 kHz, expected at least 80"),
        ("nan.wav", "has a sample 500 that is not a finite number"),
        ("late.wav", "has a sample 300000 that is not a finite number"),
        ("silent.wav", "is silent: all its 16000 samples are 0, expected sound"),
        ("constant.wav", "is silent: all its 16000 samples are 0.25, expected sound"),
        ("slow.wav", "has 1 samples per second, expected between 1,000 and 1,000,000"),
        ("nowhere.wav", "is not there"),
    ):
        with pytest.raises(InputError, match=sentence) as caught:
            log_mel(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert read_header(tmp_path / "silent.wav").channels == 2


def test_clipped_and_tiny_sounds_are_sounds(tmp_path: Path) -> None:
    clipped = log_mel(write(tmp_path / "clipped.wav", np.clip(100 * tone(440), -1, 1)))
    assert np.isfinite(clipped).all()
    assert len(log_mel(write(tmp_path / "50 ms.wav", noise(800)))) == 5


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_span_is_read_from_its_place_and_repeats_what_is_short(tmp_path: Path, rate: int) -> None:
    ramp = np.linspace(-0.9, 0.9, rate * 2, dtype=np.float32)
    path = write(tmp_path / "a.wav", ramp, rate, subtype="FLOAT")
    for start in (0.0, 0.5, 1.0):
        found = read_span(path, start, 8000)
        assert len(found) == 8000
        assert found[4000] == pytest.approx(-0.9 + 1.8 * (start * 0.75 + 0.125), abs=0.01)
    short = read_span(path, 0.25, 100_000)
    assert len(short) == 100_000
    np.testing.assert_array_equal(short[:32_000], short[32_000:64_000])
    assert short[0] == pytest.approx(-0.45, abs=0.01)


def test_folders_without_sounds_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        sound_files(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="has no sound file"):
        sound_files(tmp_path)


def test_a_file_that_does_not_know_its_length_takes_no_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1000))
    data = bytearray(path.read_bytes())
    data[40:44] = (0x7FFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    assert soundfile.info(path).frames >= 1000
    assert len(read_sound(path)) == 1000
