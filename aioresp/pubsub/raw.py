"""Subscriber in RESP: commands in, and the bytes that a server would send, for layers with a parser of their own.

Owns the translation of SUBSCRIBE and the like into topics of a subscription, and of messages and lines of MONITOR into
bytes. Never owns a connection: all subscribers of an event loop share one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import Context
from types import TracebackType
from typing import Any, Final, Self

from aioresp.errors import ConnectionLost
from aioresp.pubsub.monitor import MonitoredCommand
from aioresp.pubsub.subscription import Subscription
from aioresp.pubsub.topics import Gap, Kind, Message, Moment, Topic

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


class Fleeting(Subscription[Any]):
    """Subscription that ends with its connection, for a subscriber who then asks which server to go to."""

    def lose(self, topic: Topic, since: Moment) -> None:
        """End a moment later: the hub is in the middle of telling all subscribers."""
        super().lose(topic, since)
        error = ConnectionLost("the connection of the subscription was lost", "not sent")
        asyncio.get_running_loop().call_soon(self.end, error, context=Context())


class RawSubscriber:
    """Channels, patterns and shard channels of one subscriber; to a parser of RESP it is the stream of a socket."""

    def __init__(self, subscription: Subscription[Any], pushes: bool) -> None:
        """Listen by a subscription to nothing yet; with `pushes` messages are those of RESP3."""
        self._subscription = subscription
        self._names: dict[Kind, dict[bytes, None]] = {"": {}, "p": {}, "s": {}}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pushes = pushes

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._subscription.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.here:
            await self._subscription.__aexit__(kind, error, traceback)

    async def send(self, words: Sequence[bytes]) -> None:
        """Carry out a command of `COMMANDS`, or a PING. Its answer is read between the messages, as a server's is."""
        name = words[0].decode().upper()
        if name not in COMMANDS:
            self._pong(words[1:])
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

    def _pong(self, said: Sequence[bytes]) -> None:
        """Answer a PING as the server would: in RESP2 a subscriber gets a list."""
        answer = said[0] if said else b""
        self._subscription.put((answer or b"PONG") if self._pushes else [b"pong", answer])

    async def read(self, most: int = 0) -> bytes:
        """Return the bytes of the next message, however many. Raises SubscriptionClosed or ConnectionLost.

        After a gap all topics are confirmed again, as if the subscriber itself had subscribed again.
        """
        while True:
            item = await self._subscription.get()
            if not isinstance(item, Gap):
                return self._encoded(self._as_list(item) if isinstance(item, Message) else item)
            for name, (kind, adds) in COMMANDS.items():
                for each in self._names[kind] if adds else ():
                    self._confirm(name, kind, each)

    def take(self) -> list[Any] | None:
        """Return the next message as a parser would, if it is here; None if there is none, or if it is no message."""
        message = self._subscription.take(Message)
        return None if message is None else self._as_list(message)

    def _as_list(self, message: Message[bytes]) -> list[Any]:
        if message.pattern is not None:
            return [b"pmessage", message.pattern, message.channel, message.data]
        shard = message.channel in self._names["s"] and message.channel not in self._names[""]
        return [b"smessage" if shard else b"message", message.channel, message.data]

    def _encoded(self, item: Any) -> bytes:
        sign = b">" if self._pushes and type(item) is list and item[0] != b"pong" else b""
        return resp(item, sign)

    @property
    def waiting(self) -> int:
        """Number of messages that can be read at once."""
        return self._subscription.waiting

    @property
    def here(self) -> bool:
        """Whether it listens in the running loop."""
        return self._loop is asyncio.get_running_loop()


def resp(value: Any, sign: bytes = b"") -> bytes:
    """Return a value in RESP; `sign` is that of a list, if it is a push."""
    if value is None:
        return b"$-1\r\n"
    if type(value) is int:
        return b":%d\r\n" % value
    if type(value) is bytes:
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"%b%d\r\n%b" % (sign or b"*", len(value), b"".join(map(resp, value)))


_ESCAPES: Final = {value: f"\\x{value:02x}" for value in range(256) if not 32 <= value < 127}
_ESCAPES.update({ord('"'): '\\"', ord("\\"): "\\\\", 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"})


def monitor_line(command: MonitoredCommand[bytes]) -> bytes:
    """Return the line of MONITOR for a command."""
    words = " ".join(f'"{each.decode("latin-1").translate(_ESCAPES)}"' for each in command.arguments)
    return f"{command.time:.6f} [{command.db} {command.client!s}] {words}".encode("latin-1")
