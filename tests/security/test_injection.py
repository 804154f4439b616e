"""Arguments travel as they are: whatever bytes they have, none of them means anything to the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

import aioresp
from aioresp import Client, Credentials, Message
from aioresp.replies import as_is
from aioresp.testing import Server
from aioresp.testing import server as start_server
from aioresp.wire.packing import CHUNK
from tests.cases import cases
from tests.spelled import CLAIMED, CUT, SPELLED, LyingBuffer, LyingBytes, LyingStr

FLUSH = b"*1\r\n$8\r\nFLUSHALL\r\n"

NASTY = [
    b"",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\r\nFLUSHALL\r\n",
    b"FLUSHALL\r\n",
    FLUSH,
    b"\r\n" + FLUSH,
    b"x\r\n" + FLUSH * 3,
    b"$5\r\nhello\r\n",
    b"$-1\r\n",
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":1\r\n",
    b">2\r\n+invalidate\r\n*1\r\n+k\r\n",
    b"%1\r\n+k\r\n+v\r\n",
    b"*10000000\r\n",
    b"\r\n>99999999\r\n",
    b"|1\r\n+a\r\n+b\r\n",
    b"(123\r\n",
    b"%s %d %n {} \\r\\n \x1b[31m",
    bytes(range(256)),
    bytes(range(255, -1, -1)) * 5,
    (b"\r\n" + FLUSH) * (CHUNK // 20),  # sent as a chunk of its own
    FLUSH + bytes(CHUNK),
    *(bytes([byte]) for byte in b"\0\t\r\n !#$%(*+,-./09:<=>?AZ[_az|~\x7f\x80\xc3\xff"),
]

BYTES = [bytes([byte]) for byte in range(256)]

TEXT = "".join(map(chr, range(0x300))) + "\u2028\u2029\ufeff\U0001f512\r\n*1\r\n$8\r\nFLUSHALL\r\n"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server of its own: it counts the FLUSHALLs."""
    with start_server() as s:
        yield s


@pytest.fixture
async def raw(guarded: Server, protocol: Any) -> AsyncIterator[Client[bytes]]:
    async with Client(guarded.url, decode_responses=False, protocol=protocol) as r:
        await r.set("still here", 1)
        yield r
        assert await r.get("still here") == b"1"
        stats = await r.call("INFO", "commandstats")
        assert b"cmdstat_flushall" not in stats
        assert b"cmdstat_hello:" in stats or protocol == 2
        await r.delete(*[key async for key in r.scan_iter()])


async def test_strings(raw: Client[bytes]) -> None:
    for nasty in NASTY:
        assert await raw.set(nasty, nasty)
        assert await raw.get(nasty) == nasty
        assert await raw.echo(nasty) == nasty
        assert await raw.append(nasty, nasty) == 2 * len(nasty)
        assert await raw.getdel(nasty) == nasty * 2
    assert await raw.mset({nasty: nasty for nasty in NASTY})
    assert await raw.mget(NASTY) == NASTY
    assert {key async for key in raw.scan_iter()} == {*NASTY, b"still here"}


async def test_each_byte(raw: Client[bytes]) -> None:
    assert await raw.mset({byte: byte for byte in BYTES})
    assert await raw.mget(BYTES) == BYTES
    for byte in BYTES:
        assert await raw.append(byte, byte) == 2
    assert await raw.mget(BYTES) == [byte * 2 for byte in BYTES]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, "strided"])
async def test_kinds_of_bytes(raw: Client[bytes], kind: Any) -> None:
    for nasty in NASTY:
        value: Any = kind(nasty) if kind != "strided" else memoryview(b"".join(bytes([b, 0]) for b in nasty))[::2]
        assert await raw.set("k", value)
        assert await raw.get("k") == nasty


async def test_all_the_other_types(raw: Client[bytes]) -> None:
    each = {nasty: nasty for nasty in NASTY}
    for nasty in NASTY:
        await raw.hset("h", nasty, nasty)
        assert await raw.hget("h", nasty) == nasty
        await raw.rpush("l", nasty)
        await raw.zadd("z", {nasty: 1.5})
        await raw.xadd("x", {nasty: nasty})
    assert await raw.hgetall("h") == each
    assert {field: value async for field, value in raw.hscan_iter("h")} == each
    assert await raw.lrange("l", 0, -1) == NASTY
    assert [await raw.blpop("l", timeout=1) for _ in NASTY] == [(b"l", nasty) for nasty in NASTY]
    await raw.sadd("s", *NASTY)
    assert await raw.smembers("s") == set(NASTY)
    assert await raw.zrange("z", 0, -1, withscores=True) == [(nasty, 1.5) for nasty in sorted(set(NASTY))]
    entries = await raw.xrange("x")
    assert [dict(entry.fields) for entry in entries] == [{nasty: nasty} for nasty in NASTY]


