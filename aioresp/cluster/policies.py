"""Policies of commands over a whole cluster: to which nodes one without a key goes, and how replies become one.

Owns the table, taken from the tips of the servers' own COMMAND, and the joining of replies. Never sends anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

from aioresp.arguments import word
from aioresp.facts.catalogue import CONTAINERS
from aioresp.record import Record

#: Function that makes one raw reply of those of all nodes.
Join: TypeAlias = Callable[[Sequence[Any]], Any]


class Reach(Enum):
    """Nodes that a command without a key goes to."""

    ANY = "any primary"
    SHARDS = "all primaries"
    NODES = "all primaries and replicas"
    SOME = "all primaries, of which one must accept it"
    FIRST = "one primary after another, until one has an answer"
    SLOT = "the primary of the slot that it names"
    NONE = "no node by itself"


class Policy(Record):
    """Policy of one command."""

    reach: Reach
    join: Join | None = None
    advice: str = ""
    """The way to send a command that goes to no node by itself."""


def policy_of(arguments: Sequence[Any]) -> Policy:
    """Return the policy of a command without a key."""
    first = word(arguments[0])
    full = f"{first} {word(arguments[1])}" if first in _CONTAINERS and len(arguments) > 1 else first
    return POLICIES.get(full) or POLICIES.get(first) or _ANY


def _first(replies: Sequence[Any]) -> Any:
    return replies[0]


def _sum(replies: Sequence[Any]) -> Any:
    return sum(replies)


def _joined(replies: Sequence[Any]) -> Any:
    return [item for reply in replies for item in reply]


def _united(replies: Sequence[Any]) -> Any:
    return list(dict.fromkeys(_joined(replies)))


def _counts(replies: Sequence[Any]) -> Any:
    """Return the sums of counts by name, in the form of the first reply: a map, or a flat list of pairs."""
    if isinstance(replies[0], dict):
        return {name: sum(reply[name] for reply in replies) for name in replies[0]}
    return [name if place % 2 == 0 else sum(r[place] for r in replies) for place, name in enumerate(replies[0])]


def _running(replies: Sequence[Any]) -> Any:
    """Return the reply of a node that runs a function, or else the first one."""
    return next((reply for reply in replies if _field(reply, "running_script") is not None), replies[0])


def _field(reply: Any, name: str) -> Any:
    pairs = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    return pairs.get(name, pairs.get(name.encode()))


def _all_have(replies: Sequence[Any]) -> Any:
    return [min(column) for column in zip(*replies, strict=True)]


_ANY: Final = Policy(Reach.ANY)

_ONE_NODE: Final = "it is for one node: `for node in await r.nodes(): ...` goes through all, each of them a client"

_TABLE: Final[dict[Policy, str]] = {
    Policy(Reach.NODES, _first): """
    ACL|DELUSER ACL|LOAD ACL|SAVE ACL|SETUSER CLIENT|SETINFO CLIENT|SETNAME CONFIG|RESETSTAT CONFIG|REWRITE CONFIG|SET
    SCRIPT|FLUSH SCRIPT|LOAD SLOWLOG|RESET COMMANDLOG|RESET
    """,
    Policy(Reach.NODES, _sum): "LATENCY|RESET SLOWLOG|LEN COMMANDLOG|LEN PUBSUB|NUMPAT",
    Policy(Reach.NODES, _joined): "SLOWLOG|GET COMMANDLOG|GET LATENCY|LATEST LATENCY|HISTORY",
    # Of these no tips tell, but each node knows its own subscribers only.
    Policy(Reach.NODES, _united): "PUBSUB|CHANNELS PUBSUB|SHARDCHANNELS",
    Policy(Reach.NODES, _counts): "PUBSUB|NUMSUB PUBSUB|SHARDNUMSUB",
    Policy(Reach.SHARDS, _first): """
    FLUSHALL FLUSHDB FUNCTION|DELETE FUNCTION|FLUSH FUNCTION|LOAD FUNCTION|RESTORE MEMORY|PURGE PING
    """,
    Policy(Reach.SHARDS, _sum): "DBSIZE",
    Policy(Reach.SHARDS, _all_have): "SCRIPT|EXISTS",
    Policy(Reach.SHARDS, _joined): "KEYS CLUSTER|SLOT-STATS CLUSTER|GETSLOTMIGRATIONS",
    Policy(Reach.SHARDS, _running): "FUNCTION|STATS",
    Policy(Reach.SLOT): "CLUSTER|COUNTKEYSINSLOT CLUSTER|GETKEYSINSLOT CLUSTER|FLUSHSLOT",
    Policy(Reach.SOME, _first): "FUNCTION|KILL SCRIPT|KILL",
    Policy(Reach.FIRST): "RANDOMKEY",
    Policy(Reach.NONE, None, "`scan_iter()` goes through all nodes, and `node.scan()` through one of `primaries()`"): (
        "SCAN"
    ),
    Policy(Reach.NONE, None, _ONE_NODE): """
    BGREWRITEAOF BGSAVE CLIENT|KILL CLIENT|PAUSE CLIENT|UNPAUSE CLIENT|UNBLOCK CLIENT|LIST CLIENT|ID CLIENT|INFO
    CLUSTER|ADDSLOTS CLUSTER|ADDSLOTSRANGE CLUSTER|BUMPEPOCH CLUSTER|DELSLOTS CLUSTER|DELSLOTSRANGE CLUSTER|FAILOVER
    CLUSTER|FLUSHSLOTS CLUSTER|FORGET CLUSTER|MEET CLUSTER|REPLICATE CLUSTER|RESET CLUSTER|SAVECONFIG
    CLUSTER|SET-CONFIG-EPOCH CLUSTER|SETSLOT CLUSTER|MIGRATESLOTS CLUSTER|CANCELSLOTMIGRATIONS DEBUG FAILOVER LASTSAVE
    MODULE|LOAD MODULE|LOADEX MODULE|UNLOAD REPLICAOF ROLE SAVE SHUTDOWN SLAVEOF SWAPDB
    """,
}

#: Policies by name; all other commands without a key go to any primary.
POLICIES: Final[dict[str, Policy]] = {
    name.replace("|", " "): policy for policy, names in _TABLE.items() for name in names.split()
}

_CONTAINERS: Final = CONTAINERS | {name.partition(" ")[0] for name in POLICIES if " " in name}
