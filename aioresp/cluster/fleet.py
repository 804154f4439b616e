"""Whole cluster as an object, with the methods of a `Node`: to its client, a cluster is one very large server.

Owns the nodes, the routers of all loops, and the beginning and end of their use. Never converts a reply.
"""

from __future__ import annotations

import math
import random
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar

from aioresp.cluster.blocking import Block
from aioresp.cluster.discovery import ASKED
from aioresp.cluster.nodes import SLOW, Nodes
from aioresp.cluster.pace import WANTED
from aioresp.cluster.reads import Reads, is_redirect, share_of
from aioresp.cluster.redirect import Course, Find, deliver, send_once
from aioresp.cluster.router import Router
from aioresp.cluster.routes import ClusterRoute
from aioresp.cluster.topology import Address, Topology, host_port
from aioresp.errors import ClientClosed, ConnectError, RedisError
from aioresp.facts.traits import Traits
from aioresp.node import Dial, Figures, Node, NodeRole, Stats, observing, stats_of, terms_of
from aioresp.options import Settings, Terms
from aioresp.pool.entries import Closing, Lifetime
from aioresp.pool.loops import PerLoop, running_loop
from aioresp.pool.pool import Pool
from aioresp.pool.resource import PoolStats
from aioresp.pubsub.topics import Broker
from aioresp.reading import NEXT
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack
from aioresp.wire.race import ordered, race

T = TypeVar("T")

#: Command in whose name the topology is looked for.
_NOTHING: Final = pack(("CLUSTER", "SHARDS"))


class Fleet(Lifetime):
    """Nodes of a cluster, for any number of event loops and threads."""

    _instead = "make one in each process, from its URL"

    def __init__(self, settings: Settings, seeds: tuple[Address, ...]) -> None:
        super().__init__()
        self.settings = settings
        self.nodes = Nodes(settings, seeds)
        self.observer = observing(settings)
        if self.observer is not None:
            self.observer.server = self.nodes.address
        self.terms = terms_of(settings, self.observer)
        self.pools: PerLoop[Router] = PerLoop(partial(Router, self.nodes))
        self.reads = Reads(self.nodes, settings.availability_zone)
        #: Node of the ordinary subscriptions, which any node of the cluster may serve.
        self._anywhere = Node(settings, partial(_connect_anywhere, weakref.ref(self.pools)))
        if self._anywhere.observer is not None:
            self._anywhere.observer.server = self.nodes.address
        self.nodes.doubt = partial(_doubt, weakref.ref(self.pools))
        self.nodes.on_return = partial(_wake, weakref.ref(self.pools))

    def __repr__(self) -> str:
        known = self.nodes.topology
        told = "not found yet" if known is None else f"{len(known.primaries)} primaries, {len(known.replicas)} replicas"
        return f"Fleet({told}{', closed' if self.closed else ''})"

    # --- Commands ----------------------------------------------------------------------------------------------------

    async def send(self, packed: Packed, slot: int | None, terms: Terms, find: Find | None = None) -> Any:
        """Send a command to the node that serves a slot, or to the one that `find` chooses; return the raw reply.

        With neither it goes to a random primary.
        """
        return await deliver(self.course(packed, slot, terms, find=find), terms.decode)

    def course(
        self, packed: Packed, slot: int | None, terms: Terms, deadline: float | None = None, find: Find | None = None
    ) -> Course:
        """Return the course of a command that ends at `deadline` (loop time), by default after the terms' timeout."""
        router = self.pools.here()
        if slot is None and find is None:
            find = partial(any_primary, router)
        if deadline is None:
            deadline = math.inf if terms.timeout is None else running_loop().time() + terms.timeout
        return Course(router, packed, slot, terms, deadline, find)

    async def send_again(self, error: RedisError, packed: Packed, slot: int, terms: Terms) -> Any:
        """Send a command that failed with `error` again; return its raw reply, or raise the error if that may harm."""
        try:
            known = None if error.deadline == math.inf else error.deadline
            return await deliver(self.course(packed, slot, terms, known), terms.decode, error)
        finally:
            del error  # it holds this frame by its traceback

    async def read(self, packed: Packed, slot: int | None, terms: Terms) -> Any:
        """Send a command that only reads to the servers of its shard, in the order that `terms.read_from` asks for.

        Each may take half of the time that is left, or some seconds where there is no limit. The primary is the last
        resort, and is found by redirects.
        """
        if terms.read_from == "primary" or slot is None:
            return await self.send(packed, slot, terms)
        deadline = math.inf if terms.timeout is None else running_loop().time() + terms.timeout
        await self.topology(terms)
        router, reads = self.pools.here(), self.reads
        shard = router.shard_of(slot)
        if shard is None or router.on_its_way(slot):  # a replica would say that a key is not there
            return await deliver(self.course(packed, slot, terms, deadline), terms.decode)
        redirect: RedisError | None = None
        for address in reads.order(router, shard, terms.read_from):
            leads = address == shard.primary.address
            begin = running_loop().time()
            note = None if terms.trail is None else partial(terms.trail.reach, address)
            try:
                rest = share_of(deadline, begin) - begin
                pool = reads.pool(router, shard, address)
                value = await send_once(pool, packed, terms.decode, rest, note)
            except NEXT as error:
                if leads and is_redirect(error):
                    redirect = error
                    break
                reads.failed(router, shard, address, [error])
            else:
                reads.served(address, begin)
                if terms.trail is not None:
                    terms.trail.slots.add(slot)
                    terms.trail.arrive(address)
                return value
        begin = running_loop().time()
        try:
            value = await deliver(self.course(packed, slot, terms, deadline), terms.decode, redirect)
        finally:
            redirect = None  # it holds this frame by its traceback
        reads.served(shard.primary.address, begin)
        return value

    @property
    def has_replicas(self) -> bool:
        """Return True: views may read from replicas."""
        return True

    async def block(self, traits: Traits, slot: int | None, reply: Callable[[Any], T], terms: Terms) -> T:
        """Send a blocking command on a connection of its own, at the node that serves its slot."""
        return await Block(self.pools.here(), traits, slot, terms).run(reply)

    def route(self, terms: Terms) -> ClusterRoute:
        """Return the route of one pipeline."""
        return ClusterRoute(self.pools.here, any_primary, terms, self.reads)

    def broker(self) -> Broker:
        """Return the topics of the running loop. Raises ClientClosed."""
        router = self.pools.here()
        if router.hub is None:
            from aioresp.cluster.hubs import ClusterHub  # noqa: PLC0415 (many programs subscribe to nothing)

            router.hub = ClusterHub(router, self._anywhere.hubs.here())
        return router.hub

    async def topology(self, terms: Terms) -> Topology:
        """Return the topology, and find it before if it is not known."""
        return await self.course(_NOTHING, None, terms).discover()

    # --- The whole ---------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The seeds as a URL, without credentials."""
        return self.nodes.address

    def stats(self) -> Stats:
        """Return the figures of this moment: their sum, and those of each node and of each loop in use."""
        known = self.nodes.topology
        roles: dict[str, NodeRole | None] = {}
        for node in () if known is None else known.nodes:
            roles[str(node)] = node.role
        servers = [(host_port(*address), node.figures()) for address, node in self.nodes.items()]
        return stats_of((*servers, *self._of_subscriptions()), roles, self.nodes.past)

    def _of_subscriptions(self) -> Iterator[tuple[str | None, Figures]]:
        """Return the figures of the ordinary subscriptions, which count at the node that each loop listens to now."""
        total, loops = self._anywhere.figures()
        now = sum(loops.values(), PoolStats())
        yield None, (PoolStats(*(getattr(total, name) - getattr(now, name) for name in PoolStats.record_fields)), {})
        for loop, figures in loops.items():
            router = self.pools.find(loop)
            at = None if router is None else router.listening
            yield None if at is None else host_port(*at), (figures, {loop: figures})

    @property
    def closed(self) -> bool:
        """Whether commands are refused, after `aclose` and until `reopen`."""
        return self.pools.closed

    def shut(self, *, here: bool = False) -> Closing:
        """Begin to close the routers and all nodes, or with `here` what they have in the running loop."""
        self.nodes.closed = self.nodes.closed or not here
        closing: Closing = [(self.pools, self.pools.shut(0.0, here=here))]
        for node in (*self.nodes, self._anywhere):
            closing += node.shut(here=here)
        return closing

    def reopen(self) -> None:
        """Take commands again."""
        self.pools.closed = self.nodes.closed = False
        for node in (*self.nodes, self._anywhere):
            node.reopen()