@pytest.mark.parametrize("transaction", [False, True])
async def test_pipelines(raw: Client[bytes], transaction: bool) -> None:
    async with raw.pipeline(transaction=transaction) as p:
        for nasty in NASTY:
            p.set(nasty, nasty)
            p.get(nasty)
    assert (await p.execute()) == []
    async with raw.pipeline(transaction=transaction) as p:
        values = [p.get(nasty) for nasty in NASTY]
    assert [await value for value in values] == NASTY
    async with raw.connection() as c:
        for nasty in NASTY:
            assert await c.get(nasty) == nasty


async def test_scripts(raw: Client[bytes]) -> None:
    script = raw.register_script(
        "redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}"
    )
    for nasty in NASTY:
        assert await script([nasty], [nasty]) == [nasty] * 3
        assert await raw.eval("return ARGV[1]", 0, nasty) == nasty


async def test_channels_and_messages(raw: Client[bytes]) -> None:
    names = NASTY[:26]
    async with raw.subscribe(*names, gaps=True) as s:
        for nasty in names:
            assert await raw.publish(nasty, nasty) == 1
        assert [await s.get(5) for _ in names] == [Message(nasty, nasty) for nasty in names]
        await s.unsubscribe(*names)
        await s.subscribe("last")
        assert await raw.publish(names[-1], b"x") == 0
        assert s.gaps == ()


async def test_names_of_commands(raw: Client[bytes]) -> None:
    """A command's name is an argument as any other: no second command comes out of it."""
    for nasty in NASTY:
        if nasty.upper().strip() == b"FLUSHALL":
            continue
        with pytest.raises((aioresp.RedisError, TypeError)):
            await raw.call(nasty)
        if nasty.decode("ascii", "replace").strip():  # else it is GET
            with pytest.raises((aioresp.RedisError, TypeError)):
                await raw.call(b"GET " + nasty, "k")


# --- Types that lie --------------------------------------------------------------------------------------------------

#: By its false length of 2, what follows would be a command of its own.
HIDDEN = b"x\r\n" + FLUSH


async def test_values_of_lying_types(raw: Client[bytes]) -> None:
    for kind in (LyingBytes, LyingBuffer, lambda data: LyingStr(data.decode())):
        lie: Any = kind(HIDDEN)
        assert await raw.set(lie, lie)
        assert await raw.get(HIDDEN) == HIDDEN
        assert await raw.hset("h", mapping={"f": lie})
        assert await raw.hgetall("h") == {b"f": HIDDEN}
        await raw.rpush("l", lie, lie)
        assert await raw.blpop(["l"], timeout=1) == (b"l", HIDDEN)
        assert await raw.eval("return ARGV[1]", 0, lie) == HIDDEN
        assert await raw.register_script("return {KEYS[1], ARGV[1]}")([lie], [lie]) == [HIDDEN, HIDDEN]
        for transaction in (False, True):
            async with raw.pipeline(transaction=transaction) as p:
                queued = p.echo(lie), p.call("ECHO", lie)
            assert [await value for value in queued] == [HIDDEN, HIDDEN]
        async with raw.connection() as c:
            assert await c.echo(lie) == HIDDEN
            await c.rpush("l", lie)
            assert await c.blpop("l", timeout=1) == (b"l", HIDDEN)
        assert await raw.delete("h", "l", lie) >= 1


async def test_channels_of_lying_types(raw: Client[bytes]) -> None:
    name: Any = LyingBytes(HIDDEN)
    async with raw.subscribe(name) as s:
        assert await raw.publish(name, name) == 1
        assert await s.get(5) == Message(HIDDEN, HIDDEN)


async def test_a_script_is_what_is_sent_of_it(raw: Client[bytes]) -> None:
    script = raw.register_script(LyingStr("return 'truth'"))
    assert script.script == "return 'truth'"
    assert await script() == b"truth"
    assert await raw.script_exists(script.sha) == [True]
    with pytest.raises(ValueError, match="EVAL: argument 1 has no UTF-8 form"):
        raw.register_script("return '\udc80'")


