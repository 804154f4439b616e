"""Commands over several nodes: split by slot, or sent to all of them, with one reply.

Owns the error of a command that some nodes have run and others have not. Never converts the reply.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Any, Final

from aioresp.arguments import word
from aioresp.cluster.policies import Policy, Reach, policy_of
from aioresp.cluster.routes import all_of
from aioresp.cluster.slots import SLOTS, slot_of
from aioresp.cluster.split import SPLIT, Split, split_of
from aioresp.cluster.streams import read_streams
from aioresp.cluster.topology import ClusterNode
from aioresp.command import told
from aioresp.errors import CommandRefused, RedisError, about, copy_error
from aioresp.facts.traits import Traits
from aioresp.options import Terms
from aioresp.pool.pool import Pool
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack

if TYPE_CHECKING:
    from aioresp.cluster.fleet import Fleet

#: Reply of `spread` for a command that goes to one node.
NOT_SPREAD: Final[Any] = object()


async def spread(fleet: Fleet, facts: Traits, terms: Terms) -> Any:
    """Send a command to all nodes that it concerns; return the raw reply, or NOT_SPREAD if that is one node."""
    if facts.name in SPLIT:
        split = split_of(facts)
        return NOT_SPREAD if split is None else await _send_parts(fleet, split, terms)
    if facts.name in ("XREAD", "XREADGROUP") and len({slot_of(key) for key in facts.keys}) > 1:
        return await read_streams(fleet, facts, terms)
    if facts.keys or facts.timeout is not None:
        return NOT_SPREAD
    policy = policy_of(facts.arguments)
    if policy.reach is Reach.ANY:
        return NOT_SPREAD
    if policy.reach is Reach.NONE:
        raise about(CommandRefused(f"a cluster does not send this command: {policy.advice}"), facts.name)
    if policy.reach is Reach.SLOT:
        slot = word(facts.arguments[2]) if len(facts.arguments) > 2 else ""
        known = slot.isascii() and slot.isdigit() and int(slot) < SLOTS
        return await fleet.send(pack(tuple(facts.arguments)), int(slot), terms) if known else NOT_SPREAD
    topology = await fleet.topology(terms)
    if policy.reach is Reach.FIRST:
        return await _first(fleet, facts, terms, topology.primaries)
    nodes = topology.primaries
    if policy.reach is Reach.NODES:
        nodes += tuple(node for node in topology.replicas if node.healthy)
    return await _everywhere(fleet, facts, terms, policy, nodes)


async def _send_parts(fleet: Fleet, split: Split, terms: Terms) -> Any:
    """Send the keys of each slot in a command of their own; return the sum, or the values in the order of the keys."""
    replies: list[Any]
    if terms.read_from != "primary" and split.facts.read_only:
        parts = zip(split.commands, split.slots, strict=True)
        replies = await all_of(fleet.read(packed, slot, terms) for packed, slot in parts)
    else:
        route = fleet.route(terms.replace(middleware=()))
        route.slots.extend(split.slots)
        replies = (await route.carry(split.commands, terms.decode, False)).raw
    reply = split.joined(replies)
    if isinstance(reply, BaseException):
        raise reply
    return reply


async def _first(fleet: Fleet, facts: Traits, terms: Terms, nodes: Iterable[ClusterNode]) -> Any:
    """Ask one node after another, in random order, until one has an answer."""
    for node in random.sample(list(nodes), len(list(nodes))):
        reply = await _at(fleet, facts, terms, node)
        if reply is not None:
            return reply
    return None


async def _everywhere(fleet: Fleet, facts: Traits, terms: Terms, policy: Policy, nodes: tuple[ClusterNode, ...]) -> Any:
    found = await all_of(_at(fleet, facts, terms, node) for node in nodes)
    failed = [(node, reply) for node, reply in zip(nodes, found, strict=True) if isinstance(reply, BaseException)]
    done = [node for node, reply in zip(nodes, found, strict=True) if not isinstance(reply, BaseException)]
    if failed and not (policy.reach is Reach.SOME and done):
        node, error = failed[0]
        if not isinstance(error, RedisError):
            raise error
        own = copy_error(error)
        told_of = ", ".join(map(str, done)) or "no node"
        own.args = (f"{error.args[0] if error.args else ''} (at {node}; done at {told_of})", *error.args[1:])
        told(own, facts)
        raise own
    assert policy.join is not None
    return policy.join([reply for reply in found if not isinstance(reply, BaseException)])


def _at(fleet: Fleet, facts: Traits, terms: Terms, node: ClusterNode) -> Awaitable[Any]:
    """Send the command to one node; in place of a primary, to the one that takes its shard over meanwhile."""
    router = fleet.pools.here()
    topology = router.topology
    shards = () if topology is None else topology.shards
    shard = next((shard for shard in shards if shard.primary.id == node.id), None)
    kin = set() if shard is None else {shard.primary.id, *(replica.id for replica in shard.replicas)}

    def find() -> Pool[Connection]:
        now = () if router.topology is None else router.topology.primaries
        heir = next((primary for primary in now if primary.id in kin), None)
        # In the middle of a failover, a view may have left its replica out: then the one that has its slots by now.
        taken = router.pool(shard.slots[0][0]) if heir is None and shard is not None and shard.slots else None
        return taken or router.pool_at((heir or node).address)

    return fleet.send(pack(tuple(facts.arguments)), None, terms, find)
