"""Keys of any kind: existence, expiry, names, iteration."""

from __future__ import annotations

from typing import Any

from aioresp.command import AnyStr, Instant, Key, Result, Seconds, Value
from aioresp.commands.base import (
    Executor,
    condition,
    conditions,
    filled,
    milliseconds,
    position,
    seconds,
    unix_milliseconds,
    unix_seconds,
)
from aioresp.replies import array, boolean, integer, ok, page, string, text


class KeyCommands(Executor[AnyStr]):
    """Commands on keys, whatever they hold."""

    def copy(
        self, source: Key, destination: Key, destination_db: int | None = None, replace: bool = False
    ) -> Result[bool]:
        """Copy the value at `source` and return whether it was copied. Since 6.2."""
        db: tuple[Value, ...] = () if destination_db is None else ("DB", destination_db)
        return self.execute(("COPY", source, destination, *db, *condition("COPY", replace=replace)), boolean)

    def delete(self, *names: Key) -> Result[int]:
        """Delete keys and return how many there were."""
        return self.execute(("DEL", *filled("DEL", "names", names)), integer)

    def exists(self, *names: Key) -> Result[int]:
        """Return how many of the keys exist; one named twice counts twice."""
        return self.execute(("EXISTS", *filled("EXISTS", "names", names)), integer)

    def expire(
        self, name: Key, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Result[bool]:
        """Let the key expire after `time` seconds and return whether that was set.

        Conditions (since 7.0): `nx` only if it has no expiry, `xx` only if it has one; `gt` only if it then lives
        longer, `lt` shorter, where a key without expiry lives forever.
        """
        flags = conditions("EXPIRE", nx, xx, gt, lt)
        return self.execute(("EXPIRE", name, seconds(time, "EXPIRE", "time"), *flags), boolean)

    def expireat(
        self, name: Key, when: Instant, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Result[bool]:
        """Let the key expire at a Unix time in seconds and return whether that was set.

        Conditions (since 7.0) as in `expire`.
        """
        flags = conditions("EXPIREAT", nx, xx, gt, lt)
        return self.execute(("EXPIREAT", name, unix_seconds(when, "EXPIREAT", "when"), *flags), boolean)

    def expiretime(self, key: Key) -> Result[int]:
        """Return the Unix time in seconds at which the key expires; -1: never, -2: there is no key. Since 7.0."""
        return self.execute(("EXPIRETIME", key), integer)

    def keys(self, pattern: str | bytes = "*") -> Result[list[AnyStr]]:
        """Return all keys that match the glob `pattern`; on a large database `scan` is kinder to the server."""
        return self.execute(("KEYS", pattern), array)

    def move(self, name: Key, db: int) -> Result[bool]:
        """Move the key to another database and return whether it was moved."""
        return self.execute(("MOVE", name, db), boolean)

    def persist(self, name: Key) -> Result[bool]:
        """Let the key never expire and return whether it would have."""
        return self.execute(("PERSIST", name), boolean)

    def pexpire(
        self, name: Key, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Result[bool]:
        """Let the key expire after `time` ms and return whether that was set. Conditions (since 7.0) as in `expire`."""
        flags = conditions("PEXPIRE", nx, xx, gt, lt)
        return self.execute(("PEXPIRE", name, milliseconds(time, "PEXPIRE", "time"), *flags), boolean)

    def pexpireat(
        self, name: Key, when: Instant, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Result[bool]:
        """Let the key expire at a Unix time in ms and return whether that was set. Conditions (7.0) as in `expire`."""
        flags = conditions("PEXPIREAT", nx, xx, gt, lt)
        return self.execute(("PEXPIREAT", name, unix_milliseconds(when, "PEXPIREAT", "when"), *flags), boolean)

    def pexpiretime(self, key: Key) -> Result[int]:
        """Return the Unix time in ms at which the key expires; -1: never, -2: there is no key. Since 7.0."""
        return self.execute(("PEXPIRETIME", key), integer)

    def pttl(self, name: Key) -> Result[int]:
        """Return the milliseconds until the key expires; -1: never, -2: there is no key."""
        return self.execute(("PTTL", name), integer)

    def randomkey(self) -> Result[AnyStr | None]:
        """Return the name of some key, or None if the database is empty."""
        return self.execute(("RANDOMKEY",), text)

    def rename(self, src: Key, dst: Key) -> Result[bool]:
        """Rename the key, replacing `dst`. Raises ResponseError if there is no `src`."""
        return self.execute(("RENAME", src, dst), ok)

    def renamenx(self, src: Key, dst: Key) -> Result[bool]:
        """Rename the key unless `dst` exists and return whether it was renamed."""
        return self.execute(("RENAMENX", src, dst), boolean)

    def scan(
        self,
        cursor: int = 0,
        match: str | bytes | None = None,
        count: int | None = None,
        _type: str | None = None,
    ) -> Result[tuple[int, list[AnyStr]]]:
        """Return the next cursor (0: that was all) and some keys; a key may come twice.

        `match` is a glob, `count` a hint how many to look at, `_type` the kind of value (since 6.0).
        """
        options: tuple[Any, ...] = () if match is None else ("MATCH", match)
        options += () if count is None else ("COUNT", count)
        options += () if _type is None else ("TYPE", _type)
        return self.execute(("SCAN", position("SCAN", cursor), *options), page)

    def touch(self, *names: Key) -> Result[int]:
        """Mark the keys as used just now and return how many there are."""
        return self.execute(("TOUCH", *filled("TOUCH", "names", names)), integer)

    def ttl(self, name: Key) -> Result[int]:
        """Return the seconds until the key expires; -1: never, -2: there is no key."""
        return self.execute(("TTL", name), integer)

    def type(self, name: Key) -> Result[str]:
        """Return the kind of value the key holds, "none" if there is no key."""
        return self.execute(("TYPE", name), string)

    def unlink(self, *names: Key) -> Result[int]:
        """Delete keys, freeing their memory in the background, and return how many there were."""
        return self.execute(("UNLINK", *filled("UNLINK", "names", names)), integer)
