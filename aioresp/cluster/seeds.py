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
    if options.get("unix_socket_path") is not None:
        raise ArgumentError("a cluster has no unix sockets: its nodes tell hosts and ports")
    if not issubclass(type(url), str) or "host" in options or "port" in options:
        plain: Options = {**options}
        asked = settings(url, {**plain, "read_from": "primary"}).endpoint  # which checks the host
        plain.pop("host", None)
        plain.pop("port", None)
        return _made(url, plain, ((asked.host, asked.port),))
    assert url is not None
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in _SCHEMES:
        raise ArgumentError(f"the URL of a cluster is written {_FORM} (known are {', '.join(_SCHEMES)})")
    end = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
    login, at, hosts = rest[:end].rpartition("@")
    plain = {**options, "read_from": "primary"}
    one = [f"{_SCHEMES[scheme]}://{login}{at}{host}{rest[end:]}" for host in hosts.split(",")]
    endpoints = [settings(each, plain).endpoint for each in one]
    return _made(one[0], options, tuple(dict.fromkeys((each.host, each.port) for each in endpoints)))


def _made(url: str | None, options: Options, seeds: tuple[Address, ...]) -> tuple[Settings, tuple[Address, ...]]:
    found = settings(url, options, seeds)  # with seeds, as a cluster has replicas to read from
    return found.replace(seeds=()), seeds
