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


def _all_have(replies: Sequence[Any]) -> Any:
    return [min(column) for column in zip(*replies, strict=True)]


_ANY: Final = Policy(Reach.ANY)

_ONE_NODE: Final = "it is for one node: `for node in await r.nodes(): ...` goes through all, each of them a client"

_TABLE: Final[dict[Policy, str]] = {
    Policy(Reach.NODES, _first): """
    ACL|DELUSER ACL|LOAD ACL|SAVE ACL|SETUSER CLIENT|SETINFO CLIENT|SETNAME CONFIG|RESETSTAT CONFIG|REWRITE CONFIG|SET
    SCRIPT|FLUSH SCRIPT|LOAD SLOWLOG|RESET COMMANDLOG|RESET
    """,
    Policy(Reach.NODES, _sum): "LATENCY|RESET SLOWLOG|LEN COMMANDLOG|LEN",
    Policy(Reach.NODES, _joined): "SLOWLOG|GET COMMANDLOG|GET",
    Policy(Reach.SHARDS, _first): """
    FLUSHALL FLUSHDB FUNCTION|DELETE FUNCTION|FLUSH FUNCTION|LOAD FUNCTION|RESTORE MEMORY|PURGE PING
    """,
    Policy(Reach.SHARDS, _sum): "DBSIZE",
    Policy(Reach.SHARDS, _all_have): "SCRIPT|EXISTS",
    Policy(Reach.SHARDS, _joined): "KEYS",
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
