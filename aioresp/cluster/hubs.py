"""Hubs of a cluster behind one face: a subscription does not know which nodes its topics live on.

Owns the choice of a node for each topic, and its move to another. An ordinary channel or a pattern is heard at any
node, a shard channel at the node of its slot, and keyspace events at every primary. Never reads a message.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aioresp.cluster.slots import slot_of_bytes
from aioresp.cluster.topology import Address, epoch_of
from aioresp.errors import ArgumentError, ClientClosed, ConnectionLost, MovedError, RedisError
from aioresp.pubsub.topics import Kind, Moment, Subscriber, Topic
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack

if TYPE_CHECKING:
    from aioresp.cluster.router import Router
    from aioresp.pubsub.hub import Hub

logger = logging.getLogger("aioresp")

#: Beginnings of the channels on which a node tells of its own keys only.
OF_KEYS: Final = (b"__keyspace@", b"__keyevent@")

#: Seconds between two looks at the epoch of the cluster, while there are keyspace events to hear. A primary that is
#: deposed goes on to tell them, as a replica, and perhaps no caller meets a redirect.
LOOK: Final = 1.0

#: Seconds that a node has to tell the epoch.
PATIENCE: Final = 2.0

_INFO: Final = pack(("CLUSTER", "INFO"))

#: Seconds until a shard channel that no node takes is asked for again.
AGAIN: Final = 0.1

#: Moves of a shard channel that are made at once in so many seconds; others wait for `AGAIN`.
AT_ONCE: Final = 3
PERIOD: Final = 0.5


class ClusterHub:
    """Topics of one event loop: a `Broker` over the hubs of the nodes, and one hub that is connected to any node."""

    def __init__(self, router: Router, anywhere: Hub) -> None:
        self._router = router
        self._loop = asyncio.get_running_loop()
        self._anywhere = anywhere
        #: The hub of each shard channel.
        self._homes: dict[Topic, Hub] = {}
        #: The shard channels by their names: also while it moves, each is at one hub alone.
        self._named: dict[bytes, Topic] = {}
        #: Moves of each shard channel in its present `PERIOD`, and the loop time at which that began.
        self._moves: dict[Topic, tuple[int, float]] = {}
        self._waiting: set[Topic] = set()  # shard channels that are asked for again in a moment
        self._everywhere: dict[tuple[Kind, bytes, Subscriber], Everywhere] = {}
        self._look_timer: asyncio.TimerHandle | None = None  # until the next look at the epoch
        #: Moments before the last two looks that have found the known epoch; events before them were not missed.
        self._settled = deque((Moment.now(),), 2)
        router.on_change.append(self._changed)

    def __repr__(self) -> str:
        return f"ClusterHub({len(self._homes)} shard channels, {len(self._everywhere)} on all primaries)"

    @property
    def on_drop(self) -> Callable[[str, int], None] | None:
        """Function that is told of dropped messages."""
        return self._anywhere.on_drop

    def _hubs(self) -> Iterator[Hub]:
        yield self._anywhere
        yield from {id(hub): hub for hub in self._homes.values()}.values()
        for each in self._everywhere.values():
            yield from each.parts

    def _hub_at(self, address: Address) -> Hub:
        hub = self._router.nodes.at(address).hubs.here()
        hub.on_moved = partial(self._moved, hub, address)
        hub.requests.slot_of = slot_of_bytes
        return hub

    def _home_of(self, slot: int) -> Hub | None:
        pool = self._router.pool(slot)
        address = None if pool is None else self._router.address(pool)
        return None if address is None else self._hub_at(address)

    # --- As a broker -------------------------------------------------------------------------------------------------

    def admit(self, subscriber: Subscriber) -> None:
        """End `subscriber` when the client is closed."""
        self._anywhere.admit(subscriber)

    def dismiss(self, subscriber: Subscriber) -> None:
        """Forget a subscriber that has left all its topics."""
        for hub in self._hubs():
            hub.dismiss(subscriber)

    def hold(self, subscriber: Subscriber) -> None:
        """Read nothing more from any node, as `subscriber` is full."""
        for hub in self._hubs():
            hub.hold(subscriber)

    def release(self, subscriber: Subscriber) -> None:
        """Read on, as far as it depends on `subscriber`."""
        for hub in self._hubs():
            hub.release(subscriber)

    def join(self, kind: Kind, name: bytes, subscriber: Subscriber) -> Any:
        """Hand `subscriber` the messages of a topic, once `confirmed` has returned. Raises ClientClosed."""
        if kind != "s" and name.startswith(OF_KEYS):
            topic = Everywhere(kind, name, subscriber)
            self._everywhere[kind, name, subscriber] = topic
            topic.join(self._primaries())
            if self._look_timer is None:
                self._settled.append(Moment.now())
                self._look_later()
            return topic
        if kind != "s":
            return self._anywhere.join(kind, name, subscriber)
        known = self._named.get(name)
        hub = self._homes[known] if known is not None else self._home_of(slot_of_bytes(name)) or self._any_primary()
        hub.admit(subscriber)
        found = self._named[name] = hub.join(kind, name, subscriber)
        self._homes[found] = hub
        return found

    def leave(self, topic: Topic | Everywhere, subscriber: Subscriber) -> None:
        """Hand `subscriber` nothing more of a topic; after the last one, its node is told."""
        if isinstance(topic, Everywhere):
            self._everywhere.pop((topic.kind, topic.name, subscriber), None)
            topic.leave()
            if not self._everywhere and self._look_timer is not None:
                self._look_timer.cancel()
                self._look_timer = None
            return
        self._homes.get(topic, self._anywhere).leave(topic, subscriber)
        if not topic.subscribers:
            self._homes.pop(topic, None)
            self._moves.pop(topic, None)
            if self._named.get(topic.name) is topic:
                del self._named[topic.name]

    async def confirmed(self, topics: Collection[Any], timeout: float | None) -> None:
        """Wait until all topics are live; see `Hub.confirmed`."""
        groups: dict[Hub, list[Topic]] = {}
        for topic in topics:
            if isinstance(topic, Everywhere):
                for hub, part in topic.parts.items():
                    groups.setdefault(hub, []).append(part)
            else:
                groups.setdefault(self._homes.get(topic, self._anywhere), []).append(topic)
        begin = self._loop.time()
        for hub, members in groups.items():
            rest = None if timeout is None else max(begin + timeout - self._loop.time(), 0.001)
            await hub.confirmed(members, rest)

    # --- Moves -------------------------------------------------------------------------------------------------------

    def _primaries(self) -> list[Hub]:
        topology = self._router.topology
        return [] if topology is None else [self._hub_at(node.address) for node in topology.primaries]

    def _any_primary(self) -> Hub:
        hubs = self._primaries()
        if not hubs:
            raise self._router.unserved(None)
        return hubs[0]  # it answers with a redirect, or refuses for now

    def _moved(self, hub: Hub, at: Address, topic: Topic, error: MovedError) -> None:
        """Take a redirect for a shard channel: that channel alone goes to the other node."""
        if error.slot is not None and error.slot == slot_of_bytes(topic.name):
            try:
                address = self._router.locate(error.host, error.port, at)
            except ArgumentError as wrong:
                logger.warning("a redirect is not followed: %s", wrong)
                address = None
            if address is not None:
                self._router.tell_redirect(error, error.slot, address, self._router.pool(error.slot))
                self._router.patch(error.slot, self._router.pool_at(address))
            self._router.refresh()
        self._settle(topic, hub)

    def _settle(self, topic: Topic, before: Hub) -> None:
        """Bring a shard channel to the hub of its slot; later, if that is the one that has just refused it."""
        if not topic.subscribers or self._homes.get(topic) is not before:
            return
        home = self._home_of(slot_of_bytes(topic.name))
        if home is None or home is before or self._moves_often(topic):
            if topic not in self._waiting:
                self._waiting.add(topic)
                self._loop.call_later(AGAIN, self._ask_again, topic, before, context=Context())
            return
        before.give_away(topic)
        self._homes[topic] = home
        home.adopt(topic)

    def _moves_often(self, topic: Topic) -> bool:
        """Return whether a channel must not move again yet: its nodes may redirect to each other."""
        now = asyncio.get_running_loop().time()
        moves, since = self._moves.get(topic, (0, -PERIOD))
        if now - since >= PERIOD:
            moves, since = 0, now
        self._moves[topic] = moves + 1, since
        return moves >= AT_ONCE

    def _ask_again(self, topic: Topic, hub: Hub) -> None:
        self._waiting.discard(topic)
        if topic.subscribers and self._homes.get(topic) is hub and not topic.live:
            home = self._home_of(slot_of_bytes(topic.name))
            if home is hub:
                hub.give_away(topic)
                hub.adopt(topic)
            else:
                self._settle(topic, hub)

    def _changed(self) -> None:
        """Bring all topics to their nodes, after a change of the topology."""
        for topic, hub in list(self._homes.items()):
            home = self._home_of(slot_of_bytes(topic.name))
            if home is not None and home is not hub:
                self._settle(topic, hub)
        if self._everywhere:
            hubs = self._primaries()
            for each in list(self._everywhere.values()):
                each.move(hubs, self._settled[0])
        at = self._router.listening
        topology = self._router.topology
        if at is not None and topology is not None and at not in {node.address for node in topology.nodes}:
            self._router.listening = None
            error = ConnectionLost("the node of the subscriptions has left the cluster")
            self._anywhere.move(error, self._router.seen)

    # --- The epoch ---------------------------------------------------------------------------------------------------

    def _look_later(self) -> None:
        self._look_timer = self._loop.call_later(LOOK, self._look, context=Context())

    def _look(self) -> None:
        """Ask a primary for the epoch: it rises with each failover, and each slot that is moved."""
        topology = self._router.topology
        healthy = [] if topology is None else [node for node in topology.primaries if node.healthy]
        answer: asyncio.Future[Any] = self._loop.create_future()
        answer.add_done_callback(partial(self._looked, Moment.now()), context=Context())
        try:
            self._router.pool_at(random.choice(healthy).address).place(answer, partial(_ask, answer), PATIENCE)
        except (IndexError, RedisError) as error:
            answer.set_exception(error)

    def _looked(self, asked: Moment, answer: asyncio.Future[Any]) -> None:
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, ClientClosed) or not self._everywhere:
            self._look_timer = None
            return
        topology = self._router.topology
        if error is None and not answer.cancelled() and topology and epoch_of(answer.result()) == topology.epoch:
            self._settled.append(asked)
        else:
            self._router.refresh()
        self._look_later()


def _ask(answer: asyncio.Future[Any], connection: Connection, rest: float | None) -> None:
    connection.send(_INFO, False, rest, answer)


class Everywhere:
    """Topic of one subscriber at every primary, each of which tells a part of its messages."""

    def __init__(self, kind: Kind, name: bytes, subscriber: Subscriber) -> None:
        self.kind: Kind = kind
        self.name = name
        self.parts: dict[Hub, Topic] = {}
        self._subscriber = subscriber

    @property
    def live(self) -> bool:
        """Whether all nodes have confirmed it."""
        return all(part.live for part in self.parts.values())

    def join(self, hubs: Collection[Hub]) -> None:
        """Subscribe at these hubs."""
        for hub in hubs:
            hub.admit(self._subscriber)
            self.parts[hub] = hub.join(self.kind, self.name, self._subscriber)

    def move(self, hubs: Collection[Hub], settled: Moment) -> None:
        """Subscribe at these hubs alone. The gap begins with the last word of the hubs that are left.

        It begins at `settled` at the latest: until then these were the hubs of all primaries.
        """
        gone = [hub for hub in self.parts if hub not in hubs]
        new = [hub for hub in hubs if hub not in self.parts]
        since = min((settled, *(hub.complete for hub in gone)), key=lambda moment: moment.ticks)
        self.join(new)
        for hub in new:
            self._subscriber.lose(self.parts[hub], since)
        for hub in gone:
            self._leave(hub)

    def leave(self) -> None:
        """Subscribe nowhere any more."""
        for hub in list(self.parts):
            self._leave(hub)

    def _leave(self, hub: Hub) -> None:
        part = self.parts.pop(hub)
        hub.leave(part, self._subscriber)
        self._subscriber.regain(part)
