"""Replies about latency, slow commands and memory."""

from __future__ import annotations

from typing import Any, Final

from aioresp.command import AnyStr, Converter
from aioresp.record import Record
from aioresp.replies import (
    boolean,
    complete,
    integer,
    mapping,
    pairs,
    parts,
    record,
    required,
    shown,
    some_text,
    string,
)
from aioresp.typed import Generic


class SlowCommand(Record):
    """An entry of the slow log: when (Unix time in s), for how long (µs), and by which client. `argc` is of 8.10.

    The log cuts long arguments and long lists of them, with a note in their place; `argc` is their number. Bytes that
    are not UTF-8 are escaped. Before 4.0 the client's address and name are empty.
    """

    id: int
    start_time: int
    duration: int
    command: list[str]
    client_address: str
    client_name: str
    argc: int | None


class LoggedCommand(Record):
    """An entry of Valkey's command log, as in the slow log.

    `amount` is what the log is about: µs for "slow", bytes for "large-request" and "large-reply".
    """

    id: int
    start_time: int
    amount: int
    command: list[str]
    client_address: str
    client_name: str


class LatencyEvent(Record):
    """An event whose latency was noted: when (Unix time in s), how long then and at most (ms).

    `total` (ms) and `count` are of Valkey 8.1.
    """

    event: str
    time: int
    latest: int
    max: int
    total: int | None = None
    count: int | None = None


class LatencyHistogram(Record):
    """How often a command was called, and how many of the calls took no longer than so many µs."""

    calls: int
    histogram_usec: dict[int, int]


class DatabaseOverhead(Record):
    """Bytes that the tables of a database take. `overhead_hashtable_slot_to_keys` is of 7.0 only."""

    overhead_hashtable_main: int
    overhead_hashtable_expires: int
    overhead_hashtable_slot_to_keys: int | None


class MemoryStats(Record):
    """Use of the server's memory, in bytes except for counts, ratios and percentages.

    `databases` has what each database's tables take, by its number. The fields that may be None came after 6.2, or have
    gone since. `extra` has what newer servers say beside, under the servers' own names.
    """

    peak_allocated: int
    total_allocated: int
    startup_allocated: int
    replication_backlog: int
    clients_slaves: int
    clients_normal: int
    cluster_links: int | None
    aof_buffer: int
    lua_caches: int
    functions_caches: int | None
    script_vms: int | None
    overhead_db_hashtable_lut: int | None
    overhead_db_hashtable_rehashing: int | None
    overhead_total: int
    db_dict_rehashing_count: int | None
    keys_count: int
    keys_bytes_per_key: int
    dataset_bytes: int
    dataset_percentage: float
    peak_percentage: float
    allocator_allocated: int
    allocator_active: int
    allocator_resident: int
    allocator_muzzy: int | None
    allocator_fragmentation_ratio: float
    allocator_fragmentation_bytes: int
    allocator_rss_ratio: float
    allocator_rss_bytes: int
    rss_overhead_ratio: float
    rss_overhead_bytes: int
    fragmentation: float
    fragmentation_bytes: int
    databases: dict[int, DatabaseOverhead]
    extra: dict[str, int | float | str]


class HotKeys(Record, Generic[AnyStr]):
    """Result of a HOTKEYS session: the keys with most CPU time (µs) and most traffic (bytes), most first.

    The figures of selected slots are None if none were selected. Those of sampled commands are None if all commands
    were sampled, and those of a metric if it was not requested. `selected_slots` are ranges, both ends included.
    """

    tracking_active: bool
    sample_ratio: int
    selected_slots: list[tuple[int, int]]
    sampled_commands_selected_slots_us: int | None
    all_commands_selected_slots_us: int | None
    all_commands_all_slots_us: int
    net_bytes_sampled_commands_selected_slots: int | None
    net_bytes_all_commands_selected_slots: int | None
    net_bytes_all_commands_all_slots: int
    collection_start_time_unix_ms: int
    collection_duration_ms: int
    total_cpu_time_user_ms: int | None
    total_cpu_time_sys_ms: int | None
    total_net_bytes: int | None
    by_cpu_time_us: list[tuple[AnyStr, int]] | None
    by_net_bytes: list[tuple[AnyStr, int]] | None


