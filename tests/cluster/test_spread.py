"""Commands over several nodes: split by slot, or sent to all of them by the servers' own tips (C13, C14, C16)."""

from __future__ import annotations

import asyncio
import random

import pytest

from aioresp import CommandRefused, CrossSlotError, ResponseError
from aioresp.cluster import Cluster
from aioresp.testing import ClusterServers


async def test_commands_with_keys_of_any_slots_do_as_a_dict_does(fresh: ClusterServers, r: Cluster[str]) -> None:
    chance = random.Random(7)
    names: list[str | bytes] = [*(f"name:{number}" for number in range(30)), *(b"raw:%d" % n for n in range(30))]
    model: dict[str | bytes, str] = {}
    for step in range(60):
        some = chance.choices(names, k=chance.randrange(1, 20))
        what = step % 5
        if what == 0:
            for name in some:
                model[name] = str(step)
                await r.set(name, str(step))
        elif what == 1:
            assert await r.mget(some) == [model.get(name) for name in some]
        elif what == 2:
            assert await r.exists(*some) == sum(name in model for name in some)
        elif what == 3:
            assert await r.touch(*some) == sum(name in model for name in some)
        else:
            gone = {name for name in some if name in model}
            assert await (r.delete if step % 2 else r.unlink)(*some) == len(gone)
            model = {name: value for name, value in model.items() if name not in gone}


async def test_commands_to_all_primaries_follow_a_failover(fresh: ClusterServers, r: Cluster[str]) -> None:
    """The former primary says READONLY, and no key's redirect has told of the new one before."""
    library = (
        "#!lua name=spread\nredis.register_function{function_name='f', callback=function() return 'ran' end, flags={}}"
    )
    new = fresh.nodes[0].version >= (7,)
    await r.ping()
    for call in ("function_load", "flushall", "script_flush"):
        await asyncio.to_thread(fresh.failover, "a")
        if call == "function_load" and new:
            assert await r.function_load(library, replace=True) == "spread"
            assert [await node.fcall("f", 0) for node in await r.primaries()] == ["ran"] * 3
            assert await r.function_delete("spread")
        elif call != "function_load":
            assert await getattr(r, call)()
    await asyncio.to_thread(fresh.wait_until_ok)


async def test_an_heir_that_the_view_did_not_know_as_a_replica_is_found(fresh: ClusterServers, r: Cluster[str]) -> None:
    """In the middle of a failover, a node may tell of a shard without its replica."""
    await r.ping()
    known = r.topology()
    r.fleet.nodes.topology = known.replace(shards=tuple(shard.replace(replicas=()) for shard in known.shards))
    assert not r.fleet.pools.here().catch_up()  # the table is the same
    assert r.topology().replicas == ()
    await asyncio.to_thread(fresh.failover, "a")
    assert await r.flushall()
    await asyncio.to_thread(fresh.wait_until_ok)


async def test_a_script_without_keys_meets_a_former_primary_at_most_once(
    fresh: ClusterServers, r: Cluster[str]
) -> None:
    """Whether it has run is not known to the client: the caller gets the error, and the topology is asked for."""
    await r.ping()
    await asyncio.to_thread(fresh.failover, "a")
    refused: list[str] = []
    for _ in range(60):
        try:
            assert await r.eval("redis.call('FLUSHDB') return 1", 0) == 1
        except ResponseError as error:  # up to 6.2 its code is ERR
            refused.append(str(error))
            await asyncio.sleep(1)
    assert len(refused) <= 1
    assert all("READONLY" in said for said in refused)
    await asyncio.to_thread(fresh.wait_until_ok)


