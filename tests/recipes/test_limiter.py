"""Limiter: its laws G1 to G5, C1 to C5, each with mutations that its check must notice."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import anyio
import pytest

from aioresp import Client, CommandTimeout, ConnectionLost, NoPermissionError, NoScriptError, Retry, WrongTypeError
from aioresp.errors import ArgumentError, ConnectError
from aioresp.recipes import Hit, Limiter, LimitTimeout, checks
from aioresp.recipes.lua import Call
from aioresp.recipes.outage import Outage
from aioresp.replies import as_is
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.recipes.clocks import Wrong
from tests.recipes.mutated import TIME, Mutation, break_script

Check = Callable[[Client[Any], Server, str], Awaitable[None]]


@pytest.fixture
def check_of() -> dict[str, Check]:
    return {"G1": g1, "G2": g2, "G3": g3, "C2": c2, "C4": c4, "tokens": tokens, "peek": peek, "clock": clock}


# --- The laws ---------------------------------------------------------------------------------------------------------


def hammered(said: list[list[str]]) -> list[Any]:
    """Return when each allowed hit of several processes was sent and answered."""
    return sorted(tuple(map(float, line.split())) for lines in said for line in lines)


def check_windows(hits: list[tuple[float, float]], per: float, most: int) -> None:
    """No window holds more: hits that were sent after its beginning and answered before its end lie in it."""
    for first, (begin, _) in enumerate(hits):
        inside = 0
        for sent, answered in hits[first:]:
            if sent > begin + per:
                break
            inside += answered < begin + per
        assert inside <= most


async def c1(wrong: Wrong, server: Server, prefix: str, mutations: Iterable[Mutation] = ()) -> None:
    """G1, and processes whose clocks are hours apart all get places, to the end."""
    limit, per, burst = 100, 0.4, 30
    words = (server.url, prefix, limit, per, burst, 0.8)
    said = await wrong.run("hammer", *words, mutations=mutations)
    hits = hammered(said)
    check_windows(hits, per, limit + burst)
    lasted = hits[-1][1] - hits[0][0]
    assert len(hits) <= burst + math.ceil(lasted * limit / per) + 1
    assert len(hits) >= burst + limit  # and they are not refused without need
    late, _ = hits[len(hits) // 4]
    assert all(any(sent >= late for sent, _ in hammered([lines])) for lines in said)


async def g1(r: Client[Any], server: Server, prefix: str) -> None:
    limiter = Limiter(r, 100, 0.4, burst=30, prefix=prefix)
    hits: list[tuple[float, float]] = []
    end = time.monotonic() + 0.5
    while (sent := time.monotonic()) < end:
        if await limiter.hit("all"):
            hits.append((sent, time.monotonic()))
        else:
            await asyncio.sleep(0.001)
    check_windows(hits, 0.4, 130)
    assert len(hits) <= 30 + math.ceil((hits[-1][1] - hits[0][0]) * 250) + 1
    many = Limiter(r, 100, 3600, prefix=prefix)
    assert sum(map(bool, await asyncio.gather(*(many.hit("many") for _ in range(1000))))) == 100


async def g2(r: Client[Any], server: Server, prefix: str) -> None:
    limiter = Limiter(r, 4, 60, prefix=prefix)
    for _ in range(4):
        assert await limiter.hit("k")
    begin = time.monotonic()
    first = await limiter.hit("k")
    refused = [await limiter.hit("k", cost=1 + n % 4) for n in range(50)]
    last = await limiter.hit("k")
    passed = time.monotonic() - begin
    assert not any([first, *refused, last])
    assert first.retry_after - passed <= last.retry_after <= first.retry_after
    assert first.reset_after - passed <= last.reset_after <= first.reset_after


async def g3(r: Client[Any], server: Server, prefix: str) -> None:
    limiter = Limiter(r, 10, 1, burst=1, prefix=prefix)

    async def refused() -> tuple[float, Hit, float]:
        while True:  # on a busy machine a place may be free already
            sent = time.monotonic()
            if not (hit := await limiter.hit("k")):
                return sent, hit, time.monotonic()

    for _ in range(2):
        sent, hit, answered = await refused()
        while True:
            begin = time.monotonic()
            again = await limiter.hit("k")
            end = time.monotonic()
            if again:
                assert end >= sent + hit.retry_after - 0.001
                break
            assert begin < answered + hit.retry_after + 0.001
            await asyncio.sleep(0.0002)
        _, hit, _ = await refused()
        await asyncio.sleep(hit.retry_after)
        assert await limiter.hit("k")


async def c2(r: Client[Any], server: Server, prefix: str) -> None:
    """A hit whose answer is lost is sent again, and counts once."""
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, retry=Retry(20, base=0.001)) as cut:
        limiter = Limiter(cut, 10, 3600, prefix=prefix)
        for left in range(9, -1, -1):
            proxy.cut_after(0, "down")
            hit = await limiter.hit("k")
            assert hit
            assert hit.remaining == left
            await cut.ping()  # where the cut came in the handshake, it is used up now
        assert proxy.cuts >= 9
        proxy.cut_after(0, "down")
        assert not await limiter.hit("k")


async def c4(r: Client[Any], server: Server, prefix: str) -> None:
    limiter = Limiter(r, 100, 10, prefix=prefix)
    begin = time.monotonic()
    for key in ("a", b"b\xff", "c"):
        await limiter.hit(key, cost=10)
    raw = r.with_options(decode_responses=False)
    keys = [key for key in await raw.keys() if key.startswith(prefix.encode())]
    assert len(keys) == 3
    for key in keys:
        left = await raw.pttl(key)
        assert 995 - (time.monotonic() - begin) * 1000 <= left <= 1001


async def tokens(r: Client[Any], server: Server, prefix: str) -> None:
    """Only the last four tokens stay, so that a key stays small."""
    limiter = Limiter(r, 100, 60, prefix=prefix)
    for _ in range(20):
        await limiter.hit("k")
    assert await r.strlen(f"{prefix}100/60+100:k") == 16 + 4 * 6


async def peek(r: Client[Any], server: Server, prefix: str) -> None:
    limiter = Limiter(r, 3, 60, prefix=prefix)
    assert await limiter.peek("k") == Hit(True, 3, 0.0, 0.0)
    assert not await r.exists(f"{prefix}3/60+3:k")
    await limiter.hit("k", cost=2)
    for _ in range(3):
        seen = await limiter.peek("k")
        assert (seen.allowed, seen.remaining, seen.retry_after) == (True, 1, 0.0)
        assert 39 < seen.reset_after <= 40
    seen = await limiter.peek("k", cost=3)
    assert not seen
    assert 39 < seen.retry_after <= 40


async def clock(r: Client[Any], server: Server, prefix: str) -> None:
    """After the server's clock has gone back an hour, a caller is not refused for an hour."""
    limiter = Limiter(r, 10, 1, prefix=prefix)
    seconds, micros = await r.time()
    await r.set(f"{prefix}10/1+10:k", f"{(seconds + 3600) * 1_000_000 + micros:016}", ex=3600)
    hit = await limiter.hit("k")
    assert not hit
    assert hit.retry_after <= 0.1001
    while hit.retry_after:  # a caller who does as the answers say gets in
        await asyncio.sleep(hit.retry_after)
        hit, last = await limiter.hit("k"), hit.retry_after
        assert hit or hit.retry_after < last / 2


