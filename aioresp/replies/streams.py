"""Structured replies of streams, scripts, functions and places: what callers see of them, and how it is made.

Servers add fields to these replies as they grow: what an older one does not say is None, what a newer one says beside
is left out. Never imports asyncio or hiredis, keeps no state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple

from aioresp.command import AnyStr, Converter
from aioresp.replies import mapping, string


class Entry(NamedTuple, Generic[AnyStr]):
    """An entry of a stream. Of a field that it has twice, the last value."""

    id: AnyStr
    fields: dict[AnyStr, AnyStr]


class GroupEntry(NamedTuple, Generic[AnyStr]):
    """An entry as a consumer group delivers it.

    `fields` is None if the entry was deleted while it was pending. `idle` (ms) and `deliveries` are None unless the
    call claims what others left.
    """

    id: AnyStr
    fields: dict[AnyStr, AnyStr] | None
    idle: int | None = None
    deliveries: int | None = None


class Autoclaimed(NamedTuple, Generic[AnyStr]):
    """What XAUTOCLAIM took over: where to go on (0-0: that was all), the entries, and the ids of deleted ones.

    Before 7.0 a deleted entry is claimed too: it is None among the entries, and `deleted` is empty.
    """

    next_id: AnyStr
    entries: list[Entry[AnyStr] | None]
    deleted: list[AnyStr]


class AutoclaimedIds(NamedTuple, Generic[AnyStr]):
    """What XAUTOCLAIM took over, ids only: where to go on (0-0: that was all), the entries, and the deleted ones."""

    next_id: AnyStr
    ids: list[AnyStr]
    deleted: list[AnyStr]


class PendingSummary(NamedTuple, Generic[AnyStr]):
    """How many entries are pending, the first and the last of them, and how many each consumer has."""

    pending: int
    min: AnyStr | None
    max: AnyStr | None
    consumers: dict[AnyStr, int]


class PendingEntry(NamedTuple, Generic[AnyStr]):
    """An entry that was delivered and not acknowledged: to whom, how many ms ago, and how often."""

    id: AnyStr
    consumer: AnyStr
    idle: int
    deliveries: int


class StreamInfo(NamedTuple, Generic[AnyStr]):
    """What XINFO STREAM says. The fields that may be None are of 7.0, those of idempotent XADD of 8.6."""

    length: int
    radix_tree_keys: int
    radix_tree_nodes: int
    last_generated_id: AnyStr
    max_deleted_entry_id: AnyStr | None
    entries_added: int | None
    recorded_first_entry_id: AnyStr | None
    groups: int
    first_entry: Entry[AnyStr] | None
    last_entry: Entry[AnyStr] | None
    idmp_duration: int | None
    idmp_maxsize: int | None
    pids_tracked: int | None
    iids_tracked: int | None
    iids_added: int | None
    iids_duplicates: int | None


class DeliveredEntry(NamedTuple, Generic[AnyStr]):
    """A pending entry in XINFO STREAM FULL: to whom it was delivered, at what Unix time in ms, and how often."""

    id: AnyStr
    consumer: AnyStr
    delivery_time: int
    deliveries: int


class ConsumerDetails(NamedTuple, Generic[AnyStr]):
    """A consumer in XINFO STREAM FULL; `active_time` is of 7.2. Times are Unix times in ms."""

    name: AnyStr
    seen_time: int
    active_time: int | None
    pel_count: int
    pending: list[DeliveredEntry[AnyStr]]


class GroupDetails(NamedTuple, Generic[AnyStr]):
    """A consumer group in XINFO STREAM FULL; `entries_read` and `lag` are of 7.0, and None if unknown."""

    name: AnyStr
    last_delivered_id: AnyStr
    entries_read: int | None
    lag: int | None
    pel_count: int
    pending: list[DeliveredEntry[AnyStr]]
    consumers: list[ConsumerDetails[AnyStr]]


class StreamDetails(NamedTuple, Generic[AnyStr]):
    """What XINFO STREAM FULL says. The fields that may be None are of 7.0, those of idempotent XADD of 8.6."""

    length: int
    radix_tree_keys: int
    radix_tree_nodes: int
    last_generated_id: AnyStr
    max_deleted_entry_id: AnyStr | None
    entries_added: int | None
    recorded_first_entry_id: AnyStr | None
    entries: list[Entry[AnyStr]]
    groups: list[GroupDetails[AnyStr]]
    idmp_duration: int | None
    idmp_maxsize: int | None
    pids_tracked: int | None
    iids_tracked: int | None
    iids_added: int | None
    iids_duplicates: int | None


class GroupInfo(NamedTuple, Generic[AnyStr]):
    """A consumer group; `entries_read` and `lag` are of 7.0, and None if unknown."""

    name: AnyStr
    consumers: int
    pending: int
    last_delivered_id: AnyStr
    entries_read: int | None
    lag: int | None


class ConsumerInfo(NamedTuple, Generic[AnyStr]):
    """A consumer: ms since it last asked (`idle`), and since it last got something (`inactive`, of 7.2; -1: never)."""

    name: AnyStr
    pending: int
    idle: int
    inactive: int | None


class Function(NamedTuple, Generic[AnyStr]):
    """A function of a library."""

    name: AnyStr
    description: AnyStr | None
    flags: set[str]


class Library(NamedTuple, Generic[AnyStr]):
    """A library of functions; `library_code` is None unless it was asked for."""

    library_name: AnyStr
    engine: str
    functions: list[Function[AnyStr]]
    library_code: AnyStr | None


class RunningFunction(NamedTuple, Generic[AnyStr]):
    """The function that runs at the moment, the command that called it, and for how long it has been running."""

    name: AnyStr
    command: list[AnyStr]
    duration_ms: int


class Engine(NamedTuple):
    """How much an engine has loaded."""

    libraries_count: int
    functions_count: int


class FunctionStats(NamedTuple, Generic[AnyStr]):
    """What FUNCTION STATS says: the function that runs, if one does, and the engines by name."""

    running_script: RunningFunction[AnyStr] | None
    engines: dict[str, Engine]


class Place(NamedTuple, Generic[AnyStr]):
    """A place that was found; what was not asked for is None. `position` is longitude and latitude."""

    member: AnyStr
    distance: float | None
    hash: int | None
    position: tuple[float, float] | None


def _record(kind: Callable[..., Any], **parts: Converter[Any]) -> Converter[Any]:
    """Return a converter of a map to a NamedTuple, field by field: `parts` says how, None stays None."""
    names: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]  # every NamedTuple has them

    def convert(value: Any) -> Any:
        said = {string(name).replace("-", "_"): item for name, item in mapping(value).items()}
        for name, part in parts.items():
            if said.get(name) is not None:
                said[name] = part(said[name])
        return kind(*map(said.get, names))

    return convert


def _each(item: Converter[Any]) -> Converter[list[Any]]:
    """Return a converter of a list, item by item."""

    def convert(value: Any) -> list[Any]:
        return [item(one) for one in value]

    return convert


def entry(value: Any) -> Entry[Any]:
    """Return an entry; its fields are a flat list under both protocols."""
    return Entry(value[0], mapping(value[1]))


def entries(value: Any) -> list[Entry[Any]]:
    """Return entries; nil, which some servers have for no stream, is none."""
    return [Entry(item[0], mapping(item[1])) for item in value or ()]


def entries_or_none(value: Any) -> list[Entry[Any] | None]:
    """Return entries, None for a deleted one."""
    return [None if item is None else entry(item) for item in value]


def _group_entries(value: Any) -> list[GroupEntry[Any]]:
    return [GroupEntry(item[0], None if item[1] is None else mapping(item[1]), *item[2:]) for item in value]


def entries_by_stream(value: Any) -> dict[Any, list[Entry[Any]]]:
    """Return entries by stream; RESP2 has a list of pairs, and nil is an empty dict."""
    return {name: entries(found) for name, found in _streams(value)}


def group_entries_by_stream(value: Any) -> dict[Any, list[GroupEntry[Any]]]:
    """Return the entries that a consumer group delivers by stream."""
    return {name: _group_entries(found) for name, found in _streams(value)}


def _streams(value: Any) -> Any:
    if not value:
        return ()
    return value.items() if isinstance(value, dict) else value


def autoclaimed(value: Any) -> Autoclaimed[Any]:
    """Return what XAUTOCLAIM took over; before 7.0 there is no list of deleted ones."""
    return Autoclaimed(value[0], entries_or_none(value[1]), value[2] if len(value) > 2 else [])


def autoclaimed_ids(value: Any) -> AutoclaimedIds[Any]:
    """Return the ids that XAUTOCLAIM took over."""
    return AutoclaimedIds(value[0], value[1], value[2] if len(value) > 2 else [])


def pending_summary(value: Any) -> PendingSummary[Any]:
    """Return the summary of XPENDING; its numbers by consumer are text under both protocols."""
    count, first, last, consumers = value
    return PendingSummary(count, first, last, {name: int(number) for name, number in consumers or ()})


def pending_entries(value: Any) -> list[PendingEntry[Any]]:
    """Return the lines of XPENDING."""
    return [PendingEntry(*item) for item in value]


def _delivered(value: Any) -> list[DeliveredEntry[Any]]:
    return [DeliveredEntry(*item) for item in value]


_consumer_fields = _record(ConsumerDetails)


def _consumer_details(value: Any) -> ConsumerDetails[Any]:
    consumer: ConsumerDetails[Any] = _consumer_fields(value)
    pending: list[Any] = consumer.pending  # without the consumer, which is known here
    return consumer._replace(pending=[DeliveredEntry(item[0], consumer.name, *item[1:]) for item in pending])


stream_info: Converter[StreamInfo[Any]] = _record(StreamInfo, first_entry=entry, last_entry=entry)
_group_details = _record(GroupDetails, pending=_delivered, consumers=_each(_consumer_details))
stream_details: Converter[StreamDetails[Any]] = _record(StreamDetails, entries=entries, groups=_each(_group_details))
group_infos: Converter[list[GroupInfo[Any]]] = _each(_record(GroupInfo))
consumer_infos: Converter[list[ConsumerInfo[Any]]] = _each(_record(ConsumerInfo))


def _flags(value: Any) -> set[str]:
    return {string(flag) for flag in value}


def _engines(value: Any) -> dict[str, Engine]:
    return {string(name): _engine(said) for name, said in mapping(value).items()}


_engine: Converter[Engine] = _record(Engine)
_functions = _each(_record(Function, flags=_flags))
libraries: Converter[list[Library[Any]]] = _each(_record(Library, engine=string, functions=_functions))
function_stats: Converter[FunctionStats[Any]] = _record(
    FunctionStats, running_script=_record(RunningFunction), engines=_engines
)


def binary(value: Any) -> bytes:
    """Return bytes for every client: what could be decoded was UTF-8, and is put back as it was."""
    return value.encode() if isinstance(value, str) else bytes(value)


def position(value: Any) -> tuple[float, float] | None:
    """Return longitude and latitude, or None for nil; RESP2 has them as text."""
    return None if value is None else (float(value[0]), float(value[1]))


positions: Converter[list[tuple[float, float] | None]] = _each(position)


def places(withdist: bool, withhash: bool, withcoord: bool) -> Converter[list[Place[Any]]]:
    """Return a converter of places with what was asked for, which comes in the server's order."""

    def convert(value: Any) -> list[Place[Any]]:
        found = []
        for item in value:
            rest = iter(item[1:])
            distance = float(next(rest)) if withdist else None
            number = next(rest) if withhash else None
            found.append(Place(item[0], distance, number, position(next(rest)) if withcoord else None))
        return found

    return convert
