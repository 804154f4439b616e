"""Base of the command mixins: the `execute` seam, and helpers that build arguments.

Owns the signature of `execute`, which takes the arguments and the converter of their reply. Never awaits, and never
asks which object executes the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from aioresp.command import AnyStr, Arguments, Fields, Instant, Number, Result, Seconds, Value, Wait
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.misuse import Bound

if TYPE_CHECKING:
    from datetime import datetime, timedelta

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


def listed(names: Value | Iterable[Value], more: Iterable[Value] = ()) -> tuple[Value, ...]:
    """Return names as a tuple, however redis-py's callers give them: `f("a")`, `f("a", "b")` or `f(["a", "b"])`."""
    if isinstance(names, _SINGLE):
        return (cast(Value, names), *more)
    return (*cast(Iterable[Value], names), *more)


def flat(mapping: Fields) -> tuple[Value, ...]:
    """Return the keys and values of `mapping` in turn."""
    return tuple(part for pair in mapping.items() for part in pair)


def filled(command: str, argument: str, items: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return `items`. Raises ArgumentError if there are none."""
    if not items:
        raise ArgumentError(f"{command}: {argument} is empty")
    return items


# A caller that passes a timedelta or a datetime has imported its module, so aioresp need not.


def _micros(duration: timedelta) -> int:
    try:
        return (duration.days * 86_400 + duration.seconds) * 1_000_000 + duration.microseconds
    except AttributeError:
        raise ArgumentTypeError(f"a duration is {type(duration).__name__}, not int or timedelta") from None


def _unix_micros(instant: datetime) -> int:
    try:
        return round(instant.timestamp() * 1_000_000)
    except AttributeError:
        raise ArgumentTypeError(f"a time is {type(instant).__name__}, not int or datetime") from None


def seconds(duration: Seconds) -> int:
    """Return whole seconds, rounded up: a key must not expire early."""
    return duration if isinstance(duration, int) else -(-_micros(duration) // 1_000_000)


def milliseconds(duration: Seconds) -> int:
    """Return whole milliseconds, rounded up."""
    return duration if isinstance(duration, int) else -(-_micros(duration) // 1_000)


def blocking(timeout: Wait) -> Number:
    """Return seconds as blocking commands take them; a timedelta as the float of the same length."""
    return timeout if isinstance(timeout, (int, float)) else _micros(timeout) / 1_000_000


def unix_seconds(instant: Instant) -> int:
    """Return Unix time in seconds, rounded up; a naive datetime is local time."""
    return instant if isinstance(instant, int) else -(-_unix_micros(instant) // 1_000_000)


def unix_milliseconds(instant: Instant) -> int:
    """Return Unix time in milliseconds, rounded up; a naive datetime is local time."""
    return instant if isinstance(instant, int) else -(-_unix_micros(instant) // 1_000)


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
        return ("EX", seconds(ex))
    if px is not None:
        return ("PX", milliseconds(px))
    if exat is not None:
        return ("EXAT", unix_seconds(exat))
    if pxat is not None:
        return ("PXAT", unix_milliseconds(pxat))
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
