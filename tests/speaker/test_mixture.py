"""The mixture of Gaussians means what its docstring says, learns without labels, and its file is whole or refused."""

import stat
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.fft import dct
from scipy.stats import norm

from regard.errors import InputError
from regard.speaker.mixture import Mixture, _principal, _sounds
from regard.speaker.vectors import cosines, unit

BANDS = 6


def voice(number, recordings, frames=120):
    """Recordings of a voice that says each of three sounds in its own way."""
    own = np.random.default_rng(number).normal(0, 0.4, (3, BANDS))
    sounds = np.random.default_rng(1000).normal(0, 3, (3, BANDS))
    for n in range(recordings):
        draw = np.random.default_rng([number, n])
        said = np.repeat(draw.integers(0, 3, frames // 10), 10)
        yield (sounds + own)[said] + draw.normal(0, 0.5, (frames, BANDS))


@pytest.fixture(scope="module")
def learned():
    return Mixture.of([x for number in range(20) for x in voice(number, 4)], components=6, width=30)


def test_a_vector_is_what_the_formula_says(learned):
    frames = next(voice(50, 1))[:9]
    cepstra = [dct(frame, norm="ortho") for frame in frames]
    inside = [cepstra[min(max(t, 0), 8)] for t in range(-2, 11)]
    x = [
        np.concatenate([cepstra[t], sum(k * (inside[t + 2 + k] - inside[t + 2 - k]) for k in (1, 2)) / 10])
        for t in range(9)
    ]
    np.testing.assert_allclose(_sounds(frames), x, atol=1e-12)
    w, mu, sigma = (np.float64(each) for each in (learned.weights, learned.means, learned.deviations))
    s = np.zeros(mu.shape)
    for k in range(6):
        likely = [[w[c] * np.prod(norm.pdf(each, mu[c], sigma[c])) for c in range(6)] for each in x]
        p = [each[k] / sum(each) for each in likely]
        s[k] = np.sqrt(w[k]) / (sum(p) + 2.0) * sum(a * (each - mu[k]) / sigma[k] for a, each in zip(p, x, strict=True))
    expected = (s.ravel() - learned.center) @ learned.directions
    np.testing.assert_allclose(learned(frames), expected, rtol=1e-4, atol=1e-5)


def test_voices_that_nobody_named_are_told_apart(learned):
    vectors = np.stack([learned(x) for number in range(100, 110) for x in voice(number, 3)])
    number = np.repeat(np.arange(10), 3)
    likeness = cosines(vectors, vectors) - 2 * np.eye(30)
    assert (number[likeness.argmax(1)] == number).mean() > 0.9


def test_little_that_was_heard_moves_little(learned):
    """The relevance holds the means where a recording is short; of a long one they come to lie where its frames are."""
    frames = np.concatenate(list(voice(60, 8)))
    heard = [np.linalg.norm(learned._moved(_sounds(frames[:n]))) for n in (1, 2, 4)]
    assert all(a < b for a, b in pairwise(heard))
    once, twice = (learned._moved(np.tile(_sounds(frames), (times, 1))) for times in (50, 100))
    np.testing.assert_allclose(once, twice, rtol=0.01, atol=1e-4)


def test_long_recordings_are_heard_in_pieces(learned, monkeypatch):
    x = next(voice(61, 1))
    whole = learned(x)
    monkeypatch.setattr("regard.speaker.mixture._TOGETHER", 50)
    np.testing.assert_allclose(learned(x), whole, rtol=1e-4, atol=1e-6)


def test_directions_are_those_of_the_most_variance():
    rows = np.random.default_rng(0).normal(size=(12, 40)) * np.linspace(0.1, 2, 40)
    center, directions = _principal(rows.copy(), 5)
    np.testing.assert_allclose(directions.T @ directions, np.eye(5), atol=1e-9)
    expected = np.linalg.svd(rows - rows.mean(0))[1][:5]
    np.testing.assert_allclose(np.linalg.norm((rows - center) @ directions, axis=0), expected)
    assert _principal(rows.copy(), 50)[1].shape == (40, 11)
    flat = rows[:, :3] @ np.random.default_rng(1).normal(size=(3, 40))
    assert _principal(flat, 50)[1].shape == (40, 3), "there are no more directions than rows differ in"
    with pytest.raises(InputError, match="12 recordings do not differ"):
        _principal(np.ones((12, 40)), 5)


def test_the_seed_decides_all(learned):
    recordings = [x for number in range(20) for x in voice(number, 4)]
    again, other = (Mixture.of(recordings, components=6, width=30, seed=seed) for seed in (0, 1))
    x = next(voice(70, 1))
    np.testing.assert_array_equal(again(x), learned(x))
    assert not np.allclose(abs(other(x)), abs(learned(x)))
    assert learned.width == 30


def test_frames_that_are_far_from_all_are_no_division_by_zero(learned):
    assert np.isfinite(learned(np.full((30, BANDS), 1e4))).all()
    assert np.isfinite(unit(learned(np.zeros((1, BANDS))))).all()


def test_a_file_of_it_is_whole_or_refused(learned, tmp_path):
    path, x = tmp_path / "mixture.safetensors", next(voice(80, 1))
    learned.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    np.testing.assert_array_equal(Mixture.read(path)(x), learned(x))
    whole = path.read_bytes()
    for broken in (b"", b"nothing", whole[:-8], whole[:40], whole.replace(b"center", b"centre")):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"mixture.safetensors is no whole mixture, expected what `regard speaker"):
            Mixture.read(path)
    for name, value in (("deviations", 0), ("weights", -1), ("means", np.nan)):
        altered = {name: np.full_like(getattr(learned, name), value)}
        with pytest.raises(InputError, match="the mixture's"):
            replace(learned, **altered)
    for altered in ({"relevance": -1.0}, {"relevance": float("nan")}, {"directions": learned.center}, {"bands": 5}):
        with pytest.raises(InputError, match="the mixture's"):
            replace(learned, **altered)


def test_two_mixtures_have_two_identities(learned):
    assert replace(learned).identity == learned.identity
    assert replace(learned, relevance=3.0).identity != learned.identity
    assert replace(learned, center=learned.center + 1).identity != learned.identity


@pytest.mark.parametrize(
    ("recordings", "components", "found"),
    [
        ([], 1, "0 recordings with 0 frames for a mixture of 1 Gaussians"),
        ([np.zeros((50, BANDS))], 1, "1 recordings with 50 frames"),
        ([np.zeros((20, BANDS))] * 3, 7, "3 recordings with 60 frames for a mixture of 7 Gaussians"),
        ([np.zeros((20, BANDS))] * 3, -1, "a mixture of -1 Gaussians"),
    ],
)
def test_too_little_to_learn_from_is_refused(recordings, components, found):
    with pytest.raises(InputError, match=found):
        Mixture.of(recordings, components)
