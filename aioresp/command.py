"""What a command is: its arguments, what its method returns, and the facts of its name.

Owns the type aliases that every signature uses and the few facts that decide how a command travels. Never imports
asyncio or hiredis and keeps no state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, ItemsView, Sequence
from sys import intern
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from aioresp.arguments import plain, word
from aioresp.facts.catalogue import COUNTED_KEYS, FIRST_KEY, READ_ONLY

if TYPE_CHECKING:
    from datetime import datetime, timedelta

Key: TypeAlias = str | bytes | memoryview
Value: TypeAlias = str | bytes | bytearray | memoryview | int | float
Number: TypeAlias = int | float
Seconds: TypeAlias = "int | timedelta"
Instant: TypeAlias = "int | datetime"
Wait: TypeAlias = "int | float | timedelta"
Arguments: TypeAlias = tuple[Value, ...]


class Fields(Protocol):
    """A mapping of names to values; `Mapping` itself would want one exact type of names."""

    def items(self) -> ItemsView[Key, Value]:
        """Return the pairs."""
        ...


#: Characters of a key that messages show.
KEY_SHOWN: Final = 60

#: What a client's replies are: str or bytes.
AnyStr = TypeVar("AnyStr", bound=str | bytes)

T_co = TypeVar("T_co", covariant=True)

#: Turns a raw reply into the value that the caller sees.
Converter: TypeAlias = Callable[[Any], T_co]


class Result(Coroutine[Any, Any, T_co]):
    """What a command method returns: await it for the value, or hand it to `create_task`.

    On a client it is a coroutine, which sends when it is first awaited. It is declared as a class of its own, so that
    type checkers accept it wherever a coroutine may stand and do not call a queued command a forgotten one.
    """

    __slots__ = ()


# --- How a command travels -------------------------------------------------------------------------------------------

#: Seconds that are as good as for ever, and more than a timer can be set to.
FOR_EVER: Final = 1e9

# Where the server-side timeout of a blocking command stands, and how many of its units make a second.
_BLOCKING: Final[dict[str, tuple[int, float]]] = {
    "BLPOP": (-1, 1),
    "BRPOP": (-1, 1),
    "BRPOPLPUSH": (-1, 1),
    "BLMOVE": (-1, 1),
    "BLMPOP": (1, 1),
    "BZPOPMIN": (-1, 1),
    "BZPOPMAX": (-1, 1),
    "BZMPOP": (1, 1),
    "BLMOVEM": (5, 1),
    "WAIT": (-1, 1000),
    "WAITAOF": (-1, 1000),
}

_ON_A_LEASE = "it belongs to one connection: use `async with client.connection() as c`"
_NEVER = "it would break the connection it is sent on"

# Commands that change a connection, or mean something only where earlier commands ran.
_REFUSED: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("SELECT", "AUTH", "RESET", "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "READONLY", "READWRITE"),
        _ON_A_LEASE,
    ),
    **dict.fromkeys(("ASKING", "WAIT", "WAITAOF", "QUIT", "HELLO"), _ON_A_LEASE),
    **dict.fromkeys(("HIMPORT PREPARE", "HIMPORT SET", "HIMPORT DISCARD", "HIMPORT DISCARDALL"), _ON_A_LEASE),
    **dict.fromkeys(("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"), "use `async with client.subscribe(...) as s`"),
    **dict.fromkeys(("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"), "use the methods of a subscription"),
    "MONITOR": "use `async with client.monitor() as m`",
    **dict.fromkeys(("SYNC", "PSYNC", "REPLCONF", "CLUSTER SYNCSLOTS", "POST", "HOST:"), _NEVER),
    "CLIENT REPLY": _NEVER,
    "SCRIPT DEBUG": _NEVER,
    "DEBUG PROTOCOL": "its RESP3 attributes would be taken for replies",
    **dict.fromkeys(("CLIENT TRACKING", "CLIENT CACHING", "CLIENT NO-EVICT", "CLIENT NO-TOUCH"), _ON_A_LEASE),
    **dict.fromkeys(("CLIENT SETNAME", "CLIENT SETINFO", "CLIENT CAPA", "CLIENT IMPORT-SOURCE"), _ON_A_LEASE),
}

# Of these, what RESET and a new handshake do not surely undo on every server; and what there is nothing to undo of.
_LASTING: Final = ("CLIENT NO-EVICT", "CLIENT NO-TOUCH", "CLIENT CAPA", "CLIENT IMPORT-SOURCE", "QUIT")
_LEAVING_NOTHING: Final = ("WAIT", "WAITAOF", "EXEC", "DISCARD", "UNWATCH", "READWRITE")

#: Commands that change their connection, and whether RESET undoes it.
CHANGES: Final[dict[str, bool]] = {
    name: name not in _LASTING for name, why in _REFUSED.items() if why is _ON_A_LEASE and name not in _LEAVING_NOTHING
}

#: Refused even on a leased connection.
FORBIDDEN: Final = frozenset(name for name, why in _REFUSED.items() if why is not _ON_A_LEASE)

# Commands whose reply is no text, whatever the caller's decoding, or quotes and cuts what need be none.
_BINARY: Final = frozenset({"DUMP", "FUNCTION DUMP", "SLOWLOG GET", "COMMANDLOG GET", "ACL LOG"})

#: The command that succeeds by the end of its connection, and holds that up until then.
SHUTDOWN: Final = "SHUTDOWN"

#: First words of all commands that do not simply travel on a shared connection.
SPECIAL: Final[frozenset[str]] = frozenset(
    {
        SHUTDOWN,
        *(name.partition(" ")[0] for name in (*_REFUSED, *_BINARY)),
        *_BLOCKING,
        *("XREAD", "XREADGROUP", "TS.READ", "VEMB"),
    }
)

# Commands without a key, and without a flag that says that they only read.
_OTHERS: Final = """
    BACKUP BGREWRITEAOF BGSAVE CLUSTERSCAN COMMAND CONFIG DELIFEQ ECHO FAILOVER FLUSHALL FLUSHDB HOTKEYS INFO LASTSAVE
    LATENCY LOLWUT MODULE PFSELFTEST PING PUBLISH PUBSUB REPLICAOF ROLE SAVE SLAVEOF SWAPDB TIME TRIMSLOTS
