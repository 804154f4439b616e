"""Client of a cluster, made once and used from every task, event loop and thread.

Owns the fast path of a command with one key, and the choice of the route of all others. Never owns a connection: the
nodes of its `Fleet` do.
"""

from __future__ import annotations

from asyncio import _get_running_loop
from binascii import crc_hqx
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NoReturn, TypeVar, Unpack, cast, overload

from aioresp.advice import CLUSTER
from aioresp.arguments import exact
from aioresp.client import NONE, Client, View
from aioresp.cluster.fleet import Fleet, publisher
from aioresp.cluster.lease import KeyLease
from aioresp.cluster.packing import FORMS
from aioresp.cluster.pipeline import ClusterPipeline, slot_in_batch
from aioresp.cluster.routes import all_of
from aioresp.cluster.scan import SlotScan
from aioresp.cluster.seeds import read_seeds
from aioresp.cluster.slots import BRACE, ONE_KEY, SOLE_KEY, slot_of, slot_of_bytes, slot_of_command
from aioresp.cluster.spread import NOT_SPREAD, spread
from aioresp.cluster.topology import ClusterNode, Topology, spelled
from aioresp.command import AnyStr, Arguments, Called, Fields, Key, Result, Value
from aioresp.commands.base import filled, flat
from aioresp.contexts.iterators import Pattern, Scan
from aioresp.elsewhere import advising
from aioresp.errors import ClusterError, CommandRefused, RedisError, about
from aioresp.facts.traits import traits
from aioresp.middleware import within
from aioresp.node import Node
from aioresp.options import Options, Terms, check, too_many
from aioresp.pubsub.methods import Listening
from aioresp.reading import READS, may_be_read
from aioresp.replies import array, as_is, escaping, integer, mapping, ok, text
from aioresp.replies.shapes import failure
from aioresp.trail import TRAIL, follow
from aioresp.wire.packing import Packed, pack, unpack

if TYPE_CHECKING:
    from aioresp.contexts.lease import Lease
    from aioresp.contexts.pipeline import Pipeline

T = TypeVar("T")

#: Shards whose slots a `repr` tells.
SHARDS: Final = 8

#: Stands for the reply of a command that was not sent, because no connection has room.
NO_ROOM: Final[Any] = object()


