"""The page served on the loopback: to whoever has the address with its random token, and to no other page of the browser."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from regard.errors import InputError
from regard.inspector.page.frames import MODULE, Asks, answered, framed, script

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

__all__ = ["bound", "make_app", "serve"]

LOOPBACK = "127.0.0.1"
_Reply = tuple[str, int, dict[str, str], str]
_LARGEST_QUESTION = 1 << 16  # bytes
_POLICY = "; ".join(
    [
        *("default-src 'none'", "script-src 'self'", "style-src 'unsafe-inline'", "connect-src 'self'"),
        *("img-src data: blob:", "media-src data: blob:", "base-uri 'none'", "form-action 'none'"),
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>regard inspect</title><link rel="icon" href="data:,"></head>
<body><div id="page"></div><script type="module" src="served.js"></script></body></html>
"""


def make_app(asks: Asks, token: str, hosts: frozenset[str]) -> FastAPI:
    """The application that answers questions.

    Args:
        asks: such as `Questions.answer`. token: without which nothing is there.
        hosts: that a request may name, with their port: a page of another name that leads here is refused.
    """
    try:
        from fastapi import FastAPI, Response
        from starlette.concurrency import run_in_threadpool
    except ImportError:
        needed = "pip install 'regard[inspect]', or --html for a file"
        raise InputError(f"the page needs the package fastapi, which cannot be imported here: {needed}") from None

    turn = asyncio.Lock()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    files = {
        "": ("text/html; charset=utf-8", _PAGE),
        "served.js": ("text/javascript; charset=utf-8", script("hosts/served.js")),
        MODULE: ("text/javascript; charset=utf-8", script(MODULE)),
    }

    async def page(request: Request) -> Response:
        if refused := _refused(request, token, hosts):
            return Response(*refused)
        name = request.path_params["name"]
        if name not in files:
            return Response(*_no(404, "nothing is here"))
        kind, text = files[name]
        return Response(text, 200, _HEADERS, kind)

    async def ask(request: Request) -> Response:
        if refused := _refused(request, token, hosts):
            return Response(*refused)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST_QUESTION:
                return Response(*_no(413, "the question is too long"))
        try:
            question: Any = json.loads(body)
        except (ValueError, RecursionError):
            return Response(*_no(400, "the question is no JSON"))
        if isinstance(question, dict):
            question.pop("id", None)
        async with turn:
            # For whoever has left meanwhile nothing is computed.
            if await request.is_disconnected():
                return Response(*_no(499, "nobody waits"))
            frame = await run_in_threadpool(lambda: framed(answered(asks, question)))
        return Response(frame, 200, _HEADERS, "application/octet-stream")

    app.add_route("/{given}/ask", ask, methods=["POST"])
    app.add_route("/{given}/{name:path}", page, methods=["GET"])
    return app


def _refused(request: Request, token: str, hosts: frozenset[str]) -> _Reply | None:
    """Why a request is not answered: it names another machine, comes from another page, or does not know the token."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if host not in hosts or (origin is not None and origin.removeprefix("http://") not in hosts):
        return _no(403, "this address is for this machine alone")
    if not secrets.compare_digest(request.path_params["given"].encode(), token.encode()):
        return _no(404, "nothing is here")
    return None


def _no(status: int, sentence: str) -> _Reply:
    return f"{sentence}\n", status, _HEADERS, "text/plain"


def bound(port: int) -> socket.socket:
    """A socket on the loopback that listens on a port, on a free one where it is 0.

    Raises:
        InputError: a port that is taken, or that may not be used.
    """
    if not 0 <= port < 1 << 16:
        raise InputError(f"--port is {port}, expected 0 to {(1 << 16) - 1}")
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((LOOPBACK, port))
        found.listen(16)
    except OSError as error:
        found.close()
        raise InputError(f"--port is {port}, which cannot be used: {error.strerror}; expected a free one") from None
    return found


def serve(
    asks: Asks,
    port: int = 0,
    browse: bool = True,
    ready: Callable[[str], None] = print,
    stop: threading.Event | None = None,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        port: 0 for a free one. browse: whether to open a browser. ready: is told the address.
        stop: ends it.
    """
    listening = bound(port)
    port = listening.getsockname()[1]
    token = secrets.token_urlsafe(16)
    app = make_app(asks, token, frozenset(f"{host}:{port}" for host in (LOOPBACK, "localhost")))

    import uvicorn

    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    address = f"http://{LOOPBACK}:{port}/{token}/"
    ready(address)
    sys.stdout.flush()
    if browse:
        webbrowser.open(address)
    if stop is not None:
        threading.Thread(target=_end, args=(server, stop), daemon=True).start()
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()


def _end(server: Any, stop: threading.Event) -> None:
    stop.wait()
    server.should_exit = True
