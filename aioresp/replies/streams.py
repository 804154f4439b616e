"""Replies of streams: entries, groups, consumers and pending entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple

from aioresp import typed
from aioresp.command import AnyStr, Converter
from aioresp.record import Record
from aioresp.replies import each, integer, mapping, parts, record, some_text, text, texts


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


class Autoclaimed(Record, typed.Generic[AnyStr]):
    """Reply of XAUTOCLAIM: the id for the next call (0-0 at the end), the entries, and the ids of deleted ones.

    Before 7.0 a deleted entry is claimed too: it is None among the entries, and `deleted` is empty.
    """

    next_id: AnyStr
    entries: list[Entry[AnyStr] | None]
    deleted: list[AnyStr]


class AutoclaimedIds(Record, typed.Generic[AnyStr]):
    """Reply of XAUTOCLAIM with ids only: the id for the next call (0-0 at the end), the entries, the deleted ones."""

    next_id: AnyStr
    ids: list[AnyStr]
    deleted: list[AnyStr]


class PendingSummary(Record, typed.Generic[AnyStr]):
    """How many entries are pending, the first and the last of them, and how many each consumer has."""

    pending: int
    min: AnyStr | None
    max: AnyStr | None
    consumers: dict[AnyStr, int]


class PendingEntry(Record, typed.Generic[AnyStr]):
    """An entry that was delivered and not acknowledged: its consumer, the ms since then, and its deliveries."""

    id: AnyStr
    consumer: AnyStr
    idle: int
    deliveries: int


class StreamInfo(Record, typed.Generic[AnyStr]):
    """Reply of XINFO STREAM. The fields that may be None are of 7.0, those of idempotent XADD of 8.6."""

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


class DeliveredEntry(Record, typed.Generic[AnyStr]):
    """A pending entry in XINFO STREAM FULL: its consumer, Unix time in ms, and the number of deliveries."""

    id: AnyStr
    consumer: AnyStr
    delivery_time: int
    deliveries: int


class ConsumerDetails(Record, typed.Generic[AnyStr]):
    """A consumer in XINFO STREAM FULL; `active_time` is of 7.2. Times are Unix times in ms."""

    name: AnyStr
    seen_time: int
    active_time: int | None
    pel_count: int
    pending: list[DeliveredEntry[AnyStr]]


class GroupDetails(Record, typed.Generic[AnyStr]):
    """A consumer group in XINFO STREAM FULL; `entries_read` and `lag` are of 7.0, and None if unknown."""

    name: AnyStr
    last_delivered_id: AnyStr
    entries_read: int | None
    lag: int | None
    pel_count: int
    pending: list[DeliveredEntry[AnyStr]]
    consumers: list[ConsumerDetails[AnyStr]]


class StreamDetails(Record, typed.Generic[AnyStr]):
    """Reply of XINFO STREAM FULL. The fields that may be None are of 7.0, those of idempotent XADD of 8.6."""

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


class GroupInfo(Record, typed.Generic[AnyStr]):
    """A consumer group; `entries_read` and `lag` are of 7.0, and None if unknown."""

    name: AnyStr
    consumers: int
    pending: int
    last_delivered_id: AnyStr
    entries_read: int | None
    lag: int | None


class ConsumerInfo(Record, typed.Generic[AnyStr]):
    """A consumer: ms since its last request (`idle`) and its last entry (`inactive`, since 7.2, -1 if never)."""

    name: AnyStr
    pending: int
    idle: int
    inactive: int | None


def entry(value: Any) -> Entry[Any]:
    """Return an entry; its fields are a flat list under both protocols."""
    number, fields = parts(value)
    return Entry(some_text(number), mapping(fields))


def entries(value: Any) -> list[Entry[Any]]:
    """Return entries; nil, which some servers have for no stream, is none."""
    return [entry(item) for item in _several(value)]


def _several(value: Any) -> Sequence[Any]:
    return () if value is None else parts(value)


def entries_or_none(value: Any) -> list[Entry[Any] | None]:
    """Return entries, None for a deleted one."""
    return [None if item is None else entry(item) for item in parts(value)]


def _group_entries(value: Any) -> list[GroupEntry[Any]]:
    return [_group_entry(*parts(item)) for item in _several(value)]


def _group_entry(number: Any, fields: Any, *delivered: Any) -> GroupEntry[Any]:
    return GroupEntry(some_text(number), None if fields is None else mapping(fields), *map(integer, delivered))


def entries_by_stream(value: Any) -> dict[Any, list[Entry[Any]]]:
    """Return entries by stream; RESP2 has a list of pairs, and nil is an empty dict."""
    return {some_text(name): entries(found) for name, found in _streams(value)}


def group_entries_by_stream(value: Any) -> dict[Any, list[GroupEntry[Any]]]:
    """Return the entries that a consumer group delivers by stream."""
    return {some_text(name): _group_entries(found) for name, found in _streams(value)}


def _streams(value: Any) -> Any:
    return value.items() if isinstance(value, dict) else map(parts, _several(value))


def autoclaimed(value: Any) -> Autoclaimed[Any]:
    """Return what XAUTOCLAIM took over; before 7.0 there is no list of deleted ones."""
    following, found, *deleted = parts(value)
    return Autoclaimed(some_text(following), entries_or_none(found), texts(deleted[0]) if deleted else [])


def autoclaimed_ids(value: Any) -> AutoclaimedIds[Any]:
    """Return the ids that XAUTOCLAIM took over."""
    following, found, *deleted = parts(value)
    return AutoclaimedIds(some_text(following), texts(found), texts(deleted[0]) if deleted else [])


def pending_summary(value: Any) -> PendingSummary[Any]:
    """Return the summary of XPENDING; its numbers by consumer are text under both protocols."""
    count, first, last, consumers = parts(value)
    by_consumer = {some_text(name): int(number) for name, number in map(parts, _several(consumers))}
    return PendingSummary(integer(count), text(first), text(last), by_consumer)


def pending_entries(value: Any) -> list[PendingEntry[Any]]:
    """Return the lines of XPENDING."""
    return [_pending_entry(*parts(item)) for item in parts(value)]


def _pending_entry(number: Any, consumer: Any, idle: Any, deliveries: Any) -> PendingEntry[Any]:
    return PendingEntry(some_text(number), some_text(consumer), integer(idle), integer(deliveries))


def _delivered(value: Any) -> list[DeliveredEntry[Any]]:
    return [_delivered_entry(*parts(item)) for item in parts(value)]


def _delivered_entry(number: Any, consumer: Any, time: Any, deliveries: Any) -> DeliveredEntry[Any]:
    return DeliveredEntry(some_text(number), some_text(consumer), integer(time), integer(deliveries))


_consumer_fields = record(ConsumerDetails)


def _consumer_details(value: Any) -> ConsumerDetails[Any]:
    consumer: ConsumerDetails[Any] = _consumer_fields(value)
    pending = [parts(item) for item in parts(consumer.pending)]  # without the consumer, which is known here
    return consumer.replace(pending=[_delivered_entry(item[0], consumer.name, *item[1:]) for item in pending])


stream_info: Converter[StreamInfo[Any]] = record(StreamInfo, first_entry=entry, last_entry=entry)
_group_details = record(GroupDetails, pending=_delivered, consumers=each(_consumer_details))
stream_details: Converter[StreamDetails[Any]] = record(StreamDetails, entries=entries, groups=each(_group_details))
group_infos: Converter[list[GroupInfo[Any]]] = each(record(GroupInfo))
consumer_infos: Converter[list[ConsumerInfo[Any]]] = each(record(ConsumerInfo))
