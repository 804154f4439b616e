"""The connection that all subscriptions share: what it survives, and that nothing of it is left over."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings
from typing import Literal, cast

import pytest

import aioresp
from aioresp import Client, Credentials, Gap, Message, Retry
from aioresp.pubsub import hub as hubs
from aioresp.pubsub.hub import Hub
from aioresp.pubsub.topics import Subscriber, Topic
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from aioresp.wire.connection import Connection
from tests.pubsub.listening import subscribers, until
from tests.rest import tasks_besides


@pytest.fixture
def prefix() -> str:
    """One without the brackets that tests have in their names: they mean something in a glob."""
    return f"{os.urandom(4).hex()}:"


# --- Gaps -------------------------------------------------------------------------------------------------------------


async def test_a_loss_between_asking_and_confirmation(
    proxy: Proxy, other: Client[str], resp: Literal[2, 3], prefix: str
) -> None:
    """What was confirmed has a gap; what was only asked for has none, and is asked for again."""
    a, b = f"{prefix}a", f"{prefix}b"
    async with (
        Client(proxy.url, protocol=resp) as r,
        r.subscribe(a, gaps=True) as both,
        r.subscribe(gaps=True) as new,
    ):
        proxy.stall("down")
        adding = asyncio.gather(both.subscribe(b), new.subscribe(b))
        await subscribers(other, b, 1)
        assert not adding.done()
        await other.publish(a, "missed")
        proxy.cut()
        proxy.resume("down")
        await adding
        gap = await both.get(5)
        assert isinstance(gap, Gap)
        assert both.gaps == (gap,)
        assert new.gaps == ()
        for channel in (a, b):
            await other.publish(channel, "after")
        assert [await both.get(5), await both.get(5)] == [Message(a, "after"), Message(b, "after")]
        assert await new.get(5) == Message(b, "after")


async def test_one_gap_for_losses_that_follow_each_other(proxy: Proxy, other: Client[str], prefix: str) -> None:
    """Lost again before all was confirmed: the gap goes on, from the first loss to the last confirmation."""
    channels = [f"{prefix}{n}" for n in range(3)]
    async with Client(proxy.url) as r, r.subscribe(*channels, gaps=True) as s:
        for _ in range(3):
            proxy.stall("down")
            made = r.stats().made
            proxy.cut()
            proxy.resume("up")
            await until(lambda: r.stats().made == made + 1 or proxy.open > 0)  # noqa: B023  # called in this turn
        proxy.heal()
        gap = await s.get(10)
        assert isinstance(gap, Gap)
        for channel in channels:
            await other.publish(channel, "after")
        assert [await s.get(5) for _ in channels] == [Message(channel, "after") for channel in channels]
        assert s.gaps == (gap,)


async def test_dropping_all_while_there_is_no_connection(
    proxy: Proxy, other: Client[str], resp: Literal[2, 3], prefix: str
) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    async with Client(proxy.url, protocol=resp) as r, r.subscribe(a, b, gaps=True) as s, r.psubscribe(f"{a}*") as p:
        proxy.refuse()
        proxy.cut()
        await until(lambda: bool(s._lost))
        await s.unsubscribe()
        await p.punsubscribe(f"{a}*")
        assert isinstance(await s.get(0), Gap), "what was missed until then was missed"
        assert len(p.gaps) == 1
        proxy.accept()
        await s.subscribe(b)
        await other.publish(a, "nobody")
        await other.publish(b, "again")
        assert await s.get(5) == Message(b, "again")
        assert await other.pubsub_numsub(a, b) == {a: 0, b: 1}
        assert len(s.gaps) == 1


# --- Coming and going -------------------------------------------------------------------------------------------------


async def test_who_gives_up_leaves_the_channel_to_who_waits_for_it(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url) as r, r.subscribe(f"{prefix}a") as s:
        proxy.stall("down")
        first, second = (asyncio.create_task(s.subscribe(f"{prefix}b")) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        proxy.resume("down")
        await second
        await r.publish(f"{prefix}b", "1")
        assert (await s.get()).data == "1"
        proxy.stall("down")
        tasks = [asyncio.create_task(s.subscribe(f"{prefix}c")) for _ in range(2)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert repr(s) == "Subscription(2 channels, 0 waiting, 0 dropped)", "nobody wants it any more"
        assert not s._adding


async def test_nothing_is_left_over_from_channels_that_come_and_go(
    server: Server, other: Client[str], resp: Literal[2, 3], prefix: str
) -> None:
    async with Client(server.url, protocol=resp) as r, r.subscribe(f"{prefix}stays") as s:
        hub = r.node.hubs.here()

        async def churn(number: int) -> None:
            for n in range(40):
                async with r.subscribe(f"{prefix}{number}:{n}"):
                    await s.subscribe(f"{prefix}{number}:{n}", f"{prefix}{number}:{n + 1}")
                    await s.psubscribe(f"{prefix}{number}*")
                    await s.punsubscribe(f"{prefix}{number}*")
                    await s.unsubscribe(f"{prefix}{number}:{n}", f"{prefix}{number}:{n + 1}")

        await asyncio.gather(*(churn(number) for number in range(10)))
        assert repr(hub) == "Hub(1 topics, connected)"
        await until(lambda: len(hub.requests) == 0)
        assert [len(each) for each in hub._live.values()] == [1, 0, 0]
        assert hub._subscribers == {s}
        assert len(s._topics) == 1
        assert not s._adding
        assert await other.pubsub_channels(f"{prefix}*") == [f"{prefix}stays"]


async def test_it_is_asked_for_again_while_it_is_being_closed(
    server: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who comes as the unused connection is being closed gets a new one, also if nothing is ever tried again."""
    async with Client(server.url, retry=None) as r:
        async with r.subscribe(prefix):
            pass
        hub = r.node.hubs.here()
        hub._unused_since -= hubs.LINGER
        hub._life._look()
        async with r.subscribe(prefix) as s:
            await r.publish(prefix, "1")
            assert (await s.get(5)) == Message(prefix, "1")
            assert s.gaps == ()
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


