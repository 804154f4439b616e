"""Scripts and functions as callables: they work wherever they are called, whether the server knows them or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, NoScriptError, UnexpectedReply
from aioresp.command import Arguments
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.security.hostile import answers

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
LIBRARY = """#!lua name=aioresp_test
redis.register_function('add', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)
redis.register_function{
    function_name='look', callback=function(keys, args) return redis.call('GET', keys[1]) end, flags={'no-writes'}
}
"""

Since = Callable[..., None]


@pytest.fixture
async def r(server: Server, protocol: int) -> AsyncIterator[Client[str]]:
    number: Literal[2, 3] = 3 if protocol == 3 else 2
    async with Client(server.url, protocol=number) as client:
        await client.script_flush()
        yield client


@pytest.fixture
def since(server: Server) -> Since:
    def check(*version: int) -> None:
        if server.version < version:
            pytest.skip(f"needs {version}")

    return check


async def calls(r: Client[str], command: str) -> int:
    """Return how often the server has run a command, refused calls included."""
    said = (await r.info("commandstats")).get(f"cmdstat_{command}", {})
    return int(said.get("calls", 0))


# --- Scripts ---------------------------------------------------------------------------------------------------------


async def test_a_buffer_is_sent_as_it_was_at_the_call(r: Client[str], prefix: str, server: Server) -> None:
    """Before the script the server is asked for it, and what it does not have is sent twice."""
    put = r.register_script("redis.call('RPUSH', KEYS[1], ARGV[1])")
    kinds: list[Any] = [put]
    if server.version >= (7,):
        library = (
            "#!lua name=aioresp_put\nredis.register_function('put', function(k, a) redis.call('RPUSH', k[1], a[1]) end)"
        )
        kinds.append(r.register_function("put", library))
    for each in kinds:
        for loaded in (False, True):
            if not loaded and each is put:
                await r.script_flush()
            buffer = bytearray(b"now")
            call = asyncio.ensure_future(each(keys=[f"{prefix}k"], args=[buffer]))
            await asyncio.sleep(0)  # it asks whether the script is there
            buffer[:] = b"not"
            await call
    assert await r.lrange(f"{prefix}k", 0, -1) == ["now"] * 2 * len(kinds)


async def test_a_script_is_loaded_by_its_first_call(r: Client[str], prefix: str) -> None:
    add = r.register_script(ADD)
    assert repr(add) == f"Script({add.sha})"
    await r.config_resetstat()
    assert [await add(keys=[f"{prefix}n"], args=[n]) for n in (1, 2, 3)] == [1, 3, 6]
    assert (await calls(r, "evalsha"), await calls(r, "eval")) == (2, 1)
    assert add.sha == await r.script_load(ADD)
    await r.script_flush()
    assert await add([f"{prefix}n"], (4,)) == 10
    assert await r.register_script(b"return ARGV[1]")(args=["\xe4"]) == "\xe4"


async def test_many_at_once(r: Client[str], prefix: str) -> None:
    add = r.register_script(ADD)
    results = await asyncio.gather(*(add([f"{prefix}n"], [1]) for _ in range(50)))
    assert sorted(results) == list(range(1, 51))


async def test_on_another_client(r: Client[str], prefix: str) -> None:
    add = r.register_script(ADD)
    view = r.with_options(decode_responses=False)
    assert await add([f"{prefix}n"], [1], client=view) == 1
    async with r.connection() as c:
        await c.select(3)
        assert await add([f"{prefix}n"], [5], client=c) == 5
        assert await c.register_script(ADD)([f"{prefix}n"], [1]) == 6
        await c.delete(f"{prefix}n")


@pytest.mark.parametrize("transaction", [False, True], ids=["plain", "transaction"])
async def test_in_a_pipeline(r: Client[str], prefix: str, transaction: bool) -> None:
    add, get = r.register_script(ADD), r.register_script("return redis.call('GET', KEYS[1])")
    p = r.pipeline(transaction)
    for expected in (3, 8):
        await r.script_flush()
        await r.config_resetstat()
        p.incr(f"{prefix}n")
        value = add([f"{prefix}n"], [1], client=p)
        seen = get([f"{prefix}n"], client=p)
        again = add([f"{prefix}n"], [1], p)
        last = p.incrby(f"{prefix}n", 2)
        assert await p.execute() == [expected - 2, expected - 1, str(expected - 1), expected, expected + 2]
        assert (await value, await seen, await again) == (expected - 1, str(expected - 1), expected)
        assert await last == expected + 2
        assert (await calls(r, "eval"), await calls(r, "evalsha")) == (2, 1)


async def test_a_pipeline_that_was_left_forgets_that_a_script_was_sent(r: Client[str], prefix: str) -> None:
    add = r.register_script(ADD)
    p = r.pipeline()
    with pytest.raises(KeyError):
        async with p:
            add([f"{prefix}n"], [1], p)
            raise KeyError
    add([f"{prefix}n"], [1], p)
    assert await p.execute() == [1]


async def test_while_watching(r: Client[str], prefix: str) -> None:
    add = r.register_script(ADD)
    async with r.pipeline(transaction=True) as p:
        await p.watch(f"{prefix}w")
        assert await add([f"{prefix}n"], [1], p) == 1
        p.multi()
        add([f"{prefix}n"], [1], p)
        assert await p.execute() == [2]


async def test_errors_of_scripts(r: Client[str], prefix: str) -> None:
    with pytest.raises(aioresp.ResponseError, match="ompil"):
        await r.register_script("this is not Lua")()
    fail = r.register_script("return redis.error_reply('MINE no')")
    with pytest.raises(aioresp.ResponseError, match="MINE no"):
        await fail()
    with pytest.raises(TypeError, match="EVALSHA: argument 3 is NoneType"):
        await fail(args=[None])  # type: ignore[list-item]


async def test_readonly(r: Client[str], prefix: str, since: Since) -> None:
    since(7, 0)
    look = r.register_script("return redis.call('GET', KEYS[1])", readonly=True)
    assert await look([f"{prefix}k"]) is None
    async with r.pipeline() as p:
        seen = look([f"{prefix}k"], client=p), look([f"{prefix}k"], client=p)
    assert [await one for one in seen] == [None, None]
    with pytest.raises(aioresp.ResponseError, match=r"[Ww]rite"):
        await r.register_script(ADD, readonly=True)([f"{prefix}k"], [1])
    assert repr(look).endswith(", readonly)")


# --- What a script says is no proof that it has not run ---------------------------------------------------------------

#: A script that runs, and then says what a server says that does not have it.
LIE = "redis.call('INCR', KEYS[1]) return redis.error_reply('NOSCRIPT No matching script. Please use EVAL.')"
LYING_LIBRARY = """#!lua name=aioresp_lies
redis.register_function('lie', function(keys, args)
    redis.call('INCR', keys[1])
    return redis.error_reply('ERR Function not found')
end)
"""


async def test_a_script_that_says_that_it_is_not_there_runs_once(r: Client[str], prefix: str) -> None:
    lie = r.register_script(LIE)
    for expected in (1, 2, 3):
        with pytest.raises(aioresp.NoScriptError):
            await lie([f"{prefix}n"])
        assert await r.get(f"{prefix}n") == str(expected)
    await r.script_load(LIE)
    fresh = r.register_script(LIE)
    async with r.connection() as c:
        for client in (c, r, r.with_options(decode_responses=False)):
            with pytest.raises(aioresp.NoScriptError):
                await fresh([f"{prefix}n"], client=client)
    async with r.pipeline() as p:
        await p.watch(f"{prefix}w")
        with pytest.raises(aioresp.NoScriptError):
            await fresh([f"{prefix}n"], client=p)
    assert await r.get(f"{prefix}n") == "7"


@pytest.mark.parametrize("concurrency", [1, 1000])
async def test_many_calls_that_say_so_at_once_run_once_each(server: Server, prefix: str, concurrency: int) -> None:
    async with Client(server.url, concurrency=concurrency) as r:
        for n in range(6):
            if n % 2 == 0:
                await r.script_flush()
            lie = r.register_script(LIE)
            answers = await asyncio.gather(*(lie([f"{prefix}n"]) for _ in range(50)), return_exceptions=True)
            assert {type(answer) for answer in answers} == {aioresp.NoScriptError}
        assert await r.get(f"{prefix}n") == "300"


class Forgetting:
    """Sends commands, and has the server forget what each call has run before anybody can look."""

    def __init__(self, client: Client[str]) -> None:
        self._client = client

    async def execute(self, arguments: Any, reply: Any) -> Any:
        try:
            return await self._client.execute(arguments, reply)
        finally:
            if arguments[0] == "EVALSHA":
                await self._client.script_flush()
            elif arguments[0] == "FCALL":
                await self._client.function_flush()


@pytest.mark.parametrize("lie", [LIE, "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])"])
async def test_a_script_that_says_so_and_is_removed_runs_once(r: Client[str], prefix: str, lie: str) -> None:
    script = r.register_script(lie)
    await r.script_load(lie)
    with pytest.raises(aioresp.NoScriptError):
        await script([f"{prefix}n"], ["NOSCRIPT No matching script."], client=Forgetting(r))  # type: ignore[call-overload]
    assert await r.get(f"{prefix}n") == "1"


async def test_a_function_that_says_so_and_is_removed_runs_once(r: Client[str], prefix: str, since: Since) -> None:
    since(7, 0)
    lie = r.register_function("lie", LYING_LIBRARY)
    with pytest.raises(aioresp.ResponseError, match="Function not found"):
        await lie([f"{prefix}n"], client=Forgetting(r))  # type: ignore[call-overload]
    assert await r.get(f"{prefix}n") == "1"


@pytest.mark.parametrize("concurrency", [1, 1000])
async def test_a_script_that_is_forgotten_again_and_again(server: Server, prefix: str, concurrency: int) -> None:
    """Callers one after another: each finds that it is gone, and runs it once."""
    async with Client(server.url, concurrency=concurrency) as r:
        add = r.register_script(ADD)
        for n in range(20):
            await r.script_flush()
            assert await add([f"{prefix}n"], [1]) == n + 1


async def test_first_calls_of_many_clients_at_once(server: Server, prefix: str) -> None:
    """Whoever finds that it is not there sends it as a whole, also if another was faster meanwhile."""
    clients = [Client(server.url, concurrency=1) for _ in range(5)]
    for _ in range(5):
        await clients[0].script_flush()
        adds = [client.register_script(ADD) for client in clients for _ in range(20)]
        await asyncio.gather(*(add([f"{prefix}n"], [1]) for add in adds))
    assert await clients[0].get(f"{prefix}n") == "500"
    for client in clients:
        await client.aclose()


async def test_a_script_of_a_user_who_may_not_ask_for_it(prefix: str) -> None:
    with start_server() as server:
        async with Client(server.url) as admin:
            await admin.call("ACL", "SETUSER", "poor", "on", "nopass", "~*", "+@all", "-script")
        async with Client(server.url, username="poor", password="x") as r:
            lie, add = r.register_script(LIE), r.register_script(ADD)
            for expected in (1, 2):
                with pytest.raises(aioresp.NoScriptError):
                    await lie(["n"])
                assert await r.get("n") == str(expected)
            assert [await add(["m"], [1]) for _ in range(3)] == [1, 2, 3]


async def test_a_script_within_multi_is_only_queued(r: Client[str], prefix: str) -> None:
    add = r.register_script(ADD)
    await add([f"{prefix}n"], [1])
    async with r.connection() as c:
        await c.call("MULTI")
        assert await add([f"{prefix}n"], [1], client=c) == "QUEUED"
        assert await c.call("EXEC") == [2]


async def test_a_script_after_a_restart() -> None:
    async with start_server(config={"appendonly": "yes"}) as own, Client(own.url, timeout=10) as r:
        add = r.register_script(ADD)
        for n in range(3):
            assert await add(["n"], [1]) == n + 1
            await asyncio.to_thread(own.kill)
            await asyncio.to_thread(own.start)


async def test_a_script_that_only_reads_and_says_that_it_is_not_there(r: Client[str], since: Since) -> None:
    """It does no harm to run it twice, but three times would be too much."""
    since(7, 0)
    lie = r.register_script("return redis.error_reply('NOSCRIPT No matching script, says the script')", readonly=True)
    await r.config_resetstat()
    with pytest.raises(aioresp.NoScriptError):
        await lie()
    assert await calls(r, "evalsha_ro") + await calls(r, "eval_ro") == 2


async def test_a_function_that_says_that_it_is_not_there_runs_once(r: Client[str], prefix: str, since: Since) -> None:
    since(7, 0)
    await r.function_flush()
    lie = r.register_function("lie", LYING_LIBRARY)
    for expected in (1, 2, 3):
        with pytest.raises(aioresp.ResponseError, match="Function not found"):
            await lie([f"{prefix}n"])
        assert await r.get(f"{prefix}n") == str(expected)
    async with r.connection() as c:
        with pytest.raises(aioresp.ResponseError, match="Function not found"):
            await r.register_function("lie", LYING_LIBRARY)([f"{prefix}n"], client=c)
    answers = await asyncio.gather(*(lie([f"{prefix}n"]) for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {aioresp.ResponseError}
    assert await r.get(f"{prefix}n") == "24"
    await r.function_flush()


async def test_a_function_of_a_user_who_may_not_ask_for_it(since: Since) -> None:
    since(7, 0)
    with start_server() as server:
        async with Client(server.url) as admin:
            await admin.call("ACL", "SETUSER", "poor", "on", "nopass", "~*", "+@all", "-function")
            await admin.function_load(LIBRARY)
        async with Client(server.url, username="poor", password="x") as r:
            assert await r.register_function("add", LIBRARY)(["n"], [2]) == 2
            with pytest.raises(aioresp.ResponseError, match="not found"):
                await r.register_function("none", LIBRARY)()


# --- Functions -------------------------------------------------------------------------------------------------------


async def test_a_function_is_loaded_by_its_first_call(r: Client[str], prefix: str, since: Since) -> None:
    since(7, 0)
    await r.function_flush()
    add, look = r.register_function("add", LIBRARY), r.register_function("look", LIBRARY.encode(), readonly=True)
    assert await add([f"{prefix}n"], [2]) == 2
    assert await look([f"{prefix}n"]) == "2"
    assert await look([f"{prefix}n"], client=r.with_options(decode_responses=False)) == b"2"
    assert repr(add) == "Function('add' of 'aioresp_test')"
    await r.function_flush()
    await r.function_load("#!lua name=aioresp_test\nredis.register_function('old', function() return 1 end)")
    assert await add([f"{prefix}n"], [2]) == 4
    with pytest.raises(aioresp.ResponseError, match="not found"):
        await r.register_function("none", LIBRARY)()
    with pytest.raises(aioresp.ResponseError, match="write flag"):
        await r.register_function("add", LIBRARY, readonly=True)([f"{prefix}n"], [2])


@pytest.mark.parametrize("transaction", [False, True], ids=["plain", "transaction"])
async def test_functions_in_a_pipeline(r: Client[str], prefix: str, since: Since, transaction: bool) -> None:
    since(7, 0)
    add, look = r.register_function("add", LIBRARY), r.register_function("look", LIBRARY)
    p = r.pipeline(transaction)
    for expected in (2, 5):
        await r.function_flush()
        p.incr(f"{prefix}n")
        add([f"{prefix}n"], [1], p)
        value = look([f"{prefix}n"], client=p)
        add([f"{prefix}n"], [1], p)
        assert await p.execute() == [expected - 1, expected, str(expected), expected + 1]
        assert await value == str(expected)
    async with r.pipeline() as p:
        add([f"{prefix}n"], [1], p)


@pytest.mark.parametrize("library", ["", "return 1", "#!lua\n", b"#!lua nome=x\n", "-- name=x\n"])
async def test_a_library_without_a_name(server: Server, library: str | bytes) -> None:
    async with Client(server.url) as r:
        with pytest.raises(ValueError, match="#!lua name=mylib"):
            r.register_function("f", library)


async def test_what_a_pipeline_needs_may_fail(server: Server, prefix: str) -> None:
    """Then nothing is sent, and each command knows."""
    async with Client(server.url) as r:
        if server.version >= (7, 0):
            await r.function_flush()
        p = r.pipeline()
        before = p.incr(f"{prefix}n")
        called: Any = r.register_function("f", "#!lua name=broken\nnonsense")(client=p)
        for _ in range(2):
            with pytest.raises(aioresp.ResponseError):
                await p.execute() if _ == 0 else await called
        with pytest.raises(aioresp.ResponseError):
            await before
        assert await r.exists(f"{prefix}n") == 0


async def test_an_odd_answer_about_scripts_is_no_error_of_python() -> None:
    def tell(words: list[bytes]) -> bytes:
        return b"*0\r\n" if words[0] == b"SCRIPT" else b"-NOSCRIPT No matching script. Please use EVAL.\r\n"

    async with answers(tell) as url, Client(url) as r:
        with pytest.raises(UnexpectedReply, match=r"list of 0.*\[SCRIPT"):
            await r.register_script("return 1")()


async def test_a_script_that_others_load_while_the_client_goes_to_another_server(server: Server) -> None:
    """After a failover many clients load the same script at once; the call waited for the new primary meanwhile."""
    text = "return 'ran' .. ARGV[1]"
    async with Client(server.url) as other:
        moving = False
        clients: list[Client[str]] = []

        async def move(arguments: Arguments, send: Callable[[], Awaitable[Any]]) -> Any:
            if not moving or arguments[0] != "EVALSHA":
                return await send()
            clients[0].node.retire(ConnectionError("a test"))
            await other.script_flush()
            try:
                return await send()
            except NoScriptError:
                await other.script_load(text)
                raise

        async with Client(server.url, middleware=move) as r:
            clients.append(r)
            script = r.register_script(text)
            assert await script([], [1]) == "ran1"
            moving = True
            assert await script([], [2]) == "ran2"
