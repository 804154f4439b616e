"""Reads from replicas: which server is asked first, and which one next.

Owns the policies of `read_from`, what is remembered of each server (its zone, its speed, its last failure), and the
commands that may go to a replica. Never connects and never sends: it orders servers of any kind, for Sentinel, for a
primary with replicas, and for the shards of a cluster alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Sequence
from itertools import count
from typing import Any, Final, Literal, TypeAlias, TypeVar

from aioresp.command import PLAIN
from aioresp.errors import (
    AskError,
    ClientClosed,
    ClusterDownError,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    LoadingError,
    MasterDownError,
    MaxClientsError,
    MovedError,
    TryAgainError,
    UnblockedError,
)
from aioresp.facts.catalogue import READ_ONLY
from aioresp.facts.traits import Traits
from aioresp.typed import Generic

T = TypeVar("T", bound=Hashable)

#: Policy of a client or a view. "primary": no replica is read. "replica": replicas in turn, and the primary only if
#: none of them can serve. "prefer_replica": one replica, and the primary at once if that one cannot serve.
#: "nearest": the servers of the client's own availability zone first, then the fastest, the primary among them.
ReadFrom: TypeAlias = Literal["primary", "replica", "prefer_replica", "nearest"]

POLICIES: Final[tuple[ReadFrom, ...]] = ("primary", "replica", "prefer_replica", "nearest")

#: Commands whose next call belongs to the same server, or whose script another server may not have.
_BOUND: Final = frozenset(("SCAN", "HSCAN", "SSCAN", "ZSCAN", "CLUSTERSCAN", "EVALSHA_RO", "ARSCAN"))

#: Commands of one word that replicas may serve and that have no other peculiarity, in upper and in lower case.
READS: Final = PLAIN & {spelled for name in READ_ONLY - _BOUND for spelled in (name, name.lower())}

#: All other commands without peculiarities: a client that reads from replicas sends these at once.
OTHERS: Final = PLAIN - READS

#: Errors after which another server is asked: this one cannot serve, or its node was closed because it is a replica
#: no more, and a read may run twice.
NEXT: Final = (
    AskError,
    ClientClosed,
    ClusterDownError,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    LoadingError,
    MasterDownError,
    MaxClientsError,
    MovedError,
    TryAgainError,
    UnblockedError,
)

#: Seconds for which a server is asked after the others: after its first failure, and at most.
PENALTY: Final = (0.5, 15.0)

#: Seconds for which a measured latency counts; then one read measures it again.
FRESH: Final = 10.0

#: Seconds for which the nearest server stays that, without a look at the others.
MOMENT: Final = 0.1

#: Share of a new measurement in the latency that is remembered.
WEIGHT: Final = 0.3


#: Zone of a server that was not connected to: it may be any.
_NOT_TOLD: Final = "?"


def in_step(role: Sequence[Any]) -> bool:
    """Return whether a reply to ROLE is that of a replica whose link to its primary is up.

    One that has just started has no link yet, and no keys, or old ones.
    """
    return role[:1] == ["slave"] and role[3:4] == ["connected"]


def may_be_read(command: Traits) -> bool:
    """Return whether a replica may serve a command: the servers flag it as read-only, and it does not block."""
    return command.read_only and command.timeout is None and command.name not in _BOUND


def _penalty(failures: int) -> float:
    """Return for how many seconds a server is avoided that has failed so often before."""
    first, most = PENALTY
    return min(most, first * 2.0 ** min(failures, 10))


class _Known:
    """Memory of one server."""

    __slots__ = ("avoid_until", "failures", "latency", "measured", "reads", "tried_until", "zone")

    def __init__(self) -> None:
        self.zone: str | None = _NOT_TOLD
        self.latency = math.inf
        self.measured = -math.inf
        self.failures = 0
        self.reads = 0
        self.avoid_until = -math.inf
        self.tried_until = -math.inf  # while one read tries it again after a failure


_UNKNOWN: Final = _Known()


class Choice(Generic[T]):
    """Order in which servers are asked for a read. Servers are known by their hash: a node or an address."""

    def __init__(self, zone: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without memory. `zone` is the client's own availability zone; None measures latency alone."""
        self.zone = zone
        self._clock = clock
        self._turn = count()
        self._known: dict[T, _Known] = {}
        self._failed: set[T] = set()  # the servers whose last read failed
        self._nearest: T | None = None  # the first of the last order by distance
        self._nearest_until = -math.inf

    def first(self, read_from: ReadFrom, replicas: Sequence[T]) -> T | None:
        """Return the server to ask first, at little cost; None if `order` has to think."""
        if self._failed or not replicas:
            return None
        if read_from != "nearest":
            return replicas[next(self._turn) % len(replicas)]
        return self._nearest if self._clock() < self._nearest_until else None

    def order(self, read_from: ReadFrom, primary: T, replicas: Sequence[T]) -> list[T]:
        """Return the servers to ask, the first one first; the primary is always among them."""
        if read_from == "primary" or not replicas:
            return [primary]
        turn = next(self._turn) % len(replicas)
        inturn = [*replicas[turn:], *replicas[:turn]]
        now = self._clock()
        if read_from == "nearest":
            nearest = sorted([*inturn, primary], key=lambda server: self._distance(server, now))
            first = self._of(nearest[0])
            if now - first.measured > FRESH:
                first.measured = now  # by the caller of this read, and by none beside it
            elif first.latency < math.inf:
                self._nearest, self._nearest_until = nearest[0], now + MOMENT
            self._try(nearest[0], now)
            return nearest
        inturn.sort(key=lambda server: self._avoided(server, now))
        if not self._avoided(inturn[0], now):
            self._try(inturn[0], now)
            return [inturn[0], primary] if read_from == "prefer_replica" else [*inturn, primary]
        return [primary, *inturn]

    def _try(self, server: T, now: float) -> None:
        """Let other reads pass a server over that has failed, while this one tries it again."""
        known = self._known.get(server)
        if known is not None and known.failures:
            known.tried_until = now + _penalty(known.failures - 1)

    def _avoided(self, server: T, now: float) -> bool:
        known = self._known.get(server)
        return known is not None and max(known.avoid_until, known.tried_until) > now

    def _distance(self, server: T, now: float) -> tuple[bool, bool, float]:
        known = self._known.get(server, _UNKNOWN)
        elsewhere = self.zone is not None and known.zone not in (self.zone, _NOT_TOLD)
        avoided = self._avoided(server, now)
        if now - known.measured > FRESH:
            return avoided, elsewhere, 0.0  # this read measures it
        return avoided, elsewhere, known.latency

    def learn(self, server: T, zone: str | None) -> None:
        """Note the availability zone that a server tells."""
        self._of(server).zone = zone

    def served(self, server: T, seconds: float) -> None:
        """Note that a server has answered a read after so many seconds."""
        known = self._of(server)
        if known.reads == 0:
            known.measured = -math.inf  # a connection was made for it, perhaps: the next read measures
        else:
            stale = known.latency == math.inf
            known.latency = seconds if stale else known.latency + WEIGHT * (seconds - known.latency)
            known.measured = self._clock()
        known.reads += 1
        if known.failures:
            known.failures, known.avoid_until, known.tried_until = 0, -math.inf, -math.inf
            self._failed.discard(server)

    def failed(self, server: T) -> None:
        """Note that a server could not serve a read: it is asked after the others for a while.

        Reads that fail together are one failure.
        """
        known, now = self._of(server), self._clock()
        if known.avoid_until <= now:
            known.avoid_until = now + _penalty(known.failures)
            known.failures += 1
        self._failed.add(server)
        self._nearest_until = -math.inf

    def keep(self, servers: Sequence[T]) -> None:
        """Forget all servers but these."""
        self._known = {server: known for server, known in self._known.items() if server in set(servers)}
        self._failed.intersection_update(servers)
        self._nearest_until = -math.inf

    def _of(self, server: T) -> _Known:
        return self._known.setdefault(server, _Known())
