import json
from collections import Counter

import numpy as np
import pytest

from regard.data.encoding import Encoding
from regard.data.tokenizer import UNKNOWN, clean, learn, tokenizer
from regard.errors import InputError

KINDS = ("words", "characters", "bytes", "bpe", "unigram")
TEXTS = [
    "low lower lowest, the newest widest show!",
    "我们喜欢这部电影。我们不喜欢那部电影。",
    "Это хороший фильм 😀 👩‍👩‍👧 ok",
    "lower the lowest slow show",
] * 5


def learned(kind, texts=TEXTS, size=0, minimum=1):
    columns, form = learn(kind, [clean(text, True) for text in texts], size, minimum)
    return Encoding(columns=columns, tokenizer=form)


def entries(encoding):
    (vocabulary,) = encoding.columns.values()
    return vocabulary


@pytest.mark.parametrize("kind", KINDS)
def test_ids_name_the_tokens_of_every_script(kind):
    encoding = learned(kind, size=120 if kind in ("bpe", "unigram") else 0)
    cut, names = tokenizer(kind, encoding), entries(encoding)
    assert names[0] == UNKNOWN
    assert len(set(names)) == len(names)
    for text in TEXTS:
        text = clean(text, True)
        ids = list(cut.ids(text))
        assert 0 not in ids
        assert [names[i] for i in ids] == list(cut.tokens(text))


@pytest.mark.parametrize("kind", ["characters", "bytes", "bpe", "unigram"])
def test_tokens_join_to_their_text(kind):
    cut = tokenizer(kind, learned(kind, size=120 if kind in ("bpe", "unigram") else 0))
    for text in TEXTS:
        text, tokens = clean(text, True), cut.tokens(clean(text, True))
        if kind == "bytes":
            assert bytes.fromhex("".join(tokens)).decode() == text
        else:
            joined = "".join(tokens).replace("▁", " ").strip()
            assert joined == text


def test_chinese_is_cut_into_characters_without_spaces():
    cut = tokenizer("characters", learned("characters"))
    assert list(cut.tokens("我们喜欢这部电影。")) == list("我们喜欢这部电影。")
    assert len(set(cut.ids("我们喜欢"))) == 4
    assert list(tokenizer("bytes", learned("bytes")).ids("我")) == [0xE6 + 1, 0x88 + 1, 0x91 + 1]


@pytest.mark.parametrize("kind", KINDS)
def test_empty_texts_have_no_tokens(kind):
    cut = tokenizer(kind, learned(kind, size=120 if kind in ("bpe", "unigram") else 0))
    assert (len(cut.ids("")), len(cut.tokens(""))) == (0, 0)
    if kind != "bytes":
        assert len(cut.ids(clean(" \n\t\x00\x7f ", True))) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_of_the_unknown_is_a_word_like_any_other(kind):
    texts = [f"a {UNKNOWN} b"] * 9
    encoding = learned(kind, texts, size=40 if kind in ("bpe", "unigram") else 0)
    assert 0 not in list(tokenizer(kind, encoding).ids(UNKNOWN))


@pytest.mark.parametrize("kind", ["words", "characters", "bpe", "unigram"])
def test_what_training_did_not_show_is_unknown(kind):
    encoding = learned(kind, size=120 if kind in ("bpe", "unigram") else 0)
    cut = tokenizer(kind, encoding)
    assert 0 in list(cut.ids("ж ω"))
    known = len(entries(encoding))
    for text in ("ﷺ", "a\u0301", "\U0010ffff", "x" * 5000):
        assert all(0 <= i < known for i in cut.ids(text))


def test_control_characters_are_white_space_to_all_but_bytes():
    assert tokenizer("words", learned("words")).tokens(clean("the\x00low\x1b show", False)) == ("the", "low", "show")
    assert [int(i) - 1 for i in tokenizer("bytes", learned("bytes")).ids("\x00\n\x7f")] == [0, 10, 127]


def test_vocabularies_hold_the_most_frequent_and_no_more():
    assert (
        entries(learned("words", size=4)) == (UNKNOWN, "lowest", "lower", "show")[:1] + entries(learned("words"))[1:4]
    )
    counts = Counter("".join(" ".join(clean(text, True).split()) for text in TEXTS))
    kept = entries(learned("characters", minimum=10))
    assert set(kept[1:]) == {c for c, count in counts.items() if count >= 10}
    assert [counts[c] for c in kept[1:]] == sorted((counts[c] for c in kept[1:]), reverse=True)
    assert len(entries(learned("bpe", size=100))) == 100
    assert len(entries(learned("unigram", size=80))) <= 80
    assert len(entries(learned("bytes"))) == 257


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_are_those_that_come_often(kind):
    words = [" ".join(["lower"] * 20 + ["lowest"] * 20 + ["newer"] * 20 + ["qz"])] * 20
    encoding = learned(kind, words, size=24)
    cut = tokenizer(kind, encoding)
    assert len(cut.tokens("lower lowest")) < len(cut.tokens("qz rw")) * 2
    assert len(cut.tokens("lowerlowest")) <= 7
    assert sum(len(piece) > 2 for piece in entries(encoding)) >= 3


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_what_cuts_pieces_is_saved_with_the_run(kind, tmp_path):
    encoding = learned(kind, size=120)
    encoding.save(tmp_path)
    loaded = Encoding.load(tmp_path)
    assert loaded == encoding
    for text in TEXTS:
        assert tokenizer(kind, loaded).ids(text) == tokenizer(kind, encoding).ids(text)
    rest = json.loads((tmp_path / "encoding.json").read_text())
    (tmp_path / "encoding.json").write_text(json.dumps(rest | {"tokenizer": "{}"}))
    with pytest.raises(InputError, match="was altered"):
        Encoding.load(tmp_path)


def test_learning_twice_gives_the_same_pieces():
    for kind in ("bpe", "unigram"):
        assert learned(kind, size=120) == learned(kind, size=120)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_vocabulary_without_room_for_the_characters_is_refused(kind):
    with pytest.raises(InputError, match=r"data\.vocabulary is 9, expected at least \d\d: the characters"):
        learned(kind, size=9)
    encoding = learned(kind, size=12, minimum=20)
    assert len(entries(encoding)) <= 12


def test_a_vocabulary_of_the_unknown_alone_is_refused():
    with pytest.raises(InputError, match=r"data\.vocabulary is 1, expected at least 2"):
        learned("words", size=1)


def test_an_encoding_of_other_tokens_is_refused():
    with pytest.raises(InputError, match="the encoding holds no words, expected"):
        tokenizer("words", learned("bytes"))
    with pytest.raises(InputError, match="holds no bpe"):
        tokenizer("bpe", learned("characters"))
    broken = Encoding(columns={"token": (UNKNOWN, "a")}, tokenizer="{")
    with pytest.raises(InputError, match="tokenizer cannot be read"):
        tokenizer("bpe", broken)


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_of_100_000_words(kind):
    encoding = learned(kind, size=120 if kind in ("bpe", "unigram") else 0)
    text = "lower the lowest show " * 25_000
    ids = np.array(tokenizer(kind, encoding).ids(text))
    assert len(ids) >= 100_000
    assert ids.max() < len(entries(encoding))
