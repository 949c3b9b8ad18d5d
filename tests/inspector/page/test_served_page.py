"""The page is for whoever has its address, on this machine, and for no other page of the browser."""

import http.client
import json
import socket
import struct

import numpy as np
import pytest

from regard.errors import InputError
from regard.inspector.asked import Answer
from regard.inspector.page.frames import answered, framed, script
from regard.inspector.page.server import bound


def reply(address, method="GET", path="", body=None, **headers):
    _, _, host, token, _ = address.split("/")
    connection = http.client.HTTPConnection(host, timeout=30)
    path = path if path.startswith("/") else f"/{token}/{path}"
    connection.request(method, path, body, {name.title(): value for name, value in headers.items()})
    found = connection.getresponse()
    said = found.read()
    connection.close()
    return found, said


def test_a_question_is_answered_in_a_frame(served, questions):
    question = {"ask": "matrix", "layer": 1, "head": 1}
    found, said = reply(served, "POST", "ask", json.dumps({**question, "id": 7}))
    assert (found.status, found.headers["content-type"]) == (200, "application/octet-stream")
    (size,) = struct.unpack("<I", said[:4])
    head = json.loads(said[4 : 4 + size])
    expected = questions.answer(question)
    assert head["content"] == expected.content
    assert said[4 + size :] == b"".join(expected.buffers)
    assert np.isneginf(np.frombuffer(expected.buffers[0], "<f4").reshape(6, 6)[0, 1:]).all()


def test_the_page_and_its_module_are_given(served):
    found, said = reply(served)
    assert found.status == 200
    assert b"script" in said
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert reply(served, path="inspector.js")[1].decode() == script("inspector.js")


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", "/wrong/inspector.js", "../etc/passwd", "..%2f..%2fserver.py", "server.py"]
)
def test_nothing_else_is_there(served, path):
    found, said = reply(served, path=path)
    assert found.status == 404
    assert b"import" not in said


def test_only_the_token_opens_the_questions(served):
    assert reply(served, "POST", "/wrong/ask", b"{}")[0].status == 404


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "evil.example:80"}, {"origin": "http://evil.example"}, {"origin": "null"}],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_names_and_other_pages_are_refused(served, method, headers):
    found, said = reply(served, method, "ask" if method == "POST" else "", b"{}", **headers)
    assert (found.status, said) == (403, b"this address is for this machine alone\n")


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"{" + b" " * (1 << 16), 413, b"the question is too long"),
        (b"{]", 400, b"the question is no JSON"),
        (b"[" * 60_000, 400, b"the question is no JSON"),
        (b'"text"', 200, b"a question is of the type str, expected an object"),
        (b'{"ask": "secrets"}', 200, b"'secrets' was asked, expected one of overview"),
    ],
)
def test_bad_questions_get_a_sentence(served, body, status, sentence):
    found, said = reply(served, "POST", "ask", body)
    assert found.status == status
    assert sentence in said


def test_whoever_leaves_does_not_stop_the_others(served):
    _, _, host, token, _ = served.split("/")
    body = b'{"ask": "matrix"}'
    for _ in range(5):
        with socket.create_connection(tuple(host.split(":"))) as left:
            left.sendall(
                f"POST /{token}/ask HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            )
    assert reply(served, "POST", "ask", body)[0].status == 200


def test_a_port_in_use_is_refused():
    with bound(0) as taken, pytest.raises(InputError, match="which cannot be used: Address already in use; expected a"):
        bound(taken.getsockname()[1])
    with pytest.raises(InputError, match="--port is 70000, expected 0 to 65535"):
        bound(70_000)


def test_errors_are_answers():
    def asks(question):
        raise InputError(f"{question['ask']} is not there")

    assert answered(asks, {"ask": "it"}) == Answer({"error": "it is not there"})
    assert b'"lengths": [2, 0]}ab' in framed(Answer({}, (b"ab", b"")))
