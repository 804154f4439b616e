"""Rate limiter by the generic cell rate algorithm (GCRA), shared by all processes.

Owns what a hit costs, and the line of those in this process who wait for a place. Never reads a clock but the server's.
"""

from __future__ import annotations

import asyncio
import math
import os
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from aioresp.command import shown
from aioresp.errors import ArgumentError, ArgumentTypeError, RedisError
from aioresp.misuse import Bound
from aioresp.recipes import checks
from aioresp.recipes.errors import LimitTimeout
from aioresp.recipes.lua import Call
from aioresp.recipes.outage import AWAY, Outage
from aioresp.record import Record

if TYPE_CHECKING:
    from datetime import timedelta

    from aioresp.client import Client

#: What a limiter does with a hit that the server cannot count.
OnError: TypeAlias = Literal["raise", "allow", "deny"]

_INSTEAD: Final = {"raise": "hits fail", "allow": "hits are allowed uncounted", "deny": "hits are refused"}

#: Bytes of the token by which the server knows a hit that is sent twice.
_TOKEN: Final = 6

#: Seconds between two attempts of `wait` while the server is away.
_PAUSE: Final = 0.1


class Hit(Record):
    """Answer to a hit; it is true if the hit is allowed."""

    allowed: bool
    remaining: int
    """Number of hits that would be allowed at once after this one."""
    retry_after: float
    """Seconds until this hit would be allowed; 0 if it was."""
    reset_after: float
    """Seconds until all places are free, if no more hits come."""
    error: RedisError | None = None
    """Error for which `on_error` has decided; None if the server has."""

    def __bool__(self) -> bool:
        return self.allowed


class _Line:
    """Tasks of one event loop that wait for a place of one key, first come first served."""

    __slots__ = ("lock", "tasks")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.tasks = 0


