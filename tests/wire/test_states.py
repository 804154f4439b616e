"""Named states of a connection: each transition of their tables, walked between a real server and a breaking proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from typing import Any, Final

import pytest

from aioresp.errors import ConnectionLost, ConnectTimeout
from aioresp.options import settings
from aioresp.testing import Proxy
from aioresp.wire import deadlines, handshake
from aioresp.wire.brake import Brake
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack
from aioresp.wire.states import HEALTH, READING, Event, Health, Reading

PING: Final = pack(("PING",))
PUSH: Final = b">1\r\n+x\r\n"

#: Walks through the table of `Health`: states and the events between them.
WALKS: Final = (
    "HANDSHAKE ENDED ENDED",
    "HANDSHAKE OPENED READY ENDED ENDED",
    "HANDSHAKE OPENED READY FULL PAUSED DRAINED READY",
    "HANDSHAKE OPENED READY FULL PAUSED ENDED ENDED",
    "HANDSHAKE OPENED READY FULL PAUSED DOUBTED STUCK DRAINED SILENT HEARD READY",
    "HANDSHAKE OPENED READY FULL PAUSED DOUBTED STUCK HEARD PAUSED DRAINED READY",
    "HANDSHAKE OPENED READY DOUBTED SILENT HEARD READY",
    "HANDSHAKE OPENED READY DOUBTED SILENT FULL STUCK ENDED ENDED",
    "HANDSHAKE OPENED READY DOUBTED SILENT ENDED ENDED",
    "HANDSHAKE OPENED READY RESTED RESTING WOKEN WAKING ANSWERED READY",
    "HANDSHAKE OPENED READY RESTED RESTING WOKEN WAKING DOUBTED SILENT HEARD READY",
    "HANDSHAKE OPENED READY RESTED RESTING WOKEN WAKING ENDED ENDED",
    "HANDSHAKE OPENED READY RESTED RESTING DOUBTED SILENT HEARD READY",
    "HANDSHAKE OPENED READY RESTED RESTING ENDED ENDED",
    "HANDSHAKE OPENED READY RESTED RESTING HANDED_OVER HANDED_OVER",
    "HANDSHAKE OPENED READY HANDED_OVER HANDED_OVER ENDED ENDED",
)


class Recorded(Connection):
    """A connection that notes each change of its states."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("health", "_reading"):
            noted: list[object] = vars(self).setdefault(f"noted_{name}", [])
            if not noted or noted[-1] is not value:
                noted.append(value)
        super().__setattr__(name, value)

    def noted(self, name: str) -> list[Any]:
        return list(vars(self)[f"noted_{name}"])


class Heir(asyncio.Protocol):
    """Takes a socket over."""

    def __init__(self, connection: Connection) -> None:
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]


async def until(reached: Callable[[], bool]) -> None:
    while not reached():
        await asyncio.sleep(0.005)


