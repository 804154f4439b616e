"""Checks of what users give: seconds, counts and names.

Owns the words of these errors, which name the call and the argument.
"""

from __future__ import annotations

from datetime import timedelta

from aioresp.arguments import as_seconds
from aioresp.errors import ArgumentError, ArgumentTypeError

#: Seconds that no option exceeds: 300 years.
_MOST = 1e10


def seconds(value: float | timedelta, where: str, name: str, least: float = 0.0) -> float:
    """Return the seconds of a number or a timedelta, `least` or more."""
    found = as_seconds(value)
    if type(found) not in (int, float):
        raise ArgumentTypeError(f"{where}: {name} is {type(value).__name__}, not a number of seconds or a timedelta")
    if not least <= found < _MOST:
        raise ArgumentError(f"{where}: {name} is {found}, not a number of seconds from {least:g} on")
    return float(found)


def count(value: int, where: str, name: str, least: int) -> int:
    """Return a number of things, `least` or more."""
    if type(value) is not int:
        raise ArgumentTypeError(f"{where}: {name} is {type(value).__name__}, not int")
    if value < least:
        raise ArgumentError(f"{where}: {name} is {value}, not {least} or more")
    return value


def encodable(value: str, where: str, name: str) -> str:
    """Return text that has a form in UTF-8; half of a surrogate pair has none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"{where}: {name} has no form in UTF-8") from None
    return value
