"""Keyspace notifications: what happens to keys, typed; and a clear word where the server does not tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, cast

import pytest

import aioresp
from aioresp import Client, KeyEvent
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server


@pytest.fixture(scope="module")
def telling() -> Any:
    with start_server() as running:
        yield running


@pytest.fixture(params=[3, 2], ids=["resp3", "resp2"])
async def r(telling: Server, request: pytest.FixtureRequest) -> AsyncIterator[Client[str]]:
    async with Client(telling.url, protocol=cast(Literal[2, 3], request.param)) as client:
        await client.config_set("notify-keyspace-events", "KA")
        yield client


async def test_what_happens_to_keys(r: Client[str]) -> None:
    async with r.keyspace_events("job:*", "x") as s, r.keyspace_events(events=["del", "expire"]) as all_keys:
        await r.set("job:1", "a")
        await r.set("other", "b")
        await r.lpush("x", "c")
        await r.expire("job:1", 100)
        await r.delete("job:1", "other", "x")
        assert [await s.get(5) for _ in range(5)] == [
            KeyEvent("job:1", "set", 0),
            KeyEvent("x", "lpush", 0),
            KeyEvent("job:1", "expire", 0),
            KeyEvent("job:1", "del", 0),
            KeyEvent("x", "del", 0),
        ]
        events = [await all_keys.get(5) for _ in range(4)]
        assert events == [
            KeyEvent("job:1", "expire", 0),
            KeyEvent("job:1", "del", 0),
            KeyEvent("other", "del", 0),
            KeyEvent("x", "del", 0),
        ]
        assert await s.get(0) is None


async def test_databases(telling: Server, r: Client[str]) -> None:
    async with (
        Client(telling.url, db=3) as third,
        third.keyspace_events() as mine,
        r.keyspace_events("k", db="*") as every,
        r.keyspace_events() as zero,
    ):
        await third.set("k", 1)
        await r.delete("none")
        assert await mine.get() == KeyEvent("k", "set", 3)
        assert await every.get() == KeyEvent("k", "set", 3)
        assert await zero.get(0.02) is None
        await third.delete("k")


async def test_keys_that_are_no_text(r: Client[str]) -> None:
    b = r.with_options(decode_responses=False)
    async with b.keyspace_events(b"\xff*") as s:
        await r.set(b"\xff:\x00", 1)
        assert await s.get() == KeyEvent(b"\xff:\x00", "set", 0)
        await r.delete(b"\xff:\x00")


async def test_what_others_publish_on_such_channels_is_left_out(r: Client[str]) -> None:
    b = r.with_options(decode_responses=False)
    async with r.keyspace_events("k*", db="*", gaps=True) as s, b.keyspace_events("k*", db="*") as raw:
        for db in ("", "x", "-1", "1.5", "\N{SUPERSCRIPT TWO}", "9" * 5000):
            assert await r.publish(f"__keyspace@{db}__:k", "set") == 1
        assert await r.publish("__keyspace@1__:k", b"\xff") == 1
        await r.set("k2", 1)
        assert await raw.get(5) == KeyEvent(b"k", "\\xff", 1)
        assert await raw.get(5) == KeyEvent(b"k2", "set", 0)
        with pytest.raises(aioresp.DecodeError):
            await s.get(5)
        assert await s.get(5) == KeyEvent("k2", "set", 0)
        assert s.gaps == ()
        await r.delete("k2")


@pytest.mark.parametrize("flags", ["", "Ex", "K"])
async def test_a_server_that_is_not_to_tell(r: Client[str], flags: str) -> None:
    await r.config_set("notify-keyspace-events", flags)
    with pytest.raises(aioresp.NotificationsDisabled, match="CONFIG SET notify-keyspace-events KA"):
        async with r.keyspace_events():
            pass


async def test_who_may_not_read_the_configuration_has_to_believe(telling: Server, r: Client[str]) -> None:
    await r.call("ACL SETUSER", "plain", "on", ">p", "+@all", "-config", "~*", "&*")
    async with Client(telling.url, username="plain", password="p") as plain:
        with pytest.raises(aioresp.NoPermissionError):
            await plain.config_get("notify-keyspace-events")
        async with plain.keyspace_events("k") as s:
            await plain.set("k", 1)
            assert (await s.get()).event == "set"


#: Words by which services and proxies refuse CONFIG, and answers that do not tell the setting.
REFUSALS = [
    b"-ERR unknown command `CONFIG`, with args beginning with: `GET`, `notify-keyspace-events`, \r\n",
    b"-ERR unknown or unsupported command 'CONFIG'\r\n",
    b"-ERR command is not allowed\r\n",
    b"-ERR 'config' command is disabled on this instance\r\n",
    b"-DENIED CONFIG is not for tenants\r\n",
    b"-NOPERM this user has no permissions to run the 'config|get' command\r\n",
    b"-Forbidden\r\n",
    b"*0\r\n",
    b"+OK\r\n",
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.decode()[:20].strip())
async def test_config_refused_in_any_words(telling: Server, r: Client[str], refusal: bytes) -> None:
    """A server that does not tell its setting may send events all the same."""
    text = (await r.config_get("notify-keyspace-events"))["notify-keyspace-events"]
    answer = len("*2\r\n$22\r\nnotify-keyspace-events\r\n$N\r\n\r\n") + len(text)
    async with Proxy(telling.host, telling.port) as proxy:
        protocol: Any = r.node.settings.endpoint.protocol
        async with Client(telling.url, host="127.0.0.1", port=proxy.port, protocol=protocol) as far:
            await far.ping()
            proxy.corrupt(refusal, replace=answer)
            async with far.keyspace_events("k") as s:
                await r.set("k", 1)
                assert await s.get(5) == KeyEvent("k", "set", 0)
            await r.delete("k")


async def test_a_command_that_was_renamed() -> None:
    with start_server(config={"rename-command": 'CONFIG ""', "notify-keyspace-events": "KA"}) as own:
        async with Client(own.url) as r, r.keyspace_events("k") as s:
            await r.set("k", 1)
            assert await s.get(5) == KeyEvent("k", "set", 0)


async def test_a_server_that_loads_is_no_refusal(telling: Server) -> None:
    """It will tell soon; `retry` decides for how long it is asked."""
    async with (
        Proxy(telling.host, telling.port) as proxy,
        Client(telling.url, host="127.0.0.1", port=proxy.port, retry=None) as r,
    ):
        await r.ping()
        proxy.corrupt(b"-LOADING it is\r\n", replace=40)
        with pytest.raises(aioresp.LoadingError):
            await r.keyspace_events("k").__aenter__()


async def test_the_setting_is_not_read_if_the_caller_says_so(r: Client[str]) -> None:
    before = (await r.info("commandstats")).get("cmdstat_config|get")
    await r.config_set("notify-keyspace-events", "")
    async with r.keyspace_events("k", check=False) as s:
        await r.config_set("notify-keyspace-events", "KA")
        await r.set("k", 1)
        assert await s.get(5) == KeyEvent("k", "set", 0)
    assert (await r.info("commandstats")).get("cmdstat_config|get") == before
    await r.delete("k")
