"""Translation of the addresses that servers tell into those to connect to, as for Docker, NAT and tunnels.

Owns the check of what the user's function returns. Never connects, and never looks up a name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from aioresp.errors import ArgumentError, ArgumentTypeError

#: Function that turns an address (host, port) that servers tell into the one to connect to.
AddressMap: TypeAlias = Callable[[tuple[str, int]], tuple[str, int]]


def mapped(address_map: AddressMap | None, host: str, port: int) -> tuple[str, int]:
    """Return the address to connect to. Raises ArgumentError if the function fails, or returns no address."""
    if address_map is None:
        return host, port
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    found: Any
    try:
        found = address_map((host, port))
    except Exception as error:
        raise ArgumentError(
            f"address_map raised {type(error).__name__} for {place}: it gets each address that the servers tell, "
            "and returns one that it does not know as it is"
        ) from error
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], str) or type(found[1]) is not int:
        raise ArgumentTypeError(
            f"address_map returned {type(found).__name__} for {place}, not (host, port), a str and an int"
        )
    if not found[0] or not 0 < found[1] < 65_536:
        raise ArgumentError(f"address_map returned an empty host for {place}, or a port that is not in 1 to 65535")
    return found[0], found[1]


def is_ip(host: str) -> bool:
    """Return whether a host is an IP address, and no name."""
    return ":" in host or host.replace(".", "").isdigit()
