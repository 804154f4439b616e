"""Messages and who listens: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
from typing import Any

from aioresp import Client
from aioresp.testing import Server
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Wire, sent, wire

WIRE: Wire = [
    (lambda r: r.publish("news", "hello"), ("PUBLISH", "news", "hello")),
    (lambda r: r.publish(channel=b"news", message=7), ("PUBLISH", b"news", 7)),
    (lambda r: r.pubsub_channels(), ("PUBSUB", "CHANNELS", "*")),
    (lambda r: r.pubsub_channels(pattern=b"n*"), ("PUBSUB", "CHANNELS", b"n*")),
    (lambda r: r.pubsub_numpat(), ("PUBSUB", "NUMPAT")),
    (lambda r: r.pubsub_numsub(), ("PUBSUB", "NUMSUB")),
    (lambda r: r.pubsub_numsub("a", b"b"), ("PUBSUB", "NUMSUB", "a", b"b")),
    (lambda r: r.pubsub_shardchannels(), ("PUBSUB", "SHARDCHANNELS", "*")),
    (lambda r: r.pubsub_shardchannels(pattern="n*"), ("PUBSUB", "SHARDCHANNELS", "n*")),
    (lambda r: r.pubsub_shardnumsub("a", b"b"), ("PUBSUB", "SHARDNUMSUB", "a", b"b")),
    (lambda r: r.spublish("news", "hello"), ("SPUBLISH", "news", "hello")),
    (lambda r: r.spublish(shard_channel=b"news", message=7), ("SPUBLISH", b"news", 7)),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


class Listener:
    """A socket that subscribes."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __aenter__(self) -> Listener:
        self._reader, self._writer = await asyncio.open_connection(self._server.host, self._server.port)
        if self._server.password is not None:
            self._writer.write(b"AUTH %b\r\n" % self._server.password.encode())
            assert await self._reader.readline() == b"+OK\r\n"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def subscribe(self, command: bytes, channel: str) -> None:
        name = channel.encode()
        self._writer.write(b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(command), command, len(name), name))
        await self._reader.readuntil(b"\r\n:")
        await self._reader.readuntil(b"\r\n")

    async def hears(self, message: bytes) -> bytes:
        return await self._reader.readuntil(message + b"\r\n")


async def test_publish(r: Client[Any], server: Server, prefix: str) -> None:
    exactly(await r.publish(prefix, "nobody hears it"), 0)
    async with Listener(server) as listener:
        await listener.subscribe(b"SUBSCRIBE", prefix)
        exactly(await r.publish(prefix.encode(), "hello"), 1)
        assert (await listener.hears(b"hello")).startswith(b"*3\r\n$7\r\nmessage\r\n")


async def test_spublish(r: Client[Any], server: Server, prefix: str, since: Since) -> None:
    since(7, 0)
    exactly(await r.spublish(prefix, "nobody hears it"), 0)
    async with Listener(server) as listener:
        await listener.subscribe(b"SSUBSCRIBE", prefix)
        exactly(await r.spublish(prefix.encode(), "hello"), 1)
        assert (await listener.hears(b"hello")).startswith(b"*3\r\n$8\r\nsmessage\r\n")


async def test_who_listens(own: Client[Any], own_server: Server, text: Text) -> None:
    exactly(await own.pubsub_numpat(), 0)
    exactly(await own.pubsub_channels(), [])
    exactly(await own.pubsub_numsub(), {})
    async with Listener(own_server) as listener, Listener(own_server) as other:
        await listener.subscribe(b"SUBSCRIBE", "näws")
        await listener.subscribe(b"SUBSCRIBE", "sports")
        await other.subscribe(b"SUBSCRIBE", "sports")
        await other.subscribe(b"PSUBSCRIBE", "n*")
        exactly(sorted(await own.pubsub_channels()), text(["näws", "sports"]))
        exactly(await own.pubsub_channels("n*"), text(["näws"]))
        exactly(await own.pubsub_numsub("sports", "näws", "none"), text({"sports": 2, "näws": 1, "none": 0}))
        exactly(await own.pubsub_numpat(), 1)


async def test_who_listens_to_shard_channels(own: Client[Any], own_server: Server, text: Text, since: Since) -> None:
    since(7, 0)
    async with Listener(own_server) as listener:
        await listener.subscribe(b"SSUBSCRIBE", "shard")
        exactly(await own.pubsub_shardchannels(), text(["shard"]))
        exactly(await own.pubsub_shardchannels("n*"), [])
        exactly(await own.pubsub_shardnumsub("shard", "none"), text({"shard": 1, "none": 0}))
