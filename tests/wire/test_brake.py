"""A login that a server refuses is not tried again at once, whatever loops, threads and subscriptions there are."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

import aioresp
from aioresp import Client, Credentials
from aioresp.testing import Server
from aioresp.testing import server as start_server
from aioresp.wire import brake
from aioresp.wire.brake import Brake
from tests.rest import at_rest, in_step

WRONG = Credentials("app", "wrong-pw")


def wrongpass() -> aioresp.AuthenticationError:
    error = aioresp.AuthenticationError("WRONGPASS invalid username-password pair or user is disabled.")
    error.code, error.command = "WRONGPASS", "HELLO"
    return error


def caused(cause: BaseException) -> aioresp.ConnectError:
    error = aioresp.ConnectError("x refused HELLO")
    error.__cause__ = cause
    return error


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    own = Clock()
    monkeypatch.setattr(brake, "monotonic", own)
    return own


# --- The rules -------------------------------------------------------------------------------------------------------


def pauses(b: Brake, clock: Clock, error: Callable[[], BaseException], times: int) -> list[float]:
    """Refuse a login so often, and return for how long each refusal holds up the next."""
    found = []
    for _ in range(times):
        b.fail(b.begin(WRONG), error(), WRONG)
        start = clock.now
        while True:
            try:
                b.begin(WRONG)
            except aioresp.RedisError:
                clock.now += 0.05
            else:
                break
        found.append(round(clock.now - start, 1))
        clock.now += 100
    return found


def test_pauses_double_up_to_the_longest(clock: Clock) -> None:
    b = Brake()
    assert repr(b) == "Brake(off)"
    assert pauses(b, clock, wrongpass, 8) == [1, 2, 4, 8, 16, 30, 30, 30]
    assert repr(b).startswith("Brake(after 8 refusals, next attempt in ")
    b.succeed()
    assert not b.on
    assert pauses(b, clock, wrongpass, 2) == [1, 2]


def test_a_full_server_is_asked_sooner(clock: Clock) -> None:
    full = pauses(Brake(), clock, lambda: caused(aioresp.MaxClientsError("ERR max number of clients reached")), 6)
    assert full == [0.1, 0.2, 0.4, 0.8, 1, 1]


def test_another_kind_of_refusal_begins_with_its_first_pause(clock: Clock) -> None:
    b = Brake()
    full = caused(aioresp.MaxClientsError("ERR max number of clients reached"))
    assert pauses(b, clock, lambda: full, 6)[-1] == 1
    assert pauses(b, clock, wrongpass, 2) == [1, 2]
    assert pauses(b, clock, lambda: full, 2) == [0.1, 0.2]


def test_what_is_told_meanwhile(clock: Clock) -> None:
    b = Brake()
    original = wrongpass()
    b.fail(b.begin(WRONG), original, WRONG)
    clock.now += 0.25
    with pytest.raises(aioresp.AuthenticationError) as caught:
        b.begin(WRONG)
    error = caught.value
    assert error is not original
    assert error.args[0] == f"{original.args[0]} (the next attempt is in 0.75 s)"
    assert (error.code, error.command) == ("WRONGPASS", "HELLO")
    b.succeed()
    refused = caused(aioresp.NoPermissionError("NOPERM x"))
    b.fail(b.begin(None), refused, None)
    with pytest.raises(aioresp.ConnectError, match=r"x refused HELLO \(the next attempt is in 1 s\)") as told:
        b.begin(None)
    assert isinstance(told.value.__cause__, aioresp.NoPermissionError)


def test_nothing_of_the_call_that_failed_is_kept(clock: Clock) -> None:
    b = Brake()
    try:
        raise wrongpass()
    except aioresp.AuthenticationError as error:
        b.fail(0, error, WRONG)
    assert b._refusal is not None
    assert b._refusal.__traceback__ is None
    assert b._refusal.__context__ is None


@pytest.mark.parametrize(
    "error",
    [
        aioresp.ConnectTimeout("x"),
        caused(ConnectionRefusedError()),
        caused(aioresp.LoadingError("LOADING x")),
        aioresp.TLSError("x"),
        asyncio.CancelledError(),
    ],
    ids=repr,
)
def test_what_is_no_refusal_holds_nobody_up(clock: Clock, error: BaseException) -> None:
    b = Brake()
    b.fail(b.begin(WRONG), error, WRONG)
    assert not b.on
    b.begin(WRONG)


def test_attempts_that_began_together_are_one_failure(clock: Clock) -> None:
    b = Brake()
    attempts = [b.begin(WRONG) for _ in range(5)]
    for attempt in attempts:
        b.fail(attempt, wrongpass(), WRONG)
    clock.now += 1.01
    b.begin(WRONG)


def test_when_the_pause_is_over_one_attempt_is_made(clock: Clock) -> None:
    b = Brake()
    b.fail(b.begin(WRONG), wrongpass(), WRONG)
    clock.now += 1.5
    attempt = b.begin(WRONG)
    with pytest.raises(aioresp.AuthenticationError):
        b.begin(WRONG)
    b.give_up(attempt)  # nothing was said to the server
    attempt = b.begin(WRONG)
    b.fail(attempt, asyncio.CancelledError(), WRONG)  # it may have been refused
    with pytest.raises(aioresp.AuthenticationError):
        b.begin(WRONG)
    clock.now += 1.5  # nor is anybody held up for good by one that never ends
    b.fail(b.begin(WRONG), caused(aioresp.LoadingError("LOADING x")), WRONG)
    b.begin(WRONG)


def test_other_credentials_need_not_wait_but_once_a_pause(clock: Clock) -> None:
    b = Brake()
    b.fail(b.begin(WRONG), wrongpass(), WRONG)
    with pytest.raises(aioresp.AuthenticationError):
        b.begin(Credentials("app", "wrong-pw", renew_after=5))  # the same
    other = Credentials("app", "other")
    b.fail(b.begin(other), wrongpass(), other)
    with pytest.raises(aioresp.AuthenticationError):
        b.begin(Credentials("app", "third"))
    clock.now += 2.01
    b.fail(b.begin(other), wrongpass(), other)
    b.begin(WRONG)


# --- A server --------------------------------------------------------------------------------------------------------


@pytest.fixture
def locked() -> Iterator[Server]:
    """A server that lets nobody in without a password; the operator's is "root"."""
    with start_server(config={"requirepass": "root"}) as s:
        yield s


