"""Replies beneath redis-py: the values and errors that redis-py itself returns, and each to its own call."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from redis import exceptions
from redis._parsers import Encoder

from aioresp.testing import Server
from tests.redis.conftest import Make
from tests.redis.seen import plain

NESTED = "return {1, {err = 'MY error'}, {2, {err = 'ERR deep'}}}"
MAPPED = "return {map = {k = {err = 'ERR deep'}}}"


def told(reply: Any) -> Any:
    """Return a reply with its errors as what can be compared."""
    if isinstance(reply, Exception):
        return type(reply), str(reply)
    if isinstance(reply, dict):
        return {key: told(value) for key, value in reply.items()}
    return [told(each) for each in reply] if isinstance(reply, list) else reply


@pytest.mark.parametrize("protocol", [2, 3])
async def test_errors_within_replies_are_those_of_redis_py(make: Make, server: Server, protocol: int) -> None:
    client: Any = make(protocol=protocol)
    theirs: Any = plain(server.url, protocol=protocol)
    async with theirs:
        for script in (NESTED, MAPPED):
            expected = told(await theirs.eval(script, 0))
            sha = await theirs.script_load(script)
            assert told(await client.eval(script, 0)) == expected
            assert told(await client.execute_command("eval", script, 0)) == expected
            assert told(await client.evalsha(sha, 0)) == expected
            assert told(await client.pipeline().eval(script, 0).execute()) == [expected]
            async with client.pipeline() as p:
                await p.watch("k")
                assert told(await p.eval(script, 0)) == expected


@pytest.mark.parametrize("protocol", [2, 3])
async def test_replies_that_a_pipeline_left_unread_are_nobody_elses(make: Make, prefix: str, protocol: int) -> None:
    client: Any = make(protocol=protocol, decode_responses=True)
    await client.mset({f"{prefix}a": "a", f"{prefix}b": "b", f"{prefix}no text": b"\xff"})
    p = client.pipeline(transaction=False).get(f"{prefix}no text").get(f"{prefix}a").get(f"{prefix}a")
    with pytest.raises(UnicodeDecodeError):
        await p.execute()
    assert await client.pipeline(transaction=False).get(f"{prefix}b").get(f"{prefix}b").execute() == ["b", "b"]
    client.set_response_callback("GET", lambda reply, **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await client.pipeline(transaction=False).get(f"{prefix}a").strlen(f"{prefix}b").execute()
    assert await client.pipeline(transaction=False).exists(f"{prefix}b").echo("b").execute() == [1, "b"]


async def test_a_pipeline_with_an_argument_of_a_wrong_type_sends_nothing(make: Make, prefix: str) -> None:
    client: Any = make()
    for blocking in (False, True):
        p = client.pipeline(transaction=False).set(prefix, 1)
        if blocking:
            p.blpop([f"{prefix}q"], 0.01)
        with pytest.raises(exceptions.DataError):
            await p.set(prefix, object()).execute()
        assert not await client.exists(prefix)


class Rounding(Encoder):
    """Encoder of a user's own, for values that redis-py takes as they are, too."""

    def encode(self, value: Any) -> Any:
        text: Any = f"{value:.2f}" if isinstance(value, float) else value
        return super().encode(text)  # type: ignore[no-untyped-call]


async def test_an_encoder_of_a_users_own_has_its_say(make: Make, prefix: str) -> None:
    client: Any = make(encoder_class=Rounding, decode_responses=True)
    assert await client.set(prefix, 1.2345)
    assert await client.get(prefix) == "1.23"
    assert await client.pipeline().set(prefix, 2.3456).get(prefix).execute() == [True, "2.35"]


@pytest.mark.usefixtures("frozen")
async def test_an_error_goes_with_its_handler(make: Make, prefix: str) -> None:
    """And does not wait for the garbage collector, as redis-py's own do."""
    client: Any = make()
    await client.set(prefix, "text")
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(exceptions.ResponseError) as caught:
            await client.incr(prefix)
        gone = weakref.ref(caught.value)
        del caught
        await asyncio.sleep(0)
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_text_that_aioresp_does_not_decode_is_decoded_as_by_redis_py(
    make: Make, server: Server, prefix: str, protocol: int
) -> None:
    client: Any = make(protocol=protocol, decode_responses=True)
    theirs: Any = plain(server.url, protocol=protocol, decode_responses=True)
    async with theirs:
        with pytest.raises(exceptions.RedisError):
            async with client.client() as single:
                await single.execute_command("AUTH", "nobody", "wrong")
        assert set(map(str, (await client.execute_command("ACL LOG"))[0])) <= set(
            map(str, (await theirs.execute_command("ACL LOG"))[0])
        ), "text, and not bytes"
        await client.set(prefix, b"\xff")
        for each in (client, theirs):
            assert await each.acl_log_reset()
            assert await each.execute_command("ACL", "LOG", "RESET") == "OK"
            with pytest.raises(UnicodeDecodeError):
                await each.execute_command("DUMP", prefix)
            assert isinstance(await each.dump(prefix), bytes)
