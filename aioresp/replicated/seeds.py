"""Servers known by name, without Sentinel, as the source of addresses: each is asked for its role.

Owns the roles, and which of several primaries counts. Never changes a role: a person or a program does, by REPLICAOF.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aioresp.errors import AuthenticationError, ConnectError, TLSError
from aioresp.node import Node
from aioresp.options import Settings
from aioresp.pool.resource import PoolStats
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
        roles, errors = await ask_all(self._nodes, _role, _have_primary, GRACE)
        masters = {at: role for at, role in roles.items() if role[0] == "master"}
        if masters:
            # Of two that are alike the last one counts again, or the first in the URL, and not the one that was faster.
            alike = sorted(masters, key=lambda at: (at != self._last, list(self._nodes).index(at)))
            self._last = primary = max(alike, key=lambda at: (len(masters[at][2]), masters[at][1]))
            return Found(primary, tuple(at for at, role in roles.items() if _fit(role)))
        refused = next((error for error in errors.values() if isinstance(error, AuthenticationError)), None)
        said = [f"{at}: {errors[at]}" if at in errors else f"{at} is a replica" for at in self._nodes]
        hopeless = not roles and all(isinstance(error, TLSError) for error in errors.values())
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


async def _role(node: Node) -> list[Any]:
    said = await node.send(node.pools.here(), pack(("ROLE",)), node.terms, node.terms.timeout)
    if not isinstance(said, list) or len(said) < 3 or said[0] not in ("master", "slave"):
        raise ConnectError(f"{node.address} does not tell its role")
    return said


def _fit(role: list[Any]) -> bool:
    """Return whether a server is a replica whose link to its primary is up."""
    return bool(role[0] == "slave" and len(role) > 3 and role[3] == "connected")


def _have_primary(roles: dict[Address, list[Any]]) -> bool:
    """Return whether a primary with replicas is among the servers."""
    return any(role[0] == "master" and role[2] for role in roles.values())