async def test_bytes_stay_bytes(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.set("a", "1")
    assert await r.with_options(decode_responses=False).mget("a", "b", "c") == [b"1", None, None]


@pytest.mark.parametrize(
    "arguments",
    [
        ("MSET", "a", "1", "b", "2"),
        ("MSETNX", "a", "1", "b", "2"),
        ("RENAME", "a", "b"),
        ("SINTER", "a", "b"),
        ("PFCOUNT", "a", "b"),
        ("EVAL", "return 1", 2, "a", "b"),
        ("BLPOP", "a", "b", 1),
    ],
)
async def test_other_commands_over_two_slots_are_refused_before_a_byte(
    fresh: ClusterServers, r: Cluster[str], arguments: tuple[str | int, ...]
) -> None:
    await r.ping()
    before = r.stats().commands
    with pytest.raises(CrossSlotError, match="'a' and 'b'"):
        await r.call(*arguments)
    assert r.stats().commands == before


async def test_mset_nonatomic_sets_keys_of_any_slots(fresh: ClusterServers, r: Cluster[str]) -> None:
    values = {f"many:{number}": str(number) for number in range(50)}
    assert await r.mset_nonatomic(values)
    assert await r.mget_nonatomic(list(values)) == list(values.values())


async def test_commands_without_a_key_go_where_the_tips_say(fresh: ClusterServers, r: Cluster[str]) -> None:
    for number in range(30):
        await r.set(f"key:{number}", "1")
    assert await r.dbsize() == 30
    assert sorted(await r.keys("key:*")) == sorted(f"key:{number}" for number in range(30))
    assert str(await r.randomkey()).startswith("key:")
    assert await r.ping()
    sha = await r.script_load("return 1")
    assert await r.script_exists(sha, "0" * 40) == [True, False]
    assert await r.config_set({"slowlog-max-len": 77})
    assert {str(node.call("CONFIG", "GET", "slowlog-max-len")) for node in fresh.nodes} == {"['slowlog-max-len', '77']"}
    assert await r.flushall()
    assert await r.dbsize() == 0
    assert await r.randomkey() is None


async def test_the_error_of_one_node_names_it_and_those_that_are_done(fresh: ClusterServers, r: Cluster[str]) -> None:
    odd = fresh.primaries()[1]
    odd.call("ACL", "SETUSER", "default", "-flushall")
    try:
        with pytest.raises(ResponseError, match=rf"at 127\.0\.0\.1:{odd.port}; done at 127\.0\.0\.1:\d+, ") as caught:
            await r.flushall()
        assert caught.value.command == "FLUSHALL"
    finally:
        odd.call("ACL", "SETUSER", "default", "+flushall")


async def test_commands_for_all_shards_follow_a_failover(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.mset_nonatomic({f"key:{number}": "1" for number in range(30)})
    async with asyncio.timeout(60):
        for node in fresh.primaries():
            counting = asyncio.create_task(asyncio.to_thread(fresh.failover, node))
            while not counting.done():
                assert await r.dbsize() == 30
                assert len(await r.keys()) == 30
                assert await r.config_set({"slowlog-max-len": 78})
            await counting
        await asyncio.to_thread(fresh.wait_until_ok)
    assert await r.flushdb()
    assert await r.dbsize() == 0


async def test_a_function_that_one_node_has_not_is_loaded(fresh: ClusterServers, r: Cluster[str]) -> None:
    if fresh.nodes[0].version < (7,):
        pytest.skip("functions are there since 7.0")
    code = "#!lua name=l\nredis.register_function('f', function(keys) return redis.call('INCR', keys[1]) end)"
    function = r.register_function("f", code)
    try:
        assert await asyncio.gather(*(function([f"f{number}"]) for number in range(10))) == [1] * 10
        assert [len(await node.function_list()) for node in await r.primaries()] == [1, 1, 1]
        fresh.primary_of("f3").call("FUNCTION", "FLUSH")
        for _ in range(5):
            assert await function(["f3"]) >= 2
            fresh.primary_of("f3").call("FUNCTION", "FLUSH")
        async with r.pipeline() as p:
            value = function(["f3"], client=p)
        assert await value == 7
        assert await r.fcall("f", 1, "f1") == 2
    finally:
        assert await r.function_flush()


async def test_a_script_that_a_node_has_not_is_sent(fresh: ClusterServers, r: Cluster[str]) -> None:
    script = r.register_script("return redis.call('INCR', KEYS[1])")
    names = [f"n{number}" for number in range(20)]
    for round_ in range(1, 4):
        assert [await script([name]) for name in names] == [round_] * 20
        fresh.primary_of(names[round_]).call("SCRIPT", "FLUSH")
    async with r.pipeline() as p:
        values = [script([name], client=p) for name in names]
    assert [await value for value in values] == [4] * 20
    assert await r.script_load("return 1")
    assert await r.script_flush()
    assert await r.script_exists(script.sha) == [False]


@pytest.mark.parametrize(
    "words", ["SCAN 0", "SHUTDOWN NOSAVE", "CLUSTER RESET", "CLUSTER FAILOVER", "REPLICAOF NO ONE"]
)
async def test_commands_for_one_node_are_refused(fresh: ClusterServers, r: Cluster[str], words: str) -> None:
    with pytest.raises(CommandRefused, match=r"a cluster does not send this command: .*`"):
        await r.call(*words.split())


async def test_keyless_commands_are_spread(fresh: ClusterServers, r: Cluster[str]) -> None:
    for _ in range(60):
        await r.echo("x")
    counts = [node.commandstats().get("echo", 0) for node in fresh.primaries()]
    assert sum(counts) == 60
    assert min(counts) > 0


async def test_nodes_are_clients(fresh: ClusterServers, r: Cluster[str]) -> None:
    assert len(await r.primaries()) == 3
    assert len(await r.replicas()) == 3
    roles = [(await node.info("replication")).text("role") for node in await r.nodes()]
    assert roles == ["master"] * 3 + ["slave"] * 3
    await r.set("near", "1")
    assert await (await r.near("near")).call("OBJECT", "ENCODING", "near") == "int"
    assert r.keyslot("foo") == 12182


async def test_a_cluster_uses_one_connection_for_each_node_in_use(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url) as r:
        await r.set("{one}x", "1")
        stats = r.stats()
        assert stats.open <= 3  # three nodes were asked for the topology, and perhaps all of them are primaries
        assert len([node for node, figures in stats.nodes.items() if figures.open]) == stats.open


async def test_views_and_reprs_tell_the_cluster(fresh: ClusterServers, r: Cluster[str]) -> None:
    assert "not found yet" in repr(r)
    await r.ping()
    assert "3 primaries with 16384 slots, 3 replicas" in repr(r)
    assert "timeout 3 s" in repr(r.with_options(timeout=3))
    assert isinstance(r.with_options(timeout=3), Cluster)
