"""What breaks in a cluster, when, and for how long.

Owns the faults of nodes and slots, and how often each comes. Each takes itself back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from aioresp.cluster import Cluster
from aioresp.testing import ClusterNode
from aioresp.testing.slots import keyslot
from aioresp.testing.talk import ErrorReply
from tests.chaos.cluster.story import CALL, Steps, step
from tests.chaos.cluster.world import ROAMING, ClusterWorld, do, for_each
from tests.chaos.dealing import Deck
from tests.chaos.network import cut, cut_in_a_command, cut_in_a_reply, delay, half_open, refuse, stall
from tests.chaos.stage import eventually

#: Seconds after all nodes know a new primary, and it serves, in which each call of the old one must be there (law C6).
MOVED_ON: Final = 0.5

#: Seconds more for each second by which the loop is late meanwhile: a call takes several steps, of servers as well.
LATE: Final = 3.0

#: Seconds more where servers do not tell which nodes have failed: replies of the old one have them to arrive.
UNTOLD: Final = 0.2

#: Answers of servers that a call waits for on its way: each may be as slow as the slowest one of a round.
ANSWERS: Final = 4

#: Seconds in which the client and its subscriptions come to rest when nothing is broken.
REST: Final = 0.5


async def client_kill(world: ClusterWorld) -> None:
    """CLIENT KILL of all connections of a type, at one node."""
    node, kind = world.chance.choice(world.servers.nodes), world.chance.choice(("normal", "pubsub"))
    await do(node.call, "CLIENT", "KILL", "TYPE", kind)


async def client_pause(world: ClusterWorld) -> None:
    """CLIENT PAUSE of a node: of everything, or of writes."""
    node, words = world.chance.choice(world.servers.nodes), world.chance.choice((["WRITE"], []))
    await do(node.call, "CLIENT", "PAUSE", world.chance.randrange(50, 400), *words)


async def freeze(world: ClusterWorld) -> None:
    """Let a node stand still (SIGSTOP), for so short a time that nobody takes it for dead."""
    node = world.chance.choice(world.servers.nodes)
    await do(node.pause)
    await asyncio.sleep(world.chance.uniform(0.05, 0.4))
    await do(node.resume)


# --- Slots ------------------------------------------------------------------------------------------------------------


async def move(world: ClusterWorld) -> None:
    """Hand slots over to another node, key by key: for a while each is half here and half there."""
    for key in world.chance.sample(ROAMING, 3):
        await _move(world, key)


async def _move(world: ClusterWorld, key: str) -> None:
    target = await _other(world, key)
    with world.on_its_way(key):
        migration = await do(world.servers.begin_migration, key, target)
        await do(migration.move, world.chance.randrange(1, 3))
        await asyncio.sleep(world.chance.uniform(0, 0.3))
        await do(migration.end)


async def move_at_once(world: ClusterWorld) -> None:
    """Hand slots over to another node as a whole, where servers can do that: then a key is always there."""
    atomic = world.server.flavour == "valkey" and world.server.version >= (9,)
    for key in world.chance.sample(ROAMING, 3):
        target = await _other(world, key)
        with contextlib.nullcontext() if atomic else world.on_its_way(key):
            await do(world.servers.migrate, key, target, atomic=atomic)


async def move_under_watch(world: ClusterWorld) -> None:
    """Hand a slot over while nothing else is broken: the new node is asked with ASKING, and never without."""
    await _rest(world)
    key = world.chance.choice(("shared:0", "shared:1", "{account}", "line:pipeline:0:0"))
    target = await _other(world, key)
    before = await do(target.errorstats)
    with world.on_its_way(key):
        migration = await do(world.servers.begin_migration, key, target)
        await do(migration.move)
        await asyncio.sleep(0.5)
        after = await do(target.errorstats)
        asked = (await do(migration.source.errorstats)).get("ASK", 0)
        await do(migration.end)
    world.ledger.figures["commands that were redirected by ASK"] += asked
    if moved := after.get("MOVED", 0) - before.get("MOVED", 0):
        world.ledger.wrong("asked without ASKING", f"{moved} commands for {key} while its slot was on its way")


async def move_a_channel(world: ClusterWorld) -> None:
    """Hand the slot of a shard channel over while nothing else is broken: this channel alone has a gap."""
    names = [channel.name for channel in world.channels if channel.sharded]
    if not names:
        return
    name, *others = world.chance.sample(names, len(names))
    home = await do(world.servers.primary_of, name)
    for other in others:  # to the same node: these are to hear of nothing
        if await do(world.servers.primary_of, other) is not home:
            with world.on_its_way(other):
                await do(world.servers.migrate, other, home)
    await _rest(world)
    ears = [ear for ear in world.ears if ear.alone and keyslot(ear.channel.name) != keyslot(name)]
    before = [ear.gaps for ear in ears]
    target = await _other(world, name)
    with world.on_its_way(name):
        await do(world.servers.migrate, name, target)
    await asyncio.sleep(REST)
    for ear, gaps in zip(ears, before, strict=True):
        if ear.gaps > gaps:
            world.ledger.wrong("a Gap for nothing", f"{ear.who} at {ear.channel.name}, as the slot of {name} has moved")


async def _other(world: ClusterWorld, key: str) -> ClusterNode:
    """Return a primary that does not serve a key."""
    owner, primaries = await do(world.servers.primary_of, key), await do(world.servers.primaries)
    return world.chance.choice([node for node in primaries if node is not owner])


async def _rest(world: ClusterWorld) -> None:
    """Wait until nothing is broken, all who listen hear something, and the client knows where each slot is."""
    world.mend_network()
    await do(world.servers.wait_until_ok)
    before = [ear.last for ear in world.ears]

    async def all_hear() -> bool:
        return all(ear.last > last for ear, last in zip(world.ears, before, strict=True))

    await eventually(30, all_hear)
    await world.client.fleet.pools.here().renew()
    await asyncio.sleep(REST)


# --- Nodes ------------------------------------------------------------------------------------------------------------


async def half_open_node(world: ClusterWorld) -> None:
    """Let a node be gone without a word: the connections stay open, and nobody answers on them."""
    await half_open(world)
    world.stranded_at = time.monotonic()


async def promote(world: ClusterWorld) -> None:
    """CLUSTER FAILOVER: a replica and its primary change places, in good order."""
    primary, _ = await world.pick()
    async with world.breaking(primary):
        await do(world.servers.failover, primary)


async def kill(world: ClusterWorld) -> None:
    """kill -9 of a primary whose replica has all that it has acknowledged: nothing may be lost."""
    primary, replica = await world.pick()
    async with world.breaking(primary):
        held = await do(world.hold_writes, primary, replica)
        await do(primary.kill)
        with world.slipping(primary, held):
            await _succession(world, primary)


async def kill_at_work(world: ClusterWorld) -> None:
    """kill -9 of a primary in the middle of its writes: the replica may lack the last of them."""
    primary, replica = await world.pick()
    async with world.breaking(primary):
        window = await do(world.window, primary, replica)
        await asyncio.sleep(world.chance.uniform(0, 0.1))
        await do(primary.kill)
        await _succession(world, primary)
        window.close()


async def kill_a_replica(world: ClusterWorld) -> None:
    """kill -9 of a replica, and a start a little later."""
    _, replica = await world.pick()
    async with world.breaking():
        await do(replica.kill)
        await asyncio.sleep(world.chance.uniform(0.1, 1.0))


async def suspend(world: ClusterWorld) -> None:
    """SIGSTOP of a primary until another has taken over: what the old one says when it wakes is not true."""
    primary, replica = await world.pick()
    async with world.breaking(primary):
        held = await do(world.hold_writes, primary, replica)
        await do(primary.pause)
        with world.slipping(primary, held):
            heir = await _succession(world, primary)
        await world.wait_for_client(primary, heir)


async def only_the_old_one(world: ClusterWorld) -> None:
    """kill -9 of a primary until another has taken over; then it alone is there, and tells how things were before."""
    primary, replica = await world.pick()
    async with world.breaking(primary):
        held = await do(world.hold_writes, primary, replica)
        await do(primary.kill)
        with world.slipping(primary, held):
            heir = await _succession(world, primary)
        await world.wait_for_client(primary, heir)
        epoch = world.client.topology().epoch
        others = [node for node in world.servers.nodes if node is not primary]
        await do(for_each, others, ClusterNode.pause)
        for node in others:
            world.servers.proxies[node].refuse()
            world.servers.proxies[node].cut()
        await do(primary.start)
        for _ in range(20):
            await asyncio.sleep(0.02)
            if (now := world.client.topology().epoch) < epoch:
                world.ledger.wrong("topology went back", f"from epoch {epoch} to {now}")
                break
        await do(for_each, others, ClusterNode.resume)
        world.mend_network()


async def _succession(world: ClusterWorld, primary: ClusterNode) -> ClusterNode:
    """Wait until another has taken over, and check that nobody waits for the old one any more."""
    line = primary.last
    assert line is not None
    slot = line.slots[0].start
    key = next(key for key in map(str, range(10_000_000)) if keyslot(key) == slot)
    patient = world.client.with_options(timeout=60)
    stories: list[Steps] = [[] for _ in range(3)]
    probes = [asyncio.create_task(_probe(patient, key, steps)) for steps in stories]
    ledger = world.ledger
    try:
        end = time.monotonic() + 30
        while not any(node.view()[node.id].owns(slot) for node in await do(world.servers.primaries)):
            if time.monotonic() > end:
                break  # the next line tells what is missing, after its own time
            await asyncio.sleep(0.05)
        heir = await do(world.servers.wait_until_promoted, primary)
        await do(_wait_until_served, heir, key)
        begin, still, late = time.monotonic(), ledger.stood_still, ledger.late
        await asyncio.wait(probes, timeout=30)
        took = time.monotonic() - begin - (ledger.stood_still - still)
        ledger.longest["after a failover"] = max(ledger.longest.get("after a failover", 0.0), took)
        lateness = ledger.late - late
        slow = await do(_slowest, [node for node in world.servers.nodes if node.reachable])
        untold = UNTOLD if heir.version < (7,) else 0.0
        if took > MOVED_ON + untold + LATE * lateness + ANSWERS * slow:
            told = world.stories.tell(max(stories, key=_end), begin)
            after = f"{took:.2f} s after all nodes knew the successor, with the loop {lateness:.2f} s late"
            ports = f"port {primary.announced_port} and its heir on {heir.announced_port}"
            ledger.wrong("held by a dead node", f"{after}; {ports}:\n{told}")
        for probe in probes:
            if probe.done() and (error := probe.exception()) is not None:
                ledger.failed("probe", error)
    finally:
        for probe in probes:
            probe.cancel()
    return heir


async def _probe(patient: Cluster[str], key: str, steps: Steps) -> str | None:
    CALL.set(steps)
    step("begins")
    try:
        return await patient.get(key)
    finally:
        step("ends")


def _slowest(nodes: list[ClusterNode]) -> float:
    """Return the seconds that the slowest of these nodes takes for an answer now."""
    times: list[float] = []
    for node in nodes:
        begin = time.monotonic()
        node.call("PING")
        times.append(time.monotonic() - begin)
    return max(times)


def _end(steps: Steps) -> float:
    return steps[-1][0]


def _wait_until_served(node: ClusterNode, key: str) -> None:
    """Wait until a node serves a key by its own word."""
    end = time.monotonic() + 20
    while True:
        try:
            node.call("GET", key)
        except ErrorReply:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


async def restart_elsewhere(world: ClusterWorld) -> None:
    """End all nodes, and start them on other ports: the seeds lead to them still."""
    await world.restart()


#: How often each comes in a round, and seconds of peace after it for what only time reveals.
DECK: Final[Deck[ClusterWorld]] = {
    cut: (3, 0.0),
    cut_in_a_reply: (12, 0.0),
    cut_in_a_command: (6, 0.0),
    delay: (4, 0.0),
    stall: (4, 0.0),
    half_open_node: (1, 1.5),
    refuse: (2, 0.0),
    client_kill: (4, 0.0),
    client_pause: (2, 0.2),
    freeze: (3, 0.0),
    move: (10, 0.0),
    move_at_once: (4, 0.0),
    move_under_watch: (2, 0.0),
    move_a_channel: (2, 0.0),
    promote: (4, 0.2),
    kill: (2, 0.2),
    kill_at_work: (2, 0.2),
    kill_a_replica: (2, 0.2),
    suspend: (2, 0.2),
    only_the_old_one: (1, 0.2),
    restart_elsewhere: (1, 0.5),
}
