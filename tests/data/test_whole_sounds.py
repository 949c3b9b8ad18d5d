"""A sound that was cut is refused in any format whose header says its length; nothing of a whole one is left out."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recordings import noise, tone, write

from regard.data import sound
from regard.data.features import count_frames, count_samples, log_mel
from regard.data.sound import Clip, read_header, read_sound
from regard.errors import InputError

# Formats whose header says how many samples there are, or whose last page or frame can be told.
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "IMA_ADPCM"),
    ("WAVEX", "FLOAT"),
    ("RF64", "PCM_24"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("SVX", "PCM_16"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("AU", "PCM_16"),
    ("NIST", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("VOC", "PCM_16"),
    ("AVR", "PCM_16"),
    ("MPC2K", "PCM_16"),
    ("MAT4", "PCM_16"),
]


def encoded(samples: np.ndarray, form: str, subtype: str | None = None, rate: int = 16_000, **options: object) -> bytes:
    file = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=form, **options) as target:  # type: ignore[arg-type]
        target.write(samples)
    return file.getvalue()


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.99])
def test_a_cut_file_is_refused(tmp_path: Path, form: str, subtype: str, share: float) -> None:
    content = encoded(noise(48_000), form, subtype)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.write_bytes(content)
    cut.write_bytes(content[: int(share * len(content))])
    # IMA ADPCM fills its last block.
    assert 48_000 <= len(read_sound(whole)) < 49_000
    for read in (read_sound, log_mel):
        with pytest.raises(InputError, match=r"breaks off|cannot be read as sound") as caught:
            read(cut)
        assert str(cut) in str(caught.value)
        assert "\n" not in str(caught.value)


def wav(samples: int = 16_000, order: str = "little") -> bytes:
    return encoded(noise(samples), "WAV", "PCM_16", endian=order.upper())


def patched(data: bytes, place: int, value: int, order: str = "little") -> bytes:
    return data[:place] + value.to_bytes(4, order) + data[place + 4 :]  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0xFFFFFFFF - 44, 0x7FFFF000, 0x80000000, 0x7FFFFFFF - 36, 0x7F000000])
@pytest.mark.parametrize("order", ["little", "big"])
def test_a_wav_that_came_through_a_pipe_is_read_to_its_end(size: int, order: str) -> None:
    content = wav(order=order)
    piped = patched(patched(content, 4, size, order), 40, size, order)
    np.testing.assert_array_equal(read_sound(Clip(piped, "piped")), read_sound(Clip(content, "whole")))


@pytest.mark.parametrize("missing", [1, 2, 1000, 31_000])
def test_a_wav_may_lack_nothing_that_it_promises(missing: int) -> None:
    with pytest.raises(
        InputError, match=rf"^a breaks off: it has {32_044 - missing:,} bytes, its header promises 32,044"
    ):
        read_sound(Clip(wav()[:-missing], "a"))
    with pytest.raises(InputError, match="a breaks off"):
        read_header(Clip(wav()[:-missing], "a"))


def test_only_the_samples_of_a_wav_count() -> None:
    content, expected = wav(), read_sound(Clip(wav(), "a"))
    listed = content[:36] + b"LIST\x06\0\0\0abcdef" + content[36:]
    for name, data in {
        "a list after the samples": content + b"LIST\x04\0\0\0abcd",
        "a list after the samples that is cut": content + b"LIST\x40\0\0\0abcd",
        "a list before the samples": listed,
        "zeros at the end": content + bytes(5000),
        "a tag at the end": content + b"TAG" + bytes(125),
        "a chunk of any size before": content[:12] + b"junk" + (4).to_bytes(4, "little") + b"abcd" + content[12:],
        "a wrong size of all": patched(content, 4, 100),
    }.items():
        np.testing.assert_array_equal(read_sound(Clip(data, name)), expected, err_msg=name)


def test_a_wav_whose_header_was_never_closed_is_refused_where_it_promises_less() -> None:
    with pytest.raises(
        InputError, match=r"a goes on after the 2,000 bytes of samples that its header promises, with 30,000 bytes"
    ):
        read_sound(Clip(patched(wav(), 40, 2000), "a"))


def test_an_odd_chunk_may_lack_its_padding() -> None:
    content = encoded(noise(1001), "WAV", "PCM_U8")
    unpadded = content[: 44 + 1001]
    assert len(read_sound(Clip(unpadded + b"LIST\x04\0\0\0abcd" * 200, "a"))) == 1001


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (24, 0, "its header has no possible rate"),
        (24, 1, "has 1 samples per second"),
        (24, 0x7FFFFFFF, "has 2,147,483,647 samples per second"),
        (22, 0x00100000, "Channel count is zero"),
        (22, 0x0010FFFF, "Too many channels"),
        (40, 0x10000000, "breaks off"),
        (16, 0xFFFFFF, "cannot be read as sound"),
    ],
)
def test_impossible_headers_are_told(place: int, value: int, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^a .*{sentence}"):
        read_sound(Clip(patched(wav(), place, value), "a"))


def varying(rate: int = 16_000, seconds: float = 6.0) -> np.ndarray:
    """A tone, which takes few bits, and then noise, which takes many."""
    half = round(rate * seconds / 2)
    return np.concatenate([tone(440, seconds / 2, rate)[:half], noise(half)])


def mp3(rate: int = 16_000, mode: str = "VARIABLE", samples: np.ndarray | None = None) -> bytes:
    samples = varying(rate) if samples is None else samples
    return encoded(samples, "MP3", "MPEG_LAYER_III", rate, bitrate_mode=mode, compression_level=0.2)


def without_index(data: bytes) -> bytes:
    """The frames after the first, which is the index."""
    mark = max(data.find(b"Xing", 0, 64), data.find(b"Info", 0, 64))
    assert mark > 0
    head = data[:2]
    return data[data.index(head, mark) :]


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT", "AVERAGE"])
@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
def test_an_mp3_without_an_index_is_read_to_its_end(tmp_path: Path, mode: str, rate: int) -> None:
    content = mp3(rate, mode)
    whole, bare = read_sound(Clip(content, "whole")), read_sound(Clip(without_index(content), "bare"))
    # The index also says how much silence the coder added, before and after.
    added = 3 * 1152 * 16_000 // rate
    assert len(whole) == pytest.approx(6 * 16_000, abs=2)
    assert len(whole) <= len(bare) <= len(whole) + added
    # The noise of the second half is there, to its end.
    assert np.abs(bare[-16_000:-added]).mean() == pytest.approx(np.abs(whole[-16_000:-added]).mean(), rel=0.05)
    path = tmp_path / "a.mp3"
    path.write_bytes(without_index(content))
    assert len(bare) <= count_samples(path) <= len(bare) + 1
    assert len(log_mel(path)) <= count_frames(path) <= len(log_mel(path)) + 1


@pytest.mark.parametrize("strip", [lambda data: data, without_index], ids=["index", "none"])
def test_mp3s_that_were_joined_are_read_to_the_end_of_the_last(strip: Callable[[bytes], bytes]) -> None:
    one = strip(mp3())
    single = len(read_sound(Clip(without_index(one) if b"Xing" in one[:64] else one, "one")))
    joined = read_sound(Clip(one + one, "joined"))
    # The second index is a frame of silence.
    assert single * 2 <= len(joined) <= single * 2 + 1152
    tagged = read_sound(Clip(one + b"TAG" + bytes(125) + one, "tagged"))
    assert len(tagged) == len(joined)


def test_tags_around_an_mp3_do_not_matter() -> None:
    content = without_index(mp3())
    expected = read_sound(Clip(content, "bare"))
    before, after = b"ID3\x03\0\0\0\0\x02\0" + b"\xff\xfb" * 128, b"TAG" + b"\xff" * 125
    for data in (before + content, content + after, before + content + after):
        np.testing.assert_array_equal(read_sound(Clip(data, "tagged")), expected)


@pytest.mark.parametrize("kept", [0.4, 0.9])
def test_an_mp3_is_cut_where_its_index_or_its_last_frame_says_so(kept: float) -> None:
    content = mp3()
    for data in (content, without_index(content)):
        with pytest.raises(InputError, match=r"a breaks off within its frame \d+"):
            read_sound(Clip(data[: int(kept * len(data)) | 1], "a"))
    starts = [n for n in range(len(content)) if content[n : n + 2] == content[:2]]
    with pytest.raises(InputError, match=r"a breaks off after [\d,]+ of the [\d,]+ frames that its index promises"):
        read_sound(Clip(content[: starts[len(starts) // 2]], "a"))


def test_an_mp3_with_other_bytes_in_between_is_refused() -> None:
    content = without_index(mp3())
    starts = [n for n in range(len(content)) if content[n : n + 2] == content[:2]]
    place = starts[len(starts) // 2]
    with pytest.raises(InputError, match=rf"a has 300 bytes at byte {place:,} that are no MPEG frame"):
        read_sound(Clip(content[:place] + b"\x12" * 300 + content[place:], "a"))


def test_a_flac_that_came_through_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    content = encoded(noise(300_000), "FLAC", "PCM_16")
    # The last 36 bits before the checksum of the samples say how many there are.
    piped = content[:21] + bytes([content[21] & 0xF0]) + bytes(4) + content[26:]
    path = tmp_path / "a.flac"
    path.write_bytes(piped)
    assert not read_header(path).known
    np.testing.assert_array_equal(read_sound(path), read_sound(Clip(content, "whole")))
    assert count_samples(path) == 300_000
    with pytest.raises(InputError, match="cannot be read as sound"):
        read_sound(Clip(piped[: len(piped) // 2], "a"))


def test_a_sound_has_a_longest_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write(tmp_path / "a.flac", noise(32_000))
    monkeypatch.setattr(sound, "LONGEST", 1)
    with pytest.raises(InputError, match=r"a.flac has 0.0 hours of sound, expected at most 0"):
        read_sound(whole)
    # One that does not say its length is refused once it goes on for too long.
    content = whole.read_bytes()
    with pytest.raises(InputError, match="hours of sound"):
        read_sound(Clip(content[:21] + bytes([content[21] & 0xF0]) + bytes(4) + content[26:], "piped"))


def test_a_header_of_25_hours_is_refused_unread() -> None:
    samples = 25 * 3600 * 8000
    content = encoded(noise(16_000), "FLAC", "PCM_16", 8000)
    long = content[:21] + bytes([content[21] & 0xF0]) + samples.to_bytes(4, "big") + content[26:]
    with pytest.raises(InputError, match=r"a has 25.0 hours of sound, expected at most 10"):
        read_sound(Clip(long, "a"))
    with pytest.raises(InputError, match="a breaks off"):
        read_sound(Clip(patched(encoded(noise(16_000), "WAV", "PCM_U8", 8000), 40, samples), "a"))


def test_many_channels_are_read_in_pieces() -> None:
    samples = noise(3000, channels=300)
    found = read_sound(Clip(encoded(samples, "WAV", "FLOAT"), "a"))
    np.testing.assert_allclose(found, samples.mean(1), atol=1e-6)


@pytest.mark.parametrize("data", [b"RIFF", b"OggS", b"OggS" + bytes(100), b"ID3", b"\xff\xfb", b"NIST_1A", b".snd", b"caff",
                                  b"riff" + bytes(36), b"FORM", b"fLaC", b"\xff" * 1000, b"ID3" + b"\x7f" * 50,
                                  b"RIFF\0\0\0\0WAVE" + bytes(100), b"RIFF\xff\xff\xff\xffWAVEdata"])  # fmt: skip
def test_beginnings_of_sounds_are_none(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^a (cannot be read as sound|breaks off)"):
        read_sound(Clip(data, "a"))


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no file, expected a sound file"):
        read_sound(tmp_path)


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
def test_altered_bytes_are_read_or_refused_in_a_sentence(form: str, subtype: str) -> None:
    """Bytes anywhere, or in the header, are others, and pieces are left out or put in."""
    whole, generator = encoded(noise(3000), form, subtype), np.random.default_rng(0)
    for n in range(24):
        data = bytearray(whole)
        place = int(generator.integers(len(data)))
        if n % 3 == 2:
            data[place : place + int(generator.integers(50))] = generator.bytes(int(generator.integers(50)))
        else:
            for other in generator.integers(len(data) if n % 3 else min(100, len(data)), size=5):
                data[other] = generator.integers(256)
        assert re.fullmatch("|a [^\n]+", refusal(Clip(bytes(data), "a")))


def refusal(clip: Clip) -> str:
    """The sentence that refuses a sound; empty where it is read."""
    try:
        read_sound(clip)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("size", [2**63 - 1, 2**64 - 1, 2**62, 23, 0])
def test_places_that_no_file_has_are_none(size: int) -> None:
    data = encoded(noise(3000), "W64", "PCM_16")
    refusal(Clip(data[:56] + size.to_bytes(8, "little") + data[64:], "a"))
    data = encoded(noise(3000), "CAF", "PCM_16")
    assert refusal(Clip(data[:12] + size.to_bytes(8, "big") + data[20:], "a")).startswith("a ")


@pytest.mark.parametrize("bits", [0x7F800001, 0x7FC00000, 0x7F800000, 0xFF800000])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_not_finite_are_told(bits: int, channels: int) -> None:
    """Signaling numbers too, which warn where they are computed with."""
    data = encoded(noise(1000, channels=channels), "WAV", "FLOAT")
    place = len(data) - 4 * channels * 10
    with pytest.raises(InputError, match=r"^a has a sample 990 that is not a finite number"):
        read_sound(Clip(patched(data, place, bits), "a"))
