"""Reading: the figures of one server at one moment, out of INFO.

Owns the names of INFO's fields, in all servers from Redis 6.2 and Valkey 7.2 on. Never compares two readings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from aioresp.replies.server import Info


@dataclass(frozen=True, slots=True)
class Identity:
    """The server itself."""

    flavour: str
    """"redis" or "valkey"."""
    version: str
    mode: str
    """"standalone", "sentinel" or "cluster"."""
    run_id: str
    """A name that the server takes at each start."""
    uptime: int
    """Seconds since its start."""
    policy: str
    """Its eviction at maxmemory: "noeviction", "allkeys-lru", ..."""
    loading: bool
    """Whether it loads its data, and refuses most commands meanwhile."""


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections of a server, without the monitor's own. None stands for what the server does not tell."""

    open: int
    received: int
    """All since the start or since CONFIG RESETSTAT."""
    rejected: int
    blocked: int
    pubsub: int | None
    """Connections with subscriptions; told since 7.4 and Valkey 8.0."""
    limit: int
    """The setting maxclients."""
    largest_output: int
    """Bytes of the largest output buffer of late."""
    dropped_for_output: int | None
    """Connections that were closed because of their output buffer; told since 7.4 and Valkey 8.0."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a server, in bytes."""

    used: int
    rss: int
    peak: int
    limit: int
    """The setting maxmemory; 0: none."""
    fragmentation: float
    """rss divided by used."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters since the start or since CONFIG RESETSTAT."""

    commands: int
    bytes_in: int
    bytes_out: int
    hits: int
    misses: int
    expired: int
    evicted: int
    errors: int
    """Error replies."""
    cpu_system: float
    """Seconds of processor time in the kernel, background processes included."""
    cpu_user: float


@dataclass(frozen=True, slots=True)
class Database:
    """Keys of one database."""

    number: int
    keys: int
    expires: int
    """Keys with a TTL."""
    average_ttl: int
    """Milliseconds; 0: unknown."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """State of RDB and AOF."""

    aof: bool
    aof_ok: bool
    """Whether the last write and the last rewrite of the AOF succeeded."""
    saving: bool
    """Whether an RDB file is written at present."""
    rewriting: bool
    """Whether the AOF is rewritten at present."""
    last_save: int
    """Unix time of the last RDB file, or of the start."""
    save_ok: bool
    changes: int
    """Changes since the last RDB file."""
    saves: int
    """RDB files since the start; told since 7.0."""
    fork: int
    """Microseconds that the last fork took."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica, as its primary sees it."""

    address: str
    state: str
    """"online", or how far it is."""
    lag_bytes: int
    lag_seconds: int
    """Seconds since its last word."""


@dataclass(frozen=True, slots=True)
class Replication:
    """Place of a server in replication."""

    role: str
    """"primary" or "replica"."""
    offset: int
    replicas: tuple[Replica, ...]
    primary: str
    """Address of a replica's primary, or ""."""
    link_up: bool
    """Whether a replica has its primary; True for a primary."""
    link_down_for: int
    """Seconds since a replica lost its primary."""
    syncing: bool
    """Whether a replica receives the whole data set at present."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One moment of one server."""

    at: float
    """Unix time, by the clock of the monitor."""
    clock: float
    """Seconds of the monitor's monotonic clock, for differences."""
    server_clock: float | None
    """Unix time by the server's clock, if it tells."""
    identity: Identity
    connections: Connections
    memory: Memory
    totals: Totals
    databases: tuple[Database, ...]
    persistence: Persistence
    replication: Replication
    errors: dict[str, int]
    """Error replies by their first word."""

    @property
    def since_save(self) -> float | None:
        """Seconds since the last RDB file; None if there was none since the start, whose time the server tells then."""
        now = self.server_clock or self.at
        saved = self.persistence.last_save
        return max(now - saved, 0.0) if saved > now - self.identity.uptime + 2 else None

    @property
    def keys(self) -> int:
        """Keys in all databases."""
        return sum(each.keys for each in self.databases)

    @property
    def expiring(self) -> float:
        """Share of the keys that have a TTL, 0 to 1."""
        return sum(each.expires for each in self.databases) / (self.keys or 1)


@dataclass(frozen=True, slots=True)
class Own:
    """Counts that the monitor itself adds to a server's counters."""

    open: int = 0
    """Its connections at present."""
    received: int = 0
    """Connections that it has made."""
    commands: int = 0
    bytes_out: int = 0
    """Bytes of INFO and CLIENT LIST, which are nearly all that it receives."""
    hits: int = 0
    """Lookups of keys, by the counts of queues and by the scan of keys."""
    misses: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    """Error replies to its commands, by their first word."""


_DATABASE: Final = re.compile(r"db(\d+)")
_REPLICA: Final = re.compile(r"slave\d+")
_ERROR: Final = "errorstat_"


