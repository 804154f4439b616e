"""Client methods that make stream readers and group consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioresp.command import AnyStr, Fields, Key, Seconds, as_bytes
from aioresp.commands.base import Executor, no_mapping
from aioresp.commands.streams import StreamId

if TYPE_CHECKING:
    from aioresp.streams.group import GroupReader
    from aioresp.streams.reader import Source, StreamReader


class Readers(Executor[AnyStr]):
    """Methods that return streams as asynchronous iterators, which go on across reconnects."""

    def _source(self) -> Source:
        """Return the clients that a reader sends through."""
        raise NotImplementedError

    def stream_reader(
        self,
        *names: Key,
        last_id: StreamId | Fields = "$",
        count: int = 100,
        block: Seconds | None = 5000,
    ) -> StreamReader[AnyStr]:
        """Return a context that iterates over the entries of streams behind `last_id`, forever.

        `$` is the last entry at the time the block is entered; a mapping has an id for each stream. While the server
        is away it waits, with the pauses of the client's `retry` (None: it raises), and then goes on behind the last
        entry. One read brings `count` entries a stream and waits on the server for `block` ms; None ends the iteration
        where there is no more.
        """
        from aioresp.streams.reader import StreamReader  # noqa: PLC0415 (many programs have none)

        for name in names:
            as_bytes(name, "the name of a stream")  # before it is a key here, which a list cannot be
        starts: dict[Key, StreamId] = dict.fromkeys(names, "$")
        if isinstance(last_id, (str, bytes, memoryview, int)):
            starts = dict.fromkeys(names, last_id)
        else:
            if not hasattr(type(last_id), "items"):
                raise no_mapping("XREAD", "last_id", last_id, '{"stream": "0"}')
            starts.update(last_id.items())  # type: ignore[arg-type]  # the server refuses a float
        return StreamReader(self._source(), starts, count, block)

    def group_reader(
        self,
        groupname: Key,
        consumername: Key,
        *names: Key,
        count: int = 10,
        block: Seconds | None = 5000,
        min_idle: Seconds | None = 60_000,
        create: bool = True,
        start: StreamId = "0",
        auto_ack: bool = True,
    ) -> GroupReader[AnyStr]:
        """Return a context that iterates over the entries that a group delivers to a consumer, without an end.

        First come the pending entries of this consumer. Then come entries that were pending for `min_idle` ms with any
        consumer (since 6.2; None claims nothing), and then new ones. Claims are repeated every `min_idle / 2`. An entry
        is acknowledged when the loop asks for the next one, unless `entry.nack()` was called. It stays pending if the
        body is left by an exception or by `break`. Without `auto_ack`, `await entry.ack()` or `async with entry:`
        acknowledges it.

        With `create` a missing group or stream is created, also later; the group begins with the entries behind
        `start`. One read brings `count` entries a stream and waits on the server for `block` ms; None ends the
        iteration when there are no more. While the server is away it waits, with the pauses of the client's `retry`
        (None: it raises).
        """
        from aioresp.streams.group import GroupReader  # noqa: PLC0415 (many programs have none)

        return GroupReader(
            *(self._source(), groupname, consumername, names, count, block, min_idle, create, start, auto_ack)
        )
