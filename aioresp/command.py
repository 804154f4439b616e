"""Command types: the arguments of a command, the result of its method, and its name in messages.

Owns the type aliases that every signature uses, and the sets of names that decide in one look-up how a command travels.
Never imports asyncio or hiredis and keeps no state.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, ItemsView, Mapping, Sequence
from sys import _getframe, intern
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from aioresp.arguments import plain, word
from aioresp.errors import ArgumentError, ArgumentTypeError, ConnectionLost, RedisError, about
from aioresp.facts.catalogue import (
    BINARY,
    BLOCKING,
    BLOCKING_BY_OPTION,
    CONTAINERS,
    ESCAPED,
    KEYLESS,
    KEYS,
    READ_ONLY,
    REFUSED,
)
from aioresp.facts.traits import Traits, traits
from aioresp.hints import remedy

if TYPE_CHECKING:
    from datetime import datetime, timedelta

Key: TypeAlias = str | bytes | memoryview
Value: TypeAlias = str | bytes | bytearray | memoryview | int | float
Number: TypeAlias = int | float
Seconds: TypeAlias = "int | timedelta"
Instant: TypeAlias = "int | datetime"
Wait: TypeAlias = "int | float | timedelta"
Arguments: TypeAlias = tuple[Value, ...]


if TYPE_CHECKING:  # protocols take time to import

    class Fields(Protocol):
        """A mapping of names to values. `Mapping` itself accepts only one exact type of names."""

        def items(self) -> ItemsView[Key, Value]:
            """Return the pairs."""
            ...

else:
    Fields = Mapping


#: Characters of a key that messages show.
KEY_SHOWN: Final = 60

#: Type of the text in a client's replies: str or bytes.
AnyStr = TypeVar("AnyStr", bound=str | bytes)

T_co = TypeVar("T_co", covariant=True)

#: Turns a raw reply into the value that the caller sees.
Converter: TypeAlias = Callable[[Any], T_co]


if TYPE_CHECKING:
    #: Result of a command method on a client or a lease: a coroutine, which sends when it is first awaited. A type
    #: checker reports one that is not awaited.
    Result: TypeAlias = Coroutine[Any, Any, T_co]
else:

    class Result(Coroutine[Any, Any, T_co]):
        """Result of a command method: await it for the value, or hand it to `create_task`."""

        __slots__ = ()


class Handle(Result[T_co]):
    """Result of a command method on a pipeline: await it for the value, after the block or `await p.execute()`.

    This class is for type checkers. They accept it wherever a coroutine may stand, and do not report a queued command
    as never awaited.
    """

    __slots__ = ()


# --- How a command travels -------------------------------------------------------------------------------------------

#: The command that succeeds when its connection ends, and that delays the commands behind it until then.
SHUTDOWN: Final = "SHUTDOWN"

#: First words of commands that may be refused, block, have a reply that is not plain text, or end the server.
SPECIAL: Final[frozenset[str]] = frozenset(
    {
        SHUTDOWN,
        *(name.partition(" ")[0] for name in (*REFUSED, *BINARY, *ESCAPED)),
        *BLOCKING,
        *BLOCKING_BY_OPTION,
        "VEMB",
    }
)

_plain: Final = {
    name for name in {*KEYS, *KEYLESS, *READ_ONLY, *CONTAINERS} - SPECIAL if "." not in name and " " not in name
}

#: First words of all other commands, in upper and in lower case: one look-up keeps these fast. Words that are not in it
#: are read as the server will read them. It is interned like the names in the methods, so these need no comparison.
PLAIN: Final[frozenset[object]] = frozenset(map(intern, (*_plain, *" ".join(_plain).lower().split())))


def full_name(command: Sequence[object] | Traits) -> str:
    """Return the command's name in upper case, with its subcommand where a client or a lease treats that one apart."""
    return traits(command).name


