"""Mistakes that people make with arguments: each is named at the call, with command and remedy, and sends nothing."""

from __future__ import annotations

import asyncio
import enum
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from aioresp import ArgumentError, ArgumentTypeError, Client, RedisError
from aioresp.testing import Server
from tests.cases import cases


class Colour(enum.Enum):
    RED = "red"


async def text() -> str:
    return "text"


Call = Callable[[Any], Any]

SCRIPT: Final[Any] = Client(port=1).register_script("return 1")

#: A call, the beginning of its error, and what else the error says.
MISTAKES: Final[list[tuple[str, Call, str, *tuple[str, ...]]]] = [
    # Time.
    ("set ex=1.5", lambda r: r.set("k", "v", ex=1.5), "SET: ex is float, not int or timedelta (seconds)", "`px`"),
    (
        "set px=1.5",
        lambda r: r.set("k", "v", px=1.5),
        "SET: px is float, not int or timedelta (milliseconds)",
        "round it",
    ),
    ("set ex='10'", lambda r: r.set("k", "v", ex="10"), "SET: ex is str, not int or timedelta", "int()"),
    ("set ex=True", lambda r: r.set("k", "v", ex=True), "SET: ex is bool, not int or timedelta"),
    (
        "set ex=datetime",
        lambda r: r.set("k", "v", ex=datetime.now(UTC)),
        "SET: ex is datetime, not int or timedelta",
        "AT",
    ),
    ("set exat=float", lambda r: r.set("k", "v", exat=1.5), "SET: exat is float, not int or datetime", "`pxat`"),
    (
        "set exat=delta",
        lambda r: r.set("k", "v", exat=timedelta(1)),
        "SET: exat is timedelta, not int or datetime",
        "AT",
    ),
    ("set 'EX', 10", lambda r: r.set("k", "v", "EX"), "SET: ex is str, not int or timedelta"),
    ("setex swapped", lambda r: r.setex("k", "v", 10), "SETEX: time is str, not int or timedelta"),
    ("getex", lambda r: r.getex("k", ex=0.5), "GETEX: ex is float", "`px`"),
    ("expire '10'", lambda r: r.expire("k", "10"), "EXPIRE: time is str, not int or timedelta (seconds)", "int()"),
    ("expire 1.5", lambda r: r.expire("k", 1.5), "EXPIRE: time is float", "`pexpire`"),
    ("expire None", lambda r: r.expire("k", None), "EXPIRE: time is NoneType, not int or timedelta"),
    ("expireat float", lambda r: r.expireat("k", 1e9), "EXPIREAT: when is float", "`pexpireat`"),
    ("hexpire", lambda r: r.hexpire("h", 1.5, "f"), "HEXPIRE: seconds is float", "`hpexpire`"),
    (
        "brpop None",
        lambda r: r.brpop("l", timeout=None),
        "BRPOP: timeout is NoneType, not int, float",
        "0 waits forever",
    ),
    ("blpop '5'", lambda r: r.blpop("l", "5"), "BLPOP: timeout is str, not int, float", "float()"),
    ("blmove None", lambda r: r.blmove("a", "b", None), "BLMOVE: timeout is NoneType", "0 waits forever"),
    ("bzpopmin None", lambda r: r.bzpopmin("z", None), "BZPOPMIN: timeout is NoneType", "0 waits forever"),
    ("xread block", lambda r: r.xread({"s": "0"}, block=1.5), "XREAD: block is float", "(milliseconds)"),
    # Values.
    (
        "set None",
        lambda r: r.set("k", None),
        "SET: argument 2 is NoneType",
        "(it is the value); Redis has no null",
        "Redis has no null",
    ),
    ("set True", lambda r: r.set("k", True), "SET: argument 2 is bool", "(it is the value)", "pass 1 or 0"),
    ("set dict", lambda r: r.set("k", {"a": 1}), "SET: argument 2 is dict", "(it is the value)", "json.dumps"),
    ("set list", lambda r: r.set("k", [1]), "SET: argument 2 is list", "(it is the value)", "json.dumps"),
    ("set object", lambda r: r.set("k", object()), "SET: argument 2 is object", "(it is the value)", "str()"),
    ("set Decimal", lambda r: r.set("k", Decimal(1)), "SET: argument 2 is Decimal", "(it is the value)", "str()"),
    ("set Enum", lambda r: r.set("k", Colour.RED), "SET: argument 2 is Colour", "(it is the value)", "value"),
    (
        "set date",
        lambda r: r.set("k", date(2000, 1, 1)),
        "SET: argument 2 is date",
        "(it is the value)",
        ".isoformat()",
    ),
    (
        "set timedelta",
        lambda r: r.set("k", timedelta(1)),
        "SET: argument 2 is timedelta",
        "(it is the value)",
        ".total_seconds()",
    ),
    (
        "set future",
        lambda r: r.set("k", asyncio.Future()),
        "SET: argument 2 is Future",
        "(it is the value)",
        "await it first",
    ),
    (
        "get None",
        lambda r: r.get(None),
        "GET: argument 1 is NoneType",
        "(it is the key); Redis has no null",
        "leave it out",
    ),
    ("get list", lambda r: r.get(["k"]), "GET: argument 1 is list", "(it is the key)", "one by one"),
    ("mget None", lambda r: r.mget(None), "MGET: argument 1 is NoneType", "(it is a key); Redis has no null"),
    ("mget nested", lambda r: r.mget("a", ["b"]), "MGET: argument 2 is list", "(it is a key)", "one by one"),
    ("delete list", lambda r: r.delete(["a", "b"]), "DEL: argument 1 is list", "(it is a key)", "one by one"),
    ("delete nothing", lambda r: r.delete(), "DEL: ", "empty"),
    ("sadd list", lambda r: r.sadd("s", ["a"]), "SADD: argument 2 is list", "(it is a member)", "one by one"),
    ("lpush dict", lambda r: r.lpush("l", {"a": 1}), "LPUSH: argument 2 is dict", "(it is a value)", "json.dumps"),
    (
        "publish dict",
        lambda r: r.publish("c", {"a": 1}),
        "PUBLISH: argument 2 is dict",
        "(it is the message)",
        "json.dumps",
    ),
    (
        "call None",
        lambda r: r.call("SET", "k", None),
        "SET: argument 2 is NoneType",
        "(it is the value); Redis has no null",
        "Redis has no null",
    ),
    # Mappings.
    ("hset dict", lambda r: r.hset("h", {"a": 1}), "HSET: key is dict", "mapping=..."),
    (
        "hset None",
        lambda r: r.hset("h", "f", None),
        "HSET: key and value go together, but value is missing, or None",
        "hdel()",
    ),
    ("hset no field", lambda r: r.hset("h", None, "v"), "HSET: key and value go together, but key is missing"),
    (
        "hset mapping None",
        lambda r: r.hset("h", mapping={"f": None}),
        "HSET: argument 3 is NoneType",
        "(it is a value); Redis has no null",
        "no null",
    ),
    (
        "hset value dict",
        lambda r: r.hset("h", "f", {"a": 1}),
        "HSET: argument 3 is dict",
        "(it is a value)",
        "json.dumps",
    ),
    (
        "hset mapping list",
        lambda r: r.hset("h", mapping=["f", 1]),
        "HSET: mapping is list, not a dict",
        'mapping={"name"',
    ),
    (
        "hset items str",
        lambda r: r.hset("h", items="abcd"),
        "HSET: items is str, not a list",
        'items=["field", "value"]',
    ),
    ("hset items dict", lambda r: r.hset("h", items={"a": 1, "b": 2}), "HSET: items is dict, not a list", "items=["),
    ("mset list", lambda r: r.mset(["a", 1]), "MSET: mapping is list, not a dict", 'mapping={"name": "value"}'),
    (
        "mset None",
        lambda r: r.mset({"a": None}),
        "MSET: argument 2 is NoneType",
        "(it is a value); Redis has no null",
        "no null",
    ),
    ("zadd list", lambda r: r.zadd("z", ["a"]), "ZADD: mapping is list, not a dict", 'mapping={"member": 1.0}'),
    ("zadd str", lambda r: r.zadd("z", "a"), "ZADD: mapping is str, not a dict", 'mapping={"member": 1.0}'),
    ("zadd None", lambda r: r.zadd("z", {"a": None}), "ZADD: argument 2 is NoneType", "no null"),
    ("xadd str", lambda r: r.xadd("s", "text"), "XADD: fields is str, not a dict", "fields={"),
    ("xread list", lambda r: r.xread(["s"]), "XREAD: streams is list, not a dict", 'streams={"stream": "0"}'),
    (
        "xreadgroup str",
        lambda r: r.xreadgroup("g", "c", "s"),
        "XREADGROUP: streams is str, not a dict",
        'streams={"stream"',
    ),
    ("config_set list", lambda r: r.config_set(["maxmemory"]), "CONFIG SET: "),
    # A text where a list is meant, and arguments in another order.
    ("script keys", lambda r: SCRIPT("key", client=r), "EVALSHA: keys is str, not a list", 'keys=["key"]'),
    ("script args", lambda r: SCRIPT(["k"], "v", client=r), "EVALSHA: args is str, not a list", "args=["),
    ("geoadd str", lambda r: r.geoadd("g", "abc"), "GEOADD: values is str, not a list", "values=["),
    ("eval", lambda r: r.eval("return 1", "key"), "EVAL: numkeys is text, not a number", "the number of keys"),
    ("eval list", lambda r: r.eval("return 1", ["key"]), "EVAL: numkeys is list, not a number", "the number of keys"),
    ("execute", lambda r: r.execute("GET", "k"), "execute() takes a tuple and a converter", 'call("GET", "key")'),
    ("call list", lambda r: r.call(["GET", "k"]), "call(): the command's name is list, not a word"),
    ("zincrby", lambda r: r.zincrby("z", "member", 1), "ZINCRBY: amount is text, not a number", "name, amount, value"),
    ("lrem", lambda r: r.lrem("l", "value", 1), "LREM: count is text, not a number", "name, count, value"),
    ("scan", lambda r: r.scan("prefix:*"), "SCAN: cursor is text, not a number", "match="),
    ("hscan", lambda r: r.hscan("h", "prefix:*"), "HSCAN: cursor is text, not a number", "match="),
    ("options", lambda r: r.set("k", "v", nx=True, xx=True), "SET: nx and xx exclude each other"),
]

