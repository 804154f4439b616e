"""Geospatial commands: members of a sorted set, searched by their position on the globe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from aioresp.command import AnyStr, Arguments, Converter, Key, Number, Result, Value
from aioresp.commands.base import Executor, condition, filled, several
from aioresp.errors import ArgumentError
from aioresp.replies import Late, array, each, floating_or_none, integer, string_or_none

if TYPE_CHECKING:
    from aioresp.replies import geo as replies
    from aioresp.replies.geo import Place
else:
    replies = Late("geo")

Unit: TypeAlias = Literal["m", "km", "ft", "mi"]
Sort: TypeAlias = Literal["ASC", "DESC"]

_hashes: Converter[list[str | None]] = each(string_or_none)


def _area(
    command: str,
    member: Value | None,
    longitude: Number | None,
    latitude: Number | None,
    unit: Unit,
    radius: Number | None,
    width: Number | None,
    height: Number | None,
    polygon: Iterable[tuple[Number, Number]] | None,
) -> Arguments:
    if polygon is not None:
        if any(other is not None for other in (member, longitude, latitude, radius, width, height)):
            raise ArgumentError(f"{command}: polygon excludes member, longitude, latitude, radius, width and height")
        corners = tuple(polygon)
        if len(corners) < 3:
            raise ArgumentError(f"{command}: polygon has {len(corners)} corners, not three or more")
        return ("BYPOLYGON", len(corners), *(number for corner in corners for number in corner))
    if member is not None and longitude is latitude is None:
        centre: Arguments = ("FROMMEMBER", member)
    elif member is None and longitude is not None and latitude is not None:
        centre = ("FROMLONLAT", longitude, latitude)
    else:
        raise ArgumentError(f"{command}: the centre is either member, or longitude and latitude")
    if radius is not None and width is height is None:
        return (*centre, "BYRADIUS", radius, unit)
    if radius is None and width is not None and height is not None:
        return (*centre, "BYBOX", width, height, unit)
    raise ArgumentError(f"{command}: the area is either radius, or width and height")


def chosen(command: str, sort: Sort | None, count: int | None, any: bool) -> Arguments:
    """Return the options that say how many of the places found are wanted, and in which order."""
    if any and count is None:
        raise ArgumentError(f"{command}: any needs count")
    order: Arguments = () if sort is None else (sort,)
    return order if count is None else (*order, "COUNT", count, *(("ANY",) if any else ()))


def described(withcoord: bool, withdist: bool, withhash: bool) -> Arguments:
    """Return the options for the data of each place besides its name."""
    wanted = {"WITHCOORD": withcoord, "WITHDIST": withdist, "WITHHASH": withhash}
    return tuple([word for word, asked in wanted.items() if asked])


class GeoCommands(Executor[AnyStr]):
    """Commands on places. Units are `m`, `km`, `ft` and `mi`; longitude comes before latitude, as in GeoJSON."""

    def geoadd(
        self, name: Key, values: Iterable[Value], nx: bool = False, xx: bool = False, ch: bool = False
    ) -> Result[int]:
        """Add places, `[longitude, latitude, member, ...]`, or move them, and return how many are new.

        Only new ones with `nx`, only known ones with `xx`; `ch` counts those that moved too (all since 6.2).
        """
        places = filled("GEOADD", "values", several("GEOADD", "values", values, '[13.36, 38.12, "member"]'))
        if len(places) % 3:
            raise ArgumentError(f"GEOADD: values has {len(places)} items, not three for each place")
        options = (*condition("GEOADD", nx=nx, xx=xx), *(("CH",) if ch else ()))
        return self.execute(("GEOADD", name, *options, *places), integer)

    def geodist(self, name: Key, place1: Value, place2: Value, unit: Unit | None = None) -> Result[float | None]:
        """Return how far apart two places are, in metres or in `unit`; None if one of them is not there."""
        return self.execute(("GEODIST", name, place1, place2, *(() if unit is None else (unit,))), floating_or_none)

    def geohash(self, name: Key, *values: Value) -> Result[list[str | None]]:
        """Return the geohash of each place, eleven characters, or None if it is not there; str for every client."""
        return self.execute(("GEOHASH", name, *filled("GEOHASH", "values", values)), _hashes)

    def geopos(self, name: Key, *values: Value) -> Result[list[tuple[float, float] | None]]:
        """Return longitude and latitude of each place, or None if it is not there; not to the last digit as added."""
        return self.execute(("GEOPOS", name, *filled("GEOPOS", "values", values)), replies.positions)

    @overload
    def geosearch(
        self,
        name: Key,
        member: Value | None = None,
        longitude: Number | None = None,
        latitude: Number | None = None,
        unit: Unit = "m",
        radius: Number | None = None,
        width: Number | None = None,
        height: Number | None = None,
        sort: Sort | None = None,
        count: int | None = None,
        any: bool = False,
        withcoord: Literal[False] = False,
        withdist: Literal[False] = False,
        withhash: Literal[False] = False,
        *,
        polygon: Iterable[tuple[Number, Number]] | None = None,
    ) -> Result[list[AnyStr]]: ...
    @overload
    def geosearch(
        self,
        name: Key,
        member: Value | None = None,
        longitude: Number | None = None,
        latitude: Number | None = None,
        unit: Unit = "m",
        radius: Number | None = None,
        width: Number | None = None,
        height: Number | None = None,
        sort: Sort | None = None,
        count: int | None = None,
        any: bool = False,
        *,
        withcoord: Literal[True],
        withdist: bool = False,
        withhash: bool = False,
        polygon: Iterable[tuple[Number, Number]] | None = None,
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def geosearch(
        self,
        name: Key,
        member: Value | None = None,
        longitude: Number | None = None,
        latitude: Number | None = None,
        unit: Unit = "m",
        radius: Number | None = None,
        width: Number | None = None,
        height: Number | None = None,
        sort: Sort | None = None,
        count: int | None = None,
        any: bool = False,
        withcoord: bool = False,
        *,
        withdist: Literal[True],
        withhash: bool = False,
        polygon: Iterable[tuple[Number, Number]] | None = None,
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def geosearch(
        self,
        name: Key,
        member: Value | None = None,
        longitude: Number | None = None,
        latitude: Number | None = None,
        unit: Unit = "m",
        radius: Number | None = None,
        width: Number | None = None,
        height: Number | None = None,
        sort: Sort | None = None,
        count: int | None = None,
        any: bool = False,
        withcoord: bool = False,
        withdist: bool = False,
        *,
        withhash: Literal[True],
        polygon: Iterable[tuple[Number, Number]] | None = None,
    ) -> Result[list[Place[AnyStr]]]: ...
    def geosearch(
        self,
        name: Key,
        member: Value | None = None,
        longitude: Number | None = None,
        latitude: Number | None = None,
        unit: Unit = "m",
        radius: Number | None = None,
        width: Number | None = None,
        height: Number | None = None,
        sort: Sort | None = None,
        count: int | None = None,
        any: bool = False,
        withcoord: bool = False,
        withdist: bool = False,
        withhash: bool = False,
        *,
        polygon: Iterable[tuple[Number, Number]] | None = None,
    ) -> Result[Any]:
        """Return the members within `radius` of a member or a position, or in a box about it. Since 6.2.

        Or those within `polygon`, whose corners are (longitude, latitude) each (Valkey 9.0; not in Redis); distances
        are then from its middle, in metres.

        The nearest first if `sort` is `ASC`, up to `count`: the nearest ones, or the first `any` that are found. With
        one of `withcoord`, `withdist` (in `unit`) and `withhash` they come as `Place`.
        """
        area = _area("GEOSEARCH", member, longitude, latitude, unit, radius, width, height, polygon)
        options = (*chosen("GEOSEARCH", sort, count, any), *described(withcoord, withdist, withhash))
        reply = replies.places(withdist, withhash, withcoord) if withcoord or withdist or withhash else array
        return self.execute(("GEOSEARCH", name, *area, *options), reply)

    def geosearchstore(
        self,
        dest: Key,
        name: Key,
        member: Value | None = None,
        longitude: Number | None = None,
        latitude: Number | None = None,
        unit: Unit = "m",
        radius: Number | None = None,
        width: Number | None = None,
        height: Number | None = None,
        sort: Sort | None = None,
        count: int | None = None,
        any: bool = False,
        storedist: bool = False,
        *,
        polygon: Iterable[tuple[Number, Number]] | None = None,
    ) -> Result[int]:
        """Store what `geosearch` would return, as places or as distances, and return how many that is. Since 6.2."""
        area = _area("GEOSEARCHSTORE", member, longitude, latitude, unit, radius, width, height, polygon)
        options = (*chosen("GEOSEARCHSTORE", sort, count, any), *(("STOREDIST",) if storedist else ()))
        return self.execute(("GEOSEARCHSTORE", dest, name, *area, *options), integer)
