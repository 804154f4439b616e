"""Sets: unordered collections of distinct members."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, overload

from aioresp.arguments import numeral
from aioresp.command import AnyStr, Key, Result, Value
from aioresp.commands.base import Executor, condition, filled, listed, position
from aioresp.errors import ArgumentError
from aioresp.replies import array, boolean, booleans, integer, members, scan_page, text

_members_page = scan_page(members)


class SetCommands(Executor[AnyStr]):
    """Commands on sets."""

    def sadd(self, name: Key, *values: Value) -> Result[int]:
        """Add members and return how many are new."""
        return self.execute(("SADD", name, *filled("SADD", "values", values)), integer)

    def scard(self, name: Key) -> Result[int]:
        """Return how many members there are."""
        return self.execute(("SCARD", name), integer)

    def sdiff(self, keys: Key | Iterable[Key], *args: Key) -> Result[set[AnyStr]]:
        """Return the members of the first set that are in none of the others."""
        return self.execute(("SDIFF", *filled("SDIFF", "keys", listed(keys, args))), members)

    def sdiffstore(self, dest: Key, keys: Key | Iterable[Key], *args: Key) -> Result[int]:
        """Store what `sdiff` would return and return how many members that is."""
        return self.execute(("SDIFFSTORE", dest, *filled("SDIFFSTORE", "keys", listed(keys, args))), integer)

    def sinter(self, keys: Key | Iterable[Key], *args: Key) -> Result[set[AnyStr]]:
        """Return the members that all of the sets have."""
        return self.execute(("SINTER", *filled("SINTER", "keys", listed(keys, args))), members)

    def sintercard(self, numkeys: int, keys: Key | Iterable[Key], limit: int = 0) -> Result[int]:
        """Return how many members all `numkeys` sets have in common, counting no further than `limit`. Since 7.0."""
        names = filled("SINTERCARD", "keys", listed(keys))
        if len(names) != numkeys:
            raise ArgumentError(f"SINTERCARD: numkeys is {numeral(numkeys)}, but keys has {len(names)}")
        options: tuple[Value, ...] = ("LIMIT", limit) if limit else ()
        return self.execute(("SINTERCARD", numkeys, *names, *options), integer)

    def sdiffcard(self, numkeys: int, keys: Key | Iterable[Key], limit: int = 0) -> Result[int]:
        """Return how many members of the first set no other has, counting no further than `limit`. Since 8.10."""
        return self._count("SDIFFCARD", numkeys, keys, limit)

    def sunioncard(
        self, numkeys: int, keys: Key | Iterable[Key], limit: int = 0, *, approx: bool = False
    ) -> Result[int]:
        """Return how many members the sets have together, counting no further than `limit`. Since 8.10.

        With `approx` it is an estimate, which costs less.
        """
        return self._count("SUNIONCARD", numkeys, keys, limit, *condition("SUNIONCARD", approx=approx))

    def _count(self, command: str, numkeys: int, keys: Key | Iterable[Key], limit: int, *words: Value) -> Result[int]:
        names = filled(command, "keys", listed(keys))
        if len(names) != numkeys:
            raise ArgumentError(f"{command}: numkeys is {numeral(numkeys)}, but keys has {len(names)}")
        options: tuple[Value, ...] = ("LIMIT", limit) if limit else ()
        return self.execute((command, numkeys, *names, *words, *options), integer)

    def sinterstore(self, dest: Key, keys: Key | Iterable[Key], *args: Key) -> Result[int]:
        """Store what `sinter` would return and return how many members that is."""
        return self.execute(("SINTERSTORE", dest, *filled("SINTERSTORE", "keys", listed(keys, args))), integer)

    def sismember(self, name: Key, value: Value) -> Result[bool]:
        """Return whether the set has the member."""
        return self.execute(("SISMEMBER", name, value), boolean)

    def smembers(self, name: Key) -> Result[set[AnyStr]]:
        """Return all members."""
        return self.execute(("SMEMBERS", name), members)

    def smismember(self, name: Key, values: Value | Iterable[Value], *args: Value) -> Result[list[bool]]:
        """Return for each value whether the set has it. Since 6.2."""
        return self.execute(("SMISMEMBER", name, *filled("SMISMEMBER", "values", listed(values, args))), booleans)

    def smove(self, src: Key, dst: Key, value: Value) -> Result[bool]:
        """Move the member to another set and return whether it was there."""
        return self.execute(("SMOVE", src, dst, value), boolean)

    @overload
    def spop(self, name: Key, count: None = None) -> Result[AnyStr | None]: ...
    @overload
    def spop(self, name: Key, count: int) -> Result[set[AnyStr]]: ...
    def spop(self, name: Key, count: int | None = None) -> Result[Any]:
        """Remove a random member and return it, or a set of up to `count`."""
        if count is None:
            return self.execute(("SPOP", name), text)
        return self.execute(("SPOP", name, count), members)

    @overload
    def srandmember(self, name: Key, number: None = None) -> Result[AnyStr | None]: ...
    @overload
    def srandmember(self, name: Key, number: int) -> Result[list[AnyStr]]: ...
    def srandmember(self, name: Key, number: int | None = None) -> Result[Any]:
        """Return a random member, or `number` different ones, or with a negative number that many which may repeat."""
        if number is None:
            return self.execute(("SRANDMEMBER", name), text)
        return self.execute(("SRANDMEMBER", name, number), array)

    def srem(self, name: Key, *values: Value) -> Result[int]:
        """Remove members and return how many there were."""
        return self.execute(("SREM", name, *filled("SREM", "values", values)), integer)

    def sscan(
        self, name: Key, cursor: int = 0, match: str | bytes | None = None, count: int | None = None
    ) -> Result[tuple[int, set[AnyStr]]]:
        """Return the next cursor (0: that was all) and some members; a member may come twice."""
        options: tuple[Value, ...] = () if match is None else ("MATCH", match)
        options += () if count is None else ("COUNT", count)
        return self.execute(("SSCAN", name, position("SSCAN", cursor), *options), _members_page)

    def sunion(self, keys: Key | Iterable[Key], *args: Key) -> Result[set[AnyStr]]:
        """Return the members that any of the sets has."""
        return self.execute(("SUNION", *filled("SUNION", "keys", listed(keys, args))), members)

    def sunionstore(self, dest: Key, keys: Key | Iterable[Key], *args: Key) -> Result[int]:
        """Store what `sunion` would return and return how many members that is."""
        return self.execute(("SUNIONSTORE", dest, *filled("SUNIONSTORE", "keys", listed(keys, args))), integer)