@pytest.mark.parametrize("law", ["G1", "G2", "G3", "C2", "C4", "tokens", "peek", "clock"])
async def test_law(law: str, check_of: dict[str, Check], server: Server, other: Client[str], prefix: str) -> None:
    await check_of[law](other, server, prefix)


@pytest.mark.parametrize("law", ["G2", "G3", "C2", "C4", "tokens", "peek", "clock"])
async def test_law_under_resp2(law: str, check_of: dict[str, Check], server: Server, prefix: str) -> None:
    """C5."""
    async with Client(server.url, protocol=2) as r:
        await check_of[law](r, server, prefix)


MUTATIONS = [
    ("G1", "math.max(free + cost * step - most - now, 0)", "0"),
    ("G1", "math.ceil((free - now) / 1000)", "1"),
    ("G1", "free = free + cost * step", "free = now + cost * step"),
    ("G1", "tonumber(ARGV[2]) * step", "(tonumber(ARGV[2]) + 1) * step"),
    ("G2", "not seen and (wait == 0 or ahead) then\n  if wait == 0 then", "not seen then\n  do"),
    (
        "G3",
        "return {wait == 0 and 1 or 0, math.floor((now + most - free) / step), wait,",
        "return {wait == 0 and 1 or 0, 0, wait / 2,",
    ),
    ("G3", "free + cost * step - most - now, 0)", "free + cost * step - most - now, 0) + 5000"),
    ("C2", "string.find(tokens, token, 1, true)", "false"),
    ("C2", "string.sub(token .. tokens, 1, 24)", "''"),
    ("C4", ", 'PX', math.ceil((free - now) / 1000)", ""),
    ("tokens", "string.sub(token .. tokens, 1, 24)", "token .. tokens"),
    ("peek", "if token ~= '' and", "if"),
    ("clock", "if ahead then free = now + most end", ""),
    ("clock", " or ahead) then", ") then"),
]