def locate(command: Sequence[object] | Traits) -> tuple[str, str | None]:
    """Return the command's name and its first key, shortened, for messages. Never a value or a password."""
    facts = traits(command)
    key = facts.first_key
    return facts.name, None if key is None else shown(key)


#: First words of commands whose methods are named after two words.
_GROUPED: Final = CONTAINERS | {"BACKUP", "COMMAND", "CONFIG", "HOTKEYS", "LATENCY", "MODULE", "PUBSUB"}


def method_name(arguments: Sequence[object]) -> str:
    """Return the name of the method that sends this command, as far as the command tells it."""
    first = word(arguments[0]) if arguments else ""
    if first in _GROUPED and len(arguments) > 1:
        first = f"{first}_{word(arguments[1])}"
    elif first == "DEL":
        first = "DELETE"
    elif first in ("INCRBY", "DECRBY") and arguments[2:] in ((1,), [b"1"]):
        first = first[:4]  # `incr` and `decr` send these
    return first.lower().replace("-", "_")


def told(error: RedisError, facts: Traits) -> None:
    """Note on an error which command failed, with its key, and for a lost connection which method was under way."""
    about(error, *locate(facts))
    if isinstance(error, ConnectionLost):
        error.method = method_name(facts.arguments)


class Called(str):
    """Name of the coroutine function behind all command methods, which reads as the name of the method called.

    One function sends all commands, so Python would warn that "Client._execute" was never awaited. A name of its own
    for each coroutine costs a quarter of a microsecond a call. So the name is found where it is shown: `warnings`, and
    the `repr` of a task, format the `__qualname__` of an object that they call `coro`. A coroutine that has not begun
    still has its arguments. Everywhere else this is a plain name.
    """

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        frame = getattr(_getframe(1).f_locals.get("coro"), "cr_frame", None)
        return format(str(self) if frame is None else _called(frame.f_locals) or str(self), spec)


def _called(known: Mapping[str, Any]) -> str | None:
    """Return the method that was called, by the local variables of its coroutine; None if they do not tell."""
    arguments = known.get("arguments")
    owner = type(known["self"] if "self" in known else getattr(known.get("execute"), "__self__", None))
    if not arguments or owner is type(None):
        return None
    name = method_name(arguments)
    return f"{owner.__name__}.{name if hasattr(owner, name) else 'call'}"


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
    """Return a name as the server has it; `what` names it in errors.

    Raises ArgumentTypeError if it is neither text nor bytes, and ArgumentError if it has no UTF-8 form. Bytes need one
    only with `text`.
    """
    why = "has no UTF-8 form; pass bytes, with decode_responses=False"
    try:
        data = plain(name)
        encoded = data.encode() if isinstance(data, str) else data
        if text and isinstance(encoded, bytes):
            encoded.decode()
    except UnicodeError:
        pass  # an error raised here would have this one as its context, which shows all of the name
    except ValueError:
        why = "is a memoryview that was released"
    else:
        if not isinstance(encoded, bytes):
            raise ArgumentTypeError(f"{what} is {type(name).__name__}, not str or bytes{remedy(name)}")
        return encoded
    raise ArgumentError(f"{what} {why}")


def words(arguments: tuple[Value, ...]) -> Arguments:
    """Return the arguments unchanged, but for a first one like "CONFIG GET", which becomes two words."""
    if not arguments:
        raise ArgumentTypeError("call() needs the name of a command")
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
            raise ArgumentTypeError(f"call(): the command's name is {type(name).__name__}, not a word")
        if not parts:
            raise ArgumentTypeError("call(): the command's name is empty")
        return (*[_text(part) for part in parts], *arguments[1:])
    # Not raised above: the error there shows the name.
    raise ArgumentError(f"call(): the command's name {why}")


def _text(part: bytes) -> str | bytes:
    """Return a word as str, unless it is not UTF-8."""
    try:
        return part.decode()
    except UnicodeDecodeError:
        return part
