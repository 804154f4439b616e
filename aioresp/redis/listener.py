"""Subscriber mode of a connection of redis-py, on a subscription of the shared client.

Owns the translation of SUBSCRIBE and its kin into topics, and of messages into the lists that redis-py reads. Never owns
a connection: all subscribers of an event loop share one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aioresp.client import Client
from aioresp.pubsub.subscription import Subscription
from aioresp.pubsub.topics import Gap, Kind, Message

#: Messages that wait for their reader, at most: then the subscription ends with an error, as the server would end it.
BUFFER: Final = 100_000

#: First words of the commands of subscribers, each with the letter of its kind and whether it adds.
COMMANDS: Final[dict[str, tuple[Kind, bool]]] = {
    "SUBSCRIBE": ("", True),
    "PSUBSCRIBE": ("p", True),
    "SSUBSCRIBE": ("s", True),
    "UNSUBSCRIBE": ("", False),
    "PUNSUBSCRIBE": ("p", False),
    "SUNSUBSCRIBE": ("s", False),
}


class Listener:
    """Channels, patterns and shard channels of one connection, and what has come of them."""

    def __init__(self, client: Client[bytes]) -> None:
        self._subscription: Subscription[Any] = client.subscribe(gaps=True, buffer=BUFFER, overflow="close")
        self._names: dict[Kind, dict[bytes, None]] = {"": {}, "p": {}, "s": {}}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def enter(self) -> None:
        """Begin to listen, to nothing yet."""
        self._loop = asyncio.get_running_loop()
        await self._subscription.__aenter__()

    async def send(self, words: Sequence[bytes]) -> None:
        """Carry out a command of a subscriber; the confirmations are read by `receive`, as they would be of a server."""
        name = words[0].decode().upper()
        if name not in COMMANDS:
            self._subscription.put([b"pong", words[1] if len(words) > 1 else b""])
            return
        kind, adds = COMMANDS[name]
        known = self._names[kind]
        names = list(words[1:])
        if adds:
            await self._change(kind, "subscribe", names)
        else:
            names = names or list(known)
            if known.keys() & set(names):  # without names it would be all
                await self._change(kind, "unsubscribe", [name for name in names if name in known])
        for each in names:
            if adds:
                known[each] = None
            else:
                known.pop(each, None)
            self._confirm(name, kind, each)
        if not names:
            self._confirm(name, kind, None)

    async def _change(self, kind: Kind, what: str, names: list[bytes]) -> None:
        await getattr(self._subscription, kind + what)(*names)

    def _confirm(self, name: str, kind: Kind, topic: bytes | None) -> None:
        count = len(self._names["s"]) if kind == "s" else len(self._names[""]) + len(self._names["p"])
        self._subscription.put([name.lower().encode(), topic, count])

    async def receive(self, timeout: float | None) -> Any:
        """Return the next message as the server's list, or None if none has come within so many seconds.

        After a gap the topics are confirmed again, as they are where redis-py subscribes again.
        """
        while True:
            item = await self._subscription.get(timeout)
            if isinstance(item, Gap):
                for name, (kind, adds) in COMMANDS.items():
                    for each in self._names[kind] if adds else ():
                        self._confirm(name, kind, each)
            elif isinstance(item, Message):
                return self._as_list(item)
            else:
                return item

    def _as_list(self, message: Message[bytes]) -> list[Any]:
        if message.pattern is not None:
            return [b"pmessage", message.pattern, message.channel, message.data]
        shard = message.channel in self._names["s"] and message.channel not in self._names[""]
        return [b"smessage" if shard else b"message", message.channel, message.data]

    @property
    def waiting(self) -> int:
        """Number of messages that can be read at once."""
        return self._subscription.waiting

    @property
    def here(self) -> bool:
        """Whether it listens in the running loop."""
        return self._loop is asyncio.get_running_loop()

    async def leave(self) -> None:
        """Stop listening."""
        if self.here:
            await self._subscription.__aexit__(None, None, None)
