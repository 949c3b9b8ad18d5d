"""A file of the page: small, and with the very numbers that the page would be answered."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from benchmarks.inspector import questions_of
from regard.data.examples import Example
from regard.inspector.page.offline import canonical, offline_page
from tests.inspector.test_inspection import a_run, asking


def held(page):
    """The answers that a file holds, and all their numbers."""
    text = re.search(r'id="answers">([^<]*)<', page)[1]
    unpacked = gzip.decompress(base64.b64decode(text))
    end = 4 + int.from_bytes(unpacked[:4], "little")
    numbers = np.frombuffer(unpacked[end:], np.uint8).reshape(4, -1).T.tobytes()
    return json.loads(unpacked[4:end]), numbers


def test_a_sentence_of_64_words_takes_less_than_two_megabytes():
    questions = questions_of(64, 4, 4)
    asked = list(questions.all())
    assert sum(each["ask"] == "step" for each in asked) == 4 * 4 * 64
    assert len(offline_page(questions, asked).encode()) < 2_000_000


@pytest.mark.parametrize("side", [1, 3])
def test_arrays_of_bytes_and_of_numbers_stand_there_unchanged_and_once(side):
    values = np.random.default_rng(2).random((3, side * side)).astype(np.float32)
    coords = np.stack((np.zeros(3), np.arange(3)), 1).astype(np.float32)
    questions = asking(a_run(width_in=side * side), Example(values, None, "a picture", coords=coords))
    answers, numbers = held(offline_page(questions, questions.all()))
    assert len(questions.answer({"ask": "place"}).buffers[0]) % 4
    arrays = set()
    for question in questions.all():
        answer, found = questions.answer(question), answers[canonical(question)]
        assert found["content"] == json.loads(json.dumps(answer.content))
        assert [numbers[first:end] for first, end in found["buffers"]] == list(answer.buffers)
        arrays |= set(answer.buffers)
    assert len(numbers) == sum(len(each) + -len(each) % 4 for each in arrays)
