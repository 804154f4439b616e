"""Sentinel: clients of primaries and their replicas, by the names under which sentinels know them.

Owns one client for each name. Never connects itself: `Client` does the same by a URL.
"""

from __future__ import annotations

from asyncio import _get_running_loop
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Never, Self, Unpack, overload

from aioresp.advice import SENTINEL
from aioresp.arguments import numeral
from aioresp.client import Client
from aioresp.command import AnyStr
from aioresp.elsewhere import advising
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.options import OPTIONS, VIEW, Options, check, elsewhere, settings
from aioresp.pool.entries import ended
from aioresp.replicated.node import ReplicatedNode
from aioresp.replicated.places import Address
from aioresp.sentinel.source import SentinelSource
from aioresp.typed import Generic

#: Port of a sentinel by default.
PORT: Final = 26379


@advising(SENTINEL)
class Sentinel(Generic[AnyStr]):
    """Sentinels that watch primaries, and the clients of these.

    Args:
        sentinels: "host:port", or (host, port), of some of them; they tell of the others. The port is 26379 by default.
        decode_responses: whether the clients return str (UTF-8) or bytes.
        options: those of `Client`, for all clients; `address_map` translates the addresses that sentinels tell.
            `sentinel_username`, `sentinel_password`, `sentinel_ssl` and `sentinel_ssl_context` are for the sentinels:
            `username`, `password` and `ssl` are not.

    Raises ArgumentError, naming the option, for an unknown option or a value that does not fit.
    """

    @overload
    def __init__(
        self: Sentinel[str],
        sentinels: Iterable[str | tuple[str, int]],
        *,
        decode_responses: Literal[True] = True,
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Sentinel[bytes],
        sentinels: Iterable[str | tuple[str, int]],
        *,
        decode_responses: Literal[False],
        **options: Unpack[Options],
    ) -> None: ...
    def __init__(
        self,
        sentinels: Iterable[str | tuple[str, int]],
        *,
        decode_responses: bool = True,
        **options: Unpack[Options],
    ) -> None:
        check("decode_responses", decode_responses)
        for name in ("host", "port", "unix_socket_path"):
            if name in options:
                raise ArgumentError(f"{name} does not fit: the sentinels tell where the servers are")
        self._sentinels = _addresses(sentinels)
        self._decode = decode_responses
        self._options = options
        self._clients: dict[str, tuple[ReplicatedNode, Client[Any], Client[Any]]] = {}
        self._blocks = 0  # the number of `async with` blocks of it that go on
        self._settings("?")  # so that a wrong option is found here

    def __repr__(self) -> str:
        clients = (
            f", {name}: {', '.join(primary.node.remarks()) or 'not found yet'}"
            for name, (_, primary, _) in list(self._clients.items())
        )
        return f"Sentinel({','.join(map(str, self._sentinels))}{''.join(clients)})"

    def _settings(self, name: str) -> Any:
        return settings(None, self._options, self._sentinels, name)

    def _of(self, name: str) -> tuple[ReplicatedNode, Client[Any], Client[Any]]:
        """Return the node of a primary, its client, and the view that reads from replicas."""
        if not issubclass(type(name), str) or not name or any(letter.isspace() for letter in name):
            raise ArgumentError("the name of a primary is a str without spaces, as in master_for('mymaster')")
        found = self._clients.get(name)
        if found is None:
            chosen = self._settings(name)
            node = ReplicatedNode(chosen, SentinelSource(chosen))
            primary: Client[Any] = Client.over(node, node.terms.replace(decode=self._decode))
            made = (node, primary, primary.with_options(read_from="replica"))
            found = self._clients.setdefault(name, made)  # another thread may have made one
            if found is made and self._blocks and _get_running_loop() is not None:
                node.enter()  # the end of a block of the client alone closes nothing
        return found

    def master_for(self, name: str, **options: Never) -> Client[AnyStr]:
        """Return the client of the primary of that name, the same one each time.

        It follows failovers by itself, and reads by the option `read_from`. It takes no options: they are those of the
        `Sentinel`, and `master_for(name).with_options(...)` gives a view with others.
        """
        _without(options, "master_for")
        return self._of(name)[1]

    def replica_for(self, name: str, **options: Never) -> Client[AnyStr]:
        """Return a view of the same client that reads from replicas, the same one each time; writes go to the primary.

        While no replica is fit to serve, the primary does. It takes no options, as `master_for`.
        """
        _without(options, "replica_for")
        return self._of(name)[2]

    def slave_for(self, name: str, **options: Never) -> Client[AnyStr]:
        """Return what `replica_for` returns; redis-py's name."""
        _without(options, "slave_for")
        return self.replica_for(name)

    async def discover_master(self, name: str) -> tuple[str, int]:
        """Return host and port of the primary of that name now, by the newest word of the sentinels.

        Clients need no such question, and follow later changes. Raises ConnectError if no sentinel can tell.
        """
        return (await self._of(name)[0].find()).primary

    async def discover_replicas(self, name: str) -> list[tuple[str, int]]:
        """Return host and port of each replica that is up and linked to the primary of that name.

        Raises ConnectError if no sentinel can tell.
        """
        return list((await self._of(name)[0].find()).replicas)

    async def discover_slaves(self, name: str) -> list[tuple[str, int]]:
        """Return what `discover_replicas` returns; redis-py's name."""
        return await self.discover_replicas(name)

    async def __aenter__(self) -> Self:
        self._blocks += 1
        for node, _, _ in list(self._clients.values()):
            node.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._blocks -= 1
        await ended([begun for node, _, _ in list(self._clients.values()) for begun in node.begin_to_leave()])

    async def aclose(self) -> None:
        """Close all clients; `async with` of it opens all again, and that of a client this one."""
        await ended([begun for node, _, _ in list(self._clients.values()) for begun in node.shut()])


