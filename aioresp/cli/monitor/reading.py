"""Reading: the figures of one server at one moment, out of INFO.

Owns the names of INFO's fields, in all servers from Redis 6.2 and Valkey 7.2 on. Never compares two readings.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    """What it evicts at maxmemory: "noeviction", "allkeys-lru", ..."""
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
    """Seconds of the server's own clock if it tells, else of the monitor's monotonic one: for differences."""
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
    def keys(self) -> int:
        """Keys in all databases."""
        return sum(each.keys for each in self.databases)

    @property
    def expiring(self) -> float:
        """Share of the keys that have a TTL, 0 to 1."""
        return sum(each.expires for each in self.databases) / (self.keys or 1)
