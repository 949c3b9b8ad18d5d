"""The page as one file that needs nothing else: the module and the answers to what the page will ask stand in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from regard.errors import InputError
from regard.inspector.answering import Answering
from regard.inspector.page.frames import MODULE, script

__all__ = ["canonical", "offline_page", "planes"]

_LARGEST = 64 << 20  # bytes of answers
_WIDE = 4  # bytes of a number


def canonical(question: Mapping[str, Any]) -> str:
    """The text of a question that the page makes too: keys in order, without blanks.

    >>> canonical({"layer": 0, "ask": "matrix"})
    '{"ask":"matrix","layer":0}'
    """
    return json.dumps(question, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def planes(numbers: bytes) -> bytes:
    """The first bytes of all numbers, then the second ones, and so on, because signs and exponents pack well side by side.

    >>> planes(b"abcdABCD")
    b'aAbBcCdD'
    """
    return np.frombuffer(numbers, np.uint8).reshape(-1, _WIDE).T.tobytes()


def offline_page(questions: Answering, asked: Iterable[Mapping[str, Any]]) -> str:
    """An HTML file that answers what is asked.

    Raises:
        InputError: answers of more than 64 MiB.
    """
    answers: dict[str, dict[str, Any]] = {}
    places: dict[bytes, tuple[int, int]] = {}
    size = 0
    for question in asked:
        answer = questions.answer(question)
        for numbers in answer.buffers:
            # Heads of one layer read the same vectors: what is alike stands there once.
            if numbers not in places:
                places[numbers] = size, size + len(numbers)
                size += len(numbers) + -len(numbers) % _WIDE
        text = canonical(question)
        answers[text] = {"content": answer.content, "buffers": [places[numbers] for numbers in answer.buffers]}
        if size > _LARGEST:
            found = f"the weights take more than {_LARGEST >> 20} MiB"
            raise InputError(f"{found}, expected a shorter input, or --layer for one layer alone")
    head = json.dumps(answers, separators=(",", ":")).encode()
    numbers = b"".join(each + bytes(-len(each) % _WIDE) for each in places)
    packed = gzip.compress(len(head).to_bytes(4, "little") + head + planes(numbers), 6, mtime=0)
    bundle = script(MODULE)
    code, count = re.subn(r"export\s*\{\s*(\w+) as default\s*\};?\s*$", r"const inspector=\1;", bundle)
    assert count == 1, "the bundle ends in its one export"
    code = (code + script("hosts/offline.js")).replace("</script", "<\\/script")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; media-src data: blob:"
    policy = f"default-src 'none'; {allowed}"
    title = html.escape(f"{questions.name}: {questions.title}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<title>{title}</title><link rel="icon" href="data:,"></head><body><div id="page"></div>\n'
        f'<script type="application/octet-stream" id="answers">{base64.b64encode(packed).decode()}</script>\n'
        f'<script type="module">{code}</script></body></html>\n'
    )