def _without(options: Mapping[str, object], method: str) -> None:
    """Raise ArgumentTypeError for options; to type checkers there are none."""
    for name in options:
        if name in OPTIONS:
            where = f"Sentinel(..., {name}=...) takes it, for the clients of all names"
            if name in VIEW:
                where += f", and {method}(name).with_options({name}=...) gives a view"
        elif name in ("redis_class", "connection_pool_class"):
            where = "the client and its pool are the package's own"
        else:
            where = "options belong to Sentinel(...)" + (f"; {advice}" if (advice := elsewhere(name)) else "")
        raise ArgumentTypeError(f"{method}() takes a name alone, not {name!r}: {where}")


def _addresses(sentinels: Iterable[str | tuple[str, int]]) -> tuple[Address, ...]:
    if isinstance(sentinels, str):
        if "://" in sentinels:
            raise ArgumentError(
                "Sentinel takes the addresses of sentinels, as in Sentinel(['host1:26379', 'host2:26379']); a URL is "
                "for a client: Client('redis+sentinel://host1:26379,host2:26379/name')"
            )
        sentinels = sentinels.split(",")
    found = tuple(dict.fromkeys(_address(each) for each in sentinels))
    if not found:
        raise ArgumentError("there is no sentinel: give some, as in Sentinel(['host1:26379', 'host2:26379'])")
    return found


def _address(said: Any) -> Address:
    if isinstance(said, str):
        host, colon, port = said.rpartition(":")
        if not colon or ("]" in port) or (":" in host and host[:1] != "["):  # a host alone, perhaps IPv6
            host, port = said, str(PORT)
        if not port.isdecimal():
            raise ArgumentError("a sentinel is not host:port")
        said = (host.strip("[]"), int(port))
    if not isinstance(said, tuple) or len(said) != 2 or not isinstance(said[0], str) or type(said[1]) is not int:
        raise ArgumentTypeError("a sentinel is neither 'host:port' nor (host, port)")
    check("host", said[0])
    if not 0 < said[1] < 65536:
        raise ArgumentError(f"the port of a sentinel is {numeral(said[1])}, not between 1 and 65535")
    return Address(*said)
