"""Servers known by name, without Sentinel, as the source of addresses: each is asked for its role and its history.

Owns the roles, and which of several primaries counts. Never changes a role: a person or a program does, by REPLICAOF.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from aioresp.errors import AuthenticationError, ConnectError, ResponseError, TLSError
from aioresp.node import Node
from aioresp.options import Settings
from aioresp.pool.resource import PoolStats
from aioresp.reading import in_step
from aioresp.replicated.asking import ask_all
from aioresp.replicated.outlook import Outlook
from aioresp.replicated.places import Address, Found
from aioresp.wire.packing import pack

#: Seconds in which a server must tell its role.
PATIENCE: Final = 2.0

#: Seconds for which the other servers are waited for, once a primary with replicas has answered.
GRACE: Final = 0.15

#: Seconds between two looks at the roles, in each loop.
EVERY: Final = 1.0


class _Told(NamedTuple):
    """Words of one server about itself."""

    role: list[Any]
    """The reply to ROLE."""
    history: str | None
    """The id of the writes that it has, which a primary and all its replicas share; None if it does not tell."""


class Seeds:
    """The servers that a URL names, and their roles."""

    silent = False  # what does not answer cannot serve either

    def __init__(self, settings: Settings) -> None:
        scheme = "redis" if settings.endpoint.tls is None else "rediss"
        addresses = [Address(*seed) for seed in settings.seeds]
        self.name = f"{scheme}://{','.join(map(str, addresses))}"
        patience = PATIENCE if settings.connect_timeout is None else min(PATIENCE, settings.connect_timeout)
        alone = settings.replace(
            limit=4, retry=None, timeout=PATIENCE, connect_timeout=patience, middleware=None, events=None
        )
        self._last: Address | None = None  # the primary that was found last
        self._nodes = {
            at: Node(alone.replace(endpoint=settings.endpoint.replace(host=at.host, port=at.port))) for at in addresses
        }

    def __repr__(self) -> str:
        return f"Seeds({self.name})"

    @property
    def role(self) -> None:
        """Return None: it asks the servers themselves."""

    @property
    def past(self) -> PoolStats:
        """Return no figures: it asks the same servers forever."""
        return PoolStats()

    def nodes(self) -> Iterable[Node]:
        """Return the nodes by which the servers are asked."""
        return self._nodes.values()

    async def find(self) -> Found:
        """Ask all servers for their roles at once.

        Of several primaries, that with the most replicas counts, and then the one that has written the most: after a
        failover by hand the former primary may still think that it is one.
        """
        told, errors = await ask_all(self._nodes, _ask, _have_primary, GRACE)
        masters = {at: role for at, (role, _) in told.items() if role[0] == "master"}
        if masters:
            # Of two that are alike the last one counts again, or the first in the URL, and not the one that was faster.
            alike = sorted(masters, key=lambda at: (at != self._last, list(self._nodes).index(at)))
            self._last = primary = max(alike, key=lambda at: (len(masters[at][2]), masters[at][1]))
            history = told[primary].history
            return Found(primary, tuple(at for at, said in told.items() if _fit(said, history)))
        refused = next((error for error in errors.values() if isinstance(error, AuthenticationError)), None)
        said = [f"{at}: {errors[at]}" if at in errors else f"{at} is a replica" for at in self._nodes]
        hopeless = not told and all(isinstance(error, TLSError) for error in errors.values())
        failure = (TLSError if hopeless else ConnectError)(f"none of {self.name} is a primary: {'; '.join(said)}")
        failure.__cause__ = refused
        errors.clear()
        raise failure

    def watch(self, outlook: Outlook) -> None:
        """Look at the roles each second: without Sentinel nobody tells of a change."""
        if self not in outlook.watched:
            outlook.watched.add(self)
            outlook.every(EVERY, outlook.verify)

    async def listen(self, outlook: Outlook) -> None:
        """Do as `watch`: there is nobody to hear."""
        self.watch(outlook)


async def _ask(node: Node) -> _Told:
    pool, terms = node.pools.here(), node.terms
    role = await node.send(pool, pack(("ROLE",)), terms, terms.timeout)
    if not isinstance(role, list) or len(role) < 3 or role[0] not in ("master", "slave"):
        raise ConnectError(f"{node.address} does not tell its role")
    try:
        said = await node.send(pool, pack(("INFO", "replication")), terms, terms.timeout)
    except ResponseError:  # above all without permission
        return _Told(role, None)
    lines = [line.partition(":") for line in said.splitlines()] if isinstance(said, str) else []
    return _Told(role, next((value for name, _, value in lines if name == "master_replid"), None))


def _fit(said: _Told, history: str | None) -> bool:
    """Return whether a server is a replica whose link is up, and leads to the primary of that history."""
    return in_step(said.role) and (history is None or said.history in (None, history))


def _have_primary(told: dict[Address, _Told]) -> bool:
    """Return whether a primary with replicas is among the servers."""
    return any(role[0] == "master" and role[2] for role, _ in told.values())