def ways(client: Client[Any]) -> dict[str, Callable[..., Awaitable[Any]]]:
    """Return the ways by which any command can be sent."""

    async def lease(*arguments: Any) -> Any:
        async with client.connection() as c:
            return await c.call(*arguments)

    def queued(transaction: bool) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            async with client.pipeline(transaction=transaction) as p:
                handle = p.call(*arguments)
            return await handle

        return call

    async def watching(*arguments: Any) -> Any:
        async with client.pipeline(transaction=True) as p:
            await p.watch("k")
            return await p.call(*arguments)

    async def on_a_lease(*arguments: Any) -> Any:
        async with client.connection() as c, c.pipeline() as p:
            handle = p.call(*arguments)
        return await handle

    def execute(*arguments: Any) -> Awaitable[Any]:
        return client.execute(arguments, as_is)

    async def execute_on_a_lease(*arguments: Any) -> Any:
        async with client.connection() as c:
            return await c.execute(arguments, as_is)

    async def execute_in_a_pipeline(*arguments: Any) -> Any:
        async with client.pipeline() as p:
            handle = p.execute(arguments, as_is)
        return await handle

    return {
        "call": client.call,
        "execute": execute,
        "execute on a lease": execute_on_a_lease,
        "execute in a pipeline": execute_in_a_pipeline,
        "view": client.with_options(timeout=5).call,
        "lease": lease,
        "pipeline": queued(False),
        "transaction": queued(True),
        "watching": watching,
        "pipeline on a lease": on_a_lease,
    }


WAYS = sorted(ways(Client()))

#: The ways that do not split a first argument of several words.
BY_EXECUTE = [way for way in WAYS if way.startswith("execute")]


@cases("way", WAYS)
@cases("spell", [*SPELLED.values(), *CLAIMED.values()], ids=[*SPELLED, *CLAIMED])
async def test_a_name_in_any_spelling_is_sent(raw: Client[bytes], way: str, spell: Callable[[str], Any]) -> None:
    assert await ways(raw)[way](spell("ECHO"), spell("hello")) in (b"hello", b"Hello")


@pytest.mark.parametrize("way", WAYS)
async def test_no_reply_is_crossed(raw: Client[bytes], way: str) -> None:
    """CLIENT REPLY SKIP would swallow a reply, and each of those behind it would come to the wrong caller."""
    send = ways(raw)[way]
    for spell in (*SPELLED.values(), *CLAIMED.values(), *CUT.values()):
        for arguments in (
            (spell("CLIENT"), spell("REPLY"), spell("SKIP")),
            ("CLIENT", spell("REPLY"), "SKIP"),
            (spell("SUBSCRIBE"), "channel"),
            (spell("MONITOR"),),
        ):
            results = await asyncio.gather(
                raw.echo("1"), send(*arguments), raw.echo("2"), raw.echo("3"), return_exceptions=True
            )
            assert [results[0], *results[2:]] == [b"1", b"2", b"3"]
            assert isinstance(results[1], aioresp.CommandRefused), (arguments[0], results[1])
    if way not in BY_EXECUTE:
        for line in (b"CLIENT  REPLY skip", " client reply\tskip ", "CLIENT REPLY\0 SKIP"):
            with pytest.raises(aioresp.CommandRefused):
                await send(line)


@pytest.mark.parametrize("spelling", [*SPELLED, "cut by a zero"])
async def test_a_command_that_blocks_does_not_hold_up_others(raw: Client[bytes], spelling: str) -> None:
    spell: Callable[[str], Any] = {**SPELLED, **CUT}[spelling]
    await raw.xgroup_create("blocking", "g", mkstream=True)
    block = (spell("BLOCK"), spell("0"))
    group = (spell("GROUP"), "g", "BLOCK")
    streams = (spell("STREAMS"), "blocking")
    lines: list[tuple[Any, ...]] = [
        ("XREAD", *block, *streams, "$"),
        ("XREAD", spell("COUNT"), 1, *block, *streams, "$"),
        ("XREADGROUP", *group, *block, *streams, ">"),
        ("XREADGROUP", *block, *group, *streams, ">"),
        ("XREADGROUP", "NOACK", *block, *group, *streams, ">"),
    ]
    if spelling in SPELLED:  # a name that is cut is no name to every server
        lines = [(spell(line[0]), *line[1:]) for line in lines] + [(spell("BLPOP"), "nothing", spell("0"))]
    if spelling.startswith("cut"):
        lines = [tuple(b"0" if part == spell("0") else part for part in line) for line in lines]
    waiting = [asyncio.ensure_future(raw.call(*line)) for line in lines]
    try:
        for _ in range(100):
            assert await raw.echo("here") == b"here"
            if await raw.call("INFO", "clients") and blocked(await raw.call("INFO", "clients")) == len(lines):
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError([task for task in waiting if task.done()])
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await raw.delete("blocking")


def blocked(info: bytes) -> int:
    return int(info.partition(b"blocked_clients:")[2].split()[0])


async def test_what_a_name_said_is_what_is_sent(guarded: Server) -> None:
    """A buffer may change while its command waits for a connection."""
    async with Client(guarded.url, limit=1) as r:
        await r.rpush("first", "1")
        await r.rpush("other", "2")
        lease = r.connection()
        await lease.__aenter__()
        name = bytearray(b"first")
        pop = asyncio.ensure_future(r.blpop(memoryview(name), timeout=10))
        await asyncio.sleep(0.05)
        name[:] = b"other"
        await lease.__aexit__(None, None, None)
        assert await pop == ("first", "1")
        await r.delete("other")


