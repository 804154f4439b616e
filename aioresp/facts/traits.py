"""Traits of one command: its name, keys, time limit, and how it may travel.

Owns the reading of the catalogue for given arguments. These are looked at once, as the server will read them, and the
result is handed on. Never sends anything, and never changes an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from aioresp.arguments import word
from aioresp.facts.catalogue import (
    BINARY,
    BLOCKING,
    BLOCKING_BY_OPTION,
    CHANGES,
    CONTAINERS,
    ESCAPED,
    FORBIDDEN,
    FOREIGN_KEYS,
    KEYLESS,
    KEYS,
    OWN_WORDS,
    READ_ONLY,
    REFUSED,
    UNDOING,
)

#: Seconds that count as forever: a timer cannot be set to more.
FOREVER: Final = 1e9

#: Shortest time limit in seconds that every server takes for one: Redis 6.2 reads 0.001 as 0, which means forever.
LEAST: Final = 0.002


class Facts:
    """Facts that depend on the name alone."""

    __slots__ = (
        "binary",
        "blocks",
        "changes",
        "escaped",
        "forbidden",
        "known_keys",
        "movable",
        "name",
        "own_words",
        "places",
        "read_only",
        "refusal",
        "undoing",
    )

    def __init__(self, word: str, full: str) -> None:
        """Read the tables for a first word, and for the same with its subcommand if it has one."""
        name = full if full in REFUSED else word
        self.name = name
        self.refusal = REFUSED.get(name)
        self.forbidden = name in FORBIDDEN
        self.changes = name in CHANGES
        self.binary = word in BINARY or full in BINARY
        self.escaped = word in ESCAPED or full in ESCAPED
        self.read_only = word in READ_ONLY or full in READ_ONLY
        self.own_words = word in OWN_WORDS or full in OWN_WORDS
        self.undoing = UNDOING.get(word)
        self.blocks = word in BLOCKING or word in BLOCKING_BY_OPTION
        self.movable = _MOVABLE.get(word)
        self.known_keys = KEYS.get(full) or KEYS.get(word)
        self.places = self.known_keys or FOREIGN_KEYS.get(full) or FOREIGN_KEYS.get(word)
        if self.places is None and self.movable is None and word not in KEYLESS:
            self.places = (1, 1, 1)  # not in the catalogue: a module's, or newer than it


class Traits:
    """Facts of one command: `traits()` makes them."""

    __slots__ = (
        "_facts",
        "_place",
        "arguments",
        "binary",
        "changes",
        "escaped",
        "forbidden",
        "name",
        "read_only",
        "refusal",
        "timeout",
        "undoing",
    )

    arguments: tuple[Any, ...] | Sequence[Any]
    """The command and its arguments, as they were given."""
    name: str
    """Its name in upper case, with the subcommand if a client or a lease treats that subcommand apart."""
    refusal: str | None
    """The reason why a shared connection must not carry it; None if it may."""
    forbidden: bool
    """Whether a leased connection refuses it, too."""
    changes: bool
    """Whether it changes its connection; the change is undone before the next use."""
    binary: bool
    """Whether its reply stays bytes for every caller, as it is not text."""
    escaped: bool
    """Whether bytes of its reply that are not UTF-8 are escaped for a caller that wants text."""
    read_only: bool
    """Whether the servers flag it as read-only."""
    timeout: float | None
    """Seconds for which the server may hold it back (0: forever); None if it does not block."""
    undoing: str | None
    """The command that puts its elements back; None if its reply takes none out of a key."""

    def __init__(self, arguments: Sequence[Any]) -> None:
        self.arguments = arguments
        first = word(arguments[0]) if arguments else ""
        if first in CONTAINERS and len(arguments) > 1:
            full = f"{first} {word(arguments[1])}"
            facts = _WITH_SUBCOMMAND.get(full) or _facts(first, full)
        else:
            facts = _FACTS.get(first) or _facts(first, first)
        self._facts = facts
        self.name = facts.name
        self.refusal = facts.refusal
        self.forbidden = facts.forbidden
        self.changes = facts.changes
        self.read_only = facts.read_only
        self.binary = facts.binary or (first == "VEMB" and len(arguments) > 3 and word(arguments[3]) == "RAW")
        self.escaped = facts.escaped
        self.undoing = facts.undoing
        self._place = place = _timeout_place(first, arguments) if facts.blocks else None
        self.timeout = None if place is None else _seconds(arguments[place[0]], place[1])

    def __repr__(self) -> str:
        return f"Traits({self.name})"  # arguments are not shown

    @property
    def own_words(self) -> bool:
        """Whether an error that says that it has not run is the server's own; a script can return the same error."""
        return self._facts.own_words

    def with_timeout(self, seconds: float) -> Traits:
        """Return the same command with another time limit, rounded up to the milliseconds that the server takes."""
        assert self._place is not None
        where, units = self._place
        where %= len(self.arguments)
        milliseconds = math.ceil(seconds * 1000)
        limit = milliseconds if units == 1000 else milliseconds / 1000
        return Traits((*self.arguments[:where], limit, *self.arguments[where + 1 :]))

    def served(self) -> Traits:
        """Return the same command, with a time limit that no server takes for 0, which means forever.

        Limits of hardly more or less than 0 are meant: the servers cut the digits behind the milliseconds.
        """
        if self.timeout is None or not 0 < abs(self.timeout) < LEAST or self._place is None or self._place[1] != 1:
            return self
        return self.with_timeout(LEAST if self.timeout > 0 else -1)

    @property
    def keys(self) -> tuple[Any, ...]:
        """All keys, by the servers' key specifications, as they were given.

        The channel of SPUBLISH or SSUBSCRIBE counts, because it has a slot. A command that is not in the catalogue has
        one key, its first argument. For a command that the server will refuse, the keys may be wrong or missing.
        """
        facts = self._facts
        if facts.movable is not None:
            return facts.movable(self.arguments)
        return () if facts.places is None else _at(facts.places, self.arguments)

    @property
    def first_key(self) -> Any | None:
        """The first key, for messages; None if the catalogue has no place for it, as other arguments may be secret."""
        places = self._facts.known_keys
        if places is None:
            return None
        first, last, step = places
        keys = _counted(self.arguments, first, step, 1) if last == 0 else self.arguments[first : first + 1]
        return keys[0] if keys else None


