"""Hashes with fields that expire one by one, and hashes made from a prepared list of fields."""

from __future__ import annotations

from collections.abc import Iterable

from aioresp.command import AnyStr, Fields, Instant, Key, Result, Seconds, Value
from aioresp.commands import base
from aioresp.commands.base import (
    Executor,
    condition,
    expiry,
    filled,
    flat,
    incomplete,
    several,
    unix_milliseconds,
    unix_seconds,
)
from aioresp.errors import ArgumentError
from aioresp.replies import array, boolean, integer, integers, ok


class HashExpiryCommands(Executor[AnyStr]):
    """Commands on the expiry of single fields of hashes.

    Those that set one return a number for each field: 1 set, 0 the condition was not met, 2 deleted at once, as the
    time has passed, -2 no such field. Those that ask return -1 for a field that does not expire, -2 for none.
    """

    def hexpire(
        self,
        name: Key,
        seconds: Seconds,
        *fields: Value,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Result[list[int]]:
        """Let fields expire after so many seconds, on one condition at most. Since 7.4; Valkey 9.0."""
        return self._expire(
            "HEXPIRE", name, base.seconds(seconds, "HEXPIRE", "seconds"), fields, nx=nx, xx=xx, gt=gt, lt=lt
        )

    def hpexpire(
        self,
        name: Key,
        milliseconds: Seconds,
        *fields: Value,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Result[list[int]]:
        """Let fields expire after so many milliseconds, on one condition at most. Since 7.4; Valkey 9.0."""
        return self._expire(
            "HPEXPIRE",
            name,
            base.milliseconds(milliseconds, "HPEXPIRE", "milliseconds"),
            fields,
            nx=nx,
            xx=xx,
            gt=gt,
            lt=lt,
        )

    def hexpireat(
        self,
        name: Key,
        unix_time_seconds: Instant,
        *fields: Value,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Result[list[int]]:
        """Let fields expire at a Unix time in seconds, on one condition at most. Since 7.4; Valkey 9.0."""
        when = unix_seconds(unix_time_seconds, "HEXPIREAT", "unix_time_seconds")
        return self._expire("HEXPIREAT", name, when, fields, nx=nx, xx=xx, gt=gt, lt=lt)

    def hpexpireat(
        self,
        name: Key,
        unix_time_milliseconds: Instant,
        *fields: Value,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Result[list[int]]:
        """Let fields expire at a Unix time in milliseconds, on one condition at most. Since 7.4; Valkey 9.0."""
        when = unix_milliseconds(unix_time_milliseconds, "HPEXPIREAT", "unix_time_milliseconds")
        return self._expire("HPEXPIREAT", name, when, fields, nx=nx, xx=xx, gt=gt, lt=lt)

    def hexpiretime(self, key: Key, *fields: Value) -> Result[list[int]]:
        """Return the Unix times in seconds at which fields expire. Since 7.4; Valkey 9.0."""
        return self._of_fields("HEXPIRETIME", key, fields)

    def hpexpiretime(self, key: Key, *fields: Value) -> Result[list[int]]:
        """Return the Unix times in milliseconds at which fields expire. Since 7.4; Valkey 9.0."""
        return self._of_fields("HPEXPIRETIME", key, fields)

    def hpersist(self, name: Key, *fields: Value) -> Result[list[int]]:
        """Let fields live forever: 1 for each that had an end, else -1, or -2 for none. Since 7.4; Valkey 9.0."""
        return self._of_fields("HPERSIST", name, fields)

    def httl(self, key: Key, *fields: Value) -> Result[list[int]]:
        """Return the seconds until fields expire. Since 7.4; Valkey 9.0."""
        return self._of_fields("HTTL", key, fields)

    def hpttl(self, key: Key, *fields: Value) -> Result[list[int]]:
        """Return the milliseconds until fields expire. Since 7.4; Valkey 9.0."""
        return self._of_fields("HPTTL", key, fields)

    def hgetdel(self, name: Key, *keys: Value) -> Result[list[AnyStr | None]]:
        """Return the values of fields, None where there is none, and delete them. Since 8.0; Valkey 9.1."""
        names = filled("HGETDEL", "keys", keys)
        return self.execute(("HGETDEL", name, "FIELDS", len(names), *names), array)

    def hgetex(
        self,
        name: Key,
        *keys: Value,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Instant | None = None,
        pxat: Instant | None = None,
        persist: bool = False,
    ) -> Result[list[AnyStr | None]]:
        """Return the values of fields, and set when they expire: `ex` s or `px` ms from now, or at a time.

        Since 8.0; Valkey 9.0.
        """
        names = filled("HGETEX", "keys", keys)
        options = expiry("HGETEX", ex, px, exat, pxat, persist=persist)
        return self.execute(("HGETEX", name, *options, "FIELDS", len(names), *names), array)

    def hsetex(
        self,
        name: Key,
        key: Value | None = None,
        value: Value | None = None,
        mapping: Fields | None = None,
        items: Iterable[Value] | None = None,
        *,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Instant | None = None,
        pxat: Instant | None = None,
        keepttl: bool = False,
        fnx: bool = False,
        fxx: bool = False,
        nx: bool = False,
        xx: bool = False,
    ) -> Result[bool]:
        """Set fields that expire, all or none, and return whether they were set. Since 8.0; Valkey 9.0.

        One `key` and `value`, a `mapping`, or `items` that are fields and values in turn. `fnx` sets them only if none
        exists, `fxx` only if all do; `nx` and `xx` ask for the key itself (Valkey 9.0; not in Redis). `keepttl` leaves
        their expiry.
        """
        pairs: tuple[Value, ...] = () if mapping is None else flat(mapping, "HSETEX")
        if items is not None:
            pairs = (*several("HSETEX", "items", items, '["field", "value"]'), *pairs)
        if key is not None or value is not None:
            if key is None or value is None:
                raise incomplete("HSETEX", key, value)
            pairs = (key, value, *pairs)
        if not pairs or len(pairs) % 2:
            raise ArgumentError("HSETEX: needs fields, each with a value")
        options = (
            *condition("HSETEX", nx=nx, xx=xx),
            *condition("HSETEX", fnx=fnx, fxx=fxx),
            *expiry("HSETEX", ex, px, exat, pxat, keepttl=keepttl),
        )
        return self.execute(("HSETEX", name, *options, "FIELDS", len(pairs) // 2, *pairs), boolean)

    def himport_prepare(self, fieldset: Value, *fields: Value) -> Result[bool]:
        """Name a list of fields, for this leased connection. Since 8.10."""
        return self.execute(("HIMPORT", "PREPARE", fieldset, *filled("HIMPORT PREPARE", "fields", fields)), ok)

    def himport_set(self, key: Key, fieldset: Value, *values: Value) -> Result[bool]:
        """Make a hash of the values for a prepared list of fields, in its order. Since 8.10."""
        return self.execute(("HIMPORT", "SET", key, fieldset, *filled("HIMPORT SET", "values", values)), ok)

    def himport_discard(self, fieldset: Value) -> Result[bool]:
        """Forget a prepared list of fields and return whether there was one. Since 8.10."""
        return self.execute(("HIMPORT", "DISCARD", fieldset), boolean)

    def himport_discardall(self) -> Result[int]:
        """Forget all prepared lists of fields of this leased connection and return how many there were. Since 8.10."""
        return self.execute(("HIMPORT", "DISCARDALL"), integer)

    def _expire(
        self, command: str, name: Key, when: int, fields: tuple[Value, ...], **conditions: bool
    ) -> Result[list[int]]:
        names = filled(command, "fields", fields)
        flags = condition(command, **conditions)
        return self.execute((command, name, when, *flags, "FIELDS", len(names), *names), integers)

    def _of_fields(self, command: str, name: Key, fields: tuple[Value, ...]) -> Result[list[int]]:
        names = filled(command, "fields", fields)
        return self.execute((command, name, "FIELDS", len(names), *names), integers)
