"""URL of a cluster: the addresses of some of its nodes, and options.

Owns the schemes of clusters. Never reads the rest: `settings` does, as for a URL with several servers.
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

_NO_SOCKETS: Final = "a cluster has no unix sockets: its nodes tell hosts and ports"

#: Schemes that are easily mistaken for these, each with advice. An error shows no other one: it may be a user name.
_ELSEWHERE: Final[dict[str, str]] = {
    "unix": _NO_SOCKETS,
    **dict.fromkeys(
        ("redis+sentinel", "rediss+sentinel", "valkey+sentinel", "valkeys+sentinel", "sentinel"),
        "aioresp.Client connects by sentinels, and takes this URL; Cluster is for a cluster",
    ),
    **dict.fromkeys(("http", "https", "tcp", "cluster", "redis-cluster"), "it is redis+cluster:// here"),
    **dict.fromkeys(
        ("tls", "ssl", "redis+tls", "redis+ssl", "redis-ssl", "rediss-cluster"), "it is rediss+cluster:// here"
    ),
}

_FORM: Final = "redis+cluster://host:6379,other:6379"


def read_seeds(url: str | None, options: Options) -> tuple[Settings, tuple[Address, ...]]:
    """Return the settings of all nodes, and the addresses to ask first. Raises ArgumentError."""
    if options.get("unix_socket_path") is not None:
        raise ArgumentError(_NO_SOCKETS)
    if issubclass(type(url), str):
        url = _of_servers(str.__str__(url))
    found = settings(url, options, cluster=True)
    seeds = found.seeds or ((found.endpoint.host, found.endpoint.port),)
    return found.replace(seeds=()), seeds


def _of_servers(url: str) -> str:
    """Return the URL of a cluster as one of several servers."""
    scheme, colon, rest = url.partition("://")
    scheme = scheme.lower()
    if colon and scheme in _SCHEMES:
        return f"{_SCHEMES[scheme]}://{rest}"
    advice = f"the scheme is {scheme!r}: {_ELSEWHERE[scheme]}; " if scheme in _ELSEWHERE else ""
    raise ArgumentError(f"{advice}the URL of a cluster is written {_FORM} (known are {', '.join(_SCHEMES)})")
