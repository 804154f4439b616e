"""Page of the pipeline: the latest events, the sums, and a curve of the last five minutes, live over a WebSocket.

    uvicorn examples.analytics.ui:app --port 8000

It reads the database and the length of the stream once a second, however many browsers look.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from aioresp import Client, RedisError, ResponseError, Retry
from examples.analytics.db import Database, DatabaseAwayError, Summary
from examples.analytics.model import ACCEPTED, DEAD, GROUP, PAUSE, STREAM, connect
from examples.shared.pages import add_page, is_foreign, send, serve

logger = logging.getLogger("analytics")

#: Seconds that the curve shows.
WINDOW: Final = 300
#: Milliseconds for which the button of the page pauses the workers.
REST: Final = 10_000
#: A worker asks the stream each second. It is silent after this many, and forgotten after a minute without work.
SILENT: Final = 4.0
FORGOTTEN: Final = 60.0


class Point(msgspec.Struct, array_like=True):
    """A second of the curve. None is what could not be read."""

    second: int
    accepted: float | None
    stored: float | None
    waiting: int | None


class Books(msgspec.Struct):
    """Figures that the server of the stream tells."""

    accepted: int = 0
    waiting: int = 0
    dead: int = 0
    #: Milliseconds for which the workers still pause.
    pause: int = 0
    workers: list[dict[str, Any]] = []


class Board:
    """Contents of the page, read once a second and sent to all browsers."""

    def __init__(self, redis: Client[bytes], database: Database) -> None:
        self.redis = redis
        self.database = database
        self.points: deque[Point] = deque(maxlen=WINDOW)
        self.summary: Summary | None = None
        self.books: Books | None = None
        self.trouble: list[str] = []
        #: Sums at the last reading, and when that was, to tell rates from.
        self.before: dict[str, tuple[float, int]] = {}
        self.changed = asyncio.Condition()

    async def run(self) -> None:
        """Read once a second."""
        while True:
            began = time.monotonic()
            await self.read()
            async with self.changed:
                self.changed.notify_all()
            await asyncio.sleep(max(0.1, began + 1 - time.monotonic()))

    async def read(self) -> None:
        """Read both sides at a time; one that is away is said, and does not hold up the other."""
        first = not self.before  # rates are known from the second reading on
        summary, books = await asyncio.gather(self.ask_database(), self.ask_server(), return_exceptions=True)
        self.trouble = [str(error) for error in (summary, books) if isinstance(error, Exception)]
        point = Point(int(time.time()), None, None, None)
        if isinstance(summary, Summary):
            self.summary = summary
            point.stored = self.rate("stored", summary.total)
        if isinstance(books, Books):
            self.books = books
            point.accepted = self.rate("accepted", books.accepted)
            point.waiting = books.waiting
        if not first:
            self.points.append(point)

    def rate(self, name: str, total: int) -> float | None:
        """Return by how much a sum has grown a second since the last reading, or None at the first."""
        now, last = time.monotonic(), self.before.get(name)
        self.before[name] = now, total
        return None if last is None else round(max(0, total - last[1]) / max(now - last[0], 0.001), 1)

    async def ask_database(self) -> Summary:
        """Return the sums and the latest events; raises RuntimeError with a word for the page."""
        try:
            if self.summary is None:
                await self.database.prepare()
                await self.remember()
            return await self.database.summary(WINDOW)
        except DatabaseAwayError as error:
            raise RuntimeError(f"The database is away: {error}") from error

    async def remember(self) -> None:
        """Begin the curve with what the database knows of the time before this process."""
        known = await self.database.history(WINDOW)
        now = int(time.time())
        for second in range(max(now - WINDOW + 1, min(known)), now) if known else ():
            count = known.get(second, 0)
            self.points.append(Point(second, count, count, 0))

    async def ask_server(self) -> Books:
        """Return what the server of the stream tells; raises RuntimeError with a word for the page."""
        try:
            async with self.redis.pipeline() as p:
                accepted, waiting, dead, pause = p.get(ACCEPTED), p.xlen(STREAM), p.llen(DEAD), p.pttl(PAUSE)
            workers = []
            with suppress(ResponseError):
                for one in await self.redis.xinfo_consumers(STREAM, GROUP):
                    idle = one.idle / 1000
                    if one.pending or idle < FORGOTTEN:
                        workers.append(
                            {
                                "name": one.name.decode(errors="replace"),
                                "holds": one.pending,
                                "silent": idle if idle > SILENT else 0,
                            }
                        )
            return Books(int(await accepted or 0), await waiting, await dead, max(0, await pause), workers)
        except RedisError as error:
            logger.info("%s", error)
            raise RuntimeError("The server of the stream is away.") from error

    async def show(self, socket: WebSocket) -> None:
        """Send what is known, and then what is new, once a second; raises WebSocketDisconnect."""
        shown = 0
        while True:
            points = [point for point in self.points if point.second > shown]
            if points:
                shown = points[-1].second
            said = {"window": WINDOW, "points": points, "books": self.books, "trouble": self.trouble}
            if self.summary is not None:
                said["summary"] = self.summary._asdict()
            await send(socket, said)
            async with self.changed:
                await self.changed.wait()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    database = Database()
    async with connect("ui", timeout=2, retry=Retry(2)) as redis:
        app.state.board = Board(redis, database)
        reading = asyncio.create_task(app.state.board.run())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await database.aclose()


async def live(socket: WebSocket) -> None:
    if is_foreign(socket):
        return await socket.close(1008)
    await socket.accept()
    showing = asyncio.create_task(socket.app.state.board.show(socket))
    with suppress(WebSocketDisconnect):
        try:
            while True:
                await socket.receive_text()  # nothing comes; but only a reader learns that the browser has gone
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)


async def pause(request: Request) -> Response:
    """Let the workers rest for ten seconds, to see that nothing is lost."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return Response(status_code=403)
    try:
        await request.app.state.board.redis.set(PAUSE, "1", px=REST)
    except RedisError:
        return Response(status_code=503, headers={"Retry-After": "1"})
    return Response(status_code=204)


app = Starlette(
    routes=[WebSocketRoute("/live", live), Route("/pause", pause, methods=["POST"])],
    lifespan=lifespan,
)
add_page(app, Path(__file__).with_name("page.html"))

if __name__ == "__main__":
    serve(app)
