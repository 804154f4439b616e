"""Who we are while that changes: the provider at handshakes, and live connections that go on with what it gives."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import aioresp
from aioresp import Client, Credentials
from aioresp.events import ConnectionEnded
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.security.hostile import hostile, says


@pytest.fixture(scope="module")
def locked() -> Any:
    """A server that lets nobody in without a password; the operator's is "root"."""
    with start_server(config={"requirepass": "root"}) as s:
        yield s


@pytest.fixture
async def root(locked: Server) -> AsyncIterator[Client[str]]:
    """The operator, and two users of whom each may do everything."""
    async with Client(locked.url, password="root") as r:
        for user in ("one", "two"):
            options: Any = {"keys": ["*"], "channels": ["*"], "categories": ["+@all"]}
            await r.acl_setuser(user, True, passwords=f"+{user}-pw", reset=True, **options)
        yield r
        await r.acl_deluser("one", "two")


async def users(root: Client[str]) -> dict[int, str | None]:
    """Return who each connection of the client under test is, by its id."""
    return {line.id: line.user for line in await root.client_list() if line.name == "app"}


async def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            answer = true()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.01)


class Provider:
    """Gives what it is told to give, and counts."""

    def __init__(self, *given: Any) -> None:
        self.given = list(given)
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        now = self.given[min(self.asked, len(self.given)) - 1]
        if isinstance(now, BaseException):
            raise now
        return now


class Old:
    """As redis-py has it."""

    def __init__(self, *given: str) -> None:
        self.given: Any = given

    def get_credentials(self) -> Any:
        return self.given


class OldAsync(Old):
    def get_credentials(self) -> Any:
        raise AssertionError

    async def get_credentials_async(self) -> Any:
        await asyncio.sleep(0)
        return self.given


async def coroutine() -> tuple[str, str]:
    await asyncio.sleep(0)
    return "one", "one-pw"


# --- At the handshake ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "user"),
    [
        (lambda: "root", "default"),
        (lambda: ("root",), "default"),
        (lambda: (None, "root"), "default"),
        (lambda: ("one", "one-pw"), "one"),
        (lambda: Credentials(None, "root"), "default"),
        (lambda: Credentials("one", "one-pw", renew_after=60), "one"),
        (coroutine, "one"),
        (Old("root"), "default"),
        (Old("one", "one-pw"), "one"),
        (OldAsync("one", "one-pw"), "one"),
    ],
)
async def test_what_a_provider_may_give(
    locked: Server, root: Client[str], provider: Any, user: str, protocol: Any
) -> None:
    async with Client(locked.url, credential_provider=provider, protocol=protocol) as r:
        assert await r.acl_whoami() == user


async def test_asked_at_every_handshake(locked: Server, root: Client[str], protocol: Any) -> None:
    provider = Provider(("one", "one-pw"), ("two", "two-pw"))
    async with Client(locked.url, credential_provider=provider, protocol=protocol) as r:
        assert [await r.acl_whoami() for _ in range(3)] == ["one"] * 3
        assert provider.asked == 1
        for connection in r.node.pools.here()._shared:
            connection.close()
        assert await r.acl_whoami() == "two"
        assert provider.asked == 2
        async with r.connection() as c:
            assert await c.acl_whoami() == "two"
            assert provider.asked == 2
            await c.select(1)
        await until(lambda: provider.asked == 3)  # what the lease changed is undone, by an introduction


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("s3cr3t"), "ValueError"), (OSError(5, "s3cr3t"), "OSError"), (TimeoutError(), "TimeoutError")],
)
async def test_a_provider_that_raises(locked: Server, error: Exception, said: str) -> None:
    async with Client(locked.url, credential_provider=Provider(error), retry=None) as r:
        with pytest.raises(aioresp.ConnectError, match=f"the credential provider raised {said}") as caught:
            await r.ping()
        assert "s3cr3t" not in str(caught.value)
        assert caught.value.__cause__ is error
        assert not isinstance(caught.value, TimeoutError)
        assert r.stats().open == 0


async def test_a_provider_that_raises_once_is_asked_again(locked: Server, root: Client[str]) -> None:
    provider = Provider(OSError("not now"), ("one", "one-pw"))
    async with Client(locked.url, credential_provider=provider) as r:
        assert await r.acl_whoami() == "one"


