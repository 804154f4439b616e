"""Web server of an application: its page, the style of all pages, a bound for bodies, and uvicorn.

Owns what all three web applications do alike. Never knows their API.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from examples.shared.member import listener

STYLE: Final = Path(__file__).with_name("style.css")

#: Most bytes of the body of a request.
MOST_BYTES: Final = 1 << 18


class Bound:
    """Answers 413 to a body that is too large, before it fills the memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count the bytes of its body."""
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BYTES:
                raise HTTPException(413, f"more than {MOST_BYTES} bytes", {"Connection": "close"})
            return message

        await self._app(scope, bounded if scope["type"] == "http" else receive, send)


def add_page(app: Starlette, page: Path) -> None:
    """Serve a page at `/`, and the style that it links to at `/style.css`; both are read again at each request."""
    app.add_middleware(Bound)

    async def index(_: Request) -> FileResponse:
        return FileResponse(page, headers={"Cache-Control": "no-cache"})

    async def style(_: Request) -> FileResponse:
        return FileResponse(STYLE, headers={"Cache-Control": "no-cache"})

    app.add_route("/", index, include_in_schema=False)
    app.add_route("/style.css", style, include_in_schema=False)


def is_foreign(socket: WebSocket) -> bool:
    """Return whether the page of another site opens this WebSocket: browsers let it, and leave that to us."""
    origin = socket.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != socket.headers.get("host")


async def send(socket: WebSocket, said: object) -> None:
    """Send JSON. Raises WebSocketDisconnect, also for a tab that the server has given up since it reads nothing."""
    try:
        await socket.send_text(msgspec.json.encode(said).decode())
    except RuntimeError as error:
        raise WebSocketDisconnect(1006) from error


def serve(app: Starlette) -> None:
    """Serve an app until SIGTERM. Connections that are open then, such as WebSockets, have two seconds to end."""
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, ws_max_size=1 << 16)
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    uvicorn.Server(config).run(sockets=[listener()])


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Return False for the traceback of a request that was cancelled at the end: nobody needs it after Ctrl-C."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
