"""Run on a primary with replicas under Sentinel.

Owns the stage, the faults and the deck of such a run, which is about failovers alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Unpack

from aioresp import Client, Retry
from aioresp.options import Options
from aioresp.testing import Member, Proxy, SentinelServers, Server, ServerFailed
from tests.chaos.cluster.world import do
from tests.chaos.dealing import Deck
from tests.chaos.jobs import Job
from tests.chaos.jobs.counters import Count, CountTogether
from tests.chaos.jobs.messages import Publish, Subscribe
from tests.chaos.jobs.pipelines import Pipe
from tests.chaos.jobs.queues import Move, Pop, PopScored, Push
from tests.chaos.jobs.streams import Append, Consume, ReadOn
from tests.chaos.jobs.transactions import Transfer, Watch
from tests.chaos.jobs.values import Echo, Leased, Read, Remember, Write
from tests.chaos.ledger import Ledger
from tests.chaos.losses import Losses
from tests.chaos.play import Play
from tests.chaos.stage import Stage

JOBS: Final[dict[type[Job], int]] = {
    Echo: 3,
    Read: 3,
    Write: 4,
    Remember: 2,
    Leased: 2,
    Count: 8,
    CountTogether: 4,
    Pipe: 4,
    Transfer: 2,
    Watch: 2,
    Push: 2,
    Pop: 3,
    PopScored: 2,
    Move: 3,
    Publish: 2,
    Subscribe: 3,
    Append: 2,
    ReadOn: 2,
    Consume: 2,
}


#: Seconds from +selected-slave until a client holds its writes; and more for each second by which the loop is late.
HEARD: Final = 0.05
LATE: Final = 3.0

#: Seconds before and after +selected-slave in which the loop's lateness counts.
AROUND: Final = 0.3


class SentinelWorld(Stage):
    """A primary, two replicas and three sentinels, with a proxy before each."""

    def __init__(self, servers: SentinelServers, direct: Client[str], ledger: Ledger, seed: str) -> None:
        super().__init__(direct, ledger, seed)
        self.servers = servers
        self._primary: Member | None = None
        self._looked = time.monotonic()

    @property
    def server(self) -> Server:
        """One of the servers."""
        return self.servers.servers[0]

    @property
    def proxy(self) -> Proxy:
        """The proxy before a server or a sentinel, another one each time."""
        return self.chance.choice(list(self.servers.proxies.values()))

    @property
    def cuts(self) -> int:
        """How many connections the proxies have cut."""
        return sum(proxy.cuts for proxy in self.servers.proxies.values())

    async def clients(self) -> int:
        """Return how many connections there are at the proxies, but for those of `direct`."""
        there = await do(sum, (proxy.open for proxy in self.servers.proxies.values()))
        return there - self.direct.stats().open

    async def heal(self) -> None:
        """Take all faults back, and wait until all servers are in their places."""
        await do(self.servers.restore)

    async def look(self) -> None:
        """Note it if a server has ended by itself, or the sentinels have failed over with nobody asking for it."""
        for each in (*self.servers.servers, *self.servers.sentinels):
            try:
                await do(each.call, "PING", timeout=20)
            except ServerFailed as error:
                self.ledger.wrong("the server died", f"{error}; its log: {each.log[-3000:]}")
                await do(each.kill)
                await do(each.start)
        primary = await do(self.servers.primary)
        if self._primary not in (None, primary):
            assert self.ledger.losses is not None
            self.ledger.figures["failovers with no fault"] += 1
            self.ledger.losses.open("write", since=self._looked).close()
        self._primary, self._looked = primary, time.monotonic()

    async def settle(self) -> None:
        """Wait until all servers are in their places after a failover."""
        await do(self.servers.restore)
        self._primary, self._looked = await do(self.servers.primary), time.monotonic()


async def failover(world: SentinelWorld) -> None:
    """SENTINEL FAILOVER: a replica becomes the primary, and the old one takes writes for some seconds more.

    The new one tells how far it has followed the old one, and the old one at which moment it had come that far: what it
    had acknowledged by then must be there. So must be what clients write when they have heard of the failover.
    """
    await asyncio.sleep(0.5)
    ledger, servers = world.ledger, world.servers
    leader = next(each for each in servers.sentinels if each.reachable)
    before = len(await do(leader.events, "+selected-slave"))
    old = await do(servers.primary)
    samples: list[tuple[float, int, float]] = []
    sampling = asyncio.create_task(_sample(old, samples, ledger))
    promoting = asyncio.create_task(do(servers.failover))
    while not promoting.done() and len(await do(leader.events, "+selected-slave")) == before:
        await asyncio.sleep(0.01)
    heard = time.monotonic()
    told = await do((await promoting).info, "replication")
    sampling.cancel()
    followed = int(told["second_repl_offset"]) - 1
    since = max((at for at, offset, _ in samples if offset <= followed), default=0.0)
    late = [late for at, _, late in samples if heard - AROUND < at < heard + AROUND] or [0.0]
    assert ledger.losses is not None
    window = ledger.losses.open("write", since=since)
    window.until = heard + HEARD + LATE * (late[-1] - late[0])
    ledger.figures["failovers in which a client may lose writes"] += window.until > since
    await world.settle()


async def _sample(server: Member, samples: list[tuple[float, int, float]], ledger: Ledger) -> None:
    """Note moments, each with the offset that a primary has come to by then, and how late this loop was in all."""
    while True:
        at = time.monotonic()
        offset = int((await do(server.info, "replication"))["master_repl_offset"])
        samples.append((at, offset, ledger.late))
        await asyncio.sleep(0.005)


async def kill(world: SentinelWorld) -> None:
    """kill -9 of a primary whose replicas have all that it has acknowledged: nothing may be lost."""
    primary = await do(world.servers.primary)
    replicas = await do(world.servers.replicas)

    def hold_writes() -> None:
        primary.call("CLIENT", "PAUSE", 4000, "WRITE")
        end = time.monotonic() + 20
        while not _in_step(primary, replicas):
            if time.monotonic() > end:
                raise ServerFailed("the replicas do not catch up")
            time.sleep(0.01)

    await do(hold_writes)
    await do(primary.kill)
    await do(world.servers.wait_until_promoted, primary)
    await world.settle()


def _in_step(primary: Member, replicas: list[Member]) -> bool:
    sent = int(primary.info("replication")["master_repl_offset"])
    return all(int(each.info("replication")["slave_repl_offset"]) >= sent for each in replicas)


#: How often each comes in a round, and seconds of peace after it for what only time reveals.
DECK: Final[Deck[SentinelWorld]] = {failover: (2, 0.5), kill: (1, 0.5)}


@asynccontextmanager
async def world(ledger: Ledger, seed: str) -> AsyncIterator[SentinelWorld]:
    """Form the set, and fill it."""
    async with (
        SentinelServers(proxies=True, timeout=60) as servers,
        Client(url(servers), timeout=20, retry=Retry(100, cap=0.2), limit=4) as direct,
    ):
        made = SentinelWorld(servers, direct, ledger, seed)
        for database in (0, 1):
            async with direct.connection() as c:
                await c.select(database)
                p = c.pipeline()
                made.queue_static(p, f"in {database}: " if database else "")
                await p.execute()
        yield made


def url(servers: SentinelServers) -> str:
    """Return the set as a URL."""
    login = servers.servers[0].credentials
    return (
        f"redis+sentinel://{login}{','.join(servers.addresses)}/{servers.name}"
        f"?sentinel_password={servers.sentinel_password}"
    )


class SentinelRun(Play[SentinelWorld]):
    """A run of some fifty tasks on a primary under Sentinel."""

    jobs_of = JOBS
    remembered = 20

    def __init__(
        self,
        seconds: float,
        seed: str | None = None,
        pause: float = 0.1,
        deck: Deck[SentinelWorld] = DECK,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(seconds, seed, pause, deck, **options)
        self.ledger.losses = Losses()

    def stage(self) -> AbstractAsyncContextManager[SentinelWorld]:
        """Return a primary, replicas and sentinels, filled, with proxies before them."""
        return world(self.ledger, self.seed)

    def client(self, made: SentinelWorld) -> Client[str]:
        """Return a client that asks the sentinels."""
        return Client(url(made.servers), **self.options)
