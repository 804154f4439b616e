"""Replies of geospatial commands."""

from __future__ import annotations

from typing import Any

from aioresp.command import AnyStr, Converter
from aioresp.record import Record
from aioresp.replies import each, integer, parts, some_text
from aioresp.typed import Generic


class Place(Record, Generic[AnyStr]):
    """Place that was found; a field that was not requested is None. `position` is longitude and latitude."""

    member: AnyStr
    distance: float | None
    hash: int | None
    position: tuple[float, float] | None


def position(value: Any) -> tuple[float, float] | None:
    """Return longitude and latitude, or None for nil; RESP2 has them as text."""
    if value is None:
        return None
    longitude, latitude = parts(value)
    return float(longitude), float(latitude)


positions: Converter[list[tuple[float, float] | None]] = each(position)


def places(withdist: bool, withhash: bool, withcoord: bool) -> Converter[list[Place[Any]]]:
    """Return a converter of places with what was asked for, which comes in the server's order."""

    def convert(value: Any) -> list[Place[Any]]:
        found = []
        for item in parts(value):
            rest = iter(parts(item)[1:])
            distance = float(next(rest)) if withdist else None
            number = integer(next(rest)) if withhash else None
            found.append(Place(some_text(item[0]), distance, number, position(next(rest)) if withcoord else None))
        return found

    return convert
