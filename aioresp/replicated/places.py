"""Places of a primary and its replicas: addresses, and what is known of all of them at one moment.

Owns the two types. Never connects, and never asks.
"""

from __future__ import annotations

from typing import NamedTuple

from aioresp.record import Record


class Address(NamedTuple):
    """Host and port of a server."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return host:port; an IPv6 address is in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Found(Record):
    """Places of the servers, as a source knows them."""

    primary: Address
    replicas: tuple[Address, ...] = ()
    """Replicas that are fit to serve reads."""
    failing: bool = False
    """Whether a replica is about to be promoted, so that the primary may lose what it takes from now on."""