def _doubt(routers: weakref.ref[PerLoop[Router]], news: bool) -> Callable[[], None]:
    """Have the running loop ask for the topology, if it uses the cluster, until the returned function is called."""
    known = routers()
    router = None if known is None else known.find(running_loop())
    return _nothing if router is None else router.doubt(news)


def _wake(routers: weakref.ref[PerLoop[Router]]) -> None:
    """Have the callers that wait in the running loop make their next attempt."""
    known = routers()
    router = None if known is None else known.find(running_loop())
    if router is not None:
        running_loop().call_soon(router.wake, context=Context())  # when the pool has the connection


def _nothing() -> None: ...


async def _connect_anywhere(routers: weakref.ref[PerLoop[Router]], dial: Dial) -> Connection:
    """Connect to a random healthy node; if that takes long, another one is tried beside it.

    Nodes that this loop has connections to come first: others may be out of reach.
    """
    known = routers()
    router = None if known is None else known.here()
    if router is None:
        raise ClientClosed("the client was closed")
    if router.topology is None:
        await router.wait(WANTED)
    healthy = [] if router.topology is None else [node.address for node in router.topology.nodes if node.healthy]
    if not healthy:
        raise ConnectError("no node of the cluster is known")
    connected = router.connected
    random.shuffle(healthy)
    healthy.sort(key=lambda address: address not in connected)
    nodes = {host_port(*address): address for address in healthy[:ASKED]}
    router.refresh()
    clock, begun = running_loop().time, dict[str, float]()

    async def connect(name: str) -> tuple[Address, Connection]:
        begun[name] = clock()
        members, address = router.nodes, nodes[name]
        endpoint = members.at(address).settings.endpoint
        return address, await members.certificates.connect(dial, endpoint, members.names_of)

    def head_start(name: str) -> float:
        return begun.get(name, clock()) + SLOW

    # The port 0 is no node's: what the race remembers is about these names.
    at, connection = await race(ordered(nodes, 0), 0, connect, head_start, _close)
    router.listening = at
    return connection


def _close(made: tuple[Address, Connection]) -> None:
    made[1].close()


def publisher(router: Router, slot: int) -> Find:
    """Return a function that finds the node for a message: the primary of its channel's slot, then random ones.

    Any node takes a message. Those of one channel go through one, so that they keep their order.
    """
    asked = False

    def find() -> Pool[Connection] | None:
        nonlocal asked
        pool = None if asked else router.pool(slot)
        asked = pool is not None
        return pool or any_primary(router)

    return find


def any_primary(router: Router) -> Pool[Connection] | None:
    """Return the pool of a random healthy primary; None before a topology is known."""
    nodes = [] if router.topology is None else [node for node in router.topology.primaries if node.healthy]
    return router.pool_at(random.choice(nodes).address) if nodes else None
