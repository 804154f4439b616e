"""Older geospatial searches, which `geosearch` replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Required, Unpack, overload

from aioresp.command import AnyStr, Arguments, Key, Number, Result, Value
from aioresp.commands.base import Executor, at_most_one
from aioresp.commands.geo import Sort, Unit, chosen, described
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.replies import Late, array, integer
from aioresp.typed import TypedDict

if TYPE_CHECKING:
    from aioresp.replies import geo as replies
    from aioresp.replies.geo import Place
else:
    replies = Late("geo")

# What the options are decides what comes back: each of these stands for one overload.


class Chosen(TypedDict, total=False):
    """The unit of the radius, and how many of the places found are wanted, in which order."""

    unit: Unit
    sort: Sort | None
    count: int | None
    any: bool


class WithDist(Chosen, total=False):
    """As `Chosen`, with distances."""

    withdist: Required[Literal[True]]
    withcoord: bool
    withhash: bool


class WithCoord(Chosen, total=False):
    """As `Chosen`, with positions."""

    withdist: bool
    withcoord: Required[Literal[True]]
    withhash: bool


class WithHash(Chosen, total=False):
    """As `Chosen`, with hashes."""

    withdist: bool
    withcoord: bool
    withhash: Required[Literal[True]]


class Store(Chosen, total=False):
    """As `Chosen`, and where the places are stored."""

    store: Required[Key]


class StoreDist(Chosen, total=False):
    """As `Chosen`, and where the distances are stored."""

    store_dist: Required[Key]


class GeoRadiusCommands(Executor[AnyStr]):
    """Commands on places within `radius`, in metres or in `unit`. From 6.2 on `geosearch` is the better way.

    They return names, or with one of `withdist`, `withcoord` and `withhash` each a `Place`. `sort`, `count` and `any`
    (since 6.2) are those of `geosearch`.
    """

    @overload
    def georadius(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[Chosen]
    ) -> Result[list[AnyStr]]: ...
    @overload
    def georadius(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[WithDist]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadius(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[WithCoord]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadius(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[WithHash]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadius(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[Store]
    ) -> Result[int]: ...
    @overload
    def georadius(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[StoreDist]
    ) -> Result[int]: ...
    def georadius(self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Any) -> Result[Any]:
        """Return what lies about a position, or `store` places or `store_dist` distances and return how many."""
        return self._search(("GEORADIUS", name, longitude, latitude, radius), **options)

    @overload
    def georadius_ro(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[Chosen]
    ) -> Result[list[AnyStr]]: ...
    @overload
    def georadius_ro(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[WithDist]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadius_ro(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[WithCoord]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadius_ro(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Unpack[WithHash]
    ) -> Result[list[Place[AnyStr]]]: ...
    def georadius_ro(
        self, name: Key, longitude: Number, latitude: Number, radius: Number, **options: Any
    ) -> Result[Any]:
        """Return what lies about a position, as a replica can. Since 3.2.10."""
        return self._search(("GEORADIUS_RO", name, longitude, latitude, radius), **options)

    @overload
    def georadiusbymember(
        self, name: Key, member: Value, radius: Number, **options: Unpack[Chosen]
    ) -> Result[list[AnyStr]]: ...
    @overload
    def georadiusbymember(
        self, name: Key, member: Value, radius: Number, **options: Unpack[WithDist]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadiusbymember(
        self, name: Key, member: Value, radius: Number, **options: Unpack[WithCoord]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadiusbymember(
        self, name: Key, member: Value, radius: Number, **options: Unpack[WithHash]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadiusbymember(self, name: Key, member: Value, radius: Number, **options: Unpack[Store]) -> Result[int]: ...
    @overload
    def georadiusbymember(
        self, name: Key, member: Value, radius: Number, **options: Unpack[StoreDist]
    ) -> Result[int]: ...
    def georadiusbymember(self, name: Key, member: Value, radius: Number, **options: Any) -> Result[Any]:
        """Return what lies about a member, or `store` places or `store_dist` distances and return how many."""
        return self._search(("GEORADIUSBYMEMBER", name, member, radius), **options)

    @overload
    def georadiusbymember_ro(
        self, name: Key, member: Value, radius: Number, **options: Unpack[Chosen]
    ) -> Result[list[AnyStr]]: ...
    @overload
    def georadiusbymember_ro(
        self, name: Key, member: Value, radius: Number, **options: Unpack[WithDist]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadiusbymember_ro(
        self, name: Key, member: Value, radius: Number, **options: Unpack[WithCoord]
    ) -> Result[list[Place[AnyStr]]]: ...
    @overload
    def georadiusbymember_ro(
        self, name: Key, member: Value, radius: Number, **options: Unpack[WithHash]
    ) -> Result[list[Place[AnyStr]]]: ...
    def georadiusbymember_ro(self, name: Key, member: Value, radius: Number, **options: Any) -> Result[Any]:
        """Return what lies about a member, as a replica can. Since 3.2.10."""
        return self._search(("GEORADIUSBYMEMBER_RO", name, member, radius), **options)

    def _search(
        self,
        arguments: Arguments,
        unit: Unit = "m",
        sort: Sort | None = None,
        count: int | None = None,
        any: bool = False,
        withdist: bool = False,
        withcoord: bool = False,
        withhash: bool = False,
        **stored: Key,
    ) -> Result[Any]:
        command = str(arguments[0])
        if unknown := stored.keys() - (set() if command.endswith("_RO") else {"store", "store_dist"}):
            raise ArgumentTypeError(f"{command} has no option {min(unknown)}")
        at_most_one(command, **stored)
        arguments += (unit, *chosen(command, sort, count, any), *described(withcoord, withdist, withhash))
        asked = withdist or withcoord or withhash
        for option, key in stored.items():
            if asked:
                raise ArgumentError(f"{command}: {option} excludes withdist, withcoord and withhash")
            return self.execute((*arguments, option.replace("_", "").upper(), key), integer)
        return self.execute(arguments, replies.places(withdist, withhash, withcoord) if asked else array)
