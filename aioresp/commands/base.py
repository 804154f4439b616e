"""Base of the command mixins: the `execute` seam, and helpers that build arguments.

Owns the signature of `execute`, which takes the arguments and the converter of their reply. Never awaits, and never
asks which object executes the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from aioresp.command import AnyStr, Arguments, Fields, Instant, Number, Result, Seconds, Value, Wait
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.misuse import Bound
from aioresp.typed import Generic

T = TypeVar("T")

_SINGLE: Final[tuple[type, ...]] = (str, bytes, bytearray, memoryview, int, float)


class Executor(Bound, Generic[AnyStr]):
    """Object that sends commands: a client, a leased connection, a pipeline."""

    def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Result[T]:
        """Send the command; `reply` converts its raw reply to the result."""
        raise NotImplementedError

    def _answer(self, value: T) -> Result[T]:
        """Return a result that needs no server."""
        raise NotImplementedError


def listed(
    names: Value | Iterable[Value], more: Iterable[Value] = (), before: tuple[Value, ...] = ()
) -> tuple[Value, ...]:
    """Return names as a tuple, however redis-py's callers give them: `f("a")`, `f("a", "b")` or `f(["a", "b"])`.

    They follow what stands `before` them, which spares a long command a copy.
    """
    given: Any = names
    if type(given) is not list and (isinstance(given, _SINGLE) or not hasattr(type(given), "__iter__")):
        return (*before, given, *more)  # the packer names what cannot be sent
    return (*before, *given, *more)


def flat(mapping: Fields, command: str = "", argument: str = "mapping") -> tuple[Value, ...]:
    """Return the keys and values of `mapping` in turn. Raises ArgumentTypeError if it is none."""
    if not hasattr(type(mapping), "items"):
        raise no_mapping(command, argument, mapping, '{"name": "value"}')
    return tuple(part for pair in mapping.items() for part in pair)


def filled(command: str, argument: str, items: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return `items`. Raises ArgumentError if there are none."""
    if not items:
        raise ArgumentError(f"{command}: {argument} is empty")
    return items


def misfit(command: str, argument: str, value: object, expected: str) -> ArgumentTypeError:
    """Return the error for an argument of a wrong type. It shows the type, and what would fit."""
    return ArgumentTypeError(f"{command}{': ' if command else ''}{argument} is {type(value).__name__}, not {expected}")


def no_mapping(command: str, argument: str, value: object, example: str) -> ArgumentTypeError:
    """Return the error for an argument that is no mapping."""
    return misfit(command, argument, value, f"a dict, as in {argument}={example}")


def incomplete(command: str, key: object, value: object) -> ArgumentError:
    """Return the error for a field without a value, or a value without a field."""
    if hasattr(type(key), "items"):
        return misfit(
            command, "key", key, f"the name of a field; give it by name: {command.lower()}(name, mapping=...)"
        )
    missing, advice = ("value", "; to delete a field, use hdel()") if value is None else ("key", "")
    return ArgumentError(f"{command}: key and value go together, but {missing} is missing, or None{advice}")


def several(command: str, argument: str, values: Iterable[Value], example: str) -> tuple[Value, ...]:
    """Return values of which there may be several. A str is refused: its letters are hardly meant."""
    if isinstance(values, _SINGLE) or hasattr(type(values), "items") or not hasattr(type(values), "__iter__"):
        raise misfit(command, argument, values, f"a list, as in {argument}={example}")
    return tuple(values)


def number(command: str, argument: str, value: Any, order: str) -> Any:
    """Return a number. Text that spells none is refused: the caller has the arguments in another `order`."""
    if isinstance(value, (int, float)):
        return value
    try:
        float(value)
    except (TypeError, ValueError):
        pass  # an error raised here would have this one as its context, which shows the value
    else:
        return value
    expected = f"a number; the order is {order}"
    if isinstance(value, (str, bytes)):
        raise ArgumentError(f"{command}: {argument} is text, not {expected}")
    raise misfit(command, argument, value, expected)


# --- Time ------------------------------------------------------------------------------------------------------------

# A caller that passes a timedelta or a datetime has imported its module, so aioresp need not. Each function takes the
# names of the command and of its argument for the error.


