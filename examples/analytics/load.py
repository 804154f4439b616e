"""Load generator of the pipeline: visitors of a shop who walk from page to page.

    python -m examples.analytics.load http://127.0.0.1:8001 --rate 500 --seconds 10

It posts each event until the API has accepted it, with the same id, so each counts once. That is all that a client has
to do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Final, TextIO
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from examples.analytics.model import Posted

#: Where visitors go next from a page, the likely first.
WAYS: Final = {
    "/": ("/shoes", "/search", "/jackets", "/blog/first-5k", "/about"),
    "/shoes": ("/shoes/trail-runner", "/shoes/city-walker", "/", "/search"),
    "/shoes/trail-runner": ("/cart", "/shoes", "/help/sizes", "/shoes/city-walker"),
    "/shoes/city-walker": ("/shoes", "/cart", "/shoes/trail-runner"),
    "/jackets": ("/jackets/storm", "/", "/search"),
    "/jackets/storm": ("/jackets", "/cart", "/help/sizes"),
    "/search": ("/shoes/trail-runner", "/jackets/storm", "/search", "/"),
    "/cart": ("/checkout", "/shoes", "/"),
    "/checkout": ("/thanks", "/cart", "/help/sizes"),
    "/thanks": ("/", "/blog/first-5k"),
    "/blog/first-5k": ("/shoes", "/", "/about"),
    "/help/sizes": ("/shoes", "/cart"),
    "/about": ("/", "/jackets"),
}
KINDS: Final = {"/search": "search", "/cart": "cart", "/thanks": "purchase"}


def walk(user: str) -> Iterator[Posted]:
    """Yield the events of a visitor, forever."""
    page = "/"
    while True:
        kind = random.choices((KINDS.get(page, "view"), "click", "error"), (80, 19, 1))[0]
        yield Posted(id=uuid4().hex, kind=kind, page=page, user=user, ms=int(random.lognormvariate(5, 0.7)))
        if kind != "click":
            ways = WAYS[page]
            page = random.choices(ways, range(len(ways), 0, -1))[0]


class Load:
    """Visitors, and the connections over which their events go: all events of a post are of one visitor."""

    def __init__(
        self, urls: list[str], rate: float, batch: int, connections: int, users: int, wave: bool, log: TextIO | None
    ) -> None:
        self.urls = urls
        self.batch = batch
        self.connections = connections
        self.rate = rate
        self.wave = wave
        self.log = log
        self.visitors = [walk(f"visitor-{number:03}") for number in range(users)]
        self.sent = self.accepted = self.repeated = self.refused = 0

    async def run(self, seconds: float) -> None:
        """Post for so many seconds, and until all is accepted."""
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.connections):
                tasks.create_task(self.browse(Link(self.urls[number % len(self.urls)]), end))

    async def browse(self, link: Link, end: float) -> None:
        """Post over one connection, each batch when it is due: a slow answer does not lower the rate."""
        due = time.monotonic() + random.random() * self.pause()
        try:
            while due < end:
                await asyncio.sleep(due - time.monotonic())
                visitor = random.choice(self.visitors)
                await self.post(link, [next(visitor) for _ in range(self.batch)])
                due = max(due + self.pause(), time.monotonic() - 5) if self.rate else time.monotonic()
        finally:
            link.close()

    def pause(self) -> float:
        """Return the seconds between two posts of a connection; with a wave, the rate swings by a half in a minute."""
        if not self.rate:
            return 0.0
        rate = self.rate * (1 + 0.5 * math.sin(time.time() * math.tau / 60)) if self.wave else self.rate
        return self.batch * self.connections / rate

    async def post(self, link: Link, events: list[Posted]) -> None:
        """Post events until they are accepted, or refused for good."""
        body = msgspec.json.encode(events)
        self.sent += len(events)
        while True:
            try:
                status, after, said = await link.post("/event", body)
            except (OSError, EOFError, asyncio.IncompleteReadError):
                status, after, said = 503, 0.5, b""  # perhaps it was accepted: the ids make sure that it counts once
                link.close()
            if status == 202:
                self.accepted += len(events)
                if self.log is not None:
                    self.log.writelines(f"{event.id}\n" for event in events)
                    self.log.flush()
                return
            if status != 503:
                self.refused += len(events)
                print(f"refused with {status}: {said.decode(errors='replace')}", flush=True)
                return
            self.repeated += len(events)
            await asyncio.sleep(after)

    def __str__(self) -> str:
        return f"sent {self.sent:,}, accepted {self.accepted:,}, repeated {self.repeated:,}, refused {self.refused:,}"


class Link:
    """One HTTP connection that is kept open: enough of HTTP/1.1 for this API."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, float, bytes]:
        """Post JSON, and return the status, the seconds in Retry-After and the body of the answer."""
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self.streams
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(10):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            said = await reader.readexactly(int(fields.get("content-length", 0)))
        if fields.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), float(fields.get("retry-after", 1)), said

    def close(self) -> None:
        """Close the connection; the next post opens another."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def main(load: Load, seconds: float) -> None:
    running = asyncio.ensure_future(load.run(seconds))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    began = time.monotonic()
    while not running.done():
        await asyncio.wait([running], timeout=10)
        print(load, flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await running
        print(f"{load.accepted / (time.monotonic() - began):,.0f} events a second", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Post the events of visitors.")
    urls = os.environ.get("API_URLS", "http://127.0.0.1:8001").split()
    parser.add_argument("urls", nargs="*", default=urls, metavar="URL", help="the addresses of the APIs")
    parser.add_argument("--rate", type=float, default=200, help="events a second; 0 is as many as can be")
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long; forever by default")
    parser.add_argument("--batch", type=int, default=4, help="events of a post")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--wave", action="store_true", help="let the rate swing")
    parser.add_argument("--log", type=argparse.FileType("a"), help="append the id of each accepted event to this file")
    given = parser.parse_args()
    shape = (given.rate, given.batch, given.connections, given.users, given.wave, given.log)
    asyncio.run(main(Load(given.urls, *shape), given.seconds))