def slow_commands(value: Any) -> list[SlowCommand]:
    """Return the entries of the slow log."""
    return [SlowCommand(*_logged(item), argc=integer(item[6]) if len(item) > 6 else None) for item in parts(value)]


def logged_commands(value: Any) -> list[LoggedCommand]:
    """Return the entries of a command log."""
    return [LoggedCommand(*_logged(item)) for item in parts(value)]


def _logged(item: Any) -> tuple[int, int, int, list[str], str, str]:
    number, start, amount, command, *client = parts(item)
    words = [shown(argument) for argument in parts(command)]
    address, name = (client or ("", ""))[:2]  # before 4.0 there are none
    return integer(number), integer(start), integer(amount), words, shown(address), shown(name)


def latency_events(value: Any) -> list[LatencyEvent]:
    """Return the events of LATENCY LATEST."""
    return [LatencyEvent(string(item[0]), *map(integer, item[1:6])) for item in map(parts, parts(value))]


def samples(value: Any) -> list[tuple[int, int]]:
    """Return the samples of LATENCY HISTORY: Unix time in s, and ms."""
    return [(integer(time), integer(latency)) for time, latency in map(parts, parts(value))]


def latency_histograms(value: Any) -> dict[str, LatencyHistogram]:
    """Return the histograms of commands by name."""
    return {string(name): _histogram(item) for name, item in mapping(value).items()}


_histogram: Converter[LatencyHistogram] = record(LatencyHistogram, histogram_usec=mapping)

_overhead: Converter[DatabaseOverhead] = record(DatabaseOverhead)

_REQUIRED: Final = required(MemoryStats)
_FIELDS: Final = frozenset(MemoryStats.record_fields) - {"databases", "extra"}


def _field(name: str) -> str:
    return name.replace(".", "_").replace("-", "_").lower()


def _figure(item: Any) -> int | float | str:
    """Return a figure, which RESP2 has as text unless it is an integer; newer servers may send something else."""
    if not isinstance(item, (str, bytes)):
        if not isinstance(item, (int, float)):
            raise TypeError("no figure")
        return item
    try:
        return float(item)
    except ValueError:
        return shown(item)


def memory_stats(value: Any) -> MemoryStats:
    """Return the figures of MEMORY STATS; RESP2 has those that are no integers as text."""
    fields: dict[str, Any] = dict.fromkeys(_FIELDS)
    databases: dict[int, DatabaseOverhead] = {}
    extra: dict[str, int | float | str] = {}
    for raw, item in mapping(value).items():
        name = string(raw)
        number = name.removeprefix("db.")
        if number.isdecimal():
            databases[int(number)] = _overhead({_field(string(part)): size for part, size in mapping(item).items()})
        elif (field := _field(name)) in _FIELDS:
            fields[field] = _figure(item)
        else:
            extra[name] = _figure(item)
    return complete(MemoryStats(**fields, databases=databases, extra=extra), _REQUIRED)


def _slots(value: Any) -> list[tuple[int, int]]:
    return [(integer(item[0]), integer(item[-1])) for item in map(parts, parts(value))]


def _by_key(value: Any) -> list[tuple[Any, int]]:
    """Return keys with their figures: pairs, or a flat list of them."""
    return [(some_text(key), integer(figure)) for key, figure in pairs(value)]


_hot_keys: Converter[HotKeys[Any]] = record(
    HotKeys, tracking_active=boolean, selected_slots=_slots, by_cpu_time_us=_by_key, by_net_bytes=_by_key
)


def hot_keys(value: Any) -> HotKeys[Any] | None:
    """Return the one session of HOTKEYS GET, or None for nil."""
    return None if value is None or not parts(value) else _hot_keys(value[0])
