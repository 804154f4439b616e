"""Strings: values, counters and substrings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, overload

from aioresp.command import AnyStr, Fields, Instant, Key, Result, Seconds, Value
from aioresp.commands.base import (
    Executor,
    at_most_one,
    comparison,
    condition,
    expiry,
    filled,
    flat,
    listed,
    milliseconds,
    seconds,
)
from aioresp.replies import array, boolean, floating, integer, ok, some_text, text


class StringCommands(Executor[AnyStr]):
    """Commands on strings."""

    def append(self, key: Key, value: Value) -> Result[int]:
        """Append to the value at `key`, made if there is none, and return its new length in bytes."""
        return self.execute(("APPEND", key, value), integer)

    def decr(self, name: Key, amount: int = 1) -> Result[int]:
        """Subtract `amount` from the integer at `name` (0 if there is none) and return the result."""
        return self.decrby(name, amount)

    def decrby(self, name: Key, amount: int = 1) -> Result[int]:
        """Subtract `amount` from the integer at `name` (0 if there is none) and return the result."""
        return self.execute(("DECRBY", name, amount), integer)

    def get(self, name: Key) -> Result[AnyStr | None]:
        """Return the value at `name`, or None if there is none."""
        return self.execute(("GET", name), text)

    def getdel(self, name: Key) -> Result[AnyStr | None]:
        """Return the value at `name` and delete the key. Since 6.2."""
        return self.execute(("GETDEL", name), text)

    def getex(
        self,
        name: Key,
        *,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Instant | None = None,
        pxat: Instant | None = None,
        persist: bool = False,
    ) -> Result[AnyStr | None]:
        """Return the value at `name` and set when it expires: `ex` s or `px` ms from now, or at a time. Since 6.2."""
        return self.execute(("GETEX", name, *expiry("GETEX", ex, px, exat, pxat, persist=persist)), text)

    def getrange(self, key: Key, start: int, end: int) -> Result[AnyStr]:
        """Return the bytes from `start` to `end`, both included; negative ones count from the end."""
        return self.execute(("GETRANGE", key, start, end), some_text)

    def getset(self, name: Key, value: Value) -> Result[AnyStr | None]:
        """Set the value at `name` and return the old one; `set(get=True)` is the newer way."""
        return self.execute(("GETSET", name, value), text)

    def incr(self, name: Key, amount: int = 1) -> Result[int]:
        """Add `amount` to the integer at `name` (0 if there is none) and return the result."""
        return self.incrby(name, amount)

    def incrby(self, name: Key, amount: int = 1) -> Result[int]:
        """Add `amount` to the integer at `name` (0 if there is none) and return the result."""
        return self.execute(("INCRBY", name, amount), integer)

    def incrbyfloat(self, name: Key, amount: float = 1.0) -> Result[float]:
        """Add `amount` to the number at `name` (0 if there is none) and return the result."""
        return self.execute(("INCRBYFLOAT", name, amount), floating)

    def mget(self, keys: Key | Iterable[Key], *args: Key) -> Result[list[AnyStr | None]]:
        """Return the values at `keys` in their order, None where there is none; [] for no keys, without a command."""
        arguments = listed(keys, args, ("MGET",))
        return self.execute(arguments, array) if len(arguments) > 1 else self._answer([])

    def mset(self, mapping: Fields) -> Result[bool]:
        """Set all keys of `mapping` at once."""
        return self.execute(("MSET", *filled("MSET", "mapping", flat(mapping, "MSET"))), ok)

    def msetnx(self, mapping: Fields) -> Result[bool]:
        """Set all keys of `mapping`, or none if any exists, and return whether they were set."""
        return self.execute(("MSETNX", *filled("MSETNX", "mapping", flat(mapping, "MSETNX"))), boolean)

    def psetex(self, name: Key, time_ms: Seconds, value: Value) -> Result[bool]:
        """Set the value at `name`, to expire after `time_ms` milliseconds."""
        return self.execute(("PSETEX", name, milliseconds(time_ms, "PSETEX", "time_ms"), value), ok)

    @overload
    def set(
        self,
        name: Key,
        value: Value,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: Literal[False] = False,
        exat: Instant | None = None,
        pxat: Instant | None = None,
        *,
        ifeq: Value | None = None,
        ifne: Value | None = None,
        ifdeq: Value | None = None,
        ifdne: Value | None = None,
    ) -> Result[bool]: ...
    @overload
    def set(
        self,
        name: Key,
        value: Value,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        *,
        get: Literal[True],
        exat: Instant | None = None,
        pxat: Instant | None = None,
        ifeq: Value | None = None,
        ifne: Value | None = None,
        ifdeq: Value | None = None,
        ifdne: Value | None = None,
    ) -> Result[AnyStr | None]: ...
    def set(
        self,
        name: Key,
        value: Value,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: bool = False,
        exat: Instant | None = None,
        pxat: Instant | None = None,
        *,
        ifeq: Value | None = None,
        ifne: Value | None = None,
        ifdeq: Value | None = None,
        ifdne: Value | None = None,
    ) -> Result[bool] | Result[AnyStr | None]:
        """Set the value at `name` and return whether it was set (False if a condition was not met).

        It expires `ex` seconds or `px` milliseconds from now, or at the time `exat` or `pxat` (since 6.2); `keepttl`
        (since 6.0) leaves the old expiry. The conditions: there is no value (`nx`) or there is one (`xx`), it equals
        `ifeq` (since 8.4; Valkey 8.1) or does not equal `ifne`, its `digest` is `ifdeq` or is not `ifdne` (since 8.4).
        With `get` (since 6.2; with `nx`: 7.0) the old value is returned instead.
        """
        if not (get or nx or xx or keepttl) and ex is px is exat is pxat is ifeq is ifne is ifdeq is ifdne is None:
            return self.execute(("SET", name, value), ok)
        at_most_one("SET", nx=nx, xx=xx, ifeq=ifeq, ifne=ifne, ifdeq=ifdeq, ifdne=ifdne)
        options = (
            *expiry("SET", ex, px, exat, pxat, keepttl=keepttl),
            *condition("SET", nx=nx, xx=xx),
            *comparison("SET", ifeq, ifne, ifdeq, ifdne),
        )
        if get:
            return self.execute(("SET", name, value, *options, "GET"), text)
        return self.execute(("SET", name, value, *options), ok)

    def setex(self, name: Key, time: Seconds, value: Value) -> Result[bool]:
        """Set the value at `name`, to expire after `time` seconds."""
        return self.execute(("SETEX", name, seconds(time, "SETEX", "time"), value), ok)

    def setnx(self, name: Key, value: Value) -> Result[bool]:
        """Set the value at `name` unless there is one, and return whether it was set."""
        return self.execute(("SETNX", name, value), boolean)

    def setrange(self, name: Key, offset: int, value: Value) -> Result[int]:
        """Overwrite the bytes from `offset` on, zero-padded if need be, and return the new length in bytes."""
        return self.execute(("SETRANGE", name, offset, value), integer)

    def strlen(self, name: Key) -> Result[int]:
        """Return the length in bytes of the value at `name`, 0 if there is none."""
        return self.execute(("STRLEN", name), integer)