"""

_plain: Final = {name.partition(" ")[0] for name in (*FIRST_KEY, *READ_ONLY, *_OTHERS.split())} - SPECIAL

#: First words of commands that do simply travel, as they are usually spelled: one look-up keeps these fast. Whatever is
#: not among them, or is spelled in another way, is looked at as the server will read it. Interned, as the names in the
#: methods are: these are found without a comparison.
PLAIN: Final[frozenset[object]] = frozenset(intern(spelled) for name in _plain for spelled in (name, name.lower()))


def full_name(arguments: Sequence[object]) -> str:
    """Return the command's name in upper case, with its subcommand where such a one is in the tables above."""
    if not arguments:
        return ""  # what was unpacked began with a large argument
    first = word(arguments[0])
    if len(arguments) > 1 and (name := f"{first} {word(arguments[1])}") in _REFUSED:
        return name
    return first


def locate(arguments: Sequence[object]) -> tuple[str, str | None]:
    """Return the command's name and its first key, shortened, for messages. Never a value or a password."""
    name = full_name(arguments)
    two_words = f"{name} {word(arguments[1])}" if len(arguments) > 1 else name
    position = FIRST_KEY.get(two_words, FIRST_KEY.get(name))
    if position is None or position >= len(arguments):
        return name, None
    if name in COUNTED_KEYS and not _positive(arguments[position - 1]):
        return name, None  # what stands there is no key
    return name, shown(arguments[position])


def shown(key: object) -> str:
    """Return a key, or the name of a channel, as messages show it."""
    try:
        data = plain(key)
    except ValueError:
        data = None  # a memoryview that was released meanwhile
    if isinstance(data, bytes):
        data = data.decode("utf-8", "backslashreplace")
    text = repr(data) if isinstance(data, str) else word(data)
    return text if len(text) <= KEY_SHOWN else f"{text[:KEY_SHOWN]}..."


def as_bytes(name: Key, what: str, text: bool = False) -> bytes:
    """Return a name as the server has it.

    Raises ValueError, which says what is wrong, if it has no UTF-8 form; of bytes that is asked only for `text`. Raises
    TypeError if it is neither text nor bytes.
    """
    why = "has no UTF-8 form; pass bytes, with decode_responses=False"
    try:
        data = plain(name)
        encoded = data.encode() if isinstance(data, str) else data
        if text and isinstance(encoded, bytes):
            encoded.decode()
    except UnicodeError:
        pass  # nothing is raised from here: this error shows all of the name
    except ValueError:
        why = "is a memoryview that was released"
    else:
        if not isinstance(encoded, bytes):
            raise TypeError(f"{what} is {type(name).__name__}, not str or bytes")
        return encoded
    raise ValueError(f"{what} {why}")