CASES: Final = [(call, begins, says) for _, call, begins, *says in MISTAKES]
NAMES: Final = [mistake[0] for mistake in MISTAKES]

SECRET: Final = "prefix"


@cases("call, begins, says", CASES, ids=NAMES)
async def test_a_client_names_it_and_sends_nothing(call: Call, begins: str, says: list[str]) -> None:
    """No server is there: what would be sent would fail in another way."""
    async with Client(port=1, retry=None) as r:
        with pytest.raises(ArgumentError, match=f"^{re.escape(begins)}") as caught:
            await call(r)
    assert all(part in str(caught.value) for part in says)
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value, TypeError) == isinstance(caught.value, ArgumentTypeError)
    assert caught.value.__context__ is None, "its context may show a value"


@cases("transaction", [False, True])
@cases("call, begins, says", CASES, ids=NAMES)
async def test_a_pipeline_names_it_at_the_call(call: Call, begins: str, says: list[str], transaction: bool) -> None:
    async with Client(port=1, retry=None) as r:
        p = r.pipeline(transaction)
        with pytest.raises(ArgumentError, match=f"^{re.escape(begins)}") as caught:
            call(p)
        assert all(part in str(caught.value) for part in says)
        assert len(p) == 0


@cases("call, begins, says", CASES, ids=NAMES)
async def test_a_lease_names_it(server: Server, call: Call, begins: str, says: list[str]) -> None:
    async with Client(server.url) as r, r.connection() as c:
        with pytest.raises(ArgumentError, match=f"^{re.escape(begins)}") as caught:
            await call(c)
        assert all(part in str(caught.value) for part in says)
        assert await c.ping() is True, "the connection is in step"


