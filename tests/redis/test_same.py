"""The same calls on redis-py alone and over the layer: the same values, and errors of the same types."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from redis import exceptions

from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.redis.conftest import Make
from tests.redis.seen import plain

Call = Callable[[Any], Any]


def each(value: str) -> Callable[[Any], Any]:
    """Return a call that collects an iterator of a client."""

    async def collect(c: Any) -> Any:
        names = {"scan": c.scan_iter(value), "h": c.hscan_iter("h"), "s": c.sscan_iter("s"), "z": c.zscan_iter("z")}
        return sorted([item async for item in names[value[:4] if value.startswith("scan") else value]], key=repr)

    return collect


async def keys(c: Any) -> Any:
    return sorted([key async for key in c.scan_iter("*", count=3)], key=repr)


async def script(c: Any) -> Any:
    registered = c.register_script("return {KEYS[1], ARGV[1], 1, {ok='fine'}}")
    return [await registered(keys=["a"], args=["x"]), await registered(keys=["a"], args=[b"\xe9"])]


async def piped(c: Any) -> Any:
    p = c.pipeline(transaction=False)
    p.set("p", 1).incr("p").lpush("p", 1).get("p").hgetall("h").zrange("z", 0, -1, withscores=True).mget("p", "none")
    return await p.execute(raise_on_error=False)


async def transaction(c: Any) -> Any:
    p = c.pipeline(transaction=True)
    p.set("p", 1).incr("p").lpush("p", 1).get("p").hgetall("h").smembers("s").ttl("p")
    return await p.execute(raise_on_error=False)


async def broken_transaction(c: Any) -> Any:
    return await c.pipeline(transaction=True).set("p", 1).execute_command("NOSUCH").get("p").execute()


async def raising_pipeline(c: Any) -> Any:
    return await c.pipeline(transaction=False).set("p", 1).lpush("p", 1).execute()


async def blocked(c: Any) -> Any:
    await c.rpush("bl", 1, 2)
    await c.zadd("bz", {"m": 1})
    return [
        await c.blpop(["none", "bl"], 1),
        await c.brpoplpush("bl", "bl2", 1),
        await c.bzpopmax("bz", 1),
        await c.blpop("none", 0.01),
        await c.blmove("bl2", "bl", 1, "LEFT", "RIGHT"),
        await c.blmpop(1, 1, "bl", direction="LEFT"),
    ]


async def locked(c: Any) -> Any:
    lock = c.lock("lock", timeout=5)
    return [await lock.acquire(), await lock.owned(), await lock.extend(5), await lock.release()]


#: Calls in an order, as later ones read what earlier ones wrote. Replies with times, ids or addresses are reduced.
CALLS: Final[list[Call]] = [
    lambda c: c.flushdb(),
    lambda c: c.ping(),
    lambda c: c.echo("é"),
    # Strings and keys
    lambda c: c.set("a", "é\n"),
    lambda c: c.get("a"),
    lambda c: c.get("none"),
    lambda c: c.set("a", 1, nx=True),
    lambda c: c.set("a", 2, xx=True, get=True),
    lambda c: c.set("b", 1.5, ex=100),
    lambda c: c.set("b", b"\xe9", keepttl=True),
    lambda c: c.set("t", "v", px=timedelta(seconds=90)),
    lambda c: c.setex("x", 100, "v"),
    lambda c: c.psetex("x", 100_000, "v"),
    lambda c: c.setnx("x", "w"),
    lambda c: c.getset("x", "w"),
    lambda c: c.getdel("x"),
    lambda c: c.getex("b", persist=True),
    lambda c: c.append("a", "2"),
    lambda c: c.strlen("a"),
    lambda c: c.getrange("a", 0, 1),
    lambda c: c.setrange("a", 1, "9"),
    lambda c: c.incr("n"),
    lambda c: c.incrby("n", 5),
    lambda c: c.decr("n"),
    lambda c: c.incrbyfloat("f", 1.25),
    lambda c: c.incr("b"),
    lambda c: c.mset({"m1": 1, "m2": "zwei"}),
    lambda c: c.msetnx({"m1": 1, "m3": 1}),
    lambda c: c.mget("m1", "none", "m2"),
    lambda c: c.mget(["m1"]),
    lambda c: c.exists("m1", "m2", "none"),
    lambda c: c.touch("m1", "none"),
    lambda c: c.type("m1"),
    lambda c: c.type("none"),
    lambda c: c.rename("m1", "m9"),
    lambda c: c.rename("none", "x"),
    lambda c: c.renamenx("m9", "m2"),
    lambda c: c.copy("m2", "m4"),
    lambda c: c.delete("m4", "none"),
    lambda c: c.unlink("m9"),
    lambda c: c.expire("m2", 1000),
    lambda c: c.expire("m2", timedelta(seconds=1000), nx=True),
    lambda c: c.expireat("m2", 4_000_000_000),
    lambda c: c.expiretime("m2"),
    lambda c: c.pexpiretime("m2"),
    lambda c: c.ttl("none"),
    lambda c: c.persist("m2"),
    lambda c: c.pttl("m2"),
    lambda c: c.dump("m2"),
    lambda c: c.dump("none"),
    lambda c: c.dbsize(),
    lambda c: c.lcs("a", "m2"),
    lambda c: c.lcs("a", "m2", idx=True, withmatchlen=True),
    lambda c: c.object("ENCODING", "m2"),
    lambda c: c.object("REFCOUNT", "m2"),
    lambda c: c.object("FREQ", "m2"),
    lambda c: c.memory_usage("none"),
    lambda c: c.memory_doctor(),
    # Bits
    lambda c: c.setbit("bits", 7, 1),
    lambda c: c.getbit("bits", 7),
    lambda c: c.bitcount("bits"),
    lambda c: c.bitpos("bits", 1),
    lambda c: c.bitop("NOT", "bits2", "bits"),
    lambda c: c.bitfield("bf").set("u8", 0, 255).incrby("u8", 0, 10).get("u4", 0).execute(),
    lambda c: c.bitfield("bf", default_overflow="FAIL").incrby("u8", 0, 255).execute(),
    # Hashes
    lambda c: c.hset("h", mapping={"f1": 1, "f2": "é", "f3": 2.5}),
    lambda c: c.hset("h", "f4", b"\xe9"),
    lambda c: c.hset("h", items=["f5", "v5"]),
    lambda c: c.hget("h", "f2"),
    lambda c: c.hget("h", "none"),
    lambda c: c.hmget("h", ["f1", "none"]),
    lambda c: c.hgetall("h"),
    lambda c: c.hgetall("none"),
    lambda c: c.hkeys("h"),
    lambda c: c.hvals("h"),
    lambda c: c.hlen("h"),
    lambda c: c.hexists("h", "f1"),
    lambda c: c.hdel("h", "f5", "f6"),
    lambda c: c.hincrby("h", "f1", 3),
    lambda c: c.hincrbyfloat("h", "f3", 0.5),
    lambda c: c.hsetnx("h", "f1", 1),
    lambda c: c.hstrlen("h", "f2"),
    lambda c: c.hrandfield("one"),
    lambda c: c.hscan("h"),
    lambda c: c.hset("a", "f", 1),
    each("h"),
    # Sets
    lambda c: c.sadd("s", "a", "b", "c", 1),
    lambda c: c.sadd("s2", "b", "d"),
    lambda c: c.smembers("s"),
    lambda c: c.sismember("s", "a"),
    lambda c: c.smismember("s", ["a", "z"]),
    lambda c: c.scard("s"),
    lambda c: c.sdiff("s", "s2"),
    lambda c: c.sinter("s", "s2"),
    lambda c: c.sintercard(2, ["s", "s2"]),
    lambda c: c.sunion("s", "s2"),
    lambda c: c.sdiffstore("s3", "s", "s2"),
    lambda c: c.sunionstore("s4", "s", "s2"),
    lambda c: c.smove("s", "s2", "a"),
    lambda c: c.srem("s", "a", 1),
    lambda c: c.srandmember("none"),
    lambda c: c.spop("none"),
    lambda c: c.spop("s3", 9),
    each("s"),
    # Sorted sets
    lambda c: c.zadd("z", {"a": 1, "b": 2.5, "c": float("inf"), "d": -3}),
    lambda c: c.zadd("z", {"a": 5}, gt=True, ch=True),
    lambda c: c.zadd("z", {"a": 1}, incr=True),
    lambda c: c.zadd("z", {"new": 1}, xx=True, incr=True),
    lambda c: c.zscore("z", "a"),
    lambda c: c.zscore("z", "none"),
    lambda c: c.zmscore("z", ["a", "none"]),
    lambda c: c.zrange("z", 0, -1),
    lambda c: c.zrange("z", 0, -1, withscores=True),
    lambda c: c.zrange("z", 0, 1, desc=True, withscores=True, score_cast_func=int),
    lambda c: c.zrange("z", "-inf", "+inf", byscore=True, offset=0, num=2),
    lambda c: c.zrevrange("z", 0, 1, withscores=True),
    lambda c: c.zrangebyscore("z", 0, 10, withscores=True),
    lambda c: c.zrevrangebyscore("z", 10, 0),
    lambda c: c.zrangebylex("z", "-", "+"),
    lambda c: c.zrank("z", "a"),
    lambda c: c.zrank("z", "none"),
    lambda c: c.zrank("z", "a", withscore=True),
    lambda c: c.zrevrank("z", "a"),
    lambda c: c.zcard("z"),
    lambda c: c.zcount("z", 0, 10),
    lambda c: c.zlexcount("z", "-", "+"),
    lambda c: c.zincrby("z", 2, "a"),
    lambda c: c.zunion(["z", "s"], withscores=True),
    lambda c: c.zinter(["z", "s2"], aggregate="MAX"),
    lambda c: c.zdiff(["z", "s2"], withscores=True),
    lambda c: c.zunionstore("z2", {"z": 2, "s": 3}),
    lambda c: c.zrangestore("z3", "z", 0, 1),
    lambda c: c.zpopmin("z2"),
    lambda c: c.zpopmax("z2", 2),
    lambda c: c.zmpop(1, ["z2"], min=True),
    lambda c: c.zrem("z", "c", "none"),
    lambda c: c.zremrangebyrank("z3", 0, 0),
    lambda c: c.zscan("z"),
    each("z"),
    # Lists
    lambda c: c.rpush("l", "a", "b", "c", 1, 2.5),
    lambda c: c.lpush("l", "z"),
    lambda c: c.lpushx("none", "z"),
    lambda c: c.lrange("l", 0, -1),
    lambda c: c.llen("l"),
    lambda c: c.lindex("l", 99),
    lambda c: c.linsert("l", "BEFORE", "b", "bb"),
    lambda c: c.lset("l", 0, "y"),
    lambda c: c.lset("l", 99, "y"),
    lambda c: c.lrem("l", 1, "bb"),
    lambda c: c.ltrim("l", 0, 3),
    lambda c: c.lpos("l", "b"),
    lambda c: c.lpos("l", "b", count=0),
    lambda c: c.lmove("l", "l2", "LEFT", "RIGHT"),
    lambda c: c.lmpop(1, "l2", direction="LEFT"),
    lambda c: c.lpop("l"),
    lambda c: c.lpop("l", 2),
    lambda c: c.rpop("none"),
    lambda c: c.rpoplpush("l", "l2"),
    blocked,
    # Sorting
    lambda c: c.rpush("sortme", 3, 1, 2),
    lambda c: c.sort("sortme"),
    lambda c: c.sort("sortme", desc=True, get=["#", "none_*"], groups=True),
    lambda c: c.sort("sortme", store="sorted"),
    lambda c: c.sort("s", alpha=True),
    lambda c: c.sort("s"),
    lambda c: c.sort_ro("sortme"),
    # Streams
    lambda c: c.xadd("x1", {"f": "v", "g": 1}, id="1-1"),
    lambda c: c.xadd("x1", {"f": "é"}, id="1-2"),
    lambda c: c.xadd("x1", {"f": 1}, id="1-1"),
    lambda c: c.xlen("x1"),
    lambda c: c.xrange("x1"),
    lambda c: c.xrevrange("x1", count=1),
    lambda c: c.xread({"x1": 0}),
    lambda c: c.xread({"x1": "$"}, block=5),
    lambda c: c.xgroup_create("x1", "g", id=0),
    lambda c: c.xgroup_create("x1", "g", id=0),
    lambda c: c.xreadgroup("g", "me", {"x1": ">"}, count=1),
    lambda c: c.xreadgroup("nogroup", "me", {"x1": ">"}),
    lambda c: c.xpending("x1", "g"),
    lambda c: c.xack("x1", "g", "1-1"),
    lambda c: c.xautoclaim("x1", "g", "you", 0),
    lambda c: c.xclaim("x1", "g", "you", 0, ["1-1"]),
    lambda c: c.xinfo_groups("x1"),
    lambda c: c.xinfo_stream("x1"),
    lambda c: c.xdel("x1", "1-1"),
    lambda c: c.xtrim("x1", maxlen=0),
    lambda c: c.xgroup_delconsumer("x1", "g", "you"),
    lambda c: c.xgroup_destroy("x1", "g"),
    # Geo, HyperLogLog
    lambda c: c.geoadd("geo", [13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"]),
    lambda c: c.geodist("geo", "Palermo", "Catania", unit="km"),
    lambda c: c.geohash("geo", "Palermo", "none"),
    lambda c: c.geopos("geo", "Palermo", "none"),
    lambda c: c.geosearch("geo", longitude=15, latitude=37, unit="km", radius=200, withdist=True, withcoord=True),
    lambda c: c.georadius("geo", 15, 37, 200, unit="km", withdist=True, sort="ASC"),
    lambda c: c.pfadd("hll", 1, 2, 3),
    lambda c: c.pfcount("hll"),
    lambda c: c.pfmerge("hll2", "hll"),
    # Scripts
    script,
    lambda c: c.eval("return {1, 'two', false, {3, nil}}", 0),
    lambda c: c.eval("return redis.error_reply('MY own error')", 0),
    lambda c: c.eval("return {ok='STATUS'}", 0),
    lambda c: c.eval("nonsense", 0),
    lambda c: c.evalsha("0" * 40, 0),
    lambda c: c.script_exists("0" * 40),
    lambda c: c.script_flush(),
    lambda c: c.function_list(),
    lambda c: c.fcall("nosuch", 0),
    # The server
    lambda c: c.config_get("maxmemory*"),
    lambda c: c.config_set("maxmemory-samples", 5),
    lambda c: c.config_set("nosuch", 5),
    lambda c: c.config_resetstat(),
    lambda c: c.acl_whoami(),
    lambda c: c.acl_list(),
    lambda c: c.acl_users(),
    lambda c: c.acl_setuser("u", enabled=True, passwords=["+p"], commands=["+get"], keys=["k*"]),
    lambda c: c.acl_getuser("u"),
    lambda c: c.acl_getuser("none"),
    lambda c: c.acl_deluser("u"),
    lambda c: c.acl_cat("hash"),
    lambda c: c.acl_log_reset(),
    lambda c: c.command_count(),
    lambda c: c.command_getkeys("MSET", "a", 1, "b", 2),
    lambda c: c.execute_command("COMMAND INFO", "get"),
    lambda c: c.slowlog_reset(),
    lambda c: c.slowlog_get(1),
    lambda c: c.latency_reset(),
    lambda c: c.client_getname(),
    lambda c: c.client_setname("with space"),
    lambda c: c.client_kill("1.2.3.4:5"),
    lambda c: c.client_kill_filter(_id=999_999),
    lambda c: c.client_unblock(999_999),
    lambda c: c.client_no_evict("OFF"),
    lambda c: c.client_trackinginfo(),
    lambda c: c.pubsub_channels("none*"),
    lambda c: c.pubsub_numsub("none"),
    lambda c: c.pubsub_numpat(),
    lambda c: c.publish("none", 1),
    lambda c: c.spublish("none", 1),
    lambda c: c.role(),
    lambda c: c.swapdb(14, 15),
    lambda c: c.move("none", 5),
    lambda c: c.readonly(),
    lambda c: c.cluster("INFO"),
    lambda c: c.wait(0, 1),
    lambda c: c.execute_command("NOSUCH", "a"),
    lambda c: c.execute_command("get", "a"),
    lambda c: c.execute_command(b"GET", "a"),
    lambda c: c.execute_command("GET"),
    lambda c: c.execute_command("CONFIG GET", "maxmemory"),
    lambda c: c.execute_command("HGETALL", "h", NEVER_DECODE=True),
    lambda c: c.execute_command("OBJECT", "ENCODING", "n"),
    keys,
    piped,
    transaction,
    broken_transaction,
    raising_pipeline,
    locked,
    # What no command can send
    lambda c: c.set("k", None),
    lambda c: c.set("k", True),
    lambda c: c.set("k", {}),
    lambda c: c.set("k", []),
    lambda c: c.set("k", "\ud800"),
    lambda c: c.set("k", memoryview(b"view")),
    lambda c: c.set("k", bytearray(b"array")),
    lambda c: c.set(None, "v"),
    lambda c: c.get({}),
    lambda c: c.lpush("k2", 1, None),
    lambda c: c.hset("k3", mapping={"a": object()}),
    lambda c: c.hset("k3", mapping={}),
    lambda c: c.zadd("k4", {}),
    lambda c: c.set("k", "v", ex=1, px=1),
    lambda c: c.pipeline(transaction=False).set("k5", 1).set("k5", None).execute(),
    lambda c: c.pipeline(transaction=True).set("k5", 1).set("k5", "\ud800").execute(),
    lambda c: c.exists("k2", "k3", "k4", "k5"),
    lambda c: c.execute_command("SET", "k", 2**70),
    lambda c: c.get("k"),
]


def shape(value: Any) -> Any:
    """Return a value with its types, which `==` does not tell apart; an exception by its type."""
    if isinstance(value, Exception):
        return type(value).__name__
    if isinstance(value, dict):
        return {"dict": [(shape(key), shape(item)) for key, item in sorted(value.items(), key=repr)]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [shape(item) for item in value]}
    if isinstance(value, (set, frozenset)):
        return {type(value).__name__: sorted(map(repr, value))}
    return type(value).__name__, repr(value)


async def outcomes(client: Any) -> list[Any]:
    found: list[Any] = []
    for call in CALLS:
        try:
            found.append(shape(await call(client)))
        except Exception as error:
            found.append(f"raised {type(error).__module__}.{type(error).__name__}")
    return found


@pytest.fixture(scope="module")
def server() -> Any:
    """A server of this module's own: the calls flush it."""
    with start_server() as own:
        yield own


