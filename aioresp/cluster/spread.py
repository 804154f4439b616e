"""Commands over several nodes: split by slot, or sent to all of them, with one reply.

Owns which commands may be split, and the error of a command that some nodes have run and others have not. Never
converts the reply.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from aioresp.cluster.policies import Policy, Reach, policy_of
from aioresp.cluster.routes import all_of
from aioresp.cluster.slots import slot_of
from aioresp.cluster.streams import read_streams
from aioresp.cluster.topology import ClusterNode
from aioresp.command import told
from aioresp.errors import CommandRefused, RedisError, about, copy_error
from aioresp.facts.traits import Traits
from aioresp.options import Terms
from aioresp.wire.packing import pack

if TYPE_CHECKING:
    from aioresp.cluster.fleet import Fleet

#: Reply of `spread` for a command that goes to one node.
NOT_SPREAD: Final[Any] = object()

#: Commands that may be split, as each key stands for itself; all but MGET reply with a number.
_SPLIT: Final = frozenset(("DEL", "UNLINK", "EXISTS", "TOUCH", "MGET"))


async def spread(fleet: Fleet, facts: Traits, terms: Terms) -> Any:
    """Send a command to all nodes that it concerns; return the raw reply, or NOT_SPREAD if that is one node."""
    if facts.name in _SPLIT:
        return await _split(fleet, facts, terms)
    if facts.name in ("XREAD", "XREADGROUP") and len({slot_of(key) for key in facts.keys}) > 1:
        return await read_streams(fleet, facts, terms)
    if facts.keys or facts.timeout is not None:
        return NOT_SPREAD
    policy = policy_of(facts.arguments)
    if policy.reach is Reach.ANY:
        return NOT_SPREAD
    if policy.reach is Reach.NONE:
        raise about(CommandRefused(f"a cluster does not send this command: {policy.advice}"), facts.name)
    topology = await fleet.topology(terms)
    if policy.reach is Reach.FIRST:
        return await _first(fleet, facts, terms, topology.primaries)
    nodes = topology.primaries
    if policy.reach is Reach.NODES:
        nodes += tuple(node for node in topology.replicas if node.healthy)
    return await _everywhere(fleet, facts, terms, policy, nodes)


async def _split(fleet: Fleet, facts: Traits, terms: Terms) -> Any:
    """Send the keys of each slot in a command of their own; return the sum, or the values in the order of the keys."""
    parts: dict[int, list[int]] = {}
    keys = facts.keys
    for number, key in enumerate(keys):
        parts.setdefault(slot_of(key), []).append(number)
    if len(parts) < 2:
        return NOT_SPREAD
    commands = [pack((facts.name, *(keys[number] for number in numbers))) for numbers in parts.values()]
    replies: list[Any]
    if terms.read_from != "primary" and facts.read_only:
        replies = await all_of(fleet.read(packed, slot, terms) for packed, slot in zip(commands, parts, strict=True))
    else:
        route = fleet.route(terms.replace(middleware=()))
        route.slots.extend(parts)
        replies = (await route.carry(commands, terms.decode, False)).raw
    failed = [reply for reply in replies if isinstance(reply, RedisError)]
    if failed:
        error = copy_error(failed[0])
        if facts.name != "MGET" and len(failed) < len(replies):
            error.args = (f"{error.args[0]}; {len(replies) - len(failed)} of {len(replies)} slots are done",)
        told(error, facts)
        raise error
    if facts.name != "MGET":
        return sum(replies)
    values: list[Any] = [None] * len(keys)
    for numbers, reply in zip(parts.values(), replies, strict=True):
        for number, value in zip(numbers, reply, strict=True):
            values[number] = value
    return values


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
    """Send the command to one node."""
    find: Callable[[], Any] = lambda: fleet.pools.here().pool_at(node.address)  # noqa: E731
    return fleet.send(pack(tuple(facts.arguments)), None, terms, find)