@pytest.mark.parametrize(
    "given",
    [
        None,
        b"s3cr3t",
        ("s3cr3t", "s3cr3t", "s3cr3t"),
        (),
        ("one", b"s3cr3t"),
        (1, "s3cr3t"),
        Credentials("one", "s3cr3t", renew_after=0),
        Credentials("one", "s3cr3t", renew_after=float("nan")),
        Credentials("one", "s3cr3t", renew_after=True),
        Credentials("one", "s3cr3t", renew_after=10**5000),
    ],
)
async def test_a_provider_that_gives_something_else(locked: Server, given: Any) -> None:
    async with Client(locked.url, credential_provider=lambda: given, retry=None) as r:
        with pytest.raises(aioresp.ConnectError, match="the credential provider gave") as caught:
            await r.ping()
        assert "s3cr3t" not in str(caught.value)


async def test_wrong_credentials(locked: Server, protocol: Any) -> None:
    provider = Provider(("one", "s3cr3t"))
    async with Client(locked.url, credential_provider=provider, protocol=protocol) as r:
        with pytest.raises(aioresp.AuthenticationError) as caught:
            await r.ping()
        assert "s3cr3t" not in str(caught.value)
        assert provider.asked == 1  # they are not tried again


async def test_a_slow_provider_is_covered_by_connect_timeout(locked: Server) -> None:
    cancelled = []

    async def provider() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "root"

    async with Client(locked.url, credential_provider=provider, connect_timeout=0.1, retry=None) as r:
        start = time.monotonic()
        with pytest.raises(aioresp.ConnectTimeout, match=r"in 0\.1 s: the credential provider has not answered"):
            await r.ping()
        assert time.monotonic() - start < 20  # the provider sleeps for 60
        assert cancelled == [True]
        assert r.stats().open == 0


async def test_the_caller_s_own_deadline_and_cancellation(locked: Server) -> None:
    asked = asyncio.Event()
    answer = asyncio.Event()

    async def provider() -> str:
        asked.set()
        await answer.wait()
        return "root"

    async with Client(locked.url, credential_provider=provider) as r:
        with pytest.raises(aioresp.ConnectTimeout):
            await r.with_options(timeout=0.1).ping()
        call = asyncio.create_task(r.ping())
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        answer.set()
        assert await r.ping() is True  # the attempt went on, for whoever comes next
        assert r.stats().made == 1


async def test_a_provider_that_is_cancelled_by_itself(locked: Server) -> None:
    async def provider() -> str:
        raise asyncio.CancelledError

    async with Client(locked.url, credential_provider=provider, retry=None) as r:
        with pytest.raises(aioresp.ConnectError):
            await r.ping()


async def test_closing_while_the_provider_is_asked(locked: Server) -> None:
    before = asyncio.all_tasks()

    async def provider() -> str:
        await asyncio.sleep(60)
        return "root"

    async with Client(locked.url, credential_provider=provider) as r:
        call = asyncio.create_task(r.ping())
        await asyncio.sleep(0.05)
    with pytest.raises(aioresp.ClientClosed):
        await call
    assert asyncio.all_tasks() == before


# --- While connections live ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 5000])
async def test_a_rotation_while_commands_run(
    locked: Server, root: Client[str], protocol: Any, concurrency: int, prefix: str
) -> None:
    """The password of a user is replaced, over and over, while commands run: none fails, and no connection is lost."""
    passwords = ["one-pw"]
    options: Any = {"protocol": protocol, "concurrency": concurrency, "limit": 4, "retry": None, "client_name": "app"}
    rotations = 4
    async with Client(
        locked.url, credential_provider=lambda: Credentials("one", passwords[-1], renew_after=0.1), **options
    ) as r:
        count = 0
        running = True

        async def work(number: int) -> None:
            nonlocal count
            while running:
                await r.incr(f"{prefix}{number}")
                async with r.pipeline(transaction=number % 2 == 0) as p:
                    p.incr(f"{prefix}{number}")
                    p.get(f"{prefix}{number}")
                await r.blpop(f"{prefix}none", timeout=0.02) if number == 0 else await asyncio.sleep(0.002)
                count += 2

        tasks = [asyncio.create_task(work(number)) for number in range(8)]
        await asyncio.sleep(0.1)
        for rotation in range(rotations):
            passwords.append(f"pw-{rotation}")
            await root.acl_setuser("one", passwords=f"+{passwords[-1]}")
            await asyncio.sleep(0.5)  # all connections have the new one by then
            await root.acl_setuser("one", passwords=f"-{passwords[-2]}")
        made = r.stats().made
        running = False
        await asyncio.gather(*tasks)
        assert sum([int(await r.get(f"{prefix}{number}") or 0) for number in range(8)]) == count
        assert r.stats().made == made <= 4
        assert set((await users(root)).values()) == {"one"}


