"""The rows beside a transcription: rates of errors, and the sentence that is nearest to all."""

from benchmarks.transcription import nearest, rates


def test_rates_are_of_all_texts_together():
    assert rates(["ab c", "x"], ["ab d", "x y z"]) == {"character error": 0.5556, "word error": 0.6}


def test_the_nearest_text_needs_the_fewest_edits():
    assert nearest(["aaaa", "aabb", "bbbb", "abab"]) == "aabb"
