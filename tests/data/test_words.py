"""Words in any script: where they end, and in which form they are looked up."""

import gzip
import io
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.conllu import read_conllu
from regard.data.encoding import Encoding
from regard.data.text import Conllu, Texts
from regard.data.words import SEGMENTATION, folded, tokenize
from regard.vectors.corpus import tokenizer
from regard.vectors.words import WordVectors

# Words of sentences as treebanks cut them.
CUT = {
    "Hindi": "यह एक हिन्दी वाक्य है , और क्‍ष भी । डॉ. सिंह",
    "Tamil": "தமிழ் மொழி மிகவும் பழமையானது . இது ஒரு வாக்கியம் !",
    "Arabic with short vowels": "ذَهَبَ الوَلَدُ إِلَى المَدْرَسَةِ ، كِتَابٌ",
    "Hebrew with points": "שָׁלוֹם עֲלֵיכֶם !",
    "Persian with joiners": "می‌خواهم کتاب‌ها را . خانه‌",
    "Thai": "ที่ นี่ ไม่ มี น้ำ",
    "Burmese": "မြန်မာ ဘာသာ ။",
    "Khmer": "ភាសា ខ្មែរ ។",
    "Bengali, whose letters have no composed form": "বাংলা ভাষায় হয়",
    "Korean in single letters": unicodedata.normalize("NFD", "한국어 문장"),
    "Vietnamese, decomposed": unicodedata.normalize("NFD", "Tiếng Việt rất đẹp ."),
    "French, decomposed": unicodedata.normalize("NFD", "l'été à la crème brûlée , où ?"),
    "emoji": "👨‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️ 1️⃣ 🏴‍☠️ 🏳️‍🌈 🤷🏽‍♀️",
    "German": "Die Straße ist z.B. schön , oder ?",
    "a mark by itself": "\u0301 \u0301\u0301 ि ा",
    "directions": "\u200fשלום\u200f ; \u200eabc\u200e",
}


@pytest.mark.parametrize("name", CUT)
def test_text_that_is_cut_already_stays_as_it_is(name: str) -> None:
    assert tokenize(CUT[name]) == tuple(CUT[name].split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(हिन्दी)।", ("(", "हिन्दी", ")", "।")),
        ("cafe\u0301!", ("cafe\u0301", "!")),
        ("“e\u0301te\u0301”...", ("“", "e\u0301te\u0301", "”", "...")),
        ("Zoe\u0308's", ("Zoe\u0308", "'s")),
        ("x\u0302's", ("x\u0302", "'s")),
        ("É.U.", ("É.U.",)),
        (unicodedata.normalize("NFD", "É.U."), (unicodedata.normalize("NFD", "É.U."),)),
        ("எம்.ஜி.ஆர்.", ("எம்.ஜி.ஆர்.",)),
        ("(एम.ए.)", ("(", "एम.ए.", ")")),
        ("அது.", ("அது", ".")),
        ("été.été.", ("été.été", ".")),
        ("good👍🏽!!", ("good", "👍🏽", "!!")),
        ("👨‍👩‍👧👨‍👩‍👧", ("👨‍👩‍👧👨‍👩‍👧",)),
        ("🇩🇪🇫🇷", ("🇩🇪", "🇫🇷")),
        ("❤️❤️.", ("❤️❤️", ".")),
        ("كِتَابٌ،", ("كِتَابٌ", "،")),
        ("हिन्दी\u200d.", ("हिन्दी\u200d", ".")),
    ],
)
def test_marks_belong_to_the_character_before_them(text: str, words: tuple[str, ...]) -> None:
    assert tokenize(text) == words


@given(st.text(st.sampled_from("abé1_'’.,!?()m\u0301\u093f\u200d\u200c👍🏽🇩❤\ufe0f हि")))
def test_nothing_is_lost_and_composition_moves_no_end(text: str) -> None:
    assert "".join(tokenize(text)) == "".join(text.split())
    composed = unicodedata.normalize("NFC", text)
    assert [unicodedata.normalize("NFC", word) for word in tokenize(text)] == list(tokenize(composed))


def test_the_rule_of_the_first_runs() -> None:
    """They took vowel signs at a word's end for punctuation; text without marks was cut as today."""
    assert tokenize("हिन्दी भाषा", 0) == ("हिन्द", "ी", "भाष", "ा")
    text = "\"Isn't it (so) ...\" we'll say: 3.5% e.g. l'été …' U.S. Mr. É.U. Straße!"
    assert tokenize(text, 0) == tokenize(text)
    assert folded("E\u0301", True, 0) == "e\u0301"