# --- What is too large -----------------------------------------------------------------------------------------------

HUGE = 10**5000


@pytest.mark.parametrize("way", WAYS)
async def test_a_huge_int_is_an_error_on_every_way(raw: Client[bytes], way: str) -> None:
    for arguments in (("SET", "k", HUGE), ("BLPOP", "k", HUGE), ("CLIENT", HUGE), ("get", HUGE), ("Set", "k", HUGE)):
        with pytest.raises(
            ValueError, match=f"{str(arguments[0]).upper()}: argument {len(arguments) - 1} is an int of"
        ):
            await ways(raw)[way](*arguments)
    assert await raw.echo("here") == b"here"


async def test_a_huge_int_leaves_a_pipeline_as_it_was(raw: Client[bytes]) -> None:
    script = raw.register_script("return ARGV[1]")
    await raw.script_flush()
    for transaction in (False, True):
        async with raw.pipeline(transaction=transaction) as p:
            first = p.set("k", 1)
            for bad in (HUGE, None, "\udc80"):
                with pytest.raises((TypeError, ValueError)):
                    p.set("k", bad)  # type: ignore[arg-type]
                with pytest.raises((TypeError, ValueError)):
                    script(["k"], [bad], client=p)  # type: ignore[list-item]
            assert len(p) == 1
            last = p.get("k")
            scripted = [script(["k"], ["a"], client=p), script(["k"], ["b"], client=p)]
        assert (await first, await last) == (True, b"1")
        assert [await value for value in scripted] == [b"a", b"b"]
        await raw.script_flush()


async def test_a_huge_int_leaves_a_lease_as_it_was(raw: Client[bytes]) -> None:
    async with raw.connection() as c:
        for call in (c.set("k", HUGE), c.blpop("k", timeout=HUGE), c.call("SELECT", HUGE), c.call("MULTI", HUGE)):
            with pytest.raises(ValueError, match="is an int of more than 2048 bits"):
                await call
        assert await c.set("k", 1)
        assert await c.get("k") == b"1"


async def test_text(guarded: Server, protocol: Any) -> None:
    async with Client(guarded.url, protocol=protocol) as r:
        for text in (TEXT, TEXT * 100, *TEXT):
            assert await r.set(f"text{text}", text)
            assert await r.get(f"text{text}") == text
        async with r.pipeline() as p:
            handle = p.hgetall(TEXT)
            p.hset(TEXT, TEXT, TEXT)
            again = p.hgetall(TEXT)
        assert (await handle, await again) == ({}, {TEXT: TEXT})
        await r.delete(TEXT, *[key async for key in r.scan_iter("text*")])


# --- The handshake ---------------------------------------------------------------------------------------------------

PASSWORDS = ["\r\n", "\0", "a b", '"', FLUSH.decode(), "\r\n" + FLUSH.decode(), TEXT, "p@ss/w:ord?#[]%"]


@pytest.mark.parametrize("password", PASSWORDS, ids=range(len(PASSWORDS)))
async def test_passwords(raw: Client[bytes], guarded: Server, protocol: Any, password: str) -> None:
    user = "*1$8+FLUSHALL"  # servers allow no white space there
    await raw.acl_setuser(user, True, passwords=f"+{password}", categories=["+@all"], keys=["*"], reset=True)
    url = f"redis://{quote(user, safe='')}:{quote(password, safe='')}@{guarded.host}:{guarded.port}"
    given = Credentials(user, password)
    ways: list[Client[str]] = [
        Client(url, protocol=protocol),
        Client(guarded.url, username=user, password=password, protocol=protocol),
        Client(f"redis://{guarded.host}:{guarded.port}", credential_provider=lambda: given, protocol=protocol),
    ]
    for way in ways:
        async with way as r:
            assert await r.acl_whoami() == user
    wrong = [(user, password + "\r\n"), (user, password + "\r\n" + FLUSH.decode()), (FLUSH.decode(), password)]
    for name, guess in wrong:
        async with Client(guarded.url, username=name, password=guess, protocol=protocol) as r:
            with pytest.raises(aioresp.AuthenticationError):
                await r.ping()
    await raw.acl_deluser(user)


@cases("name", [nasty.decode("latin-1") for nasty in NASTY if not nasty.isalnum()])
def test_client_names_are_refused(name: str) -> None:
    if name and all("!" <= letter <= "~" for letter in name):
        Client(client_name=name)
        return
    with pytest.raises(ValueError, match="client_name") as caught:
        Client(client_name=name)
    assert "\r" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    with pytest.raises(ValueError, match="client_name"):
        Client(f"redis://host?client_name={quote(name, safe='')}")
