"""Files of texts that were damaged at random, the same in every run: each is read, or refused in one sentence."""

import random
from pathlib import Path
from typing import Any

import pytest

from regard.data.text import Texts
from regard.errors import InputError

CASES = 400
ROWS = [("ab"[n % 2], f"text {n}", ("train", "dev", "test")[n % 3]) for n in range(40)]
FILES = {
    "own.csv": "text,label,split\n" + "".join(f'"{text}, ""so""",{label},{part}\n' for label, text, part in ROWS),
    "own.tsv": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for label, text, _ in ROWS),
    "own.jsonl": "".join(f'{{"text": "{text} \\u00e9", "label": "{label}"}}\n' for label, text, _ in ROWS),
    "own.txt": "".join(f"{label} {text}\n" for label, text, _ in ROWS),
    "own": "".join(f"{label}\t{text}\n" for label, text, _ in ROWS),
}
PIECES = [
    *(b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\0", b"\\", b'\\"', b"{", b"[", b"}", b"]", b" ", b"\x0b"),
    *(b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"\xc2\xa0", b"\xe2\x80\xa8"),
    *(
        b"null",
        b"NaN",
        b"1e999",
        b"label",
        b"text",
        b"sep=;\n",
        b"__label__",
        b"9" * 5000,
        b"[" * 3000,
        b'{"a":' * 3000,
    ),
]
OPTIONS: list[dict[str, Any]] = [
    *({}, {}, {}, {"encoding": "windows-1252"}, {"encoding": "utf-16"}, {"encoding": "gb18030"}),
    *({"separator": ";"}, {"separator": "tab"}, {"target": "number"}, {"target": "labels"}),
]


def damaged(draw: random.Random, name: str) -> bytes:
    content = bytearray(FILES[name].encode())
    for _ in range(draw.choice([1, 1, 2, 3, 8])):
        at, other = draw.randrange(len(content) + 1), draw.randrange(len(content) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            content[at:at] = draw.choice(PIECES)
        elif kind == 1:
            del content[at : at + draw.choice([1, 2, 10, 200])]
        elif kind == 2:
            content[at : at + 1] = draw.choice(PIECES)
        elif kind == 3:
            del content[at:]
        else:
            content[at:at] = content[other : other + draw.choice([1, 5, 50])]
        content = content or bytearray(b" ")
    form = draw.choice(["", "", "", "utf-16", "utf-16-le", "\r"])
    if form == "\r":
        return bytes(content).replace(b"\n", b"\r")
    return bytes(content).decode("utf-8", "replace").encode(form) if form else bytes(content)


@pytest.mark.parametrize("first", range(0, CASES, 50))
def test_damaged_files_are_read_or_refused_in_one_sentence(first: int, tmp_path: Path) -> None:
    read, sentences = 0, []
    for case in range(first, first + 50):
        draw = random.Random(case)
        name = draw.choice(list(FILES))
        path = tmp_path / name
        path.write_bytes(damaged(draw, name))
        try:
            reader = Texts(str(path), **draw.choice(OPTIONS))
            encoding = reader.fit()
            for part in ("train", "validation", "test"):
                reader.part(part, encoding)
            assert len(reader.survey().brief()) >= 2
            read += 1
        except InputError as error:
            sentences.append(str(error))
    assert read > 5
    assert len(sentences) > 5
    for sentence in sentences:
        assert sentence.isprintable()
        assert 20 < len(sentence) < 1600
