"""Web API of the pipeline: POST /event takes one event or many, and puts them into the stream.

    uvicorn examples.analytics.api:app --port 8001

202 says that all events of the request are in the stream, so they will be in the database. 422 says what is wrong with
them, and none was taken. 503 asks to send them again later: the server is away, or too much waits for the database.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from aioresp import Client, RedisError, Retry
from examples.analytics.model import ACCEPTED, FIELD, STREAM, Event, Posted, connect
from examples.shared.member import name
from examples.shared.pages import serve

#: Most events that may wait for the database: 250 bytes of the server's memory each.
BOUND: Final = int(os.environ.get("ANALYTICS_BOUND", 100_000))
#: Limits of one request. The client of the server sends a pipeline of this size in one piece.
MOST_EVENTS: Final = 1000
MOST_BYTES: Final = 1 << 20
#: Seconds for which what was learned of the server counts: how much waits there, and that it is away.
FRESH: Final = 0.2
AWAY: Final = "the server of the stream is away, or takes nothing now"


class Stream:
    """The stream as the API sees it: `push` puts events into it, unless too many wait there already."""

    def __init__(self, redis: Client[bytes], bound: int) -> None:
        # To send an entry twice is harmless, as the database knows its event by the id.
        self.redis = redis.with_options(idempotent=True)
        self.bound = bound
        #: Events whose push has begun, and those whose push has ended, since the start.
        self.begun = self.ended = 0
        #: Length of the stream when it was asked, less all that this process had pushed by then.
        self.others = 0
        self.asked = self.failed = float("-inf")

    async def push(self, events: list[Event]) -> None:
        """Put events into the stream; raises `Busy` where there is no room, or no server."""
        now = time.monotonic()
        if now < self.failed + FRESH:
            raise Busy(AWAY, 1)
        try:
            if now > self.asked + FRESH:
                self.asked = now  # first, so that of many requests at a time one asks
                ended = self.ended  # what is under way may not be in the answer
                self.others = await self.redis.xlen(STREAM) - ended
            if self.others + self.begun + len(events) > self.bound:
                raise Busy(f"{self.others + self.begun} events wait for the database", 2)
            self.begun += len(events)
            try:
                async with self.redis.pipeline() as p:
                    for event in events:
                        p.xadd(STREAM, {FIELD: msgspec.json.encode(event)})
                    p.incrby(ACCEPTED, len(events))
            finally:
                self.ended += len(events)
        except RedisError as error:
            self.failed = time.monotonic()
            raise Busy(AWAY, 1) from error


class Busy(Exception):
    """The events cannot be taken now."""

    def __init__(self, why: str, after: int) -> None:
        super().__init__(why)
        self.after = after


def accepted(body: bytes) -> list[Event]:
    """Return the events in the body of a request; raises `msgspec.DecodeError`, which tells the first mistake."""
    posted = msgspec.json.decode(body, type=Posted | list[Posted])
    many = posted if isinstance(posted, list) else [posted]
    if not 0 < len(many) <= MOST_EVENTS:
        raise msgspec.ValidationError(f"Expected 1 to {MOST_EVENTS} events, got {len(many)}")
    at = time.time_ns() // 1_000_000
    return [
        Event(id=one.id or uuid4().hex, at=at, kind=one.kind, page=one.page, user=one.user, ms=one.ms) for one in many
    ]


async def whole(request: Request) -> bytes | None:
    """Return the body of a request, or None once it is too long."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def answer(status: int, headers: dict[str, str] | None = None, **said: object) -> Response:
    """Return a response with a JSON object."""
    return Response(msgspec.json.encode(said), status, headers, "application/json")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    # Few attempts within 2 seconds: a visitor's browser waits, and comes again.
    async with connect("api", timeout=2, retry=Retry(3)) as redis:
        app.state.stream = Stream(redis, BOUND)
        yield


async def post(request: Request) -> Response:
    try:
        body = await whole(request)
    except ClientDisconnect:
        return answer(400, error="the request ended within its body")  # for the log: nobody reads it
    if body is None:
        return answer(413, {"Connection": "close"}, error=f"the request has more than {MOST_BYTES} bytes")
    try:
        events = accepted(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return answer(422, error=str(error))
    try:
        await request.app.state.stream.push(events)
    except Busy as error:
        return answer(503, {"Retry-After": str(error.after)}, error=str(error))
    return answer(202, accepted=len(events))


app = Starlette(routes=[Route("/event", post, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    number = int(name().partition("-")[2] or 1)
    print(f"takes events at {os.environ['API_URLS'].split()[number - 1]}/event", flush=True)
    serve(app)