@pytest.fixture
async def root(locked: Server) -> AsyncIterator[Client[str]]:
    async with Client(locked.url, password="root", limit=1) as r:
        await r.call("ACL", "SETUSER", "app", "on", ">right-pw", "~*", "&*", "+@all")
        await r.ping()
        yield r


async def connections(root: Client[str]) -> int:
    return int((await root.info("stats"))["total_connections_received"])


async def refusals(root: Client[str]) -> int:
    """Return how often a login was refused, by the server's own log."""
    return sum(int(entry.count) for entry in await root.acl_log())


async def until_all_are_closed(r: Client[str]) -> None:
    async with asyncio.timeout(10):
        while r.stats().open:
            await asyncio.sleep(0.01)


def until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the pause last for the whole test."""
    monkeypatch.setattr(brake, "PAUSES", (1000.0, 1000.0))
    monkeypatch.setattr(brake, "PAUSES_OTHERWISE", (1000.0, 1000.0))


@pytest.mark.parametrize("retry", [None, aioresp.Retry()], ids=["no retries", "retries"])
@pytest.mark.parametrize("options", [{}, {"concurrency": 1}], ids=["shared", "one by one"])
async def test_many_calls_cost_one_login(
    locked: Server, root: Client[str], protocol: int, monkeypatch: pytest.MonkeyPatch, options: Any, retry: Any
) -> None:
    until_it_is_over(monkeypatch)
    before = await connections(root)
    async with Client(
        locked.url, username="app", password="wrong-pw", protocol=3 if protocol == 3 else 2, retry=retry, **options
    ) as r:
        with pytest.raises(aioresp.AuthenticationError, match="WRONGPASS") as caught:
            await r.get("k")
        assert "next attempt" not in str(caught.value)
        for _ in range(100):
            with pytest.raises(aioresp.AuthenticationError, match=r"next attempt is in .* s\) \[GET 'k'\]"):
                await r.get("k")
        answers = await asyncio.gather(*(r.set("k", 1) for _ in range(100)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {aioresp.AuthenticationError}
        for _ in range(5):
            with pytest.raises(aioresp.AuthenticationError):
                await r.blpop("k", 1)
            with pytest.raises(aioresp.AuthenticationError):
                async with r.pipeline() as p:
                    p.get("k")
            with pytest.raises(aioresp.AuthenticationError):
                async with r.subscribe("news"):
                    pass
            with pytest.raises(aioresp.AuthenticationError):
                async with r.monitor():
                    pass
    assert await connections(root) == before + 1
    assert await refusals(root) == 1
    assert "wrong-pw" not in repr(r.node.pools)


async def test_a_corrected_password_is_found_within_the_pause(
    locked: Server, root: Client[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake, "PAUSES", (0.2, 0.4))
    async with Client(locked.url, username="app", password="new-pw") as r:
        for _ in range(2):
            with pytest.raises(aioresp.AuthenticationError):
                await r.ping()
        await root.call("ACL", "SETUSER", "app", ">new-pw")
        async with asyncio.timeout(10):
            while True:
                try:
                    await r.ping()
                    break
                except aioresp.AuthenticationError:
                    await asyncio.sleep(0.01)
        assert await refusals(root) == 1
        await root.call("ACL", "SETUSER", "app", "<new-pw")
        await root.call("CLIENT", "KILL", "USER", "app")
        await until_all_are_closed(r)
        with pytest.raises(aioresp.AuthenticationError) as caught:
            await r.ping()
        assert "next attempt" not in str(caught.value)  # the first after a success


async def test_logins_of_a_busy_client_become_rare(
    locked: Server, root: Client[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake, "PAUSES", (0.1, 0.4))
    calls = 0
    end = time.monotonic() + 1.5
    async with Client(locked.url, username="app", password="wrong-pw") as r:
        while time.monotonic() < end:
            calls += 1
            with pytest.raises(aioresp.AuthenticationError):
                await r.ping()
    assert calls > 15  # more than twice as many as may be sent
    assert 2 <= await refusals(root) <= 7  # at 0, 0.1, 0.3, 0.7, 1.1, 1.5


@pytest.mark.parametrize(
    ("user", "options"),
    [
        (("+@all", "-auth", "-select"), {"db": 1}),
        (("+@all",), {"db": 1000}),
    ],
    ids=["SELECT", "database"],
)
async def test_other_refusals_are_not_repeated_either(
    locked: Server, root: Client[str], monkeypatch: pytest.MonkeyPatch, user: tuple[str, ...], options: Any
) -> None:
    until_it_is_over(monkeypatch)
    await root.call("ACL", "SETUSER", "poor", "reset", "on", ">right-pw", "~*", *user)
    before = await connections(root)
    async with Client(locked.url, username="poor", password="right-pw", **options) as r:
        with pytest.raises(aioresp.ConnectError, match="refused SELECT"):
            await r.ping()
        for _ in range(20):
            with pytest.raises(aioresp.ConnectError, match=r"refused SELECT.*next attempt"):
                await r.ping()
    assert await connections(root) == before + 1


def runs(*jobs: Coroutine[Any, Any, object]) -> None:
    for job in jobs:
        asyncio.run(job)


def test_one_loop_after_another_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    until_it_is_over(monkeypatch)

    async def refused(client: Client[str]) -> None:
        with pytest.raises(aioresp.AuthenticationError):
            await client.ping()
        with pytest.raises(aioresp.AuthenticationError):
            async with client.subscribe("news"):
                pass

    async def count(url: str) -> int:
        async with Client(url, password="root") as root:
            return await refusals(root)

    with start_server(config={"requirepass": "root"}) as own:
        client = Client(own.url, password="wrong-pw")
        for _ in range(5):
            runs(refused(client))
        threads = [threading.Thread(target=lambda: runs(refused(client), refused(client))) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert asyncio.run(count(own.url)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_goes_on_with_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    until_it_is_over(monkeypatch)

    async def refused(client: Client[str]) -> None:
        with pytest.raises(aioresp.AuthenticationError):
            await client.ping()

    async def count(url: str) -> int:
        async with Client(url, password="root") as root:
            return await refusals(root)

    with start_server(config={"requirepass": "root"}) as own:
        client = Client(own.url, password="wrong-pw")
        runs(refused(client))
        gc.collect()
        child = multiprocessing.get_context("fork").Process(target=lambda: runs(refused(client), refused(client)))
        child.start()
        child.join(20)
        assert child.exitcode == 0
        assert asyncio.run(count(own.url)) == 1


# --- A credential provider -------------------------------------------------------------------------------------------


async def test_new_credentials_of_a_provider_are_tried_at_once(
    locked: Server, root: Client[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    until_it_is_over(monkeypatch)
    given = ["old"] * 5 + ["right-pw"]
    before = await connections(root)
    async with Client(locked.url, credential_provider=lambda: ("app", given.pop(0))) as r:
        for _ in range(5):
            with pytest.raises(aioresp.AuthenticationError):
                await r.ping()
        assert await refusals(root) == 1
        assert await r.ping()
    assert await connections(root) == before + 2


async def test_a_provider_whose_bad_tokens_are_new_each_time(
    locked: Server, root: Client[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    until_it_is_over(monkeypatch)
    tokens = iter(range(1000))
    async with Client(locked.url, credential_provider=lambda: ("app", f"bad-{next(tokens)}")) as r:
        for _ in range(50):
            with pytest.raises(aioresp.AuthenticationError):
                await r.ping()
    assert await refusals(root) == 2


async def test_a_provider_that_fails_is_no_refusal(
    locked: Server, root: Client[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    until_it_is_over(monkeypatch)

    def provider() -> str:
        if len(asked) < 3:
            asked.append(1)
            raise aioresp.AuthenticationError("WRONGPASS of the vault")
        return "root"

    asked: list[int] = []
    async with Client(locked.url, credential_provider=provider, retry=None) as r:
        for _ in range(3):
            with pytest.raises(aioresp.ConnectError, match="the credential provider raised"):
                await r.ping()
        assert await r.ping()


# --- Leases, and a server that is full -------------------------------------------------------------------------------


async def test_a_lease_that_cannot_be_restored_counts(
    locked: Server, root: Client[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    until_it_is_over(monkeypatch)
    if locked.version < (6, 2):
        pytest.skip("needs RESET")
    async with Client(locked.url, username="app", password="right-pw", limit=2) as r:
        async with r.connection() as c:
            await c.select(1)
            await root.call("ACL", "SETUSER", "app", "resetpass", ">other-pw")
        await at_rest(r)
        await root.call("CLIENT", "KILL", "USER", "app")
        await until_all_are_closed(r)
        for _ in range(20):
            with pytest.raises(aioresp.AuthenticationError):
                await r.set("k", 1)
    assert await refusals(root) == 1


@pytest.mark.parametrize("state", ["SELECT", "MULTI"])
async def test_a_lease_that_cannot_be_reset_is_no_refusal(
    locked: Server, root: Client[str], monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    until_it_is_over(monkeypatch)
    await root.call("ACL", "SETUSER", "poor", "reset", "on", ">right-pw", "~*", "+@all", "-reset")
    async with Client(locked.url, username="poor", password="right-pw", limit=2) as r:
        for _ in range(3):
            async with r.connection() as c:
                await (c.select(1) if state == "SELECT" else c.call("MULTI"))
            await at_rest(r)
            await root.call("CLIENT", "KILL", "USER", "poor")
            await until_all_are_closed(r)
            await r.set("k", 1)


@pytest.mark.parametrize("retry", [None, aioresp.Retry()], ids=["no retries", "retries"])
async def test_a_full_server_is_asked_now_and_then(retry: Any) -> None:
    with start_server(config={"maxclients": "3"}) as own:
        async with Client(own.url, limit=1) as root:
            await root.ping()
            others = [Client(own.url, limit=1) for _ in range(2)]
            for other in others:
                await other.ping()
            async with Client(own.url, retry=retry, timeout=10) as r:
                start = time.monotonic()
                while time.monotonic() < start + 3:
                    # A reset may overtake the server's own words: then all that is known is that it ended.
                    with pytest.raises(aioresp.ConnectError):
                        await r.ping()
                tried = int((await root.info("stats"))["rejected_connections"])
                assert 3 <= tried <= 20, tried  # at 0, 0.1, 0.3, 0.7, 1.5, 2.5
                await others[0].aclose()
                async with asyncio.timeout(10):
                    while True:
                        try:
                            await r.ping()
                            break
                        except aioresp.ConnectError:
                            await asyncio.sleep(0.01)
                await in_step(r)
            await others[1].aclose()


async def test_a_full_server_costs_no_connection_that_is_there() -> None:
    """A lease gives its connection back restored, although no other could be made meanwhile."""
    with start_server(config={"maxclients": "3"}) as own:
        async with Client(own.url, limit=2) as r, Client(own.url, limit=1) as other:
            await other.ping()
            async with r.connection() as c:
                await c.select(1)
                await r.ping()
                full = Client(own.url, retry=None, limit=1)
                with pytest.raises(aioresp.ConnectError):
                    await full.ping()
                await full.aclose()
            await at_rest(r)
            assert (r.stats().open, r.stats().made) == (2, 2)