def traits(command: Sequence[Any] | Traits) -> Traits:
    """Return the traits of a command; traits are returned as they are."""
    return command if type(command) is Traits else Traits(command)  # type: ignore[arg-type]


def movable(name: str) -> bool:
    """Return whether the places of a command's keys depend on its arguments."""
    return name in _MOVABLE


# Facts by name, and by name and subcommand, made when a command is first used. "CONFIG GET" as one word is a name of
# its own.
_FACTS: Final[dict[str, Facts]] = {}
_WITH_SUBCOMMAND: Final[dict[str, Facts]] = {}

_NAMES: Final = frozenset(
    (
        *KEYS,
        *FOREIGN_KEYS,
        *KEYLESS,
        *READ_ONLY,
        *OWN_WORDS,
        *REFUSED,
        *BINARY,
        *ESCAPED,
        *BLOCKING,
        *BLOCKING_BY_OPTION,
    )
)


def _facts(first: str, full: str) -> Facts:
    """Make the facts of a name, and keep them if a table has it: callers may make up any number of others."""
    if full not in _NAMES:
        full = first
    kept = _FACTS if full == first else _WITH_SUBCOMMAND
    if (facts := kept.get(full)) is None:
        facts = Facts(first, full)
        if full in _NAMES:
            kept[full] = facts
    return facts


# --- Time limits -----------------------------------------------------------------------------------------------------


def _timeout_place(name: str, arguments: Sequence[Any]) -> tuple[int, int] | None:
    """Return where the time limit of a blocking command stands, and how many of its units make a second."""
    if name in ("XREAD", "XREADGROUP"):
        where = stream_options(arguments).get("BLOCK")
        return None if where is None else (where, 1000)
    if name == "TS.READ":
        options = [word(argument) for argument in arguments[3:-1]]
        return (3 + options.index("BLOCK") + 1, 1000) if "BLOCK" in options else None
    place = BLOCKING[name]
    return place if len(arguments) > max(2, place[0]) else None


