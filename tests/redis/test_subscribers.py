"""PubSub and Monitor of redis-py over the layer: one connection for all, and no message lost in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import exceptions

from aioresp import Client
from tests.redis.conftest import Make
from tests.redis.seen import named, plain

# What a client of each kind does here is the same code: both are tried by the long run.
pytestmark = pytest.mark.turns(2)


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def name(prefix: str) -> str:
    """A name for connections."""
    return prefix.replace(" ", "_")


async def message(p: Any, timeout: float = 20) -> Any:
    """Return the next message that is no confirmation."""
    async with asyncio.timeout(timeout):
        while True:
            found = await p.get_message(ignore_subscribe_messages=True, timeout=timeout)
            if found is not None:
                return found


async def test_many_subscribers_share_a_connection(make: Make, other: Client[str], prefix: str, name: str) -> None:
    client = make(client_name=name, decode_responses=True)
    subscribers = [client.pubsub() for _ in range(60)]  # a thousand below
    await asyncio.gather(*(p.subscribe(f"{prefix}{n % 20}") for n, p in enumerate(subscribers)))
    listening = [info for info in await named(other, name) if info.sub]
    assert [info.sub for info in listening] == [20]
    for n in range(20):
        assert await client.publish(f"{prefix}{n}", n) == 1
    got = await asyncio.gather(*map(message, subscribers))
    assert [int(each["data"]) for each in got] == [n % 20 for n in range(60)]
    assert len(await named(other, name)) <= 9
    await asyncio.gather(*(p.aclose() for p in subscribers))
    async with asyncio.timeout(20):
        while any(info.sub for info in await named(other, name)):
            await asyncio.sleep(0.01)


@pytest.mark.ci
async def test_a_thousand_subscribers_share_a_connection(
    make: Make, other: Client[str], prefix: str, name: str, no_debug: None
) -> None:
    client = make(client_name=name)
    subscribers = [client.pubsub() for _ in range(1000)]
    await asyncio.gather(*(p.subscribe(f"{prefix}{n}") for n, p in enumerate(subscribers)))
    assert [info.sub for info in await named(other, name) if info.sub] == [1000]
    for n in range(1000):
        await client.publish(f"{prefix}{n}", n)
    assert [int((await message(p))["data"]) for p in subscribers] == list(range(1000))
    await asyncio.gather(*(p.aclose() for p in subscribers))


async def test_confirmations_and_messages_are_those_of_redis_py(
    make: Make, server: Any, prefix: str, protocol: int
) -> None:
    if server.version < (7,):
        pytest.skip("shard channels are there since 7.0")

    async def all_of(client: Any) -> list[Any]:
        found: list[Any] = []
        async with client.pubsub() as p:

            async def read(count: int) -> None:
                async with asyncio.timeout(20):
                    for _ in range(count):
                        while (item := await p.get_message(timeout=20)) is None:
                            pass
                        found.append(item)

            await p.subscribe(f"{prefix}a", f"{prefix}b")
            await read(2)
            await p.subscribe(f"{prefix}a")
            await p.psubscribe(f"{prefix[-6:]}*", "p*")
            await p.ssubscribe(f"{prefix}s", f"{prefix}t")
            await read(5)
            await client.publish(f"{prefix}a", "1")
            await client.publish(f"{prefix[-6:]}x", b"\xff\x00")
            await client.spublish(f"{prefix}s", "3")
            await client.spublish(f"{prefix}t", "4")
            await read(4)
            await p.unsubscribe(f"{prefix}b", f"{prefix}never")
            await p.ping()
            await read(3)
            await p.ping("said")
            await p.punsubscribe()
            await read(3)
            await p.sunsubscribe(f"{prefix}t")
            await p.unsubscribe()
            await p.sunsubscribe()
            await read(3)
            assert not p.subscribed
        # The server writes shard messages and others in the order of their commands; those of names in a set have none.
        return sorted(map(repr, found))

    async with plain(server.url, protocol=protocol) as alone:
        assert await all_of(make(protocol=protocol)) == await all_of(alone)


async def test_handlers(make: Make, prefix: str, protocol: int) -> None:
    client = make(protocol=protocol, decode_responses=True)
    got: list[Any] = []

    async def asynchronous(found: Any) -> None:
        got.append(("asynchronous", found["data"]))

    async with client.pubsub(ignore_subscribe_messages=True) as p:
        await p.subscribe(
            **{f"{prefix}a": lambda found: got.append(("plain", found["data"])), f"{prefix}b": asynchronous}
        )
        await p.psubscribe(**{f"{prefix[-6:]}*": lambda found: got.append((found["type"], found["data"]))})
        running = asyncio.ensure_future(p.run(poll_timeout=1))
        await client.publish(f"{prefix}a", 1)
        await client.publish(f"{prefix}b", 2)
        await client.publish(f"{prefix[-6:]}c", 3)
        async with asyncio.timeout(20):
            while len(got) < 3:
                await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert sorted(got) == [("asynchronous", "2"), ("plain", "1"), ("pmessage", "3")]


async def test_one_task_listens_while_another_subscribes(make: Make, prefix: str, protocol: int) -> None:
    client = make(protocol=protocol, decode_responses=True)
    got: list[str] = []
    async with client.pubsub(ignore_subscribe_messages=True) as p:
        await p.subscribe(f"{prefix}first")

        async def listen() -> None:
            async for found in p.listen():
                got.append(found["data"])
                if found["data"] == "end":
                    return

        task = asyncio.ensure_future(listen())
        for n in range(20):
            await p.subscribe(f"{prefix}{n}")
            assert await client.publish(f"{prefix}{n}", n) == 1, "the server has confirmed"
            if n % 3 == 0:
                await p.unsubscribe(f"{prefix}{n}")
        await client.publish(f"{prefix}first", "end")
        async with asyncio.timeout(20):
            await task
    # A message that arrives with the end of its subscription is not delivered.
    assert got[-1] == "end"
    assert [data for data in got if data != "end" and int(data) % 3] == [str(n) for n in range(20) if n % 3]


async def test_a_cancelled_get_message_loses_none(make: Make, prefix: str) -> None:
    client = make(decode_responses=True)
    async with client.pubsub(ignore_subscribe_messages=True) as p:
        await p.subscribe(prefix)
        got: list[int] = []

        async def read() -> None:
            found = await p.get_message(timeout=20)
            if found is not None:
                got.append(int(found["data"]))

        for n in range(60):
            task = asyncio.ensure_future(read())
            for _ in range(n % 4):
                await asyncio.sleep(0)
            publishing = asyncio.ensure_future(client.publish(prefix, n))
            for _ in range(n % 7):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await publishing
        async with asyncio.timeout(20):
            while len(got) < 60:
                await read()
        assert got == list(range(60))


async def test_get_message_takes_its_time(make: Make, prefix: str) -> None:
    client = make(socket_timeout=0.05)
    async with client.pubsub(ignore_subscribe_messages=True) as p:
        await p.subscribe(prefix)
        assert await p.get_message(timeout=0) is None
        assert await p.get_message(timeout=0.01) is None
        waiting = asyncio.ensure_future(p.get_message(timeout=None))
        await asyncio.sleep(0.2)
        assert not waiting.done() or await waiting is None
        await client.publish(prefix, "late")
        found = await waiting or await message(p)
        assert found["data"] == b"late"


async def test_a_subscriber_without_topics(make: Make) -> None:
    client = make()
    async with client.pubsub() as p:
        with pytest.raises(RuntimeError):
            await p.get_message()
        await p.unsubscribe()
        assert [each async for each in p.listen()] == []
        assert not p.subscribed


async def test_the_end_of_the_connection_is_made_good(make: Make, other: Client[str], prefix: str, name: str) -> None:
    client = make(client_name=name, decode_responses=True)
    async with client.pubsub() as p:
        await p.subscribe(f"{prefix}a", f"{prefix}b")
        await p.psubscribe("p*")
        for _ in range(3):
            assert await p.get_message(timeout=20)
        for info in await named(other, name):
            if info.sub:
                await other.call("CLIENT", "KILL", "ID", info.id)
        again = [await p.get_message(timeout=20) for _ in range(3)]
        assert sorted((each["type"], each["channel"]) for each in again if each) == [
            ("psubscribe", "p*"),
            ("subscribe", f"{prefix}a"),
            ("subscribe", f"{prefix}b"),
        ], "the topics are confirmed again: what was published in between is lost"
        await client.publish(f"{prefix}a", "on")
        assert (await message(p))["data"] == "on"
        assert p.subscribed


async def test_a_slow_reader_holds_up_nobody(make: Make, prefix: str) -> None:
    client = make(decode_responses=True)
    async with (
        client.pubsub(ignore_subscribe_messages=True) as slow,
        client.pubsub(ignore_subscribe_messages=True) as p,
    ):
        await slow.subscribe(prefix)
        await p.subscribe(prefix)
        for _ in range(3):
            batch = client.pipeline(transaction=False)
            for n in range(100):
                batch.publish(prefix, n)
            await batch.execute()
            for n in range(100):
                assert (await message(p))["data"] == str(n)
        assert await client.ping()
        for n in range(300):
            assert (await message(slow))["data"] == str(n % 100)


@pytest.mark.ci
async def test_a_reader_that_is_far_too_slow_gets_an_error(make: Make, prefix: str, no_debug: None) -> None:
    client = make()
    async with client.pubsub(ignore_subscribe_messages=True) as p:
        await p.subscribe(prefix)
        sent = 0
        while await client.publish(prefix, sent):  # it is the subscriber's end that the server sees
            assert sent < 300_000
            batch = client.pipeline(transaction=False)
            for n in range(10_000):
                batch.publish(prefix, n)
            await batch.execute()
            sent += 10_000
        with pytest.raises(exceptions.ConnectionError, match="100000 messages waited"):
            for _ in range(110_000):
                await p.get_message(timeout=1)


# --- MONITOR ---------------------------------------------------------------------------------------------------------


async def test_monitor(make: Make, server: Any, prefix: str, protocol: int) -> None:
    async def seen(client: Any) -> list[Any]:
        found: list[Any] = []
        async with client.monitor() as m:
            await client.set(f"{prefix}k", 'a "b" \\ \n \x07 é')
            await client.execute_command("ECHO", b"\x00\xff")
            await client.lrange(f"{prefix}l", 0, -1)
            async with asyncio.timeout(20):
                while len(found) < 3:
                    command = await m.next_command()
                    if prefix in command["command"] or "ECHO" in command["command"]:
                        assert command["time"] > 1e9
                        assert command["client_address"] == "127.0.0.1"
                        assert int(command["client_port"])
                        found.append({key: command[key] for key in ("db", "client_type", "command")})
        return found

    async with plain(server.url, protocol=protocol) as alone:
        assert await seen(make(protocol=protocol)) == await seen(alone)


async def test_a_monitor_ends_with_its_block(make: Make, other: Client[str], name: str) -> None:
    client = make(client_name=name)
    async with client.monitor() as m:
        await client.ping()
        assert (await m.next_command())["command"]
        assert any("O" in (info.flags or "") for info in await named(other, name))
    await client.aclose()
    async with asyncio.timeout(20):
        while await named(other, name):
            await asyncio.sleep(0.01)


async def test_a_monitor_on_a_connection_that_another_command_has_changed(make: Make, prefix: str) -> None:
    client = make(decode_responses=True)
    await client.select(1)
    async with client.monitor() as m:
        await client.set(prefix, 1)
        while (await m.next_command())["command"] != f"SET {prefix} 1":
            pass
