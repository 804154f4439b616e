"""The floor of a cluster: what three connections cost more than one, without a client around them.

Bare protocols over hiredis, with a FIFO of waiters and one write a loop turn. A pipeline is one write to each node,
with one future for all. No topology but the first, no redirects, no types, no deadlines. The distance between three
nodes and one is that of the kernel, asyncio and the CRC of the keys, which no client can save.
"""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import hiredis

from benchmarks.floor import Floor, connect

from .clients import Adapter, Bound, seeds

SLOTS = 16_384


class Part:
    """The commands of a pipeline at one node."""

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.commands: list[bytes] = []
        self.replies: list[Any] = []


class Flight:
    """The parts of a pipeline, and the future of all of them."""

    def __init__(self) -> None:
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.parts: dict[Lane, Part] = {}
        self.left = 0

    def land(self) -> None:
        self.left -= 1
        if not self.left:
            self.landed.set_result(None)


class Lane(Floor):
    """A connection for pipelines."""

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        gets, waiters = self.reader.gets, self.waiters
        while waiters:
            waiter: Any = waiters[0]
            if type(waiter) is Part:
                waiter.replies += islice(iter(gets, Ellipsis), len(waiter.commands) - len(waiter.replies))
                if len(waiter.replies) < len(waiter.commands):
                    return
                waiters.popleft()
                waiter.flight.land()
            elif (reply := gets()) is Ellipsis:
                return
            else:
                waiters.popleft().set_result(reply)


async def _pipeline(lane_of: Callable[[str], Lane], keys: Sequence[str]) -> list[Any]:
    flight = Flight()
    parts, pack = flight.parts, hiredis.pack_command
    targets = []
    for key in keys:
        lane = lane_of(key)
        targets.append(lane)
        try:
            parts[lane].commands.append(pack(("GET", key)))
        except KeyError:
            parts[lane] = Part(flight)
            parts[lane].commands.append(pack(("GET", key)))
    flight.left = len(parts)
    for lane, part in parts.items():
        waiters: Any = lane.waiters
        waiters.append(part)
        lane.transport.write(b"".join(part.commands))
    await flight.landed
    nexts = {lane: iter(part.replies) for lane, part in parts.items()}
    return list(map(next, map(nexts.__getitem__, targets)))


async def _flat_pipeline(lane: Lane, keys: Sequence[str]) -> list[Any]:
    flight = Flight()
    part = Part(flight)
    part.commands = [hiredis.pack_command(("GET", key)) for key in keys]
    flight.left = 1
    waiters: Any = lane.waiters
    waiters.append(part)
    lane.transport.write(b"".join(part.commands))
    await flight.landed
    return part.replies


async def _unused(*_: Any) -> Any:
    raise NotImplementedError


def _calls(send: Callable[[str, str], Awaitable[Any]], pipeline: Callable[[Sequence[str]], Any], url: str) -> Bound:
    async def get(key: str) -> Any:
        return await send("GET", key)

    return Bound(get, _unused, _unused, pipeline, url=url)


def _url(host: str, port: int, password: str | None) -> str:
    return f"redis://{'' if password is None else f':{password}@'}{host}:{port}"


@asynccontextmanager
async def open_one(url: str) -> AsyncIterator[Bound]:
    """Open bare connections to one server: one for calls, and one for pipelines."""
    floor, lane = await connect(url), await connect(url, make=Lane)
    assert isinstance(lane, Lane)
    own = lane

    async def pipeline(keys: Sequence[str]) -> list[Any]:
        return await _flat_pipeline(own, keys)

    yield _calls(floor.send, pipeline, url)
    floor.transport.close()
    lane.transport.close()


@asynccontextmanager
async def open_all(url: str) -> AsyncIterator[Bound]:
    """Open bare connections to each primary of a cluster: one for calls, and one for pipelines."""
    addresses, password = seeds(url)
    first = await connect(_url(*addresses[0], password))
    floors: list[Any] = [None] * SLOTS
    lanes: list[Any] = [None] * SLOTS
    opened: dict[tuple[str, int], tuple[Floor, Floor]] = {}
    for start, end, (host, port, *_), *_ in await first.send("CLUSTER", "SLOTS"):
        if (host, port) not in opened:
            own = _url(host, port, password)
            opened[host, port] = await connect(own), await connect(own, make=Lane)
        for slot in range(start, end + 1):
            floors[slot], lanes[slot] = opened[host, port]

    def lane_of(key: str) -> Lane:
        lane: Lane = lanes[crc_hqx(key.encode(), 0) & 16_383]
        return lane

    async def get(key: str) -> Any:
        return await floors[crc_hqx(key.encode(), 0) & 16_383].send("GET", key)

    async def pipeline(keys: Sequence[str]) -> list[Any]:
        return await _pipeline(lane_of, keys)

    yield Bound(get, _unused, _unused, pipeline, url=url)
    for connection in (first, *(each for pair in opened.values() for each in pair)):
        connection.transport.close()


ONE = Adapter("one connection", "hiredis", "hiredis", open_one)
ALL = Adapter("three connections", "hiredis", "hiredis", open_all)