VARIANTS: Final[list[dict[str, Any]]] = [
    {"protocol": protocol, **text}
    for protocol in (3, 2)
    for text in ({}, {"decode_responses": True, "encoding_errors": "replace"}, {"decode_responses": True})
] + [
    {"decode_responses": True, "encoding": "latin-1"},
    {"protocol": 3, "encoding": "latin-1"},
]


@pytest.fixture
async def alone(server: Server) -> AsyncIterator[Callable[..., Any]]:
    made: list[Any] = []

    def client(**options: Any) -> Any:
        made.append(plain(server.url, **options))
        return made[-1]

    yield client
    for one in made:
        await one.connection_pool.disconnect()


async def compare(alone: Callable[..., Any], make: Make, options: dict[str, Any]) -> None:
    """Compare the outcomes of all calls."""
    theirs_are = await outcomes(alone(**options))
    ours_are = await outcomes(make(**options))
    different = [
        f"{number} of {call.__code__.co_firstlineno}: {expected} is now {found}"
        for number, (call, expected, found) in enumerate(zip(CALLS, theirs_are, ours_are, strict=True))
        if expected != found
    ]
    assert not different, "\n".join(different)
    assert len([each for each in theirs_are if str(each).startswith("raised")]) < 80


@pytest.mark.turns(8)
@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(map(str, options.values())))
async def test_the_same_replies_and_errors(
    alone: Callable[..., Any], make: Make, no_debug: None, options: dict[str, Any]
) -> None:
    assert len(CALLS) > 200
    await compare(alone, make, options)