# --- What goes wrong --------------------------------------------------------------------------------------------------


async def test_it_is_made_anew_once_if_it_is_lost_as_soon_as_it_is_made(server: Server, prefix: str) -> None:
    """In the turn before the attempt is known to be over: two connections would bring each message twice."""
    made: list[Connection] = []
    async with Client(server.url) as r:
        hub = r.node.hubs.here()
        connect = hub._connect

        async def connect_and_lose() -> Connection:
            connection = await connect()
            made.append(connection)
            if len(made) == 1:
                assert connection._transport is not None
                connection._transport.abort()
            return connection

        hub._connect = connect_and_lose
        async with r.subscribe(prefix) as s:
            await asyncio.sleep(0.1)
            assert await r.publish(prefix, "once") == 1
            assert [await s.get(timeout=5), await s.get(timeout=0.1)] == [Message(prefix, "once"), None]
        assert len(made) == 2
        assert r.stats().open == 2, "this one, and that of PUBLISH"
    assert not any(connection.viable for connection in made)


async def test_the_figures_count_former_connections(proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url) as r, r.subscribe(prefix, gaps=True) as s:
        hub = r.node.hubs.here()
        used = []
        for n in range(3):
            assert hub._listener is not None
            used.append(hub._listener.connection)
            proxy.cut()
            await until(lambda: len(s.gaps) == n + 1)  # noqa: B023  # it is called in this turn
        assert hub._listener is not None
        used.append(hub._listener.connection)
        figures = hub.stats()
        commands, sent, received = (sum(part) for part in zip(*(each.usage() for each in used), strict=True))
        assert (figures.commands, figures.bytes_sent, figures.bytes_received) == (commands, sent, received)
        assert 0 < sent != received > 0
        assert (figures.made, figures.open) == (4, 1)


async def test_a_host_that_cannot_be() -> None:
    async with Client("redis://a..b:1", retry=Retry(2, base=0.01)) as r:
        with pytest.raises(aioresp.ConnectError, match="label empty"):
            await r.ping()
        with pytest.raises(aioresp.ConnectError, match="label empty"):
            async with r.subscribe("c"):
                pass


async def test_an_error_that_nobody_has_thought_of() -> None:
    attempts = 0

    async def connect() -> Connection:
        nonlocal attempts
        attempts += 1
        raise ZeroDivisionError("surprise")

    hub = Hub(connect, asyncio.get_running_loop(), Retry(3, base=0.01).pause_of_connecting)
    topic = hub.join("", b"c", cast(Subscriber, _Deaf()))
    with pytest.raises(aioresp.ConnectError, match="surprise"):
        await hub.confirmed([topic], 5)
    assert attempts == 3
    await hub.aclose()


class _Deaf:
    decode = False
    waits = False

    def put(self, item: object) -> None: ...
    def put_all(self, items: list[object]) -> None: ...
    def put_error(self, error: Exception) -> None: ...
    def lose(self, topic: Topic, at: float) -> None: ...
    def regain(self, topic: Topic) -> None: ...
    def end(self, error: aioresp.RedisError | None = None) -> None: ...
    def deprive(self, topic: Topic, error: aioresp.RedisError) -> None: ...


