"""The class `aioresp.redis.Redis` beside redis-py's: the same words and the same replies, by a shorter way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

import pytest
import redis.asyncio as theirs

import aioresp.redis
from aioresp.testing import Server


def recorded(kind: type[theirs.Redis]) -> Any:
    """Return a client of a class that gives back the words of a command, and its options."""

    class Recorder(kind):  # type: ignore[misc, valid-type]
        def execute_command(self, *words: Any, **options: Any) -> Any:
            return words, options

    return Recorder()


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ((), {}),
        ((), {"ex": 60}),
        ((60,), {}),
        ((), {"ex": timedelta(seconds=5)}),
        ((), {"ex": "60"}),
        ((), {"ex": "soon"}),
        ((), {"ex": True}),
        ((), {"ex": 0}),
        ((), {"ex": 1.5}),
        ((None, 5000), {}),
        ((60, 5000), {}),
        ((), {"px": 5000, "nx": True}),
        ((), {"get": True}),
        ((), {"keepttl": True}),
        ((), {"ex": 1, "keepttl": True}),
        ((), {"nx": True, "xx": True}),
    ],
)
def test_set_sends_the_words_of_redis_py(words: tuple[Any, ...], options: dict[str, Any]) -> None:
    outcomes = []
    for kind in (theirs.Redis, aioresp.redis.Redis):
        try:
            outcomes.append(recorded(kind).set("k", b"v", *words, **options))
        except Exception as error:
            outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]


async def test_callbacks_of_a_users_own(server: Server, prefix: str) -> None:
    async def later(reply: Any, **options: Any) -> Any:
        return "awaited", reply, options

    client: Any
    async with aioresp.redis.from_url(server.url, decode_responses=True) as client:
        assert await client.set(f"{prefix}k", "v", 60) is True
        assert await client.execute_command("set", f"{prefix}k", "v") is True
        assert await client.execute_command("set", f"{prefix}k", "v", "NX") is None
        client.set_response_callback("GET", later)
        client.set_response_callback("STRLEN", lambda reply, **options: reply + 1)
        assert await client.get(f"{prefix}k") == ("awaited", "v", {})
        assert await client.execute_command("get", f"{prefix}k") == ("awaited", "v", {})
        assert await client.strlen(f"{prefix}k") == 2


async def test_it_keeps_its_own_type_and_the_types_of_redis_py(server: Server, prefix: str) -> None:
    async with aioresp.redis.from_url(server.url) as client:
        assert_type(client, aioresp.redis.Redis)
        assert_type(aioresp.redis.Redis.from_url(server.url), aioresp.redis.Redis)
        assert_type(await client.incr(prefix), int)
    with pytest.raises(TypeError):
        aioresp.redis.Redis(hots="localhost")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
