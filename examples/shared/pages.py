"""Web server of an application: its page, the style of all pages, and uvicorn on the socket of the starter."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse

from examples.shared.member import listener

STYLE = Path(__file__).with_name("style.css")


def add_page(app: FastAPI, page: Path) -> None:
    """Serve a page at `/`, and the style that it links to at `/style.css`; both are read again at each request."""

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(page, headers={"Cache-Control": "no-cache"})

    @app.get("/style.css", include_in_schema=False)
    async def style() -> FileResponse:
        return FileResponse(STYLE, headers={"Cache-Control": "no-cache"})


def serve(app: FastAPI) -> None:
    """Serve an app until SIGTERM. Connections that are open then, such as WebSockets, have two seconds to end."""
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    uvicorn.Server(config).run(sockets=[listener()])


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Return False for the traceback of a request that was cancelled at the end: nobody needs it after Ctrl-C."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
