"""Streams: logs of entries that are appended, read and trimmed. Consumer groups are in `stream_groups`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, overload

from aioresp.command import AnyStr, Arguments, Fields, Key, Result, Seconds, Value
from aioresp.commands.base import Executor, at_most_one, filled, flat, milliseconds, no_mapping, seconds
from aioresp.errors import ArgumentError
from aioresp.replies import Late, integer, integers, ok, text

if TYPE_CHECKING:
    from aioresp.replies import streams as replies
    from aioresp.replies.streams import ConsumerInfo, Entry, GroupInfo, StreamDetails, StreamInfo
else:
    replies = Late("streams")

StreamId: TypeAlias = Key | int
References: TypeAlias = Literal["KEEPREF", "DELREF", "ACKED"]

NEW: Final = "*"


def reading(
    command: str,
    streams: Fields,
    count: int | None,
    block: Seconds | None,
    max_count: int | None,
    max_size: int | None,
    *options: Value,
) -> Arguments:
    """Return the options of XREAD and XREADGROUP, and behind them the streams and the ids to read from."""
    if not hasattr(type(streams), "items"):
        raise no_mapping(command, "streams", streams, '{"stream": "0"}')
    names = filled(command, "streams", tuple([name for name, _ in streams.items()]))
    arguments: Arguments = () if count is None else ("COUNT", count)
    arguments += () if max_count is None else ("MAXCOUNT", max_count)
    arguments += () if max_size is None else ("MAXSIZE", max_size)
    arguments += () if block is None else ("BLOCK", milliseconds(block, command, "block"))
    return (*arguments, *options, "STREAMS", *names, *[start for _, start in streams.items()])


def _trimming(
    command: str, maxlen: int | None, minid: StreamId | None, approximate: bool, limit: int | None
) -> Arguments:
    at_most_one(command, maxlen=maxlen, minid=minid)
    if limit is not None and ((maxlen is None and minid is None) or not approximate):
        raise ArgumentError(f"{command}: limit needs maxlen or minid, and approximate")
    operator = ("~",) if approximate else ()
    options: Arguments = () if maxlen is None else ("MAXLEN", *operator, maxlen)
    options += () if minid is None else ("MINID", *operator, minid)
    return options if limit is None else (*options, "LIMIT", limit)


def _counted(count: int | None) -> Arguments:
    return () if count is None else ("COUNT", count)


class StreamCommands(Executor[AnyStr]):
    """Commands on streams. Ids are text like `1700000000000-0`; an int stands for the milliseconds before the `-`."""

    @overload
    def xadd(
        self,
        name: Key,
        fields: Fields,
        id: StreamId = NEW,
        maxlen: int | None = None,
        approximate: bool = True,
        nomkstream: Literal[False] = False,
        minid: StreamId | None = None,
        limit: int | None = None,
        ref_policy: References | None = None,
        idmpauto: Key | None = None,
        idmp: tuple[Key, Key] | None = None,
    ) -> Result[AnyStr]: ...
    @overload
    def xadd(
        self,
        name: Key,
        fields: Fields,
        id: StreamId = NEW,
        maxlen: int | None = None,
        approximate: bool = True,
        nomkstream: bool = False,
        minid: StreamId | None = None,
        limit: int | None = None,
        ref_policy: References | None = None,
        idmpauto: Key | None = None,
        idmp: tuple[Key, Key] | None = None,
    ) -> Result[AnyStr | None]: ...
    def xadd(
        self,
        name: Key,
        fields: Fields,
        id: StreamId = NEW,
        maxlen: int | None = None,
        approximate: bool = True,
        nomkstream: bool = False,
        minid: StreamId | None = None,
        limit: int | None = None,
        ref_policy: References | None = None,
        idmpauto: Key | None = None,
        idmp: tuple[Key, Key] | None = None,
    ) -> Result[Any]:
        """Append an entry and return its id; `nomkstream` (since 6.2): None if there is no stream.

        The server makes the id, or the part after `5-` of an id like `5-*` (since 7.0). The stream is trimmed to
        `maxlen` entries or to ids from `minid` on (since 6.2), about so if `approximate`, in steps of up to `limit`
        (since 6.2); `ref_policy` (since 8.2) says what becomes of references that groups hold. A producer that sends
        an entry twice, known by its content (`idmpauto`: the producer) or by `idmp`, (producer, id), adds it once
        (since 8.6).
        """
        at_most_one("XADD", idmpauto=idmpauto, idmp=idmp)
        if id not in (NEW, NEW.encode()) and not (idmpauto is None and idmp is None):
            raise ArgumentError("XADD: idmpauto and idmp need the id '*'")
        options: Arguments = ("NOMKSTREAM",) if nomkstream else ()
        options += () if ref_policy is None else (ref_policy,)
        options += () if idmpauto is None else ("IDMPAUTO", idmpauto)
        options += () if idmp is None else ("IDMP", *idmp)
        options += _trimming("XADD", maxlen, minid, approximate, limit)
        return self.execute(
            ("XADD", name, *options, id, *filled("XADD", "fields", flat(fields, "XADD", "fields"))), text
        )

    def xcfgset(self, name: Key, idmp_duration: Seconds | None = None, idmp_maxsize: int | None = None) -> Result[bool]:
        """Set for how many seconds, and for how many entries, idempotent `xadd` remembers its ids. Since 8.6.

        A change makes it forget all it has.
        """
        options: Arguments = (
            () if idmp_duration is None else ("IDMP-DURATION", seconds(idmp_duration, "XCFGSET", "idmp_duration"))
        )
        options += () if idmp_maxsize is None else ("IDMP-MAXSIZE", idmp_maxsize)
        if not options:
            raise ArgumentError("XCFGSET: needs idmp_duration or idmp_maxsize")
        return self.execute(("XCFGSET", name, *options), ok)

    def xdel(self, name: Key, *ids: StreamId) -> Result[int]:
        """Delete entries and return how many there were. Groups that wait for an acknowledgement keep the id."""
        return self.execute(("XDEL", name, *filled("XDEL", "ids", ids)), integer)

    def xdelex(self, name: Key, *ids: StreamId, ref_policy: References = "KEEPREF") -> Result[list[int]]:
        """Delete entries, and return for each 1: deleted, -1: not there, 2: kept, as groups still need it. Since 8.2.

        `ref_policy` keeps the references of groups, deletes them too, or deletes only what all have acknowledged.
        """
        numbered = (len(ids), *filled("XDELEX", "ids", ids))
        return self.execute(("XDELEX", name, ref_policy, "IDS", *numbered), integers)

    def xinfo_consumers(self, name: Key, groupname: Key) -> Result[list[ConsumerInfo[AnyStr]]]:
        """Return the consumers of a group."""
        return self.execute(("XINFO", "CONSUMERS", name, groupname), replies.consumer_infos)

    def xinfo_groups(self, name: Key) -> Result[list[GroupInfo[AnyStr]]]:
        """Return the consumer groups of a stream."""
        return self.execute(("XINFO", "GROUPS", name), replies.group_infos)

    @overload
    def xinfo_stream(self, name: Key, full: Literal[False] = False) -> Result[StreamInfo[AnyStr]]: ...
    @overload
    def xinfo_stream(
        self, name: Key, full: Literal[True], *, count: int | None = None
    ) -> Result[StreamDetails[AnyStr]]: ...
    def xinfo_stream(self, name: Key, full: bool = False, *, count: int | None = None) -> Result[Any]:
        """Return figures of a stream, or with `full` (since 6.0) all that it is: `count` entries (None: 10, 0: all)."""
        if full:
            return self.execute(("XINFO", "STREAM", name, "FULL", *_counted(count)), replies.stream_details)
        if count is not None:
            raise ArgumentError("XINFO STREAM: count needs full")
        return self.execute(("XINFO", "STREAM", name), replies.stream_info)

    def xlen(self, name: Key) -> Result[int]:
        """Return how many entries there are."""
        return self.execute(("XLEN", name), integer)

    def xrange(
        self, name: Key, min: StreamId = "-", max: StreamId = "+", count: int | None = None
    ) -> Result[list[Entry[AnyStr]]]:
        """Return entries from `min` to `max`, both included unless they begin with `(` (since 6.2), oldest first."""
        return self.execute(("XRANGE", name, min, max, *_counted(count)), replies.entries)

    def xread(
        self,
        streams: Fields,
        count: int | None = None,
        block: Seconds | None = None,
        max_count: int | None = None,
        max_size: int | None = None,
    ) -> Result[dict[AnyStr, list[Entry[AnyStr]]]]:
        """Return by stream the entries behind an id: `{"s": "0"}` is all, `$` what comes from now.

        From `+` it is the last entry (since 7.4). An empty dict if there is none, after waiting `block` ms (0: for
        ever). Up to `count` entries a stream, `max_count` in all and about `max_size` bytes (both since 8.10).
        """
        return self.execute(
            ("XREAD", *reading("XREAD", streams, count, block, max_count, max_size)), replies.entries_by_stream
        )

    def xrevrange(
        self, name: Key, max: StreamId = "+", min: StreamId = "-", count: int | None = None
    ) -> Result[list[Entry[AnyStr]]]:
        """Return entries from `max` back to `min`, newest first, as `xrange` does."""
        return self.execute(("XREVRANGE", name, max, min, *_counted(count)), replies.entries)

    def xsetid(
        self, name: Key, last_id: StreamId, entries_added: int | None = None, max_deleted_id: StreamId | None = None
    ) -> Result[bool]:
        """Set the last id of a stream, and how many entries it ever had and the greatest id deleted (since 7.0)."""
        options: Arguments = () if entries_added is None else ("ENTRIESADDED", entries_added)
        options += () if max_deleted_id is None else ("MAXDELETEDID", max_deleted_id)
        return self.execute(("XSETID", name, last_id, *options), ok)

    def xtrim(
        self,
        name: Key,
        maxlen: int | None = None,
        approximate: bool = True,
        minid: StreamId | None = None,
        limit: int | None = None,
        ref_policy: References | None = None,
    ) -> Result[int]:
        """Trim to `maxlen` entries or to ids from `minid` on (since 6.2), and return how many entries went.

        If `approximate`, a few more may stay, and no more than `limit` go (since 6.2). `ref_policy` (since 8.2): see
        `xdelex`.
        """
        options = _trimming("XTRIM", maxlen, minid, approximate, limit)
        if not options:
            raise ArgumentError("XTRIM: needs maxlen or minid")
        return self.execute(("XTRIM", name, *options, *(() if ref_policy is None else (ref_policy,))), integer)
