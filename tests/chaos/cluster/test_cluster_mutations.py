"""The run on a cluster finds what is wrong with a library: each test breaks one law in it, and the run must tell."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp.cluster import nodes, redirect
from aioresp.cluster.nodes import Nodes
from aioresp.cluster.topology import Topology
from aioresp.errors import ConnectionLost
from aioresp.pool.pool import Pool
from aioresp.pubsub.hub import Hub
from aioresp.retry import may_repeat
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed
from tests.chaos.cluster.faults import (
    client_kill,
    kill,
    move,
    move_a_channel,
    move_under_watch,
    only_the_old_one,
    promote,
    suspend,
)
from tests.chaos.cluster.run import ClusterRun
from tests.chaos.cluster.world import ClusterWorld
from tests.chaos.dealing import Deck, Fault
from tests.chaos.network import cut, cut_in_a_reply, delay
from tests.chaos.report import Report

pytestmark = [pytest.mark.soak, pytest.mark.timeout(200), pytest.mark.usefixtures("no_debug")]


async def run(*faults: Fault[ClusterWorld], seconds: float = 10, pause: float = 0.03) -> Report:
    deck: Deck[ClusterWorld] = dict.fromkeys(faults, (1, 0.0))
    return await ClusterRun(seconds, "mutant", pause, deck).go()


async def test_without_a_mutation_there_is_no_problem() -> None:
    faults = (move, move_a_channel, move_under_watch, promote, kill, suspend, only_the_old_one, cut, client_kill)
    report = await run(*faults, cut_in_a_reply, delay, seconds=40, pause=0.1)
    assert not report.problems, str(report)


async def test_asking_is_sent_apart_from_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    async def apart(pool: Pool[Connection], packed: Packed, decode: bool, rest: float | None, note: Any) -> Any:
        await redirect.send_once(pool, redirect.ASKING, decode, rest)
        return await redirect.send_once(pool, packed, decode, rest, note)

    monkeypatch.setattr(redirect, "_ask", apart)
    report = await run(move_under_watch)
    assert report.problems["asked without ASKING"], str(report)


async def test_a_command_whose_reply_is_lost_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(error: BaseException, *arguments: Any, **options: Any) -> bool:
        return isinstance(error, ConnectionLost) or may_repeat(error, *arguments, **options)

    monkeypatch.setattr(redirect, "may_repeat", careless)
    report = await run(delay, cut_in_a_reply, cut, seconds=25)
    assert report.problems["ran twice"], str(report)


async def test_an_older_topology_replaces_a_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    adopt = Nodes.adopt

    def forgetful(self: Nodes, view: Topology) -> bool:
        self.topology = None
        return adopt(self, view)

    monkeypatch.setattr(Nodes, "adopt", forgetful)
    report = await run(only_the_old_one, seconds=30)
    assert report.problems["topology went back"], str(report)


async def test_a_dead_node_holds_its_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "retire", lambda node, now: None)
    report = await run(suspend, seconds=20)
    assert report.problems["held by a dead node"], str(report)


async def test_the_end_of_a_shard_channel_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_all(self: Hub, name: bytes) -> None:
        self.move(ConnectionLost("a slot has moved"))

    monkeypatch.setattr(Hub, "_take_end", end_all)
    report = await run(move_a_channel)
    assert report.problems["a Gap for nothing"], str(report)


async def test_replicas_are_not_told_to_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_READONLY", ())
    report = await run(move, seconds=3)
    assert report.problems["replicas do not serve"], str(report)