class Walker:
    """Brings each event about, on the connection and in the network below it."""

    def __init__(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proxy = proxy
        self.monkeypatch = monkeypatch
        self.found: list[Recorded] = []
        self.sent: list[asyncio.Future[Any]] = []

    @property
    def connection(self) -> Recorded:
        return self.found[0]

    async def connect(self, timeout: float) -> None:
        def prepare(connection: Connection) -> None:
            assert isinstance(connection, Recorded)
            self.found.append(connection)
            connection.add_push_listener(lambda push: None)

        endpoint = settings(self.proxy.url, {}).endpoint
        await handshake.connect(endpoint, Brake(), concurrency=10, timeout=timeout, prepare=prepare)

    def send(self, command: Any, timeout: float | None = None) -> None:
        self.sent.append(self.connection.send(command, True, timeout))

    async def opened(self) -> None:
        await self.connect(10)

    async def full(self) -> None:
        self.proxy.stall("up")
        while self.connection.health not in (Health.PAUSED, Health.STUCK):
            self.send(pack(("ECHO", "x" * 1_000_000)))
            await asyncio.sleep(0)

    async def drained(self) -> None:
        self.proxy.resume("up")

    async def doubted(self) -> None:
        self.proxy.stall("down")
        self.send(PING)  # whose caller waits on, so that the connection does not end
        self.send(PING, 0.05)

    async def heard(self) -> None:
        # On a busy machine the next event may come late: nothing but `doubted` is to raise doubts.
        self.monkeypatch.setattr(deadlines, "SILENCE", 60.0)
        self.proxy.resume("down")
        if self.connection.health is Health.STUCK:
            self.proxy.inject(PUSH)

    async def rested(self) -> None:
        self.connection.rest()

    async def woken(self) -> None:
        self.proxy.stall("down")
        self.connection.wake()

    async def answered(self) -> None:
        self.proxy.resume("down")

    async def handed_over(self) -> None:
        self.connection.hand_over(Heir(self.connection))

    async def ended(self) -> None:
        if self.found:
            self.connection.close()
            return
        self.proxy.stall()
        with pytest.raises(ConnectTimeout):
            await self.connect(0.1)

    async def finish(self) -> None:
        if self.found:
            self.connection.end(ConnectionLost("the test is over"))
            await until(lambda: self.connection.in_flight == 0)
        await asyncio.gather(*self.sent, return_exceptions=True)


@pytest.fixture
async def walker(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(handshake, "Connection", Recorded)
    monkeypatch.setattr(deadlines, "SILENCE", 0.05)
    walker = Walker(proxy, monkeypatch)
    yield walker
    await walker.finish()


@pytest.mark.parametrize("walk", WALKS)
async def test_each_walk_goes_through_its_states(walker: Walker, walk: str) -> None:
    names = walk.split()
    states, events = [Health[name] for name in names[::2]], names[1::2]
    for event, following in zip(events, states[1:], strict=True):
        step: Callable[[], Awaitable[None]] = getattr(walker, event.lower())
        await step()
        await until(lambda following=following: walker.connection.health is following)  # type: ignore[misc]
        assert walker.connection.capacity == (10 if following is Health.READY else 0)
        assert (walker.connection.error is not None) == (following is Health.ENDED)
        assert walker.connection.resting == (following in (Health.RESTING, Health.WAKING))
    assert walker.connection.noted("health") == states


def moves(walk: str) -> Iterator[tuple[tuple[Health, Event], Health]]:
    names = walk.split()
    for at in range(0, len(names) - 1, 2):
        yield (Health[names[at]], Event[names[at + 1]]), Health[names[at + 2]]


def test_the_walks_go_through_the_whole_table() -> None:
    assert dict(move for walk in WALKS for move in moves(walk)) == HEALTH


def test_the_docstrings_have_the_tables() -> None:
    """Each row of data stands in the table that people read, and the other way round."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (Health.__doc__ or "").splitlines()]
    written = {(row[0].split(":")[0], row[1].split(":")[0].split(",")[0], row[2]) for row in rows if len(row) == 3} - {
        ("state", "event", "next state"),
        ("---", "---", "---"),
    }
    names = {Health.STUCK: "stuck", Health.WAKING: "waking", Health.ENDED: "ended"}
    table = set()
    for (state, event), following in HEALTH.items():
        before = "each but ended" if event is Event.ENDED else names.get(state, state.value)
        table.add((before, event.value, names.get(following, following.value)))
    assert written == table


async def test_reading_goes_through_the_whole_table(walker: Walker, proxy: Proxy, no_debug: None) -> None:
    await walker.opened()
    connection = walker.connection
    proxy.split = 3
    walker.send(pack(("ECHO", "in pieces")))
    assert await walker.sent[0] == "in pieces"
    proxy.split = None
    for _ in range(3000):
        walker.send(PING)
    assert set(await asyncio.gather(*walker.sent[1:])) == {"PONG"}
    proxy.inject(PUSH * 100_000)
    walker.send(PING)
    assert await walker.sent[-1] == "PONG"
    noted = connection.noted("_reading")
    went = set(pairwise(noted))
    assert went == {(state, following) for state, others in READING.items() for following in others}
    assert noted[-1] is Reading.WHOLE
