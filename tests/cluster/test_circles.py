"""Redirects that lead nowhere: in a circle they are followed slowly, and without sense they are refused (C9)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from aioresp import AskError, CommandTimeout, ExecAbortError, MovedError, RedisError
from aioresp.cluster import Cluster
from tests.cases import cases
from tests.security.hostile import answers

#: The slot of the key "foo".
SLOT = 12182

#: What a node says that owns all slots.
SHARD = "\r\n".join(
    (
        *("*1", "%2", "+slots", "*2", ":0", ":16383", "+nodes", "*1", "%6", "+id", "+n1", "+port", ":PORT"),
        *("+ip", "+127.0.0.1", "+endpoint", "+127.0.0.1", "+role", "+master", "+health", "+online", ""),
    )
)


class Node:
    """A node that owns all slots by its own words, and redirects each command for a key."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.answer = ""
        self.asked: Counter[str] = Counter()

    def tell(self, words: list[bytes]) -> bytes:
        name = words[0].decode()
        if words[:2] == [b"CLUSTER", b"SHARDS"]:
            return SHARD.replace("PORT", str(self.port)).encode()
        if name == "EXEC":
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        if name in ("CLUSTER", "CLIENT", "MULTI", "ASKING", "AUTH"):
            return b"+OK\r\n"
        self.asked[name] += 1
        return f"-{self.answer}\r\n".encode()


@asynccontextmanager
async def redirecting() -> AsyncIterator[Node]:
    node = Node()
    async with answers(node.tell) as node.url:
        node.port = int(node.url.rpartition(":")[2])
        yield node


async def pipeline(r: Cluster[str]) -> None:
    async with r.pipeline() as p:
        handle = p.incr("foo")
        await p.execute(raise_on_error=False)
    await handle


async def transaction(r: Cluster[str]) -> None:
    async with r.pipeline(transaction=True) as p:
        p.append("foo", "x")
        await p.execute()


async def subscribe(r: Cluster[str]) -> None:
    async with r.ssubscribe("foo"):
        pass


#: Each way of a command, by the name that the node counts.
WAYS: dict[str, Callable[[Cluster[str]], Awaitable[object]]] = {
    "GET": lambda r: r.get("foo"),
    "INCRBY": pipeline,
    "APPEND": transaction,
    "SSUBSCRIBE": subscribe,
    "BLPOP": lambda r: r.blpop("foo", timeout=1),
    "EVAL": lambda r: r.eval("return 1", 1, "foo"),
    "SETRANGE": lambda r: r.with_options(retry=None).setrange("foo", 0, "x"),
}


async def go_round(where: str) -> None:
    """Send a command on each way to a node that redirects to itself, by a spelling of its address, or to another."""
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(redirecting()) for _ in range(2)]
        own = where.replace("PORT", str(one.port))
        one.answer = f"MOVED {SLOT} {own}" if where != "other" else f"MOVED {SLOT} 127.0.0.1:{other.port}"
        other.answer = f"MOVED {SLOT} 127.0.0.1:{one.port}"
        r = await stack.enter_async_context(Cluster(f"redis+cluster://127.0.0.1:{one.port}", timeout=1.0))
        begin = asyncio.get_running_loop().time()
        errors = await asyncio.gather(*(call(r) for call in WAYS.values()), return_exceptions=True)
        took = asyncio.get_running_loop().time() - begin
        for name, error in zip(WAYS, errors, strict=True):
            asked = (one.asked + other.asked)[name]
            # On a busy machine, the deadline of a second may pass before the first request.
            assert asked >= (took < 2), (where, name, asked, took)
            assert asked <= 20 * took, (where, name, asked, took)
            if name == "SSUBSCRIBE":
                assert isinstance(error, RedisError), (where, error)
                continue
            assert isinstance(error, (TimeoutError, ConnectionError)), (where, name, error)
            # A busy machine may be connecting again by then, or have no time left for the first answer.
            if name == "GET" and type(error) is CommandTimeout and asked > 1:
                assert f"MOVED {SLOT}" in str(error), error
            if str(error).startswith("the cluster did not run it"):
                assert "redirect to each other" in str(error)
            assert "aioresp.Cluster" not in str(error)


async def test_a_circle_is_no_hot_loop() -> None:
    """At most 20 requests a second and call."""
    places = ["127.0.0.1:PORT", "localhost:PORT", ":PORT", "?:PORT", "127.0.0.1:0", "other"]
    await asyncio.gather(*map(go_round, places))


@cases(
    "answer",
    [
        "MOVED 16384 127.0.0.1:1",
        "MOVED -1 127.0.0.1:1",
        "MOVED 999999999999999999999 127.0.0.1:1",
        "MOVED 12182 127.0.0.1:65536",
        "MOVED 12182",
        "MOVED",
        "MOVED 7 127.0.0.1:1",
        "ASK 16384 127.0.0.1:1",
        "ASK 7 127.0.0.1:1",
    ],
)
async def test_a_redirect_that_makes_no_sense_is_refused_on_each_way(answer: str) -> None:
    async with redirecting() as node, Cluster(f"redis+cluster://127.0.0.1:{node.port}", timeout=5.0) as r:
        node.answer = answer
        calls = [call(r) for name, call in WAYS.items() if name != "SSUBSCRIBE"]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, (MovedError, AskError, ExecAbortError)), error
            assert f"{answer}: it was not followed" in str(error)
            assert "aioresp.Cluster" not in str(error)
        assert set(node.asked.values()) == {1}
