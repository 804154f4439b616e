"""Entries of a cache in Redis: a value, or the lease of the load that will bring one, in one key.

Owns their form and the scripts that change them. Never loads, never waits for others.

While there is no value, a lease is the key's whole content: `\\0acL` and the token of the load. A value begins with
`\\0acV` and the token of its load. Then come token and end (13 digits) of the lease of a refresh, and when the value
ends if the key lives longer for the lease's sake (13 digits). The last are the milliseconds for which it may be stale
(13 digits), and those that its load took (9 digits). What follows is JSON. Times are the server's, in milliseconds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aioresp.client import Client
from aioresp.command import shown
from aioresp.recipes.errors import RecipeError
from aioresp.recipes.lua import Call

_LEASE: Final = b"\0acL"
_VALUE: Final = b"\0acV"
_IDLE: Final = bytes(8) + b"0" * 26
_HEAD: Final = 4 + 8 + 8 + 13 + 13 + 13 + 9

#: Bytes of the token of a load.
TOKEN: Final = 8


class Value(NamedTuple):
    """A value as it was read."""

    token: bytes
    """Token of the load that brought it."""
    payload: bytes
    """Its JSON."""
    fresh: float
    """Seconds until it is stale; below 0 if it is."""
    took: float
    """Seconds that its load took."""
    is_refreshing: bool
    """Whether a refresh is under way, or has failed a moment ago."""


class Lease(NamedTuple):
    """The lease of a load that is under way."""

    token: bytes
    left: float
    """Seconds until it ends, if it is not renewed."""


class Entries:
    """Scripts of the entries, on a client that may send each of them twice."""

    def __init__(self, view: Client[bytes]) -> None:
        self._read = Call(view, "scripts/read")
        self._load = Call(view, "scripts/load")
        self._extend = Call(view, "scripts/extend")
        self._store = Call(view, "scripts/store")
        self._abandon = Call(view, "scripts/abandon")
        self._forget = Call(view, "scripts/forget")

    async def read(self, key: str) -> Value | Lease | None:
        """Return what is there."""
        found = await self._read(key)
        if not found:
            return None
        data, left, busy = found
        kind = data[:4]
        if kind == _VALUE and len(data) > _HEAD:
            fresh = (left - int(data[46:59])) / 1000
            return Value(data[4:12], data[_HEAD:], fresh, int(data[59:_HEAD]) / 1000, busy == 1)
        if kind == _LEASE:
            return Lease(data[4:], max(left, 0) / 1000)
        raise RecipeError(f"{shown(key)} holds what no cache has written: choose another prefix, or delete it")

    async def take(self, key: str, token: bytes, lease: float, how: str, unfit: bytes = b"") -> bool:
        """Take the lease of a load.

        "miss" takes it if there is no value, or one with the token `unfit`. "early" does so beside a value, too, if no
        refresh is under way. "force" takes it from any other load.
        """
        return bool(await self._load(key, token, _milliseconds(lease), how, unfit) == 1)

    async def renew(self, key: str, token: bytes, lease: float) -> bool:
        """Return whether the load still has its lease, which then lasts for `lease` seconds."""
        return bool(await self._extend(key, token, _milliseconds(lease)) == 1)

    async def store(
        self, key: str, token: bytes, payload: bytes, ttl: float, stale: float, took: float, *, always: bool = False
    ) -> bool:
        """Store a value if the load still has its lease, or `always`; return whether it was stored."""
        numbers = b"%013d%09d" % (_milliseconds(stale), min(_milliseconds(took), 10**9 - 1))
        entry = b"".join((_VALUE, token, _IDLE, numbers, payload))
        return bool(await self._store(key, b"" if always else token, entry, _milliseconds(ttl + stale)) == 1)

    async def abandon(self, key: str, token: bytes, pause: float) -> None:
        """Give back the lease of a load; beside a value, no early load begins for `pause` seconds."""
        await self._abandon(key, token, _milliseconds(pause))

    async def forget(self, key: str) -> bool:
        """Delete what is there; return whether there was something."""
        return bool(await self._forget(key) == 1)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