@pytest.mark.parametrize(
    ("law", "old", "new"),
    [
        pytest.param(*each, id=f"{each[0]}-{n}", marks=pytest.mark.ci if n == 8 else ())  # like the one before
        for n, each in enumerate(MUTATIONS)
    ],
)
async def test_a_mutation_is_noticed(
    law: str,
    old: str,
    new: str,
    check_of: dict[str, Check],
    server: Server,
    other: Client[str],
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_script(monkeypatch, "scripts/hit", (old, new))
    with pytest.raises(AssertionError):
        await check_of[law](other, server, prefix)


@pytest.fixture(scope="module")
def wrong() -> Iterator[Wrong]:
    with Wrong() as running:
        yield running


async def test_several_processes_with_wrong_clocks(wrong: Wrong, server: Server, prefix: str) -> None:
    """G1 and C1."""
    await c1(wrong, server, prefix)
    with pytest.raises(AssertionError):
        await c1(wrong, server, prefix + "m", [("hit", *TIME)])


@pytest.mark.soak
async def test_ten_processes(wrong: Wrong, server: Server, prefix: str) -> None:
    limit, per, burst = 20_000, 2.0, 5_000
    clocks = [3600 * (number % 3 - 1) for number in range(10)]
    hits = hammered(await wrong.run("hammer", server.url, prefix, limit, per, burst, 8.0, clocks=clocks))
    lasted = hits[-1][1] - hits[0][0]
    assert len(hits) <= burst + math.ceil(lasted * limit / per) + 1
    sent = sorted(begin for begin, _ in hits)
    for begin in sent[:: len(sent) // 200]:
        inside = sum(1 for a, b in hits if begin <= a and b < begin + per)
        assert inside <= limit + burst


async def g4(own: Server) -> None:
    """NOSCRIPT, a restart, CLIENT KILL and FLUSHALL are no errors."""
    async with Client(own.url) as r, Client(own.url) as other:
        await other.flushall()
        limiter = Limiter(r, 10, 60)
        assert (await limiter.hit("k")).remaining == 9
        await other.script_flush()
        assert (await limiter.hit("k")).remaining == 8
        await other.call("CLIENT KILL", "TYPE", "normal")
        assert (await limiter.hit("k")).remaining == 7
        await other.flushall()
        assert (await limiter.hit("k")).remaining == 9
        await asyncio.to_thread(own.stop)
        await asyncio.to_thread(own.start)
        assert await limiter.hit("k")


async def once(self: Call, key: Any, *args: Any) -> Any:
    """Load the script once, and never look whether the server still has it."""
    loaded = vars(self).setdefault("loaded_by_this_test", [])
    if not loaded:
        loaded.append(await self._send_whole((1, key, *args)))
        return loaded[0]
    return await self._redis.execute(("EVALSHA", self._sha, 1, key, *args), as_is)


async def test_an_error_of_the_past_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """G4."""
    with start_server() as own:
        await g4(own)
        monkeypatch.setattr(Call, "__call__", once)
        with pytest.raises(NoScriptError):
            await g4(own)


async def g5(server: Server, prefix: str, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    """What was said happens, within the timeout, and is logged once."""
    caplog.clear()
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, retry=None) as r:
        raising = Limiter(r, 10, prefix=prefix, timeout=0.05)
        allowing = Limiter(r, 10, prefix=prefix, on_error="allow", timeout=timedelta(milliseconds=50))
        denying = Limiter(r, 10, prefix=prefix, on_error="deny", timeout=0.05)
        assert await Limiter(r, 10, prefix=prefix, timeout=20).hit("k")  # a busy machine connects in more than 50 ms
        if fault == "refuse":
            proxy.refuse()
            proxy.cut()
        else:
            proxy.stall()
        begin = time.monotonic()
        with caplog.at_level(logging.INFO, "aioresp"):
            with pytest.raises((CommandTimeout, ConnectError, ConnectionLost)):
                await raising.hit("k")
            assert [bool(await allowing.hit("k")) for _ in range(3)] == [True] * 3
            hits = [await denying.hit("k") for _ in range(3)]
            assert not any(hits)
            assert all(hit.error is not None and hit.retry_after > 0 for hit in hits)
            with pytest.raises(LimitTimeout):
                await denying.wait("k", timeout=0.3)
            assert time.monotonic() - begin < 5
            proxy.heal()
            while (hit := await denying.hit("k")).error is not None:
                await asyncio.sleep(0.01)
            assert hit  # those that were not answered may have counted, too
        said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("the limiter")]
    assert [line.partition("; ")[2] for line in said] == [
        "until it does, hits are allowed uncounted",
        "until it does, hits are refused",
        "",
    ]
    assert "answers again" in said[-1]


@pytest.mark.parametrize("fault", ["refuse", "stall"])
async def test_the_server_is_away(fault: str, server: Server, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    """G5."""
    await g5(server, prefix, caplog, fault)


@pytest.mark.parametrize("wrong", ["raise", "allow", "deny"])
async def test_an_ignored_choice_is_noticed(
    wrong: str, server: Server, prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G5: whatever the caller says, it is always the same."""
    monkeypatch.setattr(checks, "choice", lambda *_: wrong)
    with pytest.raises((AssertionError, CommandTimeout, ConnectError, ConnectionLost, pytest.fail.Exception)):
        await g5(server, prefix, caplog, "refuse")


async def test_a_noisy_outage_is_noticed(
    server: Server, prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Outage.begin

    def forgetful(self: Outage, *arguments: Any) -> None:
        self.lasts, self._logged = False, float("-inf")
        begin(self, *arguments)

    monkeypatch.setattr(Outage, "begin", forgetful)
    with pytest.raises(AssertionError):
        await g5(server, prefix, caplog, "refuse")


@pytest.mark.ci
async def test_an_ignored_timeout_is_noticed(
    server: Server, prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = checks.seconds
    monkeypatch.setattr(checks, "seconds", lambda name, *rest: 0.8 if name == "timeout" else seconds(name, *rest))
    with pytest.raises(AssertionError):
        await g5(server, prefix, caplog, "stall")


async def test_mistakes_are_raised_whatever_on_error_says(server: Server, other: Client[str], prefix: str) -> None:
    limiter = Limiter(other, 10, prefix=prefix, on_error="allow")
    await other.rpush(f"{prefix}10/60+10:list", "a")
    with pytest.raises(WrongTypeError):
        await limiter.hit("list")
    await other.acl_setuser("limited", enabled=True, nopass=True, commands=["-@all", "+ping"])
    async with Client(host=server.host, port=server.port, username="limited", password="any") as limited:
        with pytest.raises(NoPermissionError):
            await Limiter(limited, 10, on_error="allow").hit("k")
    await other.acl_deluser("limited")


# --- Waiting ----------------------------------------------------------------------------------------------------------


async def test_tasks_wait_in_order(other: Client[str], prefix: str) -> None:
    limiter = Limiter(other, 20, 1, burst=2, prefix=prefix)
    order: list[int] = []

    async def wait(number: int) -> None:
        assert await limiter.wait("k")
        order.append(number)

    begin = time.monotonic()
    await asyncio.gather(*(wait(number) for number in range(8)))
    assert order == sorted(order)
    assert time.monotonic() - begin >= 6 / 20 - 0.001
    assert limiter._lines == {}


async def test_a_wait_ends_in_time(other: Client[str], prefix: str) -> None:
    limiter = Limiter(other, 1, 60, prefix=prefix)
    assert await limiter.wait("k", timeout=0)
    begin = time.monotonic()
    with pytest.raises(LimitTimeout, match=r"no place for '.*k' in time, 1 per 60 s are allowed") as caught:
        await limiter.wait("k", timeout=30)
    assert 59 < caught.value.retry_after <= 60
    assert time.monotonic() - begin < 10  # known at once
    waiting = asyncio.create_task(limiter.wait("k"))
    await asyncio.sleep(0.05)
    for seconds in (0, 0.05):
        with pytest.raises(TimeoutError, match="others of this process are before it"):
            await limiter.wait("k", timeout=seconds)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert limiter._lines == {}
    await limiter.reset("k")
    assert await limiter.wait("k", timeout=0)


async def test_cancelled_at_any_turn(other: Client[str], prefix: str) -> None:
    """C3: a cancelled task keeps nobody waiting, and takes one place at most."""
    limiter = Limiter(other, 1_000_000, 100, prefix=prefix)
    cancelled = 0
    for turns in range(25):
        tasks = [asyncio.create_task(limiter.wait(f"{turns}")) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled += tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        assert all(await asyncio.gather(*tasks[1:]))
        assert (await limiter.peek(f"{turns}", cost=1_000_000 - 3)).allowed
        assert limiter._lines == {}
    assert cancelled > 2  # on a busy machine the answer comes within few turns


# --- Use --------------------------------------------------------------------------------------------------------------


async def test_costs(r: Client[str], prefix: str) -> None:
    """C5: the same under both protocols."""
    limiter = Limiter(r, 10, timedelta(seconds=10), burst=5, prefix=prefix)
    assert repr(limiter) == "Limiter(10 per 10 s, burst 5)"
    hit = await limiter.hit("k", cost=3)
    assert (hit.allowed, hit.remaining, hit.retry_after, hit.error) == (True, 2, 0.0, None)
    assert 2.9 < hit.reset_after <= 3
    hit = await limiter.hit("k", 3)
    assert not hit
    assert hit.remaining == 2
    assert 0.9 < hit.retry_after <= 1
    assert await limiter.hit("k", 2)
    assert await limiter.hit(b"another")


async def test_rates_do_not_meet(other: Client[str], prefix: str) -> None:
    second, hour = Limiter(other, 2, 1, prefix=prefix), Limiter(other, 3, 3600, prefix=prefix)
    assert [bool(await second.hit("k")) for _ in range(3)] == [True, True, False]
    assert [bool(await hour.hit("k")) for _ in range(4)] == [True, True, True, False]
    seconds, micros = (Limiter(other, 1, 1e6 + more, burst=2, prefix=prefix) for more in (1, 1e-6))
    assert await seconds.hit("k", 2)
    assert await micros.hit("k", 2)  # all digits count
    assert await Limiter(other, 2, 1, burst=1, prefix=prefix).hit("k")


async def test_no_burst(other: Client[str], prefix: str) -> None:
    limiter = Limiter(other, 10, 1, burst=0, prefix=prefix)
    assert [bool(hit) for hit in await asyncio.gather(*(limiter.hit("k") for _ in range(5)))].count(True) == 1


def test_it_runs_in_a_runner_of_anyio(server: Server, prefix: str) -> None:
    async def main() -> None:
        async with Client(server.url) as r:
            limiter = Limiter(r, 1, 0.01, prefix=prefix)
            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(limiter.wait, "k")
            limiter = Limiter(r, 1, 60, prefix=prefix)
            await limiter.wait("k")
            with anyio.move_on_after(0.05) as scope:
                await limiter.wait("k")
            assert scope.cancelled_caught

    anyio.run(main)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "limit is 0, not 1 to"),
        ((-1,), {}, "limit is -1"),
        (("5",), {}, "limit is str, not int"),
        ((True,), {}, "limit is bool, not int"),
        ((5, 0), {}, "per is 0, not"),
        ((5, math.nan), {}, "per is nan, not"),
        ((5, "1"), {}, "per is str, not seconds or a timedelta"),
        ((2_000_000, 1), {}, "limit is 2000000 in 1 s, more than a million a second"),
        ((5,), {"burst": -1}, "burst is -1, not 0 to"),
        ((1, 86_400), {"burst": 100_000}, "burst is 100000, which takes more than"),
        ((5,), {"on_error": "open"}, "on_error is 'open', not one of raise, allow, deny"),
        ((5,), {"prefix": 5}, "prefix is int, not str"),
        ((5,), {"timeout": 0}, "timeout is 0, not"),
    ],
)
async def test_wrong_use(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Limiter(Client("redis://localhost"), *arguments, **options)


async def test_wrong_calls() -> None:
    with pytest.raises(ArgumentError, match="redis is str, not a Client"):
        Limiter("redis://localhost", 5)  # type: ignore[arg-type]
    limiter = Limiter(Client("redis://localhost"), 5, burst=3)
    for method in (limiter.hit, limiter.wait, limiter.peek):
        with pytest.raises(ArgumentError, match=r"cost is 4, not 1 to 3: .* \(burst\)"):
            await method("k", 4)
        with pytest.raises(ArgumentError, match="cost is 0"):
            await method("k", 0)
        with pytest.raises(ArgumentError, match="cost is bool"):
            await method("k", True)
        with pytest.raises(ArgumentError, match="key is int, not str or bytes"):
            await method(5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="timeout is -1"):
        await limiter.wait("k", timeout=-1)
    with pytest.raises(TypeError, match="cannot be pickled"):
        limiter.__reduce__()
