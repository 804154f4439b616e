"""URL of a cluster: several addresses in one URL, the first of them as that of a single server.

Owns the schemes of clusters, and the list of addresses. Never reads options: `settings` does, from the URL of one
server that is left.
"""

from __future__ import annotations

from typing import Final

from aioresp.cluster.topology import Address
from aioresp.errors import ArgumentError
from aioresp.options import Options, Settings, settings

_SCHEMES: Final = {
    **{f"{scheme}+cluster": scheme for scheme in ("redis", "rediss", "valkey", "valkeys")},
    **{scheme: scheme for scheme in ("redis", "rediss", "valkey", "valkeys")},
}

_FORM: Final = "redis+cluster://host:6379,other:6379"


def read_seeds(url: str | None, options: Options) -> tuple[Settings, tuple[Address, ...]]:
    """Return the settings of all nodes, and the addresses to ask first. Raises ArgumentError."""
    if url is None or not isinstance(url, str):
        made = settings(url, options)
        return made, ((made.endpoint.host, made.endpoint.port),)
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in _SCHEMES:
        raise ArgumentError(f"the URL of a cluster is written {_FORM} (known are {', '.join(_SCHEMES)})")
    end = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
    login, at, hosts = rest[:end].rpartition("@")
    if "," in login and not at:
        hosts = rest[:end]
    seeds = []
    for host in hosts.split(","):
        one = settings(f"{_SCHEMES[scheme]}://{login}{at}{host}{rest[end:]}", options)
        seeds.append(one)
    if seeds[0].endpoint.unix_socket_path is not None:
        raise ArgumentError("a cluster has no unix sockets: its nodes tell hosts and ports")
    return seeds[0], tuple(dict.fromkeys((one.endpoint.host, one.endpoint.port) for one in seeds))