async def test_live_connections_become_another_user(locked: Server, root: Client[str], protocol: Any) -> None:
    provider = Provider(Credentials("one", "one-pw", renew_after=0.1), ("two", "two-pw"))
    async with Client(locked.url, credential_provider=provider, protocol=protocol, client_name="app") as r:
        assert await r.acl_whoami() == "one"
        before = await users(root)
        await until(lambda: provider.asked == 2)
        await until(lambda: r.stats().in_flight == 0)
        assert await r.acl_whoami() == "two"
        assert list(await users(root)) == list(before)
        await asyncio.sleep(0.2)
        assert provider.asked == 2  # what has no renew_after is for ever


async def test_a_lease_is_renewed_before_its_next_command(locked: Server, root: Client[str], protocol: Any) -> None:
    who = ["one"]
    provider = lambda: Credentials(who[0], f"{who[0]}-pw", renew_after=0.05)  # noqa: E731
    async with Client(locked.url, credential_provider=provider, protocol=protocol) as r, r.connection() as c:
        assert await c.acl_whoami() == "one"
        number = await c.client_id()
        who[0] = "two"
        await asyncio.sleep(0.2)
        assert await c.acl_whoami() == "two"
        who[0] = "one"
        await asyncio.sleep(0.2)
        async with c.pipeline() as p:
            name = p.acl_whoami()
        assert await name == "one"
        assert await c.client_id() == number


async def test_a_transaction_on_a_lease_is_left_alone(
    locked: Server, root: Client[str], protocol: Any, prefix: str
) -> None:
    who = ["one"]
    provider = lambda: Credentials(who[0], f"{who[0]}-pw", renew_after=0.05)  # noqa: E731
    async with Client(locked.url, credential_provider=provider, protocol=protocol) as r:
        async with r.connection() as c:
            await c.execute(("MULTI",), lambda _: None)
            await c.execute(("SET", f"{prefix}k", 1), lambda _: None)
            who[0] = "two"
            await asyncio.sleep(0.2)
            await c.execute(("INCR", f"{prefix}k"), lambda _: None)
            assert await c.execute(("EXEC",), lambda reply: reply) in ([True, 2], ["OK", 2])
            assert await c.acl_whoami() == "two"
        async with r.pipeline(transaction=True) as p:
            await p.watch(f"{prefix}k")
            value = await p.get(f"{prefix}k")
            await asyncio.sleep(0.2)
            p.multi()
            p.set(f"{prefix}k", int(value or 0) + 1)
            name = p.acl_whoami()
        assert await name == "two"


async def test_who_has_logged_in_himself_stays_who_he_is(locked: Server, root: Client[str], protocol: Any) -> None:
    provider = lambda: Credentials("one", "one-pw", renew_after=0.05)  # noqa: E731
    async with Client(locked.url, credential_provider=provider, protocol=protocol, limit=1) as r:
        async with r.connection() as c:
            await c.execute(("AUTH", "two", "two-pw"), lambda _: None)
            await asyncio.sleep(0.2)
            assert await c.acl_whoami() == "two"
        async with r.connection() as c:
            assert await c.acl_whoami() == "one"


async def test_a_blocking_command_is_not_disturbed(
    locked: Server, root: Client[str], protocol: Any, prefix: str
) -> None:
    """Its connection is introduced anew after it, before anyone else gets it."""
    who = ["one"]
    provider = lambda: Credentials(who[0], f"{who[0]}-pw", renew_after=0.05)  # noqa: E731
    options: Any = {"protocol": protocol, "client_name": "app", "retry": None}
    async with Client(locked.url, credential_provider=provider, **options) as r:
        pop = asyncio.create_task(r.blpop(f"{prefix}q", timeout=5))
        await until(lambda: r.stats().leased)
        who[0] = "two"
        await asyncio.sleep(0.3)
        assert not pop.done()
        assert await root.rpush(f"{prefix}q", "x") == 1
        assert await pop == (f"{prefix}q", "x")
        await until(lambda: not r.stats().leased)

        async def all_two() -> bool:
            return set((await users(root)).values()) == {"two"}

        await until(all_two)