def seconds(duration: Seconds, command: str = "", argument: str = "a duration") -> int:
    """Return whole seconds, rounded up: a key must not expire early."""
    if isinstance(duration, int) and duration is not True and duration is not False:
        return duration
    return -(-_micros(duration, command, argument, "int or timedelta (seconds)") // 1_000_000)


def milliseconds(duration: Seconds, command: str = "", argument: str = "a duration") -> int:
    """Return whole milliseconds, rounded up."""
    if isinstance(duration, int) and duration is not True and duration is not False:
        return duration
    return -(-_micros(duration, command, argument, "int or timedelta (milliseconds)") // 1_000)


def blocking(timeout: Wait, command: str = "", argument: str = "timeout") -> Number:
    """Return seconds as blocking commands take them; a timedelta as the float of the same length."""
    if isinstance(timeout, (int, float)) and timeout is not True and timeout is not False:
        return timeout
    return _micros(timeout, command, argument, "int, float (seconds) or timedelta; 0 waits forever") / 1_000_000


def unix_seconds(instant: Instant, command: str = "", argument: str = "a time") -> int:
    """Return Unix time in seconds, rounded up; a naive datetime is local time."""
    if isinstance(instant, int) and instant is not True and instant is not False:
        return instant
    return -(-_unix_micros(instant, command, argument, "int or datetime (Unix time in seconds)") // 1_000_000)


def unix_milliseconds(instant: Instant, command: str = "", argument: str = "a time") -> int:
    """Return Unix time in milliseconds, rounded up; a naive datetime is local time."""
    if isinstance(instant, int) and instant is not True and instant is not False:
        return instant
    return -(-_unix_micros(instant, command, argument, "int or datetime (Unix time in milliseconds)") // 1_000)


def _micros(duration: Any, command: str, argument: str, units: str) -> int:
    try:
        micros: int = (duration.days * 86_400 + duration.seconds) * 1_000_000 + duration.microseconds
        return micros
    except AttributeError:
        pass  # an error raised here would have this one as its context, which says nothing more
    raise _no_time(command, argument, duration, units)


def _unix_micros(instant: Any, command: str, argument: str, units: str) -> int:
    try:
        micros: int = round(instant.timestamp() * 1_000_000)
        return micros
    except AttributeError:
        pass  # an error raised here would have this one as its context, which says nothing more
    raise _no_time(command, argument, instant, units)


def _no_time(command: str, argument: str, value: object, units: str) -> ArgumentTypeError:
    finer = _FINER.get(argument) or _FINER.get(command)
    remedy = ""
    if isinstance(value, float):
        remedy = "; round it" if finer is None else f"; round it, or give milliseconds by {finer}"
    elif isinstance(value, (str, bytes)):
        remedy = "; convert it by float()" if "float" in units else "; convert it by int()"
    elif hasattr(type(value), "timestamp"):
        remedy = "; a point in time is for the commands and options with AT in their names"
    elif hasattr(type(value), "total_seconds"):
        remedy = "; a duration is for the commands and options without AT in their names"
    return misfit(command, argument, value, f"{units}{remedy}")


#: The argument or the command that takes milliseconds instead of whole seconds.
_FINER: Final[dict[str, str]] = {
    "ex": "`px`",
    "exat": "`pxat`",
    "EXPIRE": "`pexpire`",
    "EXPIREAT": "`pexpireat`",
    "SETEX": "`psetex`",
    "HEXPIRE": "`hpexpire`",
    "HEXPIREAT": "`hpexpireat`",
}


def at_most_one(command: str, **options: object) -> None:
    """Raise ArgumentError if more than one of `options` is given (neither None nor False)."""
    given = [name for name, value in options.items() if value is not None and value is not False]
    if len(given) > 1:
        raise ArgumentError(f"{command}: {' and '.join(given)} exclude each other")


def expiry(
    command: str,
    ex: Seconds | None = None,
    px: Seconds | None = None,
    exat: Instant | None = None,
    pxat: Instant | None = None,
    **others: bool,
) -> Arguments:
    """Return the option that says when a key expires; at most one may be given. `others` are flags."""
    at_most_one(command, ex=ex, px=px, exat=exat, pxat=pxat, **others)
    if ex is not None:
        return ("EX", seconds(ex, command, "ex"))
    if px is not None:
        return ("PX", milliseconds(px, command, "px"))
    if exat is not None:
        return ("EXAT", unix_seconds(exat, command, "exat"))
    if pxat is not None:
        return ("PXAT", unix_milliseconds(pxat, command, "pxat"))
    return tuple([name.upper() for name, given in others.items() if given])


def condition(command: str, **flags: bool) -> Arguments:
    """Return the one flag that is set, in upper case, or nothing."""
    given = tuple([name.upper() for name, given in flags.items() if given])
    if len(given) > 1:
        at_most_one(command, **flags)
    return given


def conditions(command: str, nx: bool, xx: bool, gt: bool, lt: bool) -> Arguments:
    """Return the flags that are set, in upper case: `nx` goes with no other, and `gt` not with `lt`."""
    if not (nx or xx or gt or lt):
        return ()
    at_most_one(command, nx=nx, gt=gt, lt=lt)
    return (*condition(command, nx=nx, xx=xx), *condition(command, gt=gt, lt=lt))


def comparison(
    command: str, ifeq: Value | None, ifne: Value | None, ifdeq: Value | None, ifdne: Value | None
) -> tuple[Value, ...]:
    """Return the option that compares with the present value; at most one may be given."""
    given = {"ifeq": ifeq, "ifne": ifne, "ifdeq": ifdeq, "ifdne": ifdne}
    at_most_one(command, **given)
    return tuple(part for word, value in given.items() if value is not None for part in (word.upper(), value))


def position(command: str, cursor: Any) -> Any:
    """Return the cursor of a scan. Text that is not a number is refused: it is a pattern, hardly a cursor."""
    if isinstance(cursor, (str, bytes)) and not cursor.isdigit():
        raise ArgumentError(f"{command}: cursor is text, not a number; the pattern is given by name: match=...")
    return cursor
