"""Replies of scripts that hiredis refuses, from real servers: each fails its own caller, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

import pytest

from aioresp import Client, DecodeError
from aioresp.errors import RedisError
from aioresp.testing import Server
from tests.rest import in_step

#: What a script returns that hiredis refuses, by the protocol from which on it does.
REFUSED: Final[dict[str, tuple[int, str]]] = {
    "big number": (3, "return {big_number='x'}"),
    "big number, plus sign": (3, "return {big_number='+5'}"),
    "big number, line break": (3, "return {big_number='1\\r\\n+OK\\r\\n'}"),
    "big number, zero byte": (3, "return {big_number='x\\0002'}"),
    "big number, not UTF-8": (3, "return {big_number='\\255'}"),
    "in a list": (3, "return {1, {big_number='x'}, 'y'}"),
    "in a map": (3, "return {map={k={big_number='x'}, l={1, 2}}}"),
    "as a key": (3, "return {map={[{big_number='x'}]={1, 2}}}"),
    "in a set": (3, "return {set={[{big_number='x'}]=true}}"),
    "in the middle of much": (
        3,
        "local t = {} for n = 1, 2001 do t[n] = string.rep('(x\\r\\n', n % 50) end t[1000] = {big_number='x'} return t",
    ),
    "deep": (2, "local t = 1 for _ = 1, 1025 do t = {t} end return t"),
    "deep maps": (2, "local t = {} for _ = 1, 2000 do t = {map={k=t}} end return t"),
    "deep sets": (2, "local t = {} for _ = 1, 2000 do t = {set={[t]=true}} end return t"),
    "without end": (2, "local t = {} t[1] = t t[2] = 'x' return t"),
}


@pytest.fixture(params=REFUSED)
def script(request: pytest.FixtureRequest, server: Server, resp: Literal[2, 3]) -> str:
    since, text = REFUSED[request.param]
    if resp < since or (server.version < (7,) and "big_number" in text):
        pytest.skip("the server sends it in another form")
    return f"redis.setresp({resp}) {text}"


async def refuse(call: Any) -> None:
    with pytest.raises(DecodeError, match="cannot be read; the command has run"):
        await call


@pytest.mark.usefixtures("no_debug")  # asyncio's debug mode is slow, and the tests below are in it
async def test_only_the_caller_of_the_script_fails(server: Server, resp: Literal[2, 3], script: str) -> None:
    """With fifty callers on one connection, in pipelines and transactions, on a lease, and as a registered script."""
    async with Client(server.url, protocol=resp, limit=1) as r:
        await r.ping()

        async def echo(number: int) -> None:
            for turn in range(8):
                text = f"{number}:{turn} " + "x" * (number * turn % 500)
                assert await r.echo(text) == text

        async def spoil() -> None:
            for _ in range(4):
                await refuse(r.eval(script, 0))

        await asyncio.gather(*(spoil() if n % 10 == 5 else echo(n) for n in range(50)))

        p = r.pipeline()
        first, odd, last = p.echo("a"), p.eval(script, 0), p.echo("b")
        with pytest.raises(DecodeError, match=r"command #2 of 3 .*has run.*EVAL") as caught:
            await p.execute()
        assert caught.value.index == 1
        assert (await first, await last) == ("a", "b")
        await refuse(odd)

        async with r.connection() as c:
            await refuse(c.eval(script, 0))
            assert await c.echo("c") == "c"
        await refuse(r.register_script(script)())
        await refuse(r.with_options(decode_responses=False).eval(script, 0))
        await in_step(r)
        assert r.stats().made == 1


@pytest.mark.usefixtures("no_debug")
async def test_a_long_pipeline(server: Server, resp: Literal[2, 3], script: str) -> None:
    """Of 10,000 commands with the script in the middle, beside other callers, once on a connection of its own."""
    async with Client(server.url, protocol=resp, limit=1) as r:
        await r.ping()
        neighbours = [asyncio.ensure_future(r.echo(str(n))) for n in range(20)]
        p = r.pipeline()
        handles = [p.eval(script, 0) if n == 5000 else p.echo(f"number {n}") for n in range(10_000)]
        with pytest.raises(DecodeError, match="command #5001"):
            await p.execute()
        assert list(await asyncio.gather(*neighbours)) == [str(n) for n in range(20)]
        await refuse(handles.pop(5000))
        assert [await handle for handle in handles] == [f"number {n}" for n in range(10_000) if n != 5000]
        await in_step(r)
        assert r.stats().made == 1


async def test_within_a_transaction(server: Server, resp: Literal[2, 3], script: str, prefix: str) -> None:
    """EXEC has one reply: the caller learns that all commands have run, and that no reply of them can be read."""
    async with Client(server.url, protocol=resp, limit=1) as r:
        neighbours = [asyncio.ensure_future(r.echo(str(n))) for n in range(20)]
        p = r.pipeline(transaction=True)
        handles = [p.incr(f"{prefix}n"), p.eval(script, 0), p.incr(f"{prefix}n")]
        with pytest.raises(DecodeError, match=r"the transaction ran.*EXEC"):
            await p.execute()
        for handle in handles:
            with pytest.raises(RedisError):
                await handle
        assert list(await asyncio.gather(*neighbours)) == [str(n) for n in range(20)]
        assert await r.get(f"{prefix}n") == "2"
        await in_step(r)
        assert r.stats().made == 1
        await r.unlink(f"{prefix}n")


async def test_a_caller_that_has_gone(server: Server, resp: Literal[2, 3], script: str) -> None:
    async with Client(server.url, protocol=resp, limit=1) as r:
        await r.ping()
        calls = [asyncio.ensure_future(r.eval(script, 0) if n % 2 else r.echo(str(n))) for n in range(40)]
        await asyncio.sleep(0)
        for call in calls[1::4]:
            call.cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        for number, value in enumerate(done):
            if number % 2 == 0:
                assert value == str(number)
            else:
                assert isinstance(value, asyncio.CancelledError if number % 4 == 1 else DecodeError)
        await in_step(r)
        assert r.stats().made == 1


async def test_it_is_never_sent_again(server: Server, resp: Literal[2, 3], script: str, prefix: str) -> None:
    async with Client(server.url, protocol=resp) as r:
        counted = f"redis.call('INCR', KEYS[1]) {script}"
        await refuse(r.eval(counted, 1, f"{prefix}n"))
        await refuse(r.with_options(idempotent=True).eval(counted, 1, f"{prefix}n"))
        assert await r.get(f"{prefix}n") == "2"
        await r.unlink(f"{prefix}n")
