"""Maps that a Python dict cannot hold: any script can return one, on any path, and the stream stays in step."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from aioresp import Client
from aioresp.testing import Server
from tests.rest import in_step

#: What a script returns under RESP3, and its value here.
ODD: Final[dict[str, tuple[str, Any]]] = {
    "list as key": ("{map={[{1, 2}]='a', [{1, 2}]='b'}}", [([1, 2], "a"), ([1, 2], "b")]),
    "map as key": ("{map={[{map={k='v'}}]='a'}}", [({"k": "v"}, "a")]),
    "set as key": ("{map={[{set={k=true}}]='a'}}", [(["k"], "a")]),
    "within a list": ("{'x', {map={[{1}]='a'}}, 'y'}", ["x", [([1], "a")], "y"]),
    "within a set": ("{set={[{map={[{1}]='a'}}]=true}}", [[([1], "a")]]),
    "within a map": ("{map={k={map={[{1}]={map={[{2}]='a'}}}}}}", {"k": [([1], [([2], "a")])]}),
    "map in a set": ("{set={[{map={a='b'}}]=true}}", [{"a": "b"}]),
}

#: The same, in no order that Lua would keep.
EQUAL: Final = "{map={[1]='integer', [true]='boolean', [{double=1.0}]='double'}}"


def script(returned: str) -> str:
    return f"redis.setresp(3) return {returned}"


@pytest.mark.parametrize("name", ODD)
async def test_a_map_that_is_no_dict_fails_nobody(server: Server, name: str) -> None:
    returned, value = ODD[name]
    odd = script(returned)
    async with Client(server.url, limit=1) as r:
        await r.ping()
        neighbours = [asyncio.ensure_future(r.echo(str(n))) for n in range(5)]
        assert list(await asyncio.gather(r.eval(odd, 0), r.eval(odd, 0))) == [value, value]
        assert list(await asyncio.gather(*neighbours)) == [str(n) for n in range(5)]

        async with r.pipeline() as p:
            handles = [p.echo("a"), p.eval(odd, 0), p.echo("b")]
        assert [await handle for handle in handles] == ["a", value, "b"]
        async with r.pipeline(transaction=True) as p:
            handles = [p.echo("a"), p.eval(odd, 0), p.echo("b"), p.eval(odd, 0)]
        assert [await handle for handle in handles] == ["a", value, "b", value]
        async with r.connection() as c:
            assert await c.eval(odd, 0) == value
            assert await c.echo("c") == "c"
        assert await r.register_script(odd)() == value
        await in_step(r)
        assert r.stats().made == 1


async def test_keys_that_are_equal_in_python_lose_nothing(server: Server) -> None:
    async with Client(server.url) as r:
        for nested in (False, True):
            found = await r.eval(script(f"{{{EQUAL}}}" if nested else EQUAL), 0)
            pairs: list[tuple[Any, str]] = found[0] if nested else found
            assert isinstance(pairs, list)
            assert {(type(key), value) for key, value in pairs} == {
                (int, "integer"),
                (bool, "boolean"),
                (float, "double"),
            }


@pytest.mark.parametrize("whole", [False, True])
async def test_a_map_within_the_reply_of_a_transaction(server: Server, prefix: str, whole: bool) -> None:
    """Also as bytes, beside replies without maps, and with values that look like maps."""
    fields = {f"f{n}": "\r\n%1\r\n" * n for n in range(100)}
    async with Client(server.url) as r:
        await r.hset(f"{prefix}h", mapping=fields)
        for client, expected in (
            (r, fields),
            (r.with_options(decode_responses=False), {k.encode(): v.encode() for k, v in fields.items()}),
        ):
            async with client.pipeline(transaction=whole) as p:
                handles = [p.hgetall(f"{prefix}h") for _ in range(50)]
                size = p.hlen(f"{prefix}h")
                nothing = p.hgetall(f"{prefix}none")
            assert [await handle for handle in handles] == [expected] * 50
            assert await size == 100
            assert await nothing == {}
        await r.unlink(f"{prefix}h")


async def test_the_same_key_twice(server: Server, prefix: str) -> None:
    """XREAD of one stream twice is a map with a key twice, also within EXEC."""
    async with Client(server.url) as r:
        await r.xadd(f"{prefix}s", {"f": "v"})
        streams = f"{prefix}s", f"{prefix}s", "0", "0"
        ((name, (entry,)),) = (await r.xread({f"{prefix}s": "0"})).items()
        assert (name, entry.fields) == (f"{prefix}s", {"f": "v"})
        found = await r.call("XREAD", "STREAMS", *streams)
        assert [name for name, _ in found] == [f"{prefix}s"] * 2
        async with r.pipeline(transaction=True) as p:
            twice = p.call("XREAD", "STREAMS", *streams)
        assert await twice == found
        await r.unlink(f"{prefix}s")


async def test_resp2_is_as_before(server: Server) -> None:
    async with Client(server.url, protocol=2) as r:
        assert await r.eval(script("{map={[{1}]='a'}}"), 0) == [[1], "a"]
        assert await r.eval(script("{'x', {map={[{1}]='a'}}}"), 0) == ["x", [[1], "a"]]