def refusal(arguments: Sequence[object]) -> str | None:
    """Return why a shared connection must not carry this command, or None if it may."""
    return _REFUSED.get(full_name(arguments))


def is_binary(arguments: Sequence[object]) -> bool:
    """Return whether the reply is to come as bytes to every caller, as it is no text."""
    name = word(arguments[0])
    if name == "VEMB":
        return len(arguments) > 3 and word(arguments[3]) == "RAW"
    return name in _BINARY or (len(arguments) > 1 and f"{name} {word(arguments[1])}" in _BINARY)


def is_read_only(arguments: Sequence[object]) -> bool:
    """Return whether the servers flag the command as one that only reads."""
    if not arguments:
        return False
    name = word(arguments[0])
    return name in READ_ONLY or (len(arguments) > 1 and f"{name} {word(arguments[1])}" in READ_ONLY)


def blocking_timeout(arguments: Sequence[object]) -> float | None:
    """Return for how many seconds the server may hold this command back (0: for ever), or None if it does not block."""
    place = _timeout_place(arguments)
    return None if place is None else _seconds(arguments[place[0]], place[1])


def with_timeout(arguments: Arguments, seconds: float) -> Arguments:
    """Return a blocking command with another time limit, which is rounded up to what the server takes."""
    place = _timeout_place(arguments)
    assert place is not None
    where = place[0] % len(arguments)
    given: float = math.ceil(seconds * 1000)
    return (*arguments[:where], given if place[1] == 1000 else given / 1000, *arguments[where + 1 :])


def _timeout_place(arguments: Sequence[object]) -> tuple[int, float] | None:
    """Return where the time limit of a blocking command stands, and how many of its units make a second."""
    name = word(arguments[0])
    if name in ("XREAD", "XREADGROUP"):
        where = stream_options(arguments).get("BLOCK")
        return None if where is None else (where, 1000)
    if name == "TS.READ":
        options = [word(argument) for argument in arguments[3:-1]]
        return (3 + options.index("BLOCK") + 1, 1000) if "BLOCK" in options else None
    place = _BLOCKING.get(name)
    return place if place is not None and len(arguments) > max(2, place[0]) else None


def stream_options(arguments: Sequence[object]) -> dict[str, int]:
    """Return where the values of BLOCK and GROUP stand in an XREAD or XREADGROUP, and the names after STREAMS.

    As the server reads them: in any order, the last of each kind counts, and a group, a consumer or a stream may be
    called "BLOCK". Where the value of another option is called so, the server refuses the command.
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


def _positive(argument: object) -> bool:
    count = word(argument)
    return count.isascii() and count.isdigit() and count.strip("0") != ""


def words(arguments: tuple[Value, ...]) -> Arguments:
    """Return a command as it is sent: all as it was given, but a first argument like "CONFIG GET" as two words."""
    if not arguments:
        raise TypeError("call() needs the name of a command")
    name = arguments[0]
    if type(name) is str and name in PLAIN:
        return arguments
    try:
        data = plain(name)
        parts = data.encode().split() if isinstance(data, str) else data.split() if isinstance(data, bytes) else None
    except ValueError:
        why = "is a memoryview that was released" if type(name) is memoryview else "has no UTF-8 form; pass bytes"
    else:
        if parts is None:
            raise TypeError(f"call(): the command's name is {type(name).__name__}, not a word")
        if not parts:
            raise TypeError("call(): the command's name is empty")
        return (*[_text(part) for part in parts], *arguments[1:])
    # Not raised above: the error there shows the name.
    raise ValueError(f"call(): the command's name {why}")


def _text(part: bytes) -> str | bytes:
    """Return a word as str, unless it is not UTF-8."""
    try:
        return part.decode()
    except UnicodeDecodeError:
        return part


def _seconds(argument: object, units: float) -> float:
    try:
        seconds = float(argument if type(argument) is int or type(argument) is float else word(argument)) / units
    except (ValueError, OverflowError):
        return 0.0  # the server will refuse it and say why
    return seconds if abs(seconds) < FOR_EVER else 0.0
