"""Hashes: fields and values under one key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, overload

from aioresp.command import AnyStr, Fields, Key, Result, Value
from aioresp.commands.base import Executor, filled, flat, incomplete, listed, position, several
from aioresp.errors import ArgumentError
from aioresp.replies import array, boolean, floating, integer, mapping, mapping_page, ok, page, pairs, text


class HashCommands(Executor[AnyStr]):
    """Commands on hashes."""

    def hdel(self, name: Key, *keys: Value) -> Result[int]:
        """Delete fields and return how many there were."""
        return self.execute(("HDEL", name, *filled("HDEL", "keys", keys)), integer)

    def hexists(self, name: Key, key: Value) -> Result[bool]:
        """Return whether the hash has the field."""
        return self.execute(("HEXISTS", name, key), boolean)

    def hget(self, name: Key, key: Value) -> Result[AnyStr | None]:
        """Return the value of the field, or None if there is none."""
        return self.execute(("HGET", name, key), text)

    def hgetall(self, name: Key) -> Result[dict[AnyStr, AnyStr]]:
        """Return all fields and values, an empty dict if there is no hash."""
        return self.execute(("HGETALL", name), mapping)

    def hincrby(self, name: Key, key: Value, amount: int = 1) -> Result[int]:
        """Add `amount` to the integer in the field (0 if there is none) and return the result."""
        return self.execute(("HINCRBY", name, key, amount), integer)

    def hincrbyfloat(self, name: Key, key: Value, amount: float = 1.0) -> Result[float]:
        """Add `amount` to the number in the field (0 if there is none) and return the result."""
        return self.execute(("HINCRBYFLOAT", name, key, amount), floating)

    def hkeys(self, name: Key) -> Result[list[AnyStr]]:
        """Return the names of all fields."""
        return self.execute(("HKEYS", name), array)

    def hlen(self, name: Key) -> Result[int]:
        """Return how many fields there are."""
        return self.execute(("HLEN", name), integer)

    def hmget(self, name: Key, keys: Value | Iterable[Value], *args: Value) -> Result[list[AnyStr | None]]:
        """Return the values of the fields in their order, None where there is none."""
        return self.execute(("HMGET", name, *filled("HMGET", "keys", listed(keys, args))), array)

    def hmset(self, name: Key, mapping: Fields) -> Result[bool]:
        """Set fields; `hset` with a mapping is the newer way."""
        return self.execute(("HMSET", name, *filled("HMSET", "mapping", flat(mapping, "HMSET"))), ok)

    @overload
    def hrandfield(self, key: Key, count: None = None, withvalues: Literal[False] = False) -> Result[AnyStr | None]: ...
    @overload
    def hrandfield(self, key: Key, count: int, withvalues: Literal[False] = False) -> Result[list[AnyStr]]: ...
    @overload
    def hrandfield(self, key: Key, count: int, withvalues: Literal[True]) -> Result[list[tuple[AnyStr, AnyStr]]]: ...
    def hrandfield(self, key: Key, count: int | None = None, withvalues: bool = False) -> Result[Any]:
        """Return a random field, or up to `count` different ones, or with a negative count that many which may repeat.

        Since 6.2.
        """
        if count is None:
            if withvalues:
                raise ArgumentError("HRANDFIELD: withvalues needs count")
            return self.execute(("HRANDFIELD", key), text)
        if withvalues:
            return self.execute(("HRANDFIELD", key, count, "WITHVALUES"), pairs)
        return self.execute(("HRANDFIELD", key, count), array)

    @overload
    def hscan(
        self,
        name: Key,
        cursor: int = 0,
        match: str | bytes | None = None,
        count: int | None = None,
        no_values: Literal[False] = False,
    ) -> Result[tuple[int, dict[AnyStr, AnyStr]]]: ...
    @overload
    def hscan(
        self,
        name: Key,
        cursor: int = 0,
        match: str | bytes | None = None,
        count: int | None = None,
        *,
        no_values: Literal[True],
    ) -> Result[tuple[int, list[AnyStr]]]: ...
    def hscan(
        self,
        name: Key,
        cursor: int = 0,
        match: str | bytes | None = None,
        count: int | None = None,
        no_values: bool = False,
    ) -> Result[Any]:
        """Return the next cursor (0: that was all) and some fields and values; a field may come twice.

        With `no_values` (since 7.4) fields alone.
        """
        options: tuple[Value, ...] = () if match is None else ("MATCH", match)
        options += () if count is None else ("COUNT", count)
        if no_values:
            return self.execute(("HSCAN", name, position("HSCAN", cursor), *options, "NOVALUES"), page)
        return self.execute(("HSCAN", name, position("HSCAN", cursor), *options), mapping_page)

    def hset(
        self,
        name: Key,
        key: Value | None = None,
        value: Value | None = None,
        mapping: Fields | None = None,
        items: Iterable[Value] | None = None,
    ) -> Result[int]:
        """Set one field, or those of `mapping`, or of `items` (field, value, field, …); return how many are new."""
        fields: tuple[Value, ...] = ()
        if key is not None or value is not None:
            if key is None or value is None:
                raise incomplete("HSET", key, value)
            fields = (key, value)
        if items is not None:
            fields += several("HSET", "items", items, '["field", "value"]')
        if mapping is not None:
            fields += flat(mapping, "HSET")
        if len(fields) % 2:
            raise ArgumentError("HSET: items has a field without a value")
        return self.execute(("HSET", name, *filled("HSET", "mapping", fields)), integer)

    def hsetnx(self, name: Key, key: Value, value: Value) -> Result[bool]:
        """Set the field unless there is one, and return whether it was set."""
        return self.execute(("HSETNX", name, key, value), boolean)

    def hstrlen(self, name: Key, key: Value) -> Result[int]:
        """Return the length in bytes of the field's value, 0 if there is none."""
        return self.execute(("HSTRLEN", name, key), integer)

    def hvals(self, name: Key) -> Result[list[AnyStr]]:
        """Return all values."""
        return self.execute(("HVALS", name), array)