@pytest.mark.parametrize("cut", [False, True])
async def test_a_moment_in_which_the_server_refuses(resp: Literal[2, 3], prefix: str, cut: bool) -> None:
    """Refused for now, and perhaps lost before it was asked again: it is subscribed to in the end."""
    a, b = f"{prefix}a", f"{prefix}b"
    with start_server(config={"lua-time-limit": "10"}) as own:
        async with (
            Proxy(own.host, own.port) as proxy,
            Client(proxy.url, protocol=resp) as r,
            Client(own.url, retry=None) as admin,
            r.subscribe(a, gaps=True) as s,
        ):
            busy = asyncio.create_task(admin.eval("while true do end", 0))
            with pytest.raises(aioresp.BusyError):
                async with asyncio.timeout(5), Client(own.url, retry=None) as another:
                    while True:
                        await another.echo("")
            sent = proxy.bytes_up
            adding = asyncio.create_task(s.subscribe(b))
            await until(lambda: proxy.bytes_up > sent)
            await asyncio.sleep(0.1)
            assert proxy.bytes_up - sent < 300, "it is asked again and again, but with pauses"
            if cut:
                proxy.cut()
                await asyncio.sleep(0.1)
            assert not adding.done()
            async with Client(own.url) as killer:
                await killer.script_kill()
            with pytest.raises(aioresp.ResponseError, match="killed"):
                await busy
            await adding
            if cut:
                assert isinstance(await s.get(5), Gap)
            await subscribers(r, a, 1)
            for channel in (a, b):
                await r.publish(channel, "1")
            assert [await s.get(5), await s.get(5)] == [Message(a, "1"), Message(b, "1")]
            assert len(s.gaps) == cut
            assert repr(r.node.hubs.here()) == "Hub(2 topics, connected)"


# --- The end ----------------------------------------------------------------------------------------------------------


async def test_several_close_it_at_once(server: Server, prefix: str) -> None:
    r = Client(server.url)
    async with r.subscribe(prefix) as s:
        hub = r.node.hubs.here()
        async with asyncio.timeout(5):
            cancelled = asyncio.create_task(hub.aclose())
            closing = [asyncio.create_task(hub.aclose()) for _ in range(3)]
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.gather(*closing)
        with pytest.raises(aioresp.ClientClosed):
            await s.get()
    await r.aclose()


async def test_a_provider_that_will_not_be_cancelled(server: Server, prefix: str) -> None:
    async def provide() -> Credentials:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            pass
        return Credentials(None, "")

    with start_server(config={"requirepass": ""}) as own:
        async with Client(own.url) as admin:
            await admin.call("ACL SETUSER", "default", ">")
        r = Client(own.url, credential_provider=provide)
        entering = asyncio.create_task(r.subscribe(prefix).__aenter__())
        await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            await r.aclose()
        with pytest.raises(aioresp.ClientClosed):
            await entering
    assert tasks_besides() == set()


def test_a_loop_that_ends_inside_a_subscription(server: Server, prefix: str) -> None:
    """Nobody leaves the subscriptions; the loop says good-bye for them, and nothing warns."""
    r = Client(server.url)

    async def enter() -> asyncio.Task[Message[str]]:
        s, p = r.subscribe(prefix), r.psubscribe(f"{prefix}b*")
        await s.__aenter__()
        await p.__aenter__()
        reading = asyncio.create_task(p.get())
        await r.publish(prefix, "1")
        assert (await s.get(5)) == Message(prefix, "1")
        return reading

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert asyncio.run(enter()).cancelled()
    assert r.stats().open == 0


def test_a_client_that_is_closed_from_another_thread(server: Server, prefix: str) -> None:
    r = Client(server.url)
    entered = threading.Event()
    ends: list[BaseException] = []

    async def listen() -> None:
        async with r.subscribe(prefix) as s:
            entered.set()
            try:
                await s.get()
            except aioresp.RedisError as error:
                ends.append(error)

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    assert entered.wait(5)
    asyncio.run(r.aclose())
    thread.join(5)
    assert [type(error) for error in ends] == [aioresp.ClientClosed]
    assert r.stats().open == 0


async def test_another_loop_may_not_touch_a_subscription(server: Server, prefix: str) -> None:
    async with Client(server.url) as r, r.subscribe(prefix) as s:
        for use in (s.subscribe, s.unsubscribe, s.psubscribe):
            with pytest.raises(RuntimeError, match="in the same event loop"):
                await asyncio.to_thread(asyncio.run, use(f"{prefix}b"))
        with pytest.raises(RuntimeError, match="in the same event loop"):
            await asyncio.to_thread(asyncio.run, s.get())
        await r.publish(prefix, "1")
        assert (await s.get(5)) == Message(prefix, "1")
