"""Consumer groups: entries of a stream shared among consumers, each acknowledged on its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from aioresp.command import AnyStr, Arguments, Fields, Instant, Key, Result, Seconds
from aioresp.commands.base import Executor, at_most_one, filled, listed, milliseconds, unix_milliseconds
from aioresp.commands.streams import References, StreamId, reading
from aioresp.replies import Late, array, boolean, integer, integers, ok

if TYPE_CHECKING:
    from aioresp.replies import streams as replies
    from aioresp.replies.streams import Autoclaimed, AutoclaimedIds, Entry, GroupEntry, PendingEntry, PendingSummary
else:
    replies = Late("streams")

Nack: TypeAlias = Literal["SILENT", "FAIL", "FATAL"]


class StreamGroupCommands(Executor[AnyStr]):
    """Commands on the consumer groups of streams. Durations are in milliseconds."""

    def xack(self, name: Key, groupname: Key, *ids: StreamId) -> Result[int]:
        """Acknowledge entries and return how many were pending."""
        return self.execute(("XACK", name, groupname, *filled("XACK", "ids", ids)), integer)

    def xackdel(
        self, name: Key, groupname: Key, *ids: StreamId, ref_policy: References = "KEEPREF"
    ) -> Result[list[int]]:
        """Acknowledge entries and delete them, and return for each what `xdelex` would. Since 8.2."""
        numbered = (len(ids), *filled("XACKDEL", "ids", ids))
        return self.execute(("XACKDEL", name, groupname, ref_policy, "IDS", *numbered), integers)

    @overload
    def xautoclaim(
        self,
        name: Key,
        groupname: Key,
        consumername: Key,
        min_idle_time: Seconds,
        start_id: StreamId = "0-0",
        count: int | None = None,
        justid: Literal[False] = False,
    ) -> Result[Autoclaimed[AnyStr]]: ...
    @overload
    def xautoclaim(
        self,
        name: Key,
        groupname: Key,
        consumername: Key,
        min_idle_time: Seconds,
        start_id: StreamId = "0-0",
        count: int | None = None,
        *,
        justid: Literal[True],
    ) -> Result[AutoclaimedIds[AnyStr]]: ...
    def xautoclaim(
        self,
        name: Key,
        groupname: Key,
        consumername: Key,
        min_idle_time: Seconds,
        start_id: StreamId = "0-0",
        count: int | None = None,
        justid: bool = False,
    ) -> Result[Any]:
        """Take over what has been pending for `min_idle_time`, looking at up to `count` entries (100). Since 6.2.

        Go on with the `next_id` returned. With `justid` the deliveries are not counted.
        """
        options: Arguments = () if count is None else ("COUNT", count)
        options += ("JUSTID",) if justid else ()
        arguments = (
            "XAUTOCLAIM",
            name,
            groupname,
            consumername,
            milliseconds(min_idle_time, "XAUTOCLAIM", "min_idle_time"),
            start_id,
            *options,
        )
        return self.execute(arguments, replies.autoclaimed_ids if justid else replies.autoclaimed)

    @overload
    def xclaim(
        self,
        name: Key,
        groupname: Key,
        consumername: Key,
        min_idle_time: Seconds,
        message_ids: StreamId | Iterable[StreamId],
        idle: Seconds | None = None,
        time: Instant | None = None,
        retrycount: int | None = None,
        force: bool = False,
        justid: Literal[False] = False,
        *,
        lastid: StreamId | None = None,
    ) -> Result[list[Entry[AnyStr] | None]]: ...
    @overload
    def xclaim(
        self,
        name: Key,
        groupname: Key,
        consumername: Key,
        min_idle_time: Seconds,
        message_ids: StreamId | Iterable[StreamId],
        idle: Seconds | None = None,
        time: Instant | None = None,
        retrycount: int | None = None,
        force: bool = False,
        *,
        justid: Literal[True],
        lastid: StreamId | None = None,
    ) -> Result[list[AnyStr]]: ...
    def xclaim(
        self,
        name: Key,
        groupname: Key,
        consumername: Key,
        min_idle_time: Seconds,
        message_ids: StreamId | Iterable[StreamId],
        idle: Seconds | None = None,
        time: Instant | None = None,
        retrycount: int | None = None,
        force: bool = False,
        justid: bool = False,
        *,
        lastid: StreamId | None = None,
    ) -> Result[Any]:
        """Take over those of `message_ids` that have been pending for `min_idle_time`, and return them.

        A deleted entry is None; from 7.0 on it is left out and no longer pending. `idle` or `time` says since when it
        counts as delivered (now), `retrycount` how often, `force` takes what is not pending, `lastid` moves the group
        on. With `justid` only ids come back and the deliveries are not counted.
        """
        at_most_one("XCLAIM", idle=idle, time=time)
        ids = filled("XCLAIM", "message_ids", listed(message_ids))
        options: Arguments = () if idle is None else ("IDLE", milliseconds(idle, "XCLAIM", "idle"))
        options += () if time is None else ("TIME", unix_milliseconds(time, "XCLAIM", "time"))
        options += () if retrycount is None else ("RETRYCOUNT", retrycount)
        options += (*(("FORCE",) if force else ()), *(("JUSTID",) if justid else ()))
        options += () if lastid is None else ("LASTID", lastid)
        arguments = (
            "XCLAIM",
            name,
            groupname,
            consumername,
            milliseconds(min_idle_time, "XCLAIM", "min_idle_time"),
            *ids,
            *options,
        )
        return self.execute(arguments, array if justid else replies.entries_or_none)

    def xgroup_create(
        self,
        name: Key,
        groupname: Key,
        id: StreamId = "$",
        mkstream: bool = False,
        entries_read: int | None = None,
    ) -> Result[bool]:
        """Make a group that delivers what comes after `id`: `$` is the last entry, `0` is all. Raises if it exists.

        Without a stream it raises too, unless `mkstream` makes one. `entries_read` (since 7.0) is what the lag is
        counted from.
        """
        options: Arguments = ("MKSTREAM",) if mkstream else ()
        options += () if entries_read is None else ("ENTRIESREAD", entries_read)
        return self.execute(("XGROUP", "CREATE", name, groupname, id, *options), ok)

    def xgroup_createconsumer(self, name: Key, groupname: Key, consumername: Key) -> Result[bool]:
        """Make a consumer and return whether it is new; reading makes it too. Since 6.2."""
        return self.execute(("XGROUP", "CREATECONSUMER", name, groupname, consumername), boolean)

    def xgroup_delconsumer(self, name: Key, groupname: Key, consumername: Key) -> Result[int]:
        """Delete a consumer and return how many entries it had pending; these cannot be claimed any more."""
        return self.execute(("XGROUP", "DELCONSUMER", name, groupname, consumername), integer)

    def xgroup_destroy(self, name: Key, groupname: Key) -> Result[bool]:
        """Delete a group, with what it has pending, and return whether there was one."""
        return self.execute(("XGROUP", "DESTROY", name, groupname), boolean)

    def xgroup_setid(self, name: Key, groupname: Key, id: StreamId, entries_read: int | None = None) -> Result[bool]:
        """Let the group go on behind `id`; `entries_read` (since 7.0) is what the lag is counted from."""
        options: Arguments = () if entries_read is None else ("ENTRIESREAD", entries_read)
        return self.execute(("XGROUP", "SETID", name, groupname, id, *options), ok)

    def xnack(
        self,
        name: Key,
        groupname: Key,
        mode: Nack,
        *ids: StreamId,
        retrycount: int | None = None,
        force: bool = False,
    ) -> Result[int]:
        """Give entries back for others to have at once, and return how many. Since 8.8.

        `SILENT` takes this delivery off the count, `FAIL` leaves the count and `FATAL` sets it to the greatest;
        `retrycount` sets it, `force` makes pending what is not.
        """
        options: Arguments = () if retrycount is None else ("RETRYCOUNT", retrycount)
        options += ("FORCE",) if force else ()
        numbered = (len(ids), *filled("XNACK", "ids", ids))
        return self.execute(("XNACK", name, groupname, mode, "IDS", *numbered, *options), integer)

    def xpending(self, name: Key, groupname: Key) -> Result[PendingSummary[AnyStr]]:
        """Return how much is delivered and not acknowledged, from which id to which, and by consumer."""
        return self.execute(("XPENDING", name, groupname), replies.pending_summary)

    def xpending_range(
        self,
        name: Key,
        groupname: Key,
        min: StreamId,
        max: StreamId,
        count: int,
        consumername: Key | None = None,
        idle: Seconds | None = None,
    ) -> Result[list[PendingEntry[AnyStr]]]:
        """Return up to `count` pending entries from `min` to `max`: of a consumer, or `idle` so long (since 6.2)."""
        since: Arguments = () if idle is None else ("IDLE", milliseconds(idle, "XPENDING", "idle"))
        consumer: Arguments = () if consumername is None else (consumername,)
        return self.execute(("XPENDING", name, groupname, *since, min, max, count, *consumer), replies.pending_entries)

    def xreadgroup(
        self,
        groupname: Key,
        consumername: Key,
        streams: Fields,
        count: int | None = None,
        block: Seconds | None = None,
        noack: bool = False,
        claim_min_idle_time: Seconds | None = None,
        max_count: int | None = None,
        max_size: int | None = None,
    ) -> Result[dict[AnyStr, list[GroupEntry[AnyStr]]]]:
        """Return by stream new entries for a consumer (`{"s": ">"}`), or those it has pending behind an id.

        Without new entries an empty dict, after waiting `block` ms (0: forever); without pending ones the stream has
        an empty list. Up to `count` entries a stream, `max_count` in all and about `max_size` bytes (both since 8.10).
        `noack`: none becomes pending; `claim_min_idle_time` (since 8.4) first takes what has been pending so long.
        """
        options: Arguments = (
            ()
            if claim_min_idle_time is None
            else ("CLAIM", milliseconds(claim_min_idle_time, "XREADGROUP", "claim_min_idle_time"))
        )
        options += ("NOACK",) if noack else ()
        arguments = reading("XREADGROUP", streams, count, block, max_count, max_size, *options)
        return self.execute(
            ("XREADGROUP", "GROUP", groupname, consumername, *arguments), replies.group_entries_by_stream
        )
