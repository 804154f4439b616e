"""Argument types: the exact data of a str, bytes, int or float, whatever its class overrides.

Owns which types can be sent, and the errors that name an argument that cannot. Never calls a method that a subclass can
override, and never shows a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.hints import remedy, role

#: An argument as plain data, without what its class overrides.
Plain: TypeAlias = str | bytes | int | float

#: Most bits of an int that is sent, which are 617 digits. Python turns so many into text whatever limit is set for
#: digits; if Python refuses, hiredis ends the process.
BITS: Final = 2048

#: Most bytes of an argument that are read as a word of a command. Names and options are shorter.
WORD: Final = 64

_WHOLE: Final = slice(None)


def plain(argument: object) -> Plain | None:
    """Return the data of an argument, copied if the argument could change; None if its type cannot be sent.

    Raises ValueError for a memoryview that was released.
    """
    kind = type(argument)
    if kind is str or kind is bytes or kind is int or kind is float:
        return argument  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
    # By the type, as `__class__` may say anything; and by the methods of the accepted types themselves.
    given: Any = argument
    if issubclass(kind, str):
        return str.__str__(given)
    if issubclass(kind, bytes):
        return bytes.__getitem__(given, _WHOLE)
    if issubclass(kind, bytearray):
        return bytes(bytearray.__getitem__(given, _WHOLE))
    if kind is memoryview:
        return memoryview.tobytes(given)
    if kind is not bool and issubclass(kind, int):
        return int.__int__(given)
    if issubclass(kind, float):
        return float.__float__(given)
    return None


def encoded(arguments: Iterable[object]) -> list[bytes]:
    """Return a command's arguments as the server gets them.

    Raises ArgumentTypeError or ArgumentError, naming the command and the position, for an argument that cannot be sent.
    """
    found: list[bytes] = []
    for argument in arguments:
        value = _checked(found, argument)
        if isinstance(value, str):
            value = value.encode()
        elif not isinstance(value, bytes):
            value = repr(value).encode()
        found.append(value)
    return found


def exact(arguments: Iterable[object]) -> tuple[Plain, ...]:
    """Return a command's arguments as plain data, so that later changes of a buffer change neither facts nor bytes.

    Raises ArgumentTypeError or ArgumentError, naming the command and the position, for an argument that cannot be sent.
    """
    if isinstance(arguments, (str, bytes)):  # as redis-py's `execute_command` takes them
        raise ArgumentTypeError('execute() takes a tuple and a converter; `call("GET", "key")` sends any command')
    found: list[Plain] = []
    for argument in arguments:
        kind = type(argument)
        if kind is bytes or kind is float or (kind is str and argument.isascii()):  # type: ignore[attr-defined]
            found.append(argument)  # type: ignore[arg-type]  # the types were looked at
        else:
            found.append(_checked(found, argument))
    return tuple(found)


def _checked(before: Sequence[Plain], argument: object) -> Plain:
    try:
        value = plain(argument)
        if isinstance(value, str) and not value.isascii():
            value.encode()
    except UnicodeEncodeError as error:
        error_type: type[ArgumentError] = ArgumentError
        why = f"has no UTF-8 form ({error.reason} at {error.start}); pass bytes"
    except ValueError:
        error_type, why = ArgumentError, "is a memoryview that was released"
    else:
        if value is None:
            error_type = ArgumentTypeError
            where = role(word(before[0]), len(before)) if before else ""
            why = (
                f"is {type(argument).__name__}, not str, bytes, bytearray, memoryview, int or float"
                f"{where}{remedy(argument)}"
            )
        elif isinstance(value, int) and value.bit_length() > BITS:
            error_type, why = ArgumentError, f"is an int of more than {BITS} bits; pass it as str"
        else:
            return value
    # Not raised above: the errors there show the value.
    if not before:
        raise error_type(f"the name of a command {why}")
    raise error_type(f"{word(before[0])}: argument {len(before)} {why}")


def numeral(value: object) -> str:
    """Return a number as messages show it: Python refuses to write one of thousands of digits."""
    return "a huge int" if isinstance(value, int) and value.bit_length() > 64 else repr(value)


def as_seconds(value: Any) -> Any:
    """Return the seconds of a timedelta; all else as it is."""
    # Not by isinstance: a caller with a timedelta has imported its module, and others need not.
    return value.total_seconds() if hasattr(type(value), "total_seconds") else value


def word(argument: object) -> str:
    """Return a word of a command in upper case as the server reads it; "" for an argument that cannot be a word.

    To the server, a word ends with a zero byte if there is one, and only ASCII letters have cases.
    """
    if type(argument) is str and argument.isascii():
        text = argument[:WORD].upper()
    else:
        text = _head(argument).upper().decode("utf-8", "replace")
    return text if "\0" not in text else text.partition("\0")[0]


def _head(argument: object) -> bytes:
    try:
        value = plain(argument)
    except ValueError:
        return b""
    if isinstance(value, str):
        return value[:WORD].encode("utf-8", "replace")[:WORD]
    if isinstance(value, bytes):
        return value[:WORD]
    if value is None or (isinstance(value, int) and value.bit_length() > BITS):
        return b""
    return repr(value).encode()[:WORD]
