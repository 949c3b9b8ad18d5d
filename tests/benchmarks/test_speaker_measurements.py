"""What the measurements of voices and of long speech measure: that it is what it says, in small."""

import numpy as np
import pytest
import torch

from benchmarks import identify, long_speech
from regard.models.conformer import Conformer
from regard.models.encoder import Encoder
from regard.models.pieces import attention_of
from regard.recipes.speaker import speaker_boss


def test_a_store_of_drawn_voices_is_one_that_the_commands_read(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    voices = identify.untrained(speaker_boss(), tmp_path / "run", speakers=3)
    store = identify.enrolled(voices, tmp_path / "voices.db", 12)
    known, means = store.voices()
    assert known == [f"person {n:05}" for n in range(12)]
    for nearest in (0, 30):
        scores = identify.calibrated(voices, nearest).cohort.scores(means, means)
        assert scores.argmax(1).tolist() == list(range(12))
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    row = identify.measure(voices, store, tmp_path / "a.wav", 0, repeats=1)
    assert row["enrolled"] == 12
    assert row["scores"] == "cosines"
    assert row["whole command, s"] > sum(row["ms"].values()) / 1000
    joined = identify.mixed(voices)
    assert joined.identity == identify.Voices.open(tmp_path / "run").identity != voices.identity
    store = identify.enrolled(joined, tmp_path / "others.db", 5)
    row = identify.measure(joined, store, tmp_path / "a.wav", 20, repeats=1)
    assert row["width"] == voices.width + 200
    assert row["scores"] == "scores normalized by 20 of 1,000 recordings, within-class covariance normalized"


@pytest.mark.parametrize("model", [Conformer(), Encoder()])
def test_a_cut_model_differs_in_its_pattern_alone(model):
    assert long_speech.windowed(model, "") is model
    cut = long_speech.windowed(model, "Window(5, 3)")
    before, after = attention_of(model.attention), attention_of(cut.attention)
    assert (after.bias, after.score, after.normalizer) == (before.bias, before.score, before.normalizer)
    assert repr(after.pattern) == "Window(left=5, right=3)"


@pytest.mark.parametrize("name", long_speech.MODELS)
def test_a_wide_window_and_a_stream_give_what_is_full(name):
    """On a sound that is shorter than the window the two are the same; a stream's mean is that of the vectors."""
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(90, 40)).astype(np.float32))
    full, took = long_speech.embed_once(name, "", values, False)
    wide, _ = long_speech.embed_once(name, "Window(90, 90)", values, False)
    torch.testing.assert_close(wide, full, rtol=1e-4, atol=1e-5)
    assert took["seconds"] > 0
    narrow, _ = long_speech.embed_once(name, "Window(2, 2)", values, True)
    assert narrow.isfinite().all()


def test_a_gain_is_rounded_to_sixteen_bits_and_clipped():
    from benchmarks.speaker_levels import crossed, gained

    found = gained(np.array([0.25, 0.6, -0.9, 1.2e-5], np.float32), 20 * np.log10(2))
    np.testing.assert_array_equal(found, np.array([0.5, 32767 / 32768, -1, 1 / 32768], np.float32))
    one, other = np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([[0.0, 1], [1, 0], [1, -1]])
    trials = crossed(one, other, np.array(["a", "b", "a"]))
    np.testing.assert_allclose(trials.scores, [1, np.sqrt(0.5), -np.sqrt(0.5)], atol=1e-12)
    assert trials.targets.tolist() == [False, True, False]
