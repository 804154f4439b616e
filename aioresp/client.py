"""Client of one server, made once and used from every task, event loop and thread.

Owns the fast path of a command, the terms of its calls, and the contexts that it hands out. Never owns a connection:
its `Node` does.
"""

from __future__ import annotations

from asyncio import _get_running_loop
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, Unpack, overload

from aioresp.arguments import exact
from aioresp.command import (
    PLAIN,
    SHUTDOWN,
    AnyStr,
    Arguments,
    Called,
    Key,
    Result,
    Value,
    words,
)
from aioresp.commands import Commands
from aioresp.commands.marks import awaited
from aioresp.contexts.iterators import Iterators
from aioresp.contexts.scripts import Scripts
from aioresp.elsewhere import CLIENT, advising
from aioresp.errors import ArgumentError, CommandRefused, ConnectionLost, RedisError, about
from aioresp.facts.traits import LEAST, traits
from aioresp.node import Node, Stats
from aioresp.options import ONE_SERVER, Options, Settings, Terms, check, check_of_view, settings, too_many
from aioresp.pool.queue import forsake
from aioresp.pubsub.methods import Listening, Subscribing
from aioresp.replies import array, as_is, escaping, integer, mapping, ok, text
from aioresp.retry import NEVER, Retry
from aioresp.streams.methods import Readers
from aioresp.typed import Generic, TypedDict
from aioresp.wire.packing import pack, unpack

if TYPE_CHECKING:
    from datetime import timedelta

    from aioresp.contexts.lease import Lease
    from aioresp.contexts.pipeline import Pipeline
    from aioresp.reading import ReadFrom
    from aioresp.streams.reader import Source

T = TypeVar("T")

#: The names that the fast path sends if there is middleware: none.
NONE: Final[frozenset[str]] = frozenset()

#: Servers for whose reads a view keeps a view of its own.
MOST_READERS: Final = 100

#: Attempts at a transaction by default: with the pauses between them, about a second on average.
ATTEMPTS: Final = 20


class View(TypedDict, total=False):
    """Options that `with_options()` can override."""

    timeout: float | timedelta | None
    retry: Retry | None
    idempotent: bool
    read_from: ReadFrom