BAD: Final[list[Any]] = [None, True, {}, [], object(), "\ud800"]


@pytest.mark.turns(4)
@pytest.mark.parametrize("value", BAD, ids=lambda value: type(value).__name__)
async def test_what_cannot_be_sent_is_redis_pys_error_and_nothing_is_sent(
    make: Make, alone: Callable[..., Any], prefix: str, value: Any
) -> None:
    """Nothing of a pipeline either: none of its commands has run."""
    expected: list[Any] = []
    for client in (alone(), make()):
        found: list[Any] = []
        for call in (
            client.set(f"{prefix}k", value),
            client.execute_command("NOSUCH", value),
            client.blpop([f"{prefix}k", value], 1),
            client.pipeline(transaction=False).incr(f"{prefix}n").set(f"{prefix}k", value).execute(),
            client.pipeline(transaction=True).incr(f"{prefix}n").set(f"{prefix}k", value).execute(),
        ):
            try:
                await call
            except Exception as error:
                found.append((type(error), str(error) if isinstance(error, exceptions.DataError) else ""))
        assert await client.exists(f"{prefix}n", f"{prefix}k") == 0
        assert await client.get(f"{prefix}k") is None
        assert await asyncio.gather(*(client.echo(str(n)) for n in range(9))) == [b"%d" % n for n in range(9)]
        expected = expected or found
        assert found == expected
        assert len(found) == 5
