"""Which commands of the catalogue have no method, and why. The tests hold both lists exact."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

_SERVERS = "said between servers, never by a client"
_INTERNAL = "for those who test the server itself"
_CONTEXT = "a context sends it: it means nothing as one call among others"
_SUBSCRIPTION = "its messages are not replies: subscriptions are a context"
_BREAKS = "it would break the connection it is sent on"

#: Commands that have no method on purpose, each with its reason. *HELP, and names that are only containers of
#: subcommands, are left out by rule: see `by_rule`.
LEFT_OUT: Final[dict[str, str]] = {
    **dict.fromkeys(("SYNC", "PSYNC", "REPLCONF", "RESTORE-ASKING", "ASKING"), _SERVERS),
    **dict.fromkeys(("CLUSTER SYNCSLOTS", "TRIMSLOTS", "XIDMPRECORD"), _SERVERS),
    **dict.fromkeys(("DEBUG", "SCRIPT DEBUG", "PFDEBUG", "PFSELFTEST"), _INTERNAL),
    **dict.fromkeys(("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"), _CONTEXT),
    **dict.fromkeys(("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"), _SUBSCRIPTION),
    **dict.fromkeys(("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"), _SUBSCRIPTION),
    "MONITOR": "its lines are not replies",
    "CLIENT REPLY": _BREAKS,
    "INCR": "incr() sends INCRBY, which has an amount",
    "DECR": "decr() sends DECRBY, which has an amount",
}

_DEFAULT = "what the server does anyway"
_VALUE = "a value that is passed on as it is"

#: Words of commands' options that no method is seen to send, each with its reason.
WORDS_LEFT_OUT: Final[dict[str, dict[str, str]]] = {
    **dict.fromkeys(
        (
            *("GEODIST", "GEOSEARCH", "GEOSEARCHSTORE"),
            *("GEORADIUS", "GEORADIUS_RO", "GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO"),
        ),
        dict.fromkeys(("M", "KM", "FT", "MI"), _VALUE),
    ),
    "CLIENT KILL": dict.fromkeys(("MASTER", "PRIMARY", "SLAVE", "REPLICA"), _VALUE),
    "CLIENT LIST": dict.fromkeys(("MASTER", "REPLICA", "PUBSUB"), _VALUE),
    "CLIENT PAUSE": {"ALL": _DEFAULT},
    "CLIENT UNBLOCK": {"TIMEOUT": _DEFAULT},
    "FLUSHALL": {"SYNC": _DEFAULT},
    "FLUSHDB": {"SYNC": _DEFAULT},
    "SORT": {"ASC": _DEFAULT},
    "SORT_RO": {"ASC": _DEFAULT},
    "XADD": {"=": _DEFAULT},
    "XTRIM": {"=": _DEFAULT},
}

#: Those that will be sent and are not yet: shrinks to nothing.
WORDS_NOT_YET: Final[dict[str, str]] = {}

#: Commands that will have a method and have none yet: shrinks to nothing.
NOT_YET: Final[frozenset[str]] = frozenset(
    line.strip()
    for line in """
    """.strip().splitlines()
)


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """Return the facts of every command; see tests/data/catalogue.md."""
    path = Path(__file__).parent.parent / "data" / "catalogue.json"
    facts: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def by_rule(name: str) -> bool:
    """Return whether `name` has no method because of what it is: help, or a container of subcommands."""
    return name.endswith(" HELP") or (name != "COMMAND" and "container" in catalogue()[name])


def name_of(arguments: tuple[object, ...]) -> str:
    """Return the name, in the catalogue's spelling, of the command with these arguments."""
    first, two = (" ".join(map(word, arguments[:count])) for count in (1, 2))
    return two if two in catalogue() else first


def word(argument: object) -> str:
    """Return an argument as a word in upper case."""
    text = bytes(argument).decode("latin-1") if isinstance(argument, (bytes, bytearray)) else str(argument)
    return text.upper()