@advising(CLUSTER)
class Cluster(Client[AnyStr], Generic[AnyStr]):
    """Client of a cluster, for any number of tasks, event loops and threads, and for forked children.

    It finds the nodes at first use, keeps one pool of connections for each node in use and each event loop, and follows
    redirects by itself.

    Args:
        url: redis+cluster://, rediss+cluster://, valkey+cluster:// or valkeys+cluster://, with one or more addresses:
            redis+cluster://a:7000,b:7001. User, password and options are as for `Client`.
        decode_responses: whether replies are str (UTF-8) or bytes.
        options: as for `Client`; `limit` and `concurrency` are those of one node. `address_map` is a function that
            turns each address (host, port) that the cluster tells into the one to connect to.

    Raises ArgumentError, naming the option, for an unknown option or a value that does not fit.
    """

    @overload
    def __init__(
        self: Cluster[str],
        url: str | None = None,
        *,
        decode_responses: Literal[True] = True,
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Cluster[bytes],
        url: str | None = None,
        *,
        decode_responses: Literal[False],
        **options: Unpack[Options],
    ) -> None: ...
    def __init__(
        self,
        url: str | None = None,
        *extra: object,
        decode_responses: bool = True,
        **options: Unpack[Options],
    ) -> None:
        if extra:  # for the sake of the error: to checkers there are none
            raise too_many(len(extra), "Cluster")
        check("decode_responses", decode_responses)
        fleet = Fleet(*read_seeds(url, options))
        # To the methods of `Client` the whole cluster is a node.
        self._take(cast(Node, fleet), fleet.terms.replace(decode=decode_responses))

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: Literal[True] = True, **options: Unpack[Options]
    ) -> Cluster[str]: ...
    @overload
    @classmethod
    def from_url(cls, url: str, *, decode_responses: Literal[False], **options: Unpack[Options]) -> Cluster[bytes]: ...
    @classmethod
    def from_url(cls, url: str, *, decode_responses: bool = True, **options: Unpack[Options]) -> Cluster[Any]:
        """Return a client for `url`; the same as `Cluster(url, ...)`."""
        make: Any = cls
        client: Cluster[Any] = make(url, decode_responses=decode_responses, **options)
        return client

    def _take(self, node: Node, terms: Terms) -> None:
        super()._take(node, terms)
        #: All nodes, which stand in `node` as one; a seam for tests, not for users.
        self.fleet = cast(Fleet, node)
        self._routers = self.fleet.pools
        #: The names that the fast path sends. There are none with middleware.
        self._one_key = NONE if terms.middleware else ONE_KEY if terms.read_from == "primary" else ONE_KEY - READS
        #: The same, of commands that may have many keys, and have one.
        self._sole_key = NONE if terms.middleware else SOLE_KEY if terms.read_from == "primary" else SOLE_KEY - READS

    def __repr__(self) -> str:
        if not hasattr(self, "fleet"):  # its constructor failed
            return f"{type(self).__name__}(not made)"
        s = self.fleet.settings
        known = self.fleet.nodes.topology
        said = [self.fleet.nodes.address]
        if known is None:
            said.append("not found yet")
        else:
            said.append(f"{len(known.primaries)} primaries with {known.covered} slots, {len(known.replicas)} replicas")
            said += [f"{shard.primary} {spelled(shard.slots)}" for shard in known.ordered[:SHARDS] if shard.slots]
            said += [f"and {len(known.shards) - SHARDS} more"] if len(known.shards) > SHARDS else []
        said += self.terms.differences(s.timeout, s.retry)
        if self.fleet.closed:
            said.append("closed")
        return f"{type(self).__name__}({', '.join(said)})"

    # --- Commands ----------------------------------------------------------------------------------------------------

    async def _execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        if type(name := arguments[0]) is not str or (
            name not in self._one_key and (len(arguments) != 2 or name not in self._sole_key)
        ):
            return await self._execute_special(arguments, reply)
        try:
            key: Any = arguments[1]
        except IndexError:
            return await self._execute_special(arguments, reply)
        if type(key) is str:
            try:
                key = key.encode()
            except UnicodeEncodeError:
                pass  # `pack` raises an error that does not have this one as its context, which shows the text
        packed: Packed
        if type(key) is bytes:
            # Without other arguments it is packed by hand, as the key is encoded already.
            packed = FORMS[name] % (len(key), key) if len(arguments) == 2 else pack(arguments)
            slot = crc_hqx(key, 0) & 16_383 if BRACE not in key else slot_of_bytes(key)
        else:
            packed, slot = pack(arguments), slot_of(key)
        # Otherwise the garbage collector would go through the arguments of tens of thousands of calls under way.
        del arguments, key
        try:
            loop, router = self._routers.recent
            if loop._thread_id != get_ident():  # as `here`, without the call
                router = self._routers.find(_get_running_loop()) or self._routers.here()
            connection = router.pools[slot].current
            value: Any = NO_ROOM
            if connection.in_flight < connection.capacity:
                value = await connection.send(packed, self._decode, self._timeout)
        except RedisError as error:
            value = await self.fleet.send_again(error, packed, slot, self.terms)
        if value is NO_ROOM:
            value = await self.fleet.send(packed, slot, self.terms)
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
        return converted(reply, value, packed)

    async def _execute_special(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        if self.terms.middleware:
            return await within(self.terms.middleware, arguments, partial(self._execute_bare, arguments, reply))
        facts = traits(arguments := exact(arguments))
        if facts.refusal is not None:
            raise about(CommandRefused(f"a client does not send this command: {facts.refusal}"), facts.name)
        view = self.terms
        if view.decode and (facts.binary or facts.escaped):
            reply = escaping(reply) if facts.escaped else reply
            view = view.replace(decode=False)
        packed = pack(arguments)
        value = await spread(self.fleet, facts, view)
        if value is NOT_SPREAD:
            slot = slot_of_command(facts)
            if facts.timeout is not None:
                return await self.fleet.block(facts, slot, reply, self.terms)
            if slot is not None and view.read_from != "primary" and may_be_read(facts):
                value = await self.fleet.read(packed, slot, view)
            elif facts.name == "PUBLISH" and len(arguments) > 1:
                find = publisher(self._routers.here(), slot_of(cast(Key, arguments[1])))
                value = await self.fleet.send(packed, None, view, find)
            else:
                value = await self.fleet.send(packed, slot, view)
        return converted(reply, value, packed)

    async def _execute_bare(self, arguments: Arguments, reply: Callable[[Any], T]) -> T:
        """Execute a command without middleware, and not on the fast path if its way is to be noted."""
        trail = TRAIL.get()
        view = self._with(self.terms.replace(middleware=(), trail=trail))
        return await (view._execute if trail is None else view._execute_special)(arguments, reply)

    if TYPE_CHECKING:

        def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Result[T]:
            """Send the command; `reply` converts its raw reply to the result."""
            ...
    else:
        execute = _execute

    if TYPE_CHECKING:
        # In truth that of `Client`, which returns a view of its own class.
        @overload
        def with_options(self, **options: Unpack[View]) -> Cluster[AnyStr]: ...
        @overload
        def with_options(self, *, decode_responses: Literal[True], **options: Unpack[View]) -> Cluster[str]: ...
        @overload
        def with_options(self, *, decode_responses: Literal[False], **options: Unpack[View]) -> Cluster[bytes]: ...
        @overload
        def with_options(self, *, decode_responses: bool, **options: Unpack[View]) -> Cluster[str] | Cluster[bytes]: ...
        def with_options(self, **options: Any) -> Cluster[Any]:
            """Return a view on the same nodes with another decoding, deadline, retries or servers to read from."""
            ...

    def pipeline(self, transaction: bool = False) -> Pipeline[AnyStr]:
        """Return a context that queues commands and sends them in one write to each node; see `Client.pipeline`.

        With `transaction`, all keys must share a slot.
        """
        return ClusterPipeline(self.fleet.route(self.terms), self._decode, transaction)

    async def send_raw(self, commands: Iterable[Arguments]) -> list[Any]:
        """Send commands in one write to each node; see `Client.send_raw`.

        The keys of a command must share a slot, and those of a transaction.
        """
        from aioresp.contexts.raw import RawBatch  # noqa: PLC0415 (few programs send raw batches)

        batch = RawBatch(commands, shared=True)
        route = self.fleet.route(self.terms)
        inner = batch.given[1:-1] if batch.whole else batch.given
        route.slots = [slot_in_batch(traits(exact(arguments))) for arguments in inner]
        return await batch.send(route, self._decode)

    def connection(self, key: Key | None = None) -> Lease[AnyStr]:
        """Return a context with one connection of its own, to the node that serves `key`; see `Client.connection`.

        It follows no redirect. Without `key` it leads to any primary.
        """
        return KeyLease(self.fleet, self.terms, None if key is None else slot_of(key))

    def _listening(self) -> Listening:
        find: Any = self.fleet.broker  # in place of one hub
        db = self.fleet.settings.endpoint.db
        ready = partial(self.fleet.topology, self.terms)
        return Listening(find, _refuse_monitor, db, self._decode, self._timeout, ready)

    def _place(self) -> None:
        """Return None: a script that one node has may be missing at another."""
        return None

    async def _ask_all(self, arguments: Arguments, reply: Callable[[Any], T]) -> list[T]:
        """Ask each primary: a function may be missing at one of them."""
        found = await all_of(node._execute(arguments, reply) for node in await self.primaries())
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return cast(list[T], found)

    def _place_of(self, key: Value) -> tuple[object, int] | None:
        pool = self._routers.here().pool(slot_of(key))
        return None if pool is None else (pool, pool.made)

    # --- Several slots -----------------------------------------------------------------------------------------------

    async def mset_nonatomic(self, mapping: Fields) -> bool:
        """Set keys of any slots: those of one slot at once, and each slot at its own time.

        If a node fails, the keys of other slots may be set: then the error is that of the first slot that failed.
        """
        pairs = [*filled("MSET", "mapping", flat(mapping, "MSET"))]
        slots: dict[int, list[Value]] = {}
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            slots.setdefault(slot_of(key), []).extend((key, value))
        async with self.pipeline() as p:
            for part in slots.values():
                p.execute(("MSET", *part), ok)
        return True

    def mget_nonatomic(self, keys: Key | Iterable[Key], *args: Key) -> Result[list[AnyStr | None]]:
        """Return the values of keys of any slots; the same as `mget`. They are not of one instant."""
        return self.mget(keys, *args)

    def scan_iter(
        self, match: Pattern | None = None, count: int | None = None, _type: str | None = None
    ) -> AsyncIterator[AnyStr]:
        """Iterate over the keys of all nodes: those that match the glob, about `count` a page, of one `_type`.

        A key that is there all the time is found, also if its slot moves meanwhile; it may be found twice. Raises
        ClusterDownError if a slot has no node.
        """
        return Scan("SCAN", SlotScan(self.fleet, self.terms, match, count, _type).page)

    # --- The cluster -------------------------------------------------------------------------------------------------

    def topology(self) -> Topology:
        """Return the newest topology that is known. Raises ClusterError before the first command has found one."""
        known = self.fleet.nodes.topology
        if known is None:
            raise ClusterError("the topology is not known before the first command: `await r.ping()` finds it")
        return known

    def keyslot(self, key: Key) -> int:
        """Return the hash slot of a key."""
        return slot_of(key)

    async def near(self, key: Key) -> Client[AnyStr]:
        """Return a client of the primary that serves a key at present. It follows no redirect."""
        topology = await self.fleet.topology(self.terms)
        shard = topology.shard_of(slot_of(key))
        if shard is None:
            raise ClusterError("no node serves the slot of this key")
        return self._client_of(shard.primary)

    async def primaries(self) -> list[Client[AnyStr]]:
        """Return a client of each primary that serves slots."""
        return [self._client_of(node) for node in (await self.fleet.topology(self.terms)).primaries]

    async def replicas(self) -> list[Client[AnyStr]]:
        """Return a client of each replica, on connections that may read there."""
        return [self._client_of(node) for node in (await self.fleet.topology(self.terms)).replicas]

    async def nodes(self) -> list[Client[AnyStr]]:
        """Return a client of each primary that serves slots, and of each replica."""
        return [*await self.primaries(), *await self.replicas()]

    def _client_of(self, node: ClusterNode) -> Client[AnyStr]:
        at = self.fleet.nodes.at(node.address, readonly=node.role == "replica")
        terms = self.terms
        if terms.middleware:
            terms = terms.replace(middleware=(partial(follow, lambda: (node.address, None)), *terms.middleware))
        client: Client[AnyStr] = Client.over(at, terms)
        return client


Cluster._execute.__qualname__ = Called(Cluster._execute.__qualname__)


def _refuse_monitor() -> NoReturn:
    advice = "it is for one node: `(await r.primaries())[0].monitor()`"
    raise about(CommandRefused(f"a cluster does not send this command: {advice}"), "MONITOR")


def converted(reply: Callable[[Any], T], value: Any, packed: Packed) -> T:
    """Return the converted reply. Raises UnexpectedReply if it has a shape that the command never has."""
    try:
        return reply(value)
    except Exception as error:
        wrong = failure(error, value, unpack(packed))
    try:
        raise wrong
    finally:
        del wrong  # it holds this frame by its traceback