@advising(CLIENT)
class Client(
    Commands[AnyStr], Iterators[AnyStr], Scripts[AnyStr], Readers[AnyStr], Subscribing[AnyStr], Generic[AnyStr]
):
    """Client of one server, or of a primary with replicas, for any number of tasks, event loops, threads and forks.

    It connects at first use, keeps one pool of connections for each event loop, and closes it with the loop.

    Args:
        url: redis://, rediss://, valkey://, valkeys:// or unix://, with user, password, database and options. A primary
            with replicas is found by redis+sentinel://sentinel1,sentinel2/name, or by redis://host1,host2,host3.
        decode_responses: whether replies are str (UTF-8) or bytes.
        options: override the URL. `limit` is the most connections of one loop. `concurrency` is the number of commands
            under way on one connection before another is opened (1: the classic pool). `timeout` is the number of
            seconds that a call may take, with its wait for a connection (None: forever). `connect_timeout` is in
            seconds, too. A connection is closed after `idle_timeout` seconds without use, and takes no more work when
            it is about `max_age` old (seconds or a timedelta; None: it may grow old). `retry` says how often and
            how fast calls are tried again within `timeout` (None: never). `protocol` is 3, or 2 to avoid RESP3.
            `read_from` says whether reads go to the "primary", a "replica", or the "nearest" server.
            `on_lost` is called with elements that a cancelled blocking pop took and may not have put back.

    Raises ArgumentError, naming the option, for an unknown option or a value that does not fit.
    """

    _instead = (
        "make one in each process, and pass the URL; "
        "in one process all tasks and threads share a client, and `with_options()` gives a view"
    )

    @overload
    def __init__(
        self: Client[str], url: str | None = None, *, decode_responses: Literal[True] = True, **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(
        self: Client[bytes], url: str | None = None, *, decode_responses: Literal[False], **options: Unpack[Options]
    ) -> None: ...
    def __init__(
        self, url: str | None = None, *extra: object, decode_responses: bool = True, **options: Unpack[Options]
    ) -> None:
        if extra:  # for the sake of the error: to checkers there are none
            raise too_many(len(extra))
        check("decode_responses", decode_responses)
        node = _made(settings(url, options))
        self._take(node, node.terms.replace(decode=decode_responses))

    @classmethod
    def over(cls, node: Node, terms: Terms | None = None) -> Self:
        """Return a client of a node that exists already. `terms` are those of the node's options by default."""
        client = cls.__new__(cls)
        client._take(node, node.terms if terms is None else terms)
        return client

    def _take(self, node: Node, terms: Terms) -> None:
        self.node = node
        self.terms = terms
        # Copies of attributes of `node` and `terms`, for the fast path.
        self._pools = node.pools
        self._decode = terms.decode
        self._timeout = terms.timeout
        #: Views on the servers that are asked first for a read.
        self._on: dict[Node, Self] = {}
        #: The names that the fast path sends. Middleware and reads from replicas cost nothing where there are none.
        self._plain = NONE if terms.middleware else PLAIN
        #: The module about reads from replicas; None if there are none.
        self._reading: Any = None
        if terms.read_from != "primary":
            from aioresp import reading  # noqa: PLC0415 (many programs read from no replica)

            self._reading = reading
            self._plain = NONE if terms.middleware else reading.OTHERS

    def _with(self, terms: Terms) -> Self:
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)  # with the attributes of a subclass
        view._take(self.node, terms)
        return view

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: Literal[True] = True, **options: Unpack[Options]
    ) -> Client[str]: ...
    @overload
    @classmethod
    def from_url(cls, url: str, *, decode_responses: Literal[False], **options: Unpack[Options]) -> Client[bytes]: ...
    @classmethod
    def from_url(cls, url: str, *, decode_responses: bool = True, **options: Unpack[Options]) -> Client[Any]:
        """Return a client for `url`; the same as `Client(url, ...)`."""
        make: Any = cls
        client: Client[Any] = make(url, decode_responses=decode_responses, **options)
        return client

    def __repr__(self) -> str:
        if not hasattr(self, "node"):  # its constructor failed
            return f"{type(self).__name__}(not made)"
        s = self.node.settings
        said = [self.node.address, *self.node.remarks(), f"limit {s.limit}", f"concurrency {s.concurrency}"]
        said += self.terms.differences(s.timeout, s.retry)
        if self.node.closed:
            said.append("closed")
        return f"{type(self).__name__}({', '.join(said)})"

    async def __aenter__(self) -> Self:
        self.node.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if type(self).aclose is Client.aclose:
            await self.node.leave()
        elif self.node.is_last_to_leave():  # a subclass may close more
            await self.aclose()

    async def aclose(self) -> None:
        """Close the pools of all loops, each in its own loop; replies under way have a second to arrive.

        It closes at once, even if other tasks are in an `async with` block of the client: only the end of the last of
        these blocks closes by itself. Commands raise ClientClosed from now on; `async with` opens the client again.
        """
        await self.node.aclose()

    # --- Commands ----------------------------------------------------------------------------------------------------

    async def _execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        if type(name := arguments[0]) is not str or name not in self._plain:  # other classes may have any hash
            if self.terms.middleware:
                from aioresp.middleware import within  # noqa: PLC0415 (many programs have no middleware)

                send = partial(self._with(self.terms.replace(middleware=()))._execute, arguments, reply)
                return await within(self.terms.middleware, arguments, send)
            if self._reading is not None and type(name) is str and name in self._reading.READS:
                reader = self.node.reader(self.terms)
                spent = 0.0
                if reader is not None:
                    since = monotonic()
                    try:
                        return await (self._on.get(reader) or self._view_on(reader))._execute(arguments, reply)
                    except self._reading.NEXT:
                        self.node.could_not_read(reader)
                        spent = monotonic() - since
                return await self._read(arguments, reply, spent)
            facts = traits(arguments := exact(arguments))
            if facts.refusal is not None:
                raise about(CommandRefused(f"a client does not send this command: {facts.refusal}"), facts.name)
            if facts.timeout is not None:
                return await self.node.block(facts, reply, self.terms)
            if facts.name == SHUTDOWN:
                # The server may wait for replicas, and runs no other command of that connection meanwhile.
                async with self.node.borrow(self.terms, SHUTDOWN) as own:
                    return await own.execute(arguments, reply)
            if self._decode and (facts.binary or facts.escaped):
                reply = escaping(reply) if facts.escaped else reply
                return await self._with(self.terms.replace(decode=False))._execute(arguments, reply)
            if self._reading is not None and self._reading.may_be_read(facts):
                return await self._read(arguments, reply)
            del facts  # which holds the arguments
        packed = pack(arguments)
        # Otherwise the garbage collector would go through the arguments of tens of thousands of calls under way.
        del arguments
        try:
            loop, pool = self._pools.recent
            if loop._thread_id != get_ident():  # as `here`, without the call
                pool = self._pools.find(_get_running_loop()) or self._pools.here()
            connection = pool.current
            value: Any
            if connection.in_flight < connection.capacity:
                value = await connection.send(packed, self._decode, self._timeout)
            else:
                future = self.node.send(pool, packed, self.terms, self._timeout)
                try:
                    value = await future
                except BaseException:
                    forsake(future)
                    del future  # its error would hold this frame, by its traceback
                    raise
        except RedisError as error:
            value = await self.node.send_again(error, packed, self.terms)
        # Most replies have the right type already, and are returned without a call of the converter.
        kind = type(value)
        if reply is text:
            if kind is str or kind is bytes or value is None:
                return value  # type: ignore[no-any-return]  # what the converter would return
        elif reply is integer:
            if kind is int:
                return value  # type: ignore[no-any-return]  # the same
        elif reply is ok:
            if kind is str:
                return True  # type: ignore[return-value]  # the same
        elif reply is array:
            if kind is list:
                return value  # type: ignore[no-any-return]  # the same
        elif reply is mapping:
            if kind is dict:
                return value  # type: ignore[no-any-return]  # the same
        elif reply is as_is:
            return value  # type: ignore[no-any-return]  # the same
        try:
            return reply(value)
        except Exception as error:
            from aioresp.replies.shapes import failure  # noqa: PLC0415 (needed for a failure only)

            wrong = failure(error, value, unpack(packed))
        try:
            raise wrong
        finally:
            del wrong  # it holds this frame by its traceback

    async def _read(self, arguments: Arguments, reply: Callable[[Any], T], spent: float = 0.0) -> T:
        """Send a command that only reads to the servers by `read_from`, in the time that is left after `spent`."""

        async def on(node: Node, terms: Terms) -> T:
            view = self._with(terms)
            if node is not self.node:
                view._take(node, terms)
            return await view._execute(arguments, reply)

        terms = self.terms
        if spent and terms.timeout is not None:
            terms = terms.replace(timeout=max(terms.timeout - spent, LEAST))
        return await self.node.read(on, terms)

    def _view_on(self, node: Node) -> Self:
        """Return the view that sends a read to `node` first, before others are asked."""
        if len(self._on) > MOST_READERS:  # of servers that are replicas no more
            self._on.clear()
        view = self._with(terms := self.node.terms_of_read(self.terms))
        view._take(node, terms)
        self._on[node] = view
        return view

    if TYPE_CHECKING:
        # In truth a coroutine function; `_execute` by its own name would be no override for type checkers.
        def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Result[T]:
            """Send the command; `reply` converts its raw reply to the result."""
            ...
    else:
        execute = _execute

    @awaited
    def call(self, *arguments: Value, idempotent: bool = False) -> Result[Any]:
        """Send any command and return its reply as the server gave it: `await r.call("OBJECT", "ENCODING", "k")`.

        A first argument of several words is split at white space, without regard to quotes; all else is sent as given.
        The shape follows the protocol in use; typed methods are the same under both. With `idempotent` the command is
        sent again if the connection was lost before the reply: give it if running the command twice does no harm.
        """
        client = self.with_options(idempotent=True) if idempotent else self
        return client.execute(words(arguments), as_is)

    # --- Views and contexts ------------------------------------------------------------------------------------------

    @overload
    def with_options(self, **options: Unpack[View]) -> Client[AnyStr]: ...
    @overload
    def with_options(self, *, decode_responses: Literal[True], **options: Unpack[View]) -> Client[str]: ...
    @overload
    def with_options(self, *, decode_responses: Literal[False], **options: Unpack[View]) -> Client[bytes]: ...
    @overload
    def with_options(self, *, decode_responses: bool, **options: Unpack[View]) -> Client[str] | Client[bytes]: ...
    def with_options(self, **options: Any) -> Client[Any]:
        """Return a view on the same pools with another decoding, deadline, retries or servers to read from.

        Closing one closes both. With `idempotent=True` all commands of the view are sent again if the connection was
        lost before the reply. Give it if running any of them twice does no harm.
        """
        options = {name: check_of_view(name, value) for name, value in options.items()}
        terms = self.terms.replace(
            decode=options.get("decode_responses", self._decode),
            timeout=options.get("timeout", self._timeout),
            retry=options.get("retry", self.terms.retry) or NEVER,
            idempotent=options.get("idempotent", self.terms.idempotent),
            read_from=options.get("read_from", self.terms.read_from),
        )
        if terms.read_from != "primary" and not self.node.has_replicas:
            raise ArgumentError(ONE_SERVER)
        return self._with(terms)

    def _place(self) -> tuple[object, int] | None:
        pool = self._pools.here()
        return pool, pool.made

    def connection(self) -> Lease[AnyStr]:
        """Return a context with one connection of its own, for commands that change it or refer to it."""
        return self.node.lease(self.terms, "connection()")

    def pipeline(self, transaction: bool = False) -> Pipeline[AnyStr]:
        """Return a context that queues commands and sends them in one write; with `transaction`, within MULTI and EXEC.

        Each method returns a handle, which awaits to its own value after the block, or after `await p.execute()`.
        """
        from aioresp.contexts.pipeline import Pipeline  # noqa: PLC0415 (many programs have no pipelines)

        return Pipeline(self.node.route(self.terms), self._decode, transaction)

    async def send_raw(self, commands: Iterable[Arguments]) -> list[Any]:
        """Send commands in one write, and return their replies as the server gave them, with errors as values.

        It is the seam for layers that have commands, converters and errors of their own. Each command is a tuple:
        `("GET", "k")`. From MULTI to EXEC it is a transaction, and the last value is what EXEC gave. Raises
        CommandRefused, before anything is sent, for a command that blocks or that changes its connection.
        """
        from aioresp.contexts.raw import RawBatch  # noqa: PLC0415 (few programs send raw batches)

        return await RawBatch(commands, shared=True).send(self.node.route(self.terms), self._decode)

    @overload
    async def transaction(
        self,
        func: Callable[[Pipeline[AnyStr]], object],
        *watches: Key,
        attempts: int = ...,
        value_from_callable: Literal[False] = False,
    ) -> list[Any]: ...
    @overload
    async def transaction(
        self,
        func: Callable[[Pipeline[AnyStr]], Awaitable[T]],
        *watches: Key,
        attempts: int = ...,
        value_from_callable: Literal[True],
    ) -> T: ...
    @overload
    async def transaction(
        self,
        func: Callable[[Pipeline[AnyStr]], T],
        *watches: Key,
        attempts: int = ...,
        value_from_callable: Literal[True],
    ) -> T: ...
    async def transaction(
        self,
        func: Callable[[Pipeline[AnyStr]], Any],
        *watches: Key,
        attempts: int = ATTEMPTS,
        value_from_callable: bool = False,
    ) -> Any:
        """Watch keys, let `func` read them and queue commands, execute these, and repeat all if a key was changed.

        `func` gets a pipeline. Commands before `p.multi()` are answered at once, and those after it are queued. Without
        `watches` all are queued. Returns the values of the queued commands, or with `value_from_callable` the result of
        `func`. Raises WatchError after so many `attempts`, with short pauses between them.
        """
        from aioresp.contexts.optimistic import attempt  # noqa: PLC0415 (many programs have none)

        async with self.pipeline(transaction=True) as pipeline:
            try:
                found, values = await attempt(pipeline, func, watches, attempts, self.terms)
            except ConnectionLost as error:
                if error.method in ("pipeline", "watch"):
                    error.method = "transaction"
                raise
        return found if value_from_callable else values

    def _source(self) -> Source:
        from aioresp.streams.reader import Source  # noqa: PLC0415 (many programs read no streams)

        raw = self.with_options(decode_responses=False, idempotent=False)
        return Source(raw, raw.with_options(idempotent=True), self._decode, self.terms.retry)

    def _listening(self) -> Listening:
        node = self.node
        return Listening(node.hubs.here, node.pools.here, node.settings.endpoint.db, self._decode, self._timeout)

    @property
    def address(self) -> str:
        """Address of the server, or of those by which it is found, as a URL without credentials."""
        return self.node.address

    def stats(self) -> Stats:
        """Return the figures of this moment: their sum, those of each loop in use, and of each server if several."""
        return self.node.stats()


def _made(settings: Settings) -> Node:
    """Return the node for the settings: of one server, or of a primary that has to be found."""
    if not settings.seeds:
        return Node(settings)
    from aioresp.replicated.node import ReplicatedNode  # noqa: PLC0415 (many programs have one server)

    if settings.master is None:
        from aioresp.replicated.seeds import Seeds  # noqa: PLC0415 (many programs have one server)

        return ReplicatedNode(settings, Seeds(settings))
    from aioresp.sentinel.source import SentinelSource  # noqa: PLC0415 (many programs have one server)

    return ReplicatedNode(settings, SentinelSource(settings))


Client._execute.__qualname__ = Called(Client._execute.__qualname__)