def stream_options(arguments: Sequence[Any]) -> dict[str, int]:
    """Return where the values of BLOCK and GROUP stand in an XREAD or XREADGROUP, and the names after STREAMS.

    The server takes options in any order, and the last of each kind counts. A group, a consumer or a stream may be
    called "BLOCK". If the value of another option is "BLOCK", the server refuses the command.
    """
    found: dict[str, int] = {}
    last = len(arguments) - 1
    position = 1
    while position < last:
        option = word(arguments[position])
        position += 1
        if option == "GROUP" and position < last:
            found[option] = position
            position += 2
        elif option in ("BLOCK", "STREAMS"):
            found[option] = position
            if option == "STREAMS":
                break
    return found


def _seconds(argument: Any, units: float) -> float:
    try:
        seconds = float(argument if type(argument) is int or type(argument) is float else word(argument)) / units
    except (ValueError, OverflowError):
        return 0.0  # the server will refuse the command and say why
    return seconds if abs(seconds) < FOREVER else 0.0


# --- Keys ------------------------------------------------------------------------------------------------------------


def _at(places: tuple[int, int, int], arguments: Sequence[Any]) -> tuple[Any, ...]:
    first, last, step = places
    if last == 0:
        return _counted(arguments, first, step)
    end = last + 1 if last > 0 else len(arguments) + last + 1
    return tuple(arguments[first:end:step])


def _counted(arguments: Sequence[Any], where: int, step: int = 1, most: int | None = None) -> tuple[Any, ...]:
    """Return the keys behind their number, at most `most`; none if the server would refuse the number."""
    text = word(arguments[where]) if where < len(arguments) else ""
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and len(text) > 1):
        return ()
    end = where + 1 + int(text) * step
    if end - step >= len(arguments):
        return ()
    return tuple(arguments[where + 1 : end if most is None else min(end, where + 1 + most * step) : step])


def _stored(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the destination and the sources behind their number, as in ZUNIONSTORE."""
    return (*arguments[1:2], *_counted(arguments, 2))


def _behind_streams(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the first half of the words behind STREAMS: the other half are ids to begin at."""
    where = stream_options(arguments).get("STREAMS", len(arguments))
    return tuple(arguments[where : where + (len(arguments) - where) // 2])


def _sorted(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the key of SORT and, if it stores, its destination: the last STORE counts."""
    stored: tuple[Any, ...] = ()
    position = 2
    while position < len(arguments):
        option = word(arguments[position])
        if option == "STORE":
            stored = tuple(arguments[position + 1 : position + 2]) or stored
        position += {"LIMIT": 3, "GET": 2, "BY": 2, "STORE": 2}.get(option, 1)
    return (*arguments[1:2], *stored)


def _near(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the key of GEORADIUS and, if it stores, its destination: the last STORE or STOREDIST counts."""
    stored: tuple[Any, ...] = ()
    position = 5
    while position < len(arguments) - 1:
        if word(arguments[position]) in ("STORE", "STOREDIST"):
            position += 1
            stored = (arguments[position],)
        position += 1
    return (*arguments[1:2], *stored)


def _migrated(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the key of MIGRATE, or the keys behind KEYS. A password may be "KEYS"."""
    position = 6
    while position < len(arguments) - 1:
        option = word(arguments[position])
        if option == "KEYS":
            return tuple(arguments[position + 1 :])
        position += {"AUTH": 2, "AUTH2": 3}.get(option, 1)
    return tuple(arguments[3:4])


_MOVABLE: Final[dict[str, Callable[[Sequence[Any]], tuple[Any, ...]]]] = {
    "SORT": _sorted,
    **dict.fromkeys(("GEORADIUS", "GEORADIUSBYMEMBER"), _near),
    "MIGRATE": _migrated,
    **dict.fromkeys(("XREAD", "XREADGROUP"), _behind_streams),
    **dict.fromkeys(("ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE", "CMS.MERGE", "TDIGEST.MERGE"), _stored),
}
