"""Refreshes of a topology: which nodes are asked, and how long a slow one is waited for (C8, C17)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from aioresp.cluster import Cluster, discovery
from aioresp.cluster.nodes import SLOW
from aioresp.cluster.pace import WANTED, Pace
from aioresp.cluster.redirect import send_once
from aioresp.testing import ClusterServers, server
from aioresp.wire.packing import pack
from tests.cluster.fakes import HOST, fakes
from tests.rest import until

PING = pack(("PING",))

#: A cluster without a node that answers: the tests bring their own.
NOWHERE = "redis+cluster://127.0.0.1:1"


async def test_news_is_taken_without_a_wait_for_a_node_that_is_frozen(
    fresh: ClusterServers, r: Cluster[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await r.mset_nonatomic({f"key:{number}": "1" for number in range(50)})
    nodes = r.fleet.nodes
    known = r.topology()
    frozen, *others = fresh.primaries()
    candidates = [(node.host, node.port) for node in known.primaries]
    candidates.sort(key=lambda address: address[1] == frozen.port)
    monkeypatch.setattr(discovery, "FOLLOWING", 1.0)
    frozen.pause()  # for less than the cluster's timeout
    try:
        begin = time.monotonic()
        nodes.topology = known.replace(epoch=known.epoch - 1)
        view = await discovery.discover(nodes, candidates)
        at_once = time.monotonic() - begin
        assert view.epoch == known.epoch
    finally:
        nodes.topology = known
        frozen.resume()
    assert at_once < 1.0


async def test_a_failed_node_is_not_asked_while_two_others_are_fit(fresh: ClusterServers, r: Cluster[str]) -> None:
    await asyncio.gather(*(r.set(f"key:{number}", "1") for number in range(50)))
    router = r.fleet.pools.here()
    known = r.topology()
    assert router.candidates(3)[1] == 3
    failed, *fit = known.shards
    dead = failed.replace(primary=failed.primary.replace(healthy=False))
    router._topology = known.replace(shards=(dead, *fit))
    addresses, several = router.candidates(3)
    assert several == 2
    assert set(addresses[:2]) == {shard.primary.address for shard in fit}
    assert router.candidates(1)[1] == 1


class Doubted:
    """Doubts about nodes: whether each was news, how many go on, and how often the last one has ended."""

    def __init__(self, r: Cluster[str]) -> None:
        self.news: list[bool] = []
        self.open = 0
        self.ends = 0
        r.fleet.nodes.doubt = self._begin

    def _begin(self, news: bool) -> Callable[[], None]:
        self.news.append(news)
        self.open += 1
        return self._end

    def _end(self) -> None:
        self.open -= 1
        self.ends += not self.open


async def test_the_first_failure_of_a_node_is_news_and_the_next_ones_are_not() -> None:
    async with fakes(lambda words: "+PONG\r\n") as (node,), Cluster(NOWHERE) as r:
        doubted = Doubted(r)
        pool = r.fleet.nodes.at((HOST, node.port)).pools.here()
        await send_once(pool, PING, True, 10.0)
        for _ in range(2):
            node.stop()
            await until(lambda: not pool.stats().open)
            for _ in range(3):
                with pytest.raises(ConnectionError):
                    await send_once(pool, PING, True, 10.0)
            await node.start()
            await send_once(pool, PING, True, 10.0)
        assert doubted.news == [True, False, False, False] * 2


def test_news_begins_another_series_of_refreshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long callers of another node have waited, the first ones of a node that was well do not wait as long."""
    monkeypatch.setattr("random.uniform", lambda low, high: 1.0)
    pace = Pace()
    for now in range(0, 101, 4):
        pace.want(now)
        pace.end(now)
    pace.want(100)
    assert pace.jittered(100, True) == 100 / 40
    pace.want(100, news=True)
    assert pace.jittered(100, True) == WANTED
    pace.want(104)
    assert pace.wanted_since == 100


async def test_news_about_a_node_reaches_the_refreshes(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.ping()
    router = r.fleet.pools.here()
    ends = [router.doubt(False)]
    begin = router._pace.wanted_since
    await asyncio.sleep(0.02)
    ends.append(router.doubt(False))
    assert router._pace.wanted_since == begin
    ends.append(router.doubt(True))
    assert router._pace.wanted_since > begin
    for end in ends:
        end()


async def test_a_node_in_doubt_stays_so_while_it_owes_replies() -> None:
    """A frozen node takes connections, and lets them wait: its callers wait for a successor after each attempt, too."""
    async with server() as s, Cluster(NOWHERE, password=s.password, connect_timeout=2 * SLOW) as r:
        doubted = Doubted(r)
        pool = r.fleet.nodes.at((s.host, s.port)).pools.here()
        await send_once(pool, PING, True, 30.0)
        s.pause()
        try:
            reply = asyncio.create_task(send_once(pool, PING, True, 30.0))
            await asyncio.sleep(0)
            lease = asyncio.create_task(pool.lease("a test", None))
            await until(lambda: doubted.open)  # the attempt takes long
            ends, known = doubted.ends, len(doubted.news)
            await until(lambda: len(doubted.news) > known)  # it has failed, and the next one has begun
            assert doubted.ends == ends
            lease.cancel()
        finally:
            s.resume()
        await reply
        await until(lambda: not doubted.open)
