"""Checks of what recipes are given: each raises an error that names the argument.

Owns numbers, durations, names and clients. Never shows a value that may be secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aioresp.arguments import as_seconds, numeral
from aioresp.client import Client
from aioresp.errors import ArgumentError, ArgumentTypeError

#: Most seconds of a duration: milliseconds and microseconds of it are still exact numbers in Lua.
LONGEST: Final = 1e9


def client(redis: Any) -> Client[Any]:
    """Return the client: every kind of one has the methods of Client."""
    if not isinstance(redis, Client):
        raise ArgumentTypeError(f"redis is {type(redis).__name__}, not a Client, which can be made by Client(url)")
    return redis


def seconds(name: str, value: Any, least: float = 0.001, most: float = LONGEST) -> float:
    """Return a duration in seconds."""
    value = as_seconds(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{name} is {type(value).__name__}, not seconds or a timedelta")
    if not least <= value <= most:  # nan is not, either
        raise ArgumentError(f"{name} is {numeral(value)}, not {least:g} to {most:g} seconds")
    return float(value)


def count(name: str, value: Any, least: int, most: int = 2**31) -> int:
    """Return a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{name} is {type(value).__name__}, not int")
    if not least <= value <= most:
        raise ArgumentError(f"{name} is {numeral(value)}, not {least} to {most}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise ArgumentTypeError(f"{name} is {type(value).__name__}, not bool")
    return value


def text(name: str, value: Any) -> str:
    """Return a str that has a UTF-8 form."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} is {type(value).__name__}, not str")
    try:
        value.encode()
    except UnicodeEncodeError:
        pass  # an error raised here would have this one as its context, which shows the value
    else:
        return str.__str__(value)
    raise ArgumentError(f"{name} has no UTF-8 form")


def choice(name: str, value: Any, words: Sequence[str]) -> str:
    """Return one of several words."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} is {type(value).__name__}, not one of {', '.join(words)}")
    if value not in words:
        raise ArgumentError(f"{name} is {value!r:.40}, not one of {', '.join(words)}")
    return value
