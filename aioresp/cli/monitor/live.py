"""Live source: servers that are asked now.

Owns the client, the places, and when each of them is asked. Never parses a reply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar

from aioresp import Client, Cluster
from aioresp.cli.monitor.notices import OUTPUT, Watchman
from aioresp.cli.monitor.own import NAME
from aioresp.cli.monitor.place import Place
from aioresp.cli.monitor.queues import BACKGROUND, SHOWN, Search
from aioresp.cli.monitor.rows import (
    ClientRow,
    CommandRow,
    KeyReport,
    Listing,
    Notice,
    Pace,
    QueueRow,
    SlowRow,
    Tail,
    in_all,
)
from aioresp.cli.monitor.scan import KeyScan
from aioresp.cli.monitor.source import Moment, NodeMoment, Timeline
from aioresp.cli.monitor.tail import Listening
from aioresp.cli.monitor.whole import whole
from aioresp.cli.monitor.words import ailment, arrived, lacking
from aioresp.cli.target import Target
from aioresp.errors import RedisError
from aioresp.events import ConnectFailed, ConnectionMade, Event, MasterChanged

T = TypeVar("T")

#: Seconds that an answer may take, and that a connection may take.
TIMEOUT: Final = 2.0
#: Seconds between two listings.
PERIOD: Final = 2.0
#: Seconds between two lists of more than `MANY` clients. More than `TOO_MANY` are listed on key only.
LONG_PERIOD: Final = 10.0
MANY: Final = 500
TOO_MANY: Final = 5_000
#: Seconds between two looks at the nodes of a cluster.
TOPOLOGY: Final = 10.0


class Live:
    """Source that asks servers."""

    timeline: Timeline | None = None

    def __init__(self, target: Target, queues: Iterable[str] = ()) -> None:
        self.address = target.shown
        self._named = tuple(queues)
        self._target = target
        self._client = self._connect()
        self._places: dict[str, Place] = {}
        self._searches: dict[str, Search] = {}
        self._watchmen: dict[str, Watchman] = {}
        #: Monotonic time of the last look at the nodes of a cluster.
        self._looked = 0.0
        #: Sentence about a failover, set by the client's event and cleared by the moment that tells it.
        self._moved = ""
        #: State of a cluster whose nodes cannot be found; None while they are found.
        self._unfound: NodeMoment | None = None
        self._clients = _Kept(self._ask_clients)
        self._commands = _Kept(self._ask_commands)
        self._slow = _Kept(self._ask_slow)
        self._queues = _Kept(self._ask_queues)
        if not isinstance(self._client, Cluster):
            self._add("", self._client)

    def _connect(self) -> Client[Any]:
        """Return a client with one connection to each server."""
        return self._target.client(
            client_name=NAME,
            limit=1,
            timeout=TIMEOUT,
            connect_timeout=TIMEOUT,
            idle_timeout=None,
            retry=None,
            events=self._hear,
        )

    def _add(self, node: str, client: Client[Any]) -> None:
        found = self._places.get(node)
        if found is None:
            place = Place(node, client.with_options(decode_responses=False))
            self._places[node] = place
            named = self._named if not self._searches else ()
            self._searches[node] = Search(node, place.client, place.account, named)
            self._watchmen[node] = Watchman()

    def _hear(self, event: Event) -> None:
        """Count the connections that the client makes, and note a failover."""
        if isinstance(event, MasterChanged):
            self._moved = f"another server is the primary now: {event.primary}"
        elif isinstance(event, ConnectionMade) or (isinstance(event, ConnectFailed) and arrived(event.error)):
            node = event.server.rpartition("/")[2] if isinstance(self._client, Cluster) else ""
            if node in self._places:
                self._places[node].account.made += 1

    # --- Moments -----------------------------------------------------------------------------------------------------

    async def read(self) -> Moment:
        """Read the figures of all servers at the same time."""
        await self._find()
        places = list(self._places.values())
        found = list(await asyncio.gather(*(place.moment() for place in places)))
        at = time.time()
        if not found:
            assert self._unfound is not None
            return Moment(at, self.address, self._unfound, (self._unfound,), ())
        found.sort(key=lambda each: each.reading is not None and each.reading.replication.role == "replica")
        if self._moved:
            found = [replace(each, remark=self._moved) for each in found]
            self._moved = ""
        if any(not each.trouble and not each.lacks for each in found):
            await self._look_closer(found)
        notices = self._notices(found)
        return Moment(at, self.address, whole(at, found), tuple(found), notices)

    async def _find(self) -> None:
        """Find the nodes of a cluster, and from time to time ask whether they have changed."""
        client = self._client
        if not isinstance(client, Cluster):
            return
        try:
            now = time.monotonic()
            if self._places and now - self._looked > TOPOLOGY:
                self._looked = now
                client.fleet.pools.here().refresh()
            nodes = await client.nodes()
        except RedisError as error:
            at = time.time()
            since = self._unfound.since if self._unfound is not None else at
            self._unfound = NodeMoment("", at, None, None, ailment(error), since)
            return
        self._unfound = None
        names = {_name_of(node): node for node in nodes}
        for gone in [name for name in self._places if name not in names]:
            del self._places[gone], self._searches[gone], self._watchmen[gone]
        for name, node in names.items():
            self._add(name, node)

    async def _look_closer(self, found: list[NodeMoment]) -> None:
        """Ask what the warnings need, each in its period."""
        await self._commands.get(PERIOD)
        if any(each.reading is not None and each.reading.connections.largest_output >= OUTPUT for each in found):
            await self.clients()
        for search in self._primary_searches():
            await search.advance(BACKGROUND)
        if any(search.names for search in self._searches.values()):
            await self._queues.get(PERIOD)

    def _notices(self, found: list[NodeMoment]) -> tuple[Notice, ...]:
        notices: list[Notice] = []
        for each in found:
            if each.node and each.trouble:
                text = each.sentence("", each.at).removesuffix("; trying again")
                notices.append(Notice("node", "critical", text, "cluster", each.node))
            commands, clients = _of(self._commands, each.node), _of(self._clients, each.node)
            queues = _of(self._queues, each.node)
            found_here = self._watchmen[each.node].look(each, commands, clients, queues)
            notices += [replace(notice, node=each.node) for notice in found_here]
        return tuple(sorted(notices, key=lambda notice: notice.level != "critical"))

    # --- Listings ----------------------------------------------------------------------------------------------------

    async def clients(self, now: bool = False) -> Listing[ClientRow]:
        """List the connections."""
        opened = max(
            (place.last.reading.connections.open for place in self._places.values() if place.last.reading), default=0
        )
        period = PERIOD if opened <= MANY else LONG_PERIOD
        if opened > TOO_MANY and not now:
            latest = self._clients.latest
            note = (
                f"{opened:,} clients: to list them stops the server for {opened / 1000:.0f} ms, so it is done on key."
            )
            return Listing(time.time(), (), note=note) if latest is None else latest
        return await self._clients.get(0.0 if now else period)

    async def commands(self, now: bool = False) -> Listing[CommandRow]:
        """List the commands."""
        return await self._commands.get(0.0 if now else PERIOD)

    async def slow(self) -> Listing[SlowRow]:
        """List the slow commands and the latency events."""
        return await self._slow.get(PERIOD)

    async def queues(self) -> Listing[QueueRow]:
        """List the queues, and look for more of them."""
        for search in self._primary_searches():
            await search.advance(SHOWN)
        return await self._queues.get(PERIOD)

    def _primary_searches(self) -> list[Search]:
        return [self._searches[place.node] for place in self._primaries()]

    def _primaries(self) -> list[Place]:
        """Return the places of primaries, or all where there is none."""
        answering = [place for place in self._places.values() if not place.last.trouble]
        primaries = [
            place
            for place in answering
            if place.last.reading is None or place.last.reading.replication.role == "primary"
        ]
        return primaries or answering

    async def _ask_clients(self) -> Listing[ClientRow]:
        return await self._all(Place.clients)

    async def _ask_commands(self) -> Listing[CommandRow]:
        return await self._all(Place.commands)

    async def _ask_slow(self) -> Listing[SlowRow]:
        found = await self._all(Place.slow)
        rows = tuple(sorted(found.rows, key=lambda row: -row.at))
        return Listing(found.at, rows, found.lacks, found.note)

    async def _all(self, ask: Callable[[Place], Awaitable[Listing[T]]]) -> Listing[T]:
        answering = [place for place in self._places.values() if not place.last.trouble]
        if not answering:
            return Listing(time.time(), (), "The server does not answer.")
        return in_all(await asyncio.gather(*(ask(place) for place in answering)))

    async def _ask_queues(self) -> Listing[QueueRow]:
        searches = self._primary_searches()
        if not searches:
            return Listing(time.time(), (), "The server does not answer.")
        reach = self._client.with_options(decode_responses=False) if isinstance(self._client, Cluster) else None
        found = in_all([await search.count(reach) for search in searches])
        rows = {row.name: row for row in found.rows}
        return Listing(found.at, tuple(rows.values()), found.lacks, found.note)

    # --- On demand ---------------------------------------------------------------------------------------------------

    async def scan_keys(self, pace: Pace, resume: KeyReport | None = None) -> AsyncIterator[KeyReport]:
        """Look at all keys."""
        await self._find()
        async for report in KeyScan(self._primaries() or list(self._places.values()), pace, resume).run():
            yield report

    async def tail(self, seconds: float = 10.0) -> AsyncIterator[Tail]:
        """Run MONITOR, on connections that nothing else uses."""
        await self._find()
        places = self._primaries() or list(self._places.values())
        client = self._connect()
        try:
            clients = {"": client}
            if isinstance(client, Cluster):
                clients = {_name_of(node): node for node in await client.nodes()}
            pairs = [(place, clients[place.node]) for place in places if place.node in clients]
            async for report in Listening(pairs, seconds).run():
                yield report
        except RedisError as error:
            yield Tail(0.0, 0.0, 0, 0, (), (), (), True, lacking(error, "monitor"))
        finally:
            await client.aclose()

    async def kill(self, row: ClientRow) -> str:
        """End a connection."""
        place = self._places.get(row.node)
        return "Its server has left the cluster." if place is None else await place.kill(row)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


class _Kept(Generic[T]):
    """Listing that is asked for once in a period, for all that want it."""

    def __init__(self, ask: Callable[[], Awaitable[Listing[T]]]) -> None:
        self._ask = ask
        self._lock = asyncio.Lock()
        self._asked = float("-inf")
        self.latest: Listing[T] | None = None

    async def get(self, period: float) -> Listing[T]:
        async with self._lock:
            # A caller that comes each two seconds comes sometimes a little early.
            if self.latest is None or time.monotonic() - self._asked >= period - 0.1:
                self._asked = time.monotonic()
                self.latest = await self._ask()
            return self.latest


def _name_of(node: Client[Any]) -> str:
    """Return host and port of a node."""
    return node.address.rpartition("/")[2]


def _of(kept: _Kept[Any], node: str) -> tuple[Any, ...]:
    """Return the rows of one node, if they are not old."""
    latest = kept.latest
    if latest is None or time.time() - latest.at > 2 * LONG_PERIOD:
        return ()
    return tuple(row for row in latest.rows if row.node == node)