async def test_a_coroutine_as_a_value() -> None:
    async with Client(port=1, retry=None) as r:
        value = text()
        with pytest.raises(ArgumentTypeError, match=r"is coroutine, .*; await it first"):
            await r.set("k", value)  # type: ignore[call-overload]
        value.close()


async def test_a_queued_value_as_an_argument(server: Server) -> None:
    async with Client(server.url) as r, r.pipeline() as p:
        queued = p.get("a")
        with pytest.raises(
            ArgumentTypeError, match=r"SET: argument 2 is Queued, .*in a pipeline its value is known after"
        ):
            p.set("b", queued)  # type: ignore[call-overload]


async def test_names_of_channels() -> None:
    async with Client(port=1, retry=None) as r:
        for call in (r.subscribe, r.psubscribe, r.ssubscribe, r.keyspace_events):
            subscribe: Any = call
            with pytest.raises(ArgumentTypeError, match="0 is list, not str or bytes; pass its items one by one"):
                subscribe(["a", "b"])
            with pytest.raises(ArgumentTypeError, match="0 is NoneType, not str or bytes"):
                subscribe(None)
        events: Any = "set"
        with pytest.raises(ArgumentTypeError, match="events is str, not a collection of names, as in events="):
            r.keyspace_events(events=events)


async def test_readers() -> None:
    async with Client(port=1, retry=None) as r:
        make: Any = r.stream_reader
        for options, message in (
            ({"names": ["s"]}, "the name of a stream is list, not str or bytes; pass its items one by one"),
            ({"last_id": None}, "XREAD: last_id is NoneType, not a dict"),
            ({"count": "10"}, "XREAD: count is str, not int"),
            ({"block": 1.5}, "XREAD: block is float, not int or timedelta"),
        ):
            with pytest.raises(ArgumentError, match=message):
                make(options.pop("names", "s"), **options)


async def test_a_pipeline_that_is_executed_with_a_command() -> None:
    async with Client(port=1, retry=None) as r:
        execute: Any = r.pipeline().execute
        with pytest.raises(ArgumentTypeError, match="sends what is queued; `call"):
            execute("PING")


async def test_a_transaction_of_what_is_no_function() -> None:
    async with Client(port=1, retry=None) as r:
        run: Any = r.transaction
        with pytest.raises(ArgumentTypeError, match="func is str, not a function of the pipeline"):
            await run("k")


async def test_it_is_a_redis_error() -> None:
    async with Client(port=1, retry=None) as r:
        with pytest.raises(RedisError):
            await r.set("k", None)  # type: ignore[call-overload]
        with pytest.raises(RedisError):
            await r.transaction(len, attempts=0)