async def test_renewed_credentials_that_are_refused(
    locked: Server, root: Client[str], protocol: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bad = ("one", "s3cr3t")
    provider = Provider(Credentials("one", "one-pw", renew_after=0.2), bad, bad, ("two", "two-pw"))
    events: list[Any] = []
    options: Any = {"protocol": protocol, "events": events.append}
    async with Client(locked.url, credential_provider=provider, **options) as r:
        assert await r.ping() is True
        await until(lambda: any(isinstance(event, ConnectionEnded) for event in events))
        ended = next(event for event in events if isinstance(event, ConnectionEnded))
        assert type(ended.error) is aioresp.ConnectionLost
        assert "the server refused the renewed credentials (WRONGPASS" in str(ended.error)
        assert "the connection was dropped" in str(ended.error)
        assert await r.acl_whoami() == "two"
    said = [record for record in caplog.records if "refused renewed credentials" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert "s3cr3t" not in caplog.text


async def test_credentials_that_were_old_when_they_arrived(
    locked: Server, root: Client[str], protocol: Any, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider(Credentials("one", "one-pw", renew_after=0.05), ("one", "old"), ("two", "two-pw"))
    async with Client(locked.url, credential_provider=provider, protocol=protocol) as r:
        assert await r.acl_whoami() == "one"
        await until(lambda: provider.asked == 3)
        await until(lambda: r.stats().in_flight == 0)
        assert await r.acl_whoami() == "two"
        assert r.stats().made == 1
    assert "refused" not in caplog.text


async def test_commands_under_way_where_renewed_credentials_are_refused() -> None:
    provider = Provider(Credentials("one", "pw", renew_after=0.1), ("one", "s3cr3t"))
    replies = iter([b"+one\r\n", *[b"-WRONGPASS invalid username-password pair\r\n"] * 2])

    async def act(writer: asyncio.StreamWriter) -> None:
        reply = next(replies, None)
        if reply is not None:
            await asyncio.sleep(0.3 if provider.asked == 1 else 0)
            writer.write(reply)

    async with hostile(act) as url, Client(url, credential_provider=provider, retry=None) as r:
        first = asyncio.create_task(r.get("k"))
        await asyncio.sleep(0.2)
        assert await first == "one"
        while provider.asked < 3:
            await asyncio.sleep(0)
        second = asyncio.create_task(r.get("k"))  # sent behind AUTH
        with pytest.raises(aioresp.ConnectionLost, match="refused the renewed credentials") as caught:
            await second
        assert caught.value.outcome == "unknown"


async def test_a_provider_that_fails_later(
    locked: Server,
    root: Client[str],
    protocol: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection goes on with what it has, and the provider is asked again."""
    monkeypatch.setattr("aioresp.wire.renewal.AGAIN", 0.05)
    late = asyncio.get_running_loop().create_future()
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    first = Credentials("one", "one-pw", renew_after=0.05)
    provider = Provider(first, ValueError("s3cr3t"), late, cancelled, ("two", "two-pw"))
    async with Client(locked.url, credential_provider=provider, protocol=protocol, connect_timeout=0.3) as r:
        names = set()
        while provider.asked < 5:
            name = await r.acl_whoami()
            if provider.asked < 5:  # else the answer may be the new user's already
                names.add(name)
            await asyncio.sleep(0.01)
        assert names == {"one"}

        async def is_two() -> bool:
            return await r.acl_whoami() == "two"

        await until(is_two)
        assert r.stats().made == 1
    for said in ("raised ValueError", "is late", "was cancelled"):
        assert len([record for record in caplog.records if said in record.getMessage()]) == 1
    assert "s3cr3t" not in "".join(record.getMessage() for record in caplog.records)


async def test_nothing_is_left_of_a_renewal(locked: Server, root: Client[str]) -> None:
    before = asyncio.all_tasks()
    first = Credentials("one", "one-pw", renew_after=0.05)
    never = asyncio.get_running_loop().create_future()
    provider = Provider(first, never)
    async with Client(locked.url, credential_provider=provider) as r:
        assert await r.ping() is True
        (connection,) = r.node.pools.here()._shared
        await until(lambda: provider.asked == 2)
        renewal = connection.renewal
        assert renewal is not None
        assert renewal._task is not None
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert repr((renewal._task, renewal._timer, renewal.waits)) == "(None, None, False)"


# --- Options ---------------------------------------------------------------------------------------------------------


def test_options() -> None:
    with pytest.raises(ValueError, match="credential_provider and password exclude each other"):
        Client(credential_provider=lambda: "pw", password="pw")
    with pytest.raises(ValueError, match="credential_provider and password exclude each other"):
        Client("redis://:pw@localhost", credential_provider=lambda: "pw")
    with pytest.raises(TypeError, match="credential_provider is str"):
        Client(credential_provider="pw")  # type: ignore[call-overload]
    assert "s3cr3t" not in repr(Credentials("me", "s3cr3t"))
    assert repr(Credentials("me", "s3cr3t", 5)) == "Credentials(username='me', renew_after=5)"


async def test_without_a_password() -> None:
    """An old server that knows no users is told the password alone."""
    async with hostile(says(b"+one\r\n")) as url, Client(url, credential_provider=lambda: "pw", protocol=2) as r:
        assert await r.get("k") == "one"
