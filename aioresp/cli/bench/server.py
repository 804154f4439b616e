"""Figures of the server under a benchmark: counters before and after a round, and facts for its limits.

Owns the reading of INFO, of each node in a cluster. A user who may not read INFO gets a benchmark without these
figures. Never changes a server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from aioresp import Client, Cluster
from aioresp.errors import ConnectionLost, ResponseError

#: Seconds in which the work of others is watched before a run.
_WATCH: Final = 0.3


@dataclass(frozen=True)
class Counters:
    """Counters of one server."""

    connections: int
    commands: int
    cpu: float
    """Seconds of all its threads."""
    main: float
    """Seconds of its main thread, which runs the commands; all threads, where the server does not tell."""
    received: int
    sent: int
    delay: float | None
    """Seconds that its process was ready to run and had no core; None if it runs elsewhere."""

    def minus(self, before: Counters) -> Counters:
        """Return the difference. A server that has started again counts from its start."""
        if self.commands < before.commands:
            return self
        delay = None if self.delay is None or before.delay is None else max(0.0, self.delay - before.delay)
        return Counters(
            self.connections - before.connections,
            self.commands - before.commands,
            self.cpu - before.cpu,
            self.main - before.main,
            self.received - before.received,
            self.sent - before.sent,
            delay,
        )


@dataclass
class Used:
    """Work of all servers in the rounds of a way."""

    connections: int = 0
    commands: int = 0
    cpu: float = 0.0
    busiest: float = 0.0
    """Seconds of the main thread of the busiest server, with those in which it waited for a core."""
    received: int = 0
    sent: int = 0
    seconds: float = 0.0

    def add(self, before: Reading, after: Reading) -> None:
        """Add the time between two readings."""
        most = 0.0
        for address, counters in after.servers.items():
            then = before.servers.get(address)
            if then is None:
                continue
            spent = counters.minus(then)
            self.connections += spent.connections
            self.commands += spent.commands
            self.cpu += spent.cpu
            self.received += spent.received
            self.sent += spent.sent
            most = max(most, spent.main + (spent.delay or 0.0))
        self.busiest += most
        self.seconds += after.at - before.at


@dataclass(frozen=True)
class Reading:
    """Counters of all servers at one time; none for a user who may not read them."""

    at: float
    servers: Mapping[str, Counters] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """Facts of the server before a run, in a cluster those of its first primary, or sums."""

    flavour: str = "redis"
    version: str = "?"
    mode: str = "standalone"
    role: str = "master"
    clients: int | None = None
    most_clients: int | None = None
    used_memory: int | None = None
    most_memory: int | None = None
    """The setting maxmemory; None if there is none."""
    free_memory: int | None = None
    """Bytes of the machine that are free, as far as the server tells."""
    persistence: str | None = None
    """The writing to disk, in words; None if there is none."""
    others: float = 0.0
    """Commands of others in a second, before the run."""
    readable: bool = True
    """Whether the user may read INFO."""


class Server:
    """The servers of the target, by a client of their own."""

    def __init__(self, client: Client[Any]) -> None:
        self.client = client
        self.readable = True

    async def _infos(self, replicas: bool = False) -> dict[str, Mapping[str, Any]]:
        if not self.readable:
            return {}
        clients = [self.client]
        if isinstance(self.client, Cluster):
            clients = await (self.client.nodes() if replicas else self.client.primaries())
        try:
            said = await asyncio.gather(*(client.info() for client in clients))
        except ResponseError as error:
            if not str(error.args[0]).startswith(("NOPERM", "ERR unknown command")):
                raise
            self.readable = False
            return {}
        return {client.node.address: info for client, info in zip(clients, said, strict=True)}

    async def read(self) -> Reading:
        """Read the counters."""
        infos = await self._infos(replicas=True)  # a client may ask any of them for the topology
        return Reading(perf_counter(), {address: _counters(info) for address, info in infos.items()})

    async def try_to_read(self) -> Reading:
        """Read the counters, or none if the server is away."""
        try:
            return await self.read()
        except (ConnectionLost, OSError, TimeoutError):
            return Reading(perf_counter())

    async def used_memory(self) -> int | None:
        """Return the memory that the servers use for data."""
        infos = await self._infos()
        return _sum(infos, "used_memory")

    async def facts(self) -> Facts:
        """Ask for the facts, and watch for a moment what others do."""
        infos = await self._infos()
        if not infos:
            return Facts(readable=False)
        before = await self.read()
        await asyncio.sleep(_WATCH)
        after = await self.read()
        used = Used()
        used.add(before, after)
        info = next(iter(infos.values()))
        flavour = "valkey" if "valkey_version" in info else "redis"
        most = _sum(infos, "maxmemory") or None
        physical = _sum(infos, "total_system_memory")
        resident = _sum(infos, "used_memory_rss")
        free = None if physical is None or resident is None else max(0, physical - resident)
        if (here := _free_here(info)) is not None:
            free = here if free is None else min(free, here)
        limits = [int(each["maxclients"]) for each in infos.values() if "maxclients" in each]
        open_now = [int(each["connected_clients"]) for each in infos.values() if "connected_clients" in each]
        return Facts(
            flavour=flavour,
            version=str(info.get(f"{flavour}_version", "?")),
            mode=str(info.get("redis_mode", info.get("server_mode", "standalone"))),
            role=str(info.get("role", "master")),
            clients=max(open_now, default=None),
            most_clients=min(limits) if limits else await self._most_clients(),
            used_memory=_sum(infos, "used_memory"),
            most_memory=most,
            free_memory=free,
            persistence=await self._persistence(info),
            # Its own two INFOs, of which the first one falls into the time, do not count.
            others=max(0.0, (used.commands - len(after.servers)) / used.seconds) if used.seconds else 0.0,
        )

    async def _most_clients(self) -> int | None:
        said = await self._setting("maxclients")
        return int(said) if said else None

    async def _persistence(self, info: Mapping[str, Any]) -> str | None:
        words = []
        if int(info.get("aof_enabled", 0)):
            words.append(f"AOF, fsync {await self._setting('appendfsync') or 'unknown'}")
        if await self._setting("save"):
            words.append("snapshots")
        return " and ".join(words) or None

    async def _setting(self, name: str) -> str | None:
        """Return a setting; None for a user who may not ask, and on managed servers without CONFIG."""
        client = (await self.client.primaries())[0] if isinstance(self.client, Cluster) else self.client
        try:
            found: dict[str, Any] = await client.config_get(name)
        except ResponseError:
            return None
        return str(found.get(name, ""))


def _counters(info: Mapping[str, Any]) -> Counters:
    cpu = float(info.get("used_cpu_sys", 0)) + float(info.get("used_cpu_user", 0))
    main = cpu
    if "used_cpu_sys_main_thread" in info:
        main = float(info["used_cpu_sys_main_thread"]) + float(info.get("used_cpu_user_main_thread", 0))
    return Counters(
        int(info.get("total_connections_received", 0)),
        int(info.get("total_commands_processed", 0)),
        cpu,
        main,
        int(info.get("total_net_input_bytes", 0)),
        int(info.get("total_net_output_bytes", 0)),
        _delay_of(info),
    )


def _delay_of(info: Mapping[str, Any]) -> float | None:
    """Return the seconds in which the server's main thread wanted a core and had none, if it runs on this machine."""
    pid = info.get("process_id")
    try:
        with open(f"/proc/{pid}/comm") as file:
            if not file.read().startswith(("redis", "valkey")):
                return None
        return delay_of(f"/proc/{pid}/schedstat")
    except OSError:
        return None


def delay_of(path: str = "/proc/self/schedstat") -> float | None:
    """Return the seconds in which a thread wanted a core and had none; None where the system does not tell."""
    try:
        with open(path) as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def _free_here(info: Mapping[str, Any]) -> int | None:
    """Return the free memory of this machine, if the server runs on it."""
    if not os.path.exists(f"/proc/{info.get('process_id')}/comm") or _delay_of(info) is None:
        return None
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def _sum(infos: Mapping[str, Mapping[str, Any]], name: str) -> int | None:
    values = [int(info[name]) for info in infos.values() if name in info]
    return sum(values) if values else None