class Limiter(Bound):
    """Limit of `limit` hits in `per` seconds for each key, counted by the server for all processes together.

    A place becomes free every `per / limit` seconds. `burst` is the number of places: so many hits may come at once,
    `limit` by default, one with 0. In no window of `per` seconds more than `limit + burst` pass.

    Args:
        redis: client of a server, a cluster or Sentinel.
        limit: number of hits, 1 or more, at most a million a second.
        per: seconds, or a timedelta.
        burst: number of hits that may come at once.
        on_error: what becomes of a hit while the server is away: its error is raised, or it is allowed or refused.
        prefix: beginning of all keys. Rate and burst are part of the keys: limiters that differ in them do not meet.
        timeout: seconds that the server may take for a hit; by default as the client says.

    Raises ArgumentError, naming the argument, for a value that does not fit.
    """

    _instead = "make one in each process, on that process's client"

    def __init__(
        self,
        redis: Client[Any],
        limit: int,
        per: float | timedelta = 60,
        *,
        burst: int | None = None,
        on_error: OnError = "raise",
        prefix: str = "limit:",
        timeout: float | timedelta | None = None,
    ) -> None:
        view = checks.client(redis).with_options(decode_responses=False, idempotent=True)
        if timeout is not None:
            view = view.with_options(timeout=checks.seconds("timeout", timeout))
        self.limit = checks.count("limit", limit, 1)
        self.per = checks.seconds("per", per, 1e-6)
        self.burst = self.limit if burst is None else checks.count("burst", burst, 0)
        self._step = math.ceil(self.per * 1_000_000 / self.limit)
        if self.limit > self.per * 1_000_000:
            raise ArgumentError(f"limit is {self.limit} in {self.per:g} s, more than a million a second")
        self._places = max(self.burst, 1)
        if self._step * self._places > checks.LONGEST * 1_000_000:
            raise ArgumentError(f"burst is {self.burst}, which takes more than {checks.LONGEST:g} s to become free")
        self._on_error = checks.choice("on_error", on_error, tuple(_INSTEAD))
        self._prefix = f"{checks.text('prefix', prefix)}{self.limit}/{self.per:.15g}+{self.burst}:"
        self._view = view
        self._hit = Call(view, "scripts/hit")
        self._outage = Outage(f"the limiter {self._prefix}", _INSTEAD[self._on_error])
        self._lines: dict[tuple[asyncio.AbstractEventLoop, str | bytes], _Line] = {}

    def __repr__(self) -> str:
        if not hasattr(self, "_lines"):  # its constructor failed
            return "Limiter(not made)"
        return f"Limiter({self.limit} per {self.per:g} s, burst {self.burst})"

    async def hit(self, key: str | bytes, cost: int = 1) -> Hit:
        """Count a hit of a key, if it is allowed; a refused one costs nothing.

        A hit that is sent again, because the connection was lost before the answer, counts once. The server knows the
        last four hits of a key; if more came in between, the hit counts twice. A cancelled hit may have counted.
        """
        if cost != 1 or type(cost) is not int:
            self._check_cost(cost)
        return await self._ask(self._key(key), cost, os.urandom(_TOKEN))

    async def peek(self, key: str | bytes, cost: int = 1) -> Hit:
        """Return what a hit would be answered, with the places that are free now. Nothing is counted."""
        self._check_cost(cost)
        return await self._ask(self._key(key), cost, b"")

    async def reset(self, key: str | bytes) -> None:
        """Forget the hits of a key."""
        await self._view.delete(self._key(key))

    async def wait(self, key: str | bytes, cost: int = 1, *, timeout: float | timedelta | None = None) -> Hit:
        """Count a hit as soon as it is allowed, and return its answer.

        Tasks of one event loop get their places in the order in which they came. Raises LimitTimeout if there is no
        place within `timeout` seconds, as soon as that is known.
        """
        self._check_cost(cost)
        name = self._key(key)
        seconds = None if timeout is None else checks.seconds("timeout", timeout, 0)
        loop = asyncio.get_running_loop()
        deadline = math.inf if seconds is None else loop.time() + seconds
        place = loop, name
        line = self._lines.get(place)
        if line is None:
            line = self._lines[place] = _Line()
        line.tasks += 1
        scope = asyncio.timeout(seconds or None)
        try:
            async with scope:
                if seconds != 0 or not line.lock.locked():
                    async with line.lock:
                        return await self._wait(name, cost, deadline)
        except TimeoutError as error:
            if isinstance(error, RedisError) or not scope.expired():
                raise
        finally:
            line.tasks -= 1
            if not line.tasks:
                self._lines.pop(place, None)
        raise self._timeout(name, 0.0, "others of this process are before it, or the server takes long")

    async def _wait(self, key: str | bytes, cost: int, deadline: float) -> Hit:
        loop = asyncio.get_running_loop()
        while True:
            hit = await self._ask(key, cost, os.urandom(_TOKEN))
            if hit.allowed:
                return hit
            pause = hit.retry_after if hit.error is None else max(hit.retry_after, _PAUSE)
            if loop.time() + pause > deadline:
                raise self._timeout(key, pause, f"a hit may be allowed in {pause:.3g} s")
            await asyncio.sleep(pause)

    async def _ask(self, key: str | bytes, cost: int, token: bytes) -> Hit:
        try:
            allowed, remaining, wait, free = await self._hit(key, self._step, self._places, cost, token)
        except AWAY as error:
            if self._on_error == "raise":
                raise
            self._outage.begin(error)
            if self._on_error == "allow":
                return Hit(True, 0, 0.0, 0.0, error.with_traceback(None))
            return Hit(False, 0, self._step / 1_000_000, self._step / 1_000_000, error.with_traceback(None))
        if self._outage.lasts:
            self._outage.end()
        return Hit(allowed == 1, remaining, wait / 1_000_000, free / 1_000_000, None)

    def _key(self, key: str | bytes) -> str | bytes:
        if isinstance(key, str):
            return self._prefix + key
        if isinstance(key, bytes):
            return self._prefix.encode() + key
        raise ArgumentTypeError(f"key is {type(key).__name__}, not str or bytes; a number can be a key by str()")

    def _check_cost(self, cost: int) -> None:
        if isinstance(cost, bool) or not isinstance(cost, int):
            raise ArgumentTypeError(f"cost is {type(cost).__name__}, not int")
        if not 1 <= cost <= self._places:
            raise ArgumentError(
                f"cost is {cost}, not 1 to {self._places}: only so many hits of this limiter can come at once (burst)"
            )

    def _timeout(self, key: str | bytes, after: float, why: str) -> LimitTimeout:
        name = shown(key if isinstance(key, bytes) else key.encode())
        error = LimitTimeout(f"no place for {name} in time, {self.limit} per {self.per:g} s are allowed: {why}")
        error.retry_after = after
        return error