def reading(info: Info, at: float, clock: float) -> Reading:
    """Return a reading out of INFO, the monitor's own share included. A figure that the server omits is 0 or None."""
    said = _Said(info)
    usec = said.count("server_time_usec")
    return Reading(
        at=at,
        clock=clock,
        server_clock=usec / 1e6 if usec else None,
        identity=_identity(said),
        connections=Connections(
            open=said.count("connected_clients"),
            received=said.count("total_connections_received"),
            rejected=said.count("rejected_connections"),
            blocked=said.count("blocked_clients"),
            pubsub=said.maybe("pubsub_clients"),
            limit=said.count("maxclients"),
            largest_output=said.count("client_recent_max_output_buffer"),
            dropped_for_output=said.maybe("client_output_buffer_limit_disconnections"),
        ),
        memory=Memory(
            used=said.count("used_memory"),
            rss=said.count("used_memory_rss"),
            peak=said.count("used_memory_peak"),
            limit=said.count("maxmemory"),
            fragmentation=said.number("mem_fragmentation_ratio"),
        ),
        totals=Totals(
            commands=said.count("total_commands_processed"),
            bytes_in=said.count("total_net_input_bytes"),
            bytes_out=said.count("total_net_output_bytes"),
            hits=said.count("keyspace_hits"),
            misses=said.count("keyspace_misses"),
            expired=said.count("expired_keys"),
            evicted=said.count("evicted_keys"),
            errors=said.count("total_error_replies"),
            cpu_system=said.number("used_cpu_sys") + said.number("used_cpu_sys_children"),
            cpu_user=said.number("used_cpu_user") + said.number("used_cpu_user_children"),
        ),
        databases=tuple(
            Database(int(found[1]), part.count("keys"), part.count("expires"), part.count("avg_ttl"))
            for name, part in said.lines()
            if (found := _DATABASE.fullmatch(name))
        ),
        persistence=_persistence(said),
        replication=_replication(said),
        errors={
            name.removeprefix(_ERROR): part.count("count") for name, part in said.lines() if name.startswith(_ERROR)
        },
    )


def without(own: Own, raw: Reading) -> Reading:
    """Return a reading without the monitor's own share."""
    connections, totals = raw.connections, raw.totals
    return replace(
        raw,
        connections=replace(
            connections,
            open=max(connections.open - own.open, 0),
            received=max(connections.received - own.received, 0),
        ),
        totals=replace(
            totals,
            commands=max(totals.commands - own.commands, 0),
            bytes_out=max(totals.bytes_out - own.bytes_out, 0),
            hits=max(totals.hits - own.hits, 0),
            misses=max(totals.misses - own.misses, 0),
            errors=max(totals.errors - sum(own.errors.values()), 0),
        ),
        errors={name: max(count - own.errors.get(name, 0), 0) for name, count in raw.errors.items()},
    )


class _Said:
    """INFO, read with defaults: servers omit fields, and other makes of them most."""

    def __init__(self, info: Info) -> None:
        self._info = info

    def number(self, name: str) -> float:
        value = self._info.get(name)
        # A ratio to nothing is NaN or infinite.
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0

    def count(self, name: str) -> int:
        return int(self.number(name))

    def maybe(self, name: str) -> int | None:
        return self.count(name) if name in self._info else None

    def text(self, name: str) -> str:
        value = self._info.get(name)
        return "" if value is None else str(value)

    def fine(self, name: str) -> bool:
        """Return whether a status is "ok", or is not told."""
        return self.text(name) in ("", "ok")

    def lines(self) -> list[tuple[str, _Said]]:
        """Return the lines that have several parts."""
        return [(name, _Said(value)) for name, value in self._info.items() if isinstance(value, Info)]


def _identity(said: _Said) -> Identity:
    valkey = said.text("valkey_version")
    return Identity(
        flavour="valkey" if valkey else "redis",
        version=valkey or said.text("redis_version"),
        mode=said.text("server_mode") or said.text("redis_mode") or "standalone",
        run_id=said.text("run_id"),
        uptime=said.count("uptime_in_seconds"),
        policy=said.text("maxmemory_policy") or "noeviction",
        loading=bool(said.count("loading")),
    )


def _persistence(said: _Said) -> Persistence:
    return Persistence(
        aof=bool(said.count("aof_enabled")),
        aof_ok=said.fine("aof_last_write_status") and said.fine("aof_last_bgrewrite_status"),
        saving=bool(said.count("rdb_bgsave_in_progress")),
        rewriting=bool(said.count("aof_rewrite_in_progress")),
        last_save=said.count("rdb_last_save_time"),
        save_ok=said.fine("rdb_last_bgsave_status"),
        changes=said.count("rdb_changes_since_last_save"),
        saves=said.count("rdb_saves"),
        fork=said.count("latest_fork_usec"),
    )


def _replication(said: _Said) -> Replication:
    is_replica = said.text("role") == "slave"
    offset = said.count("slave_repl_offset" if is_replica else "master_repl_offset")
    host = said.text("master_host")
    return Replication(
        role="replica" if is_replica else "primary",
        offset=offset,
        replicas=tuple(
            Replica(
                address=_address(part.text("ip"), part.count("port")),
                state=part.text("state"),
                lag_bytes=max(said.count("master_repl_offset") - part.count("offset"), 0),
                lag_seconds=max(part.count("lag"), 0),
            )
            for name, part in said.lines()
            if _REPLICA.fullmatch(name)
        ),
        primary=_address(host, said.count("master_port")) if is_replica else "",
        link_up=not is_replica or said.text("master_link_status") == "up",
        link_down_for=max(said.count("master_link_down_since_seconds"), 0),
        syncing=bool(said.count("master_sync_in_progress")),
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
