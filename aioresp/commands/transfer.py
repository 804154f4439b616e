"""DUMP, RESTORE, MIGRATE and OBJECT: serialized values of keys, and the encoding of keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aioresp.command import AnyStr, Instant, Key, Result, Seconds, Value
from aioresp.commands.base import Executor, condition, filled, listed, milliseconds, seconds, unix_milliseconds
from aioresp.errors import ArgumentError
from aioresp.replies import binary_or_none, integer_or_none, ok, string, string_or_none


class TransferCommands(Executor[AnyStr]):
    """Commands that copy values between servers, and that look into how they are kept."""

    def dump(self, name: Key) -> Result[bytes | None]:
        """Return the value as bytes for `restore`, whatever the client decodes, or None if there is no key."""
        return self.execute(("DUMP", name), binary_or_none)

    def restore(
        self,
        name: Key,
        ttl: Seconds | Instant,
        value: bytes | bytearray | memoryview,
        replace: bool = False,
        absttl: bool = False,
        idletime: Seconds | None = None,
        frequency: int | None = None,
    ) -> Result[bool]:
        """Make the key of what `dump` returned; raises ResponseError if there is one, unless `replace`.

        It expires `ttl` milliseconds from now (0: never), or with `absttl` at that Unix time. `idletime`, in seconds,
        and `frequency` are for the server's eviction.
        """
        when = (unix_milliseconds if absttl else milliseconds)(ttl, "RESTORE", "ttl")  # type: ignore[arg-type]  # each says so
        options: tuple[Value, ...] = (*condition("RESTORE", replace=replace), *condition("RESTORE", absttl=absttl))
        if idletime is not None and frequency is not None:
            raise ArgumentError("RESTORE: idletime and frequency exclude each other")
        if idletime is not None:
            options += ("IDLETIME", seconds(idletime, "RESTORE", "idletime"))
        if frequency is not None:
            options += ("FREQ", frequency)
        return self.execute(("RESTORE", name, when, value, *options), ok)

    def migrate(
        self,
        host: str,
        port: int,
        keys: Key | Iterable[Key],
        destination_db: int,
        timeout: Seconds,
        copy: bool = False,
        replace: bool = False,
        auth: str | None = None,
        *,
        username: str | None = None,
    ) -> Result[bool]:
        """Move keys to another server and return True, or False if there is none of them.

        The other server has `timeout` milliseconds between two of its replies. `auth` is its password, with `username`
        (since 6.0) that user's. `copy` leaves the keys here, `replace` overwrites those there.
        """
        if username is not None and auth is None:
            raise ArgumentError("MIGRATE: username needs auth")
        options: tuple[Value, ...] = (*condition("MIGRATE", copy=copy), *condition("MIGRATE", replace=replace))
        if auth is not None:
            options += ("AUTH", auth) if username is None else ("AUTH2", username, auth)
        names = filled("MIGRATE", "keys", listed(keys))
        head = ("MIGRATE", host, port, "", destination_db, milliseconds(timeout, "MIGRATE", "timeout"))
        return self.execute((*head, *options, "KEYS", *names), _moved)

    def object_encoding(self, key: Key) -> Result[str | None]:
        """Return how the server keeps the value ("listpack", "skiplist", ...), or None if there is no key."""
        return self.execute(("OBJECT", "ENCODING", key), string_or_none)

    def object_freq(self, key: Key) -> Result[int | None]:
        """Return how often the key is used, on a logarithmic scale; raises ResponseError without an LFU policy."""
        return self.execute(("OBJECT", "FREQ", key), integer_or_none)

    def object_idletime(self, key: Key) -> Result[int | None]:
        """Return the seconds since the key was last used, or None if there is none."""
        return self.execute(("OBJECT", "IDLETIME", key), integer_or_none)

    def object_refcount(self, key: Key) -> Result[int | None]:
        """Return how many references the value has, or None if there is no key."""
        return self.execute(("OBJECT", "REFCOUNT", key), integer_or_none)


def _moved(value: Any) -> bool:
    return {"OK": True, "NOKEY": False}[string(value)]