@pytest.mark.skipif(not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data")
def test_published_english_and_german_are_cut_as_before() -> None:
    folder = Path(os.environ["REGARD_DATA"]) / "multi30k"
    lines = [
        line
        for path in sorted(folder.rglob("*"))
        if path.suffix == ".gz" and path.name.split(".")[-2] in ("en", "de")
        for line in gzip.decompress(path.read_bytes()).decode().split("\n")[:2000]
    ]
    assert len(lines) > 2000
    assert all(tokenize(line) == tokenize(line, 0) for line in lines)


def row(index: int, form: str, label: str) -> str:
    return "\t".join([str(index), form, "_", label, "_", "_", "0", "root", "_", "_"]) + "\n"


def treebank(folder: Path, *words: str) -> Conllu:
    text = "".join(row(n, word, "NOUN" if n % 2 else "VERB") for n, word in enumerate(words, 1)) + "\n"
    for part in ("train", "dev", "test"):
        (folder / f"x-{part}.conllu").write_text(text, "utf-8")
    return Conllu(str(folder), minimum_count=1)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_treebank_knows_its_words_however_they_are_composed(tmp_path: Path, form: str) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    words = ["été", "Zoë", "हिन्दी", "ড়", "Việt"]
    reader = treebank(tmp_path, *(unicodedata.normalize(form, word) for word in words))  # type: ignore[arg-type]
    encoding = reader.fit()
    assert encoding.segmentation == SEGMENTATION
    own = reader.part("train", encoding)[0]
    assert own.tokens == tuple(unicodedata.normalize(form, word) for word in words)  # type: ignore[arg-type]
    text = unicodedata.normalize(other, " ".join(words))  # type: ignore[arg-type]
    (tmp_path / "text.txt").write_text(text, "utf-8")
    for found in (
        reader.example(text, encoding),
        reader.example(text.split(), encoding),
        reader.inputs([str(tmp_path / "text.txt")], encoding)[0],
        next(iter(reader.stream(io.BytesIO(text.encode() + b"\n"), encoding)))[0],
    ):
        assert found.tokens == tuple(text.split())
        assert found.values.tolist() == own.values.tolist()
        assert 0 not in found.values
        assert [each.tolist() for each in found.inner or ()] == [each.tolist() for each in own.inner or ()]


@pytest.mark.parametrize("tokens", ["words", "characters", "bytes", "bpe", "unigram"])
def test_texts_are_the_same_however_they_are_composed(tmp_path: Path, tokens: str) -> None:
    lines = [f"{('good', 'bad')[n % 2]} un été très हिन्दी {'étonnant' if n % 2 else 'Çà'} {n % 3}" for n in range(40)]
    (tmp_path / "data.txt").write_text("\n".join(lines), "utf-8")
    reader = Texts(str(tmp_path / "data.txt"), tokens=tokens, minimum_count=1, vocabulary=60)  # type: ignore[arg-type]
    encoding = reader.fit()
    text = "un été très हिन्दी étonnant Çà"
    composed, decomposed = (
        reader.example(unicodedata.normalize(form, text), encoding).values.tolist()  # type: ignore[arg-type]
        for form in ("NFC", "NFD")
    )
    assert composed == decomposed
    assert 0 not in composed


def test_a_run_from_before_keeps_its_words(tmp_path: Path) -> None:
    reader = treebank(tmp_path, "हिन्द", "ी", "e\u0301te", "\u0301")
    new = reader.fit()
    new.save(tmp_path)
    assert Encoding.load(tmp_path) == new
    before = replace(new, columns={"word": ("<unknown>", "हिन्द", "ी", "e\u0301te", "\u0301")}, segmentation=0)
    before.save(tmp_path)
    assert "segmentation" not in (tmp_path / "encoding.json").read_text("utf-8")
    before = Encoding.load(tmp_path)
    assert before.segmentation == 0
    assert reader.example("हिन्दी e\u0301te\u0301", before).values.tolist() == [1, 2, 3, 4]
    assert reader.example("हिन्दी", new).values.tolist() == [0]


def test_word_vectors_have_the_same_words() -> None:
    cut = tokenizer("words")
    for text in ("हिन्दी भाषा तमिल", "كِتَابٌ مدرسة", "می‌خواهم", "été straße", "ที่ น้ำ"):
        assert cut(text) == text.split()
        assert cut(unicodedata.normalize("NFD", text)) == text.split()
    assert cut("❤️ 👍🏽 \u0301 ok") == ["ok"]
    assert cut("葛\U000e0100飾") == ["葛\U000e0100", "飾"]
    assert tokenizer("spaces")("E\u0301te\u0301, oui") == ["Été,", "oui"]


def test_word_vectors_are_found_however_words_are_composed() -> None:
    vectors = WordVectors(["e\u0301te\u0301", "Zoë", "zoe\u0308", "a\u030a"], np.eye(4))
    assert [vectors.find(word) for word in ("été", "Été", "e\u0301te\u0301", "Zoe\u0308", "ZOË", "å", "a")] == [
        0, 0, 0, 1, 2, 3, None,
    ]  # fmt: skip


def test_a_treebank_of_many_scripts_survives_being_joined(tmp_path: Path) -> None:
    for name, text in CUT.items():
        words = text.split()
        path = tmp_path / f"{name}.conllu"
        path.write_text("".join(row(n, word, "X") for n, word in enumerate(words, 1)), "utf-8")
        (sentence,) = read_conllu(path)
        assert tokenize(" ".join(sentence.words)) == sentence.words
