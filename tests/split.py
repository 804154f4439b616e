"""Client over two servers, as a proof that one can be built without private names: see test_node.py.

Keys and channels that begin with "a" live on the first server, all others on the second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn, TypeVar

from aioresp import Client, Result
from aioresp.command import Arguments, locate
from aioresp.commands import Commands
from aioresp.contexts.large import Replies
from aioresp.contexts.pipeline import Pipeline
from aioresp.node import Node
from aioresp.pubsub.subscription import Subscription
from aioresp.pubsub.topics import Kind, Message, Subscriber, Topic
from aioresp.wire.packing import Packed, unpack

T = TypeVar("T")


class Split(Commands[str]):
    """Commands, blocking pops, pipelines and subscriptions over two nodes."""

    def __init__(self, first: Node, second: Node) -> None:
        self.clients: tuple[Client[str], Client[str]] = Client.over(first), Client.over(second)

    def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Result[T]:
        return self.clients[home(arguments)].execute(arguments, reply)

    def pipeline(self) -> Pipeline[str]:
        return Pipeline(SplitRoute(*self.clients), decode=True, transaction=False)

    def subscribe(self, *channels: str) -> Subscription[Message[str]]:
        first, second = (client.node.hubs for client in self.clients)
        find: Any = lambda: SplitHub(first.here(), second.here())  # noqa: E731
        return Subscription(find, True, 10.0, "", channels, False, 1000, "drop_oldest")

    async def aclose(self) -> None:
        await asyncio.gather(*(client.aclose() for client in self.clients))


class SplitRoute:
    """Each command of a pipeline goes to its server, and all of one server in one write."""

    shared = True
    watching = False

    def __init__(self, *clients: Client[str]) -> None:
        self.routes = [client.node.route(client.terms) for client in clients]
        self.find_pool, self.on_lost = self.routes[0].find_pool, self.routes[0].on_lost

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        sides = [home(unpack(packed)) for packed in commands]
        parts = [[packed for packed, at in zip(commands, sides, strict=True) if at == number] for number in (0, 1)]
        pairs = [(route, part) for route, part in zip(self.routes, parts, strict=True) if part]
        found = await asyncio.gather(*(route.carry(part, decode, whole) for route, part in pairs))
        raw = {route: iter(replies.raw) for (route, _), replies in zip(pairs, found, strict=True)}
        return Replies([next(raw[self.routes[at]]) for at in sides], all(replies.clean for replies in found))

    async def private(self) -> NoReturn:
        raise NotImplementedError("a transaction needs one server")


class SplitHub:
    """Each channel is subscribed to on its server."""

    def __init__(self, *hubs: Any) -> None:
        self.hubs = hubs
        self.on_drop = None

    def __getattr__(self, name: str) -> Callable[[Subscriber], None]:
        def both(reader: Subscriber) -> None:  # admit, dismiss, hold, release
            for hub in self.hubs:
                getattr(hub, name)(reader)

        return both

    def join(self, kind: Kind, name: bytes, reader: Subscriber) -> Any:
        return self.hubs[side(name)].join(kind, name, reader)

    def leave(self, topic: Topic, reader: Subscriber) -> None:
        self.hubs[side(topic.name)].leave(topic, reader)

    async def confirmed(self, topics: Collection[Topic], timeout: float | None) -> None:
        for number, hub in enumerate(self.hubs):
            await hub.confirmed([topic for topic in topics if side(topic.name) == number], timeout)


def home(arguments: Sequence[object]) -> int:
    return side((locate(arguments)[1] or "''")[1:])  # a key is shown in quotes


def side(name: str | bytes) -> int:
    return 0 if name[:1] in ("a", b"a") else 1
