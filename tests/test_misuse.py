"""What an asynchronous object cannot do: the error names the right way. And what its `repr` tells of its state."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import pytest

import aioresp
from aioresp import Client, ConnectionLost, PoolTimeout, RedisError, ResponseError, Retry
from aioresp.misuse import Bound, Entered, Iterated
from aioresp.testing import Proxy, Server

#: A client whose misuses types refuse.
ANY: Any = Client(limit=2)

#: What is made of a client, by the name of its class, with a word of the advice in its error.
THINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "Client": (lambda: ANY, "make one in each process, and pass the URL"),
    "Client, a view": (lambda: ANY.with_options(timeout=1), "`with_options()` gives a view"),
    "Node": (lambda: ANY.node, "make one in each process"),
    "Lease": (lambda: ANY.connection(), "`connection()` of that process's client"),
    "Pipeline": (lambda: ANY.pipeline(), "of that process's client"),
    "Queued": (lambda: ANY.pipeline().get("k"), "await it, and pass its value on"),
    "Subscription": (lambda: ANY.subscribe("c"), "that process's client"),
    "KeyEvents": (lambda: ANY.keyspace_events(), "that process's client"),
    "Monitor": (lambda: ANY.monitor(), "that process's client"),
    "StreamReader": (lambda: ANY.stream_reader("s"), "that process's client"),
    "GroupReader": (lambda: ANY.group_reader("g", "c", "s"), "that process's client"),
    "Scan": (lambda: ANY.scan_iter(), "that process's client"),
    "Script": (lambda: ANY.register_script("return 1"), "pass its text `script`"),
    "Function": (lambda: ANY.register_function("f", "#!lua name=l"), "`name` and `library`"),
    "Server": (lambda: Server(), "pass its `url`"),
    "Proxy": (lambda: Proxy("127.0.0.1", 1), "pass its `url`"),
}


def there_and_back(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


TRANSFERS: list[Callable[[Any], Any]] = [
    *(copy.copy, copy.deepcopy, lambda thing: copy.deepcopy({"config": [thing]}), pickle.dumps),
    *(partial(pickle.dumps, protocol=protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
]


@pytest.mark.quick
@pytest.mark.parametrize("name", THINGS)
async def test_nothing_is_pickled_or_copied(name: str) -> None:
    make, advice = THINGS[name]
    for transfer in TRANSFERS:
        with pytest.raises(TypeError) as caught:
            transfer(make())
        assert f"a {name.partition(',')[0]} cannot be pickled or copied: " in str(caught.value)
        assert advice in str(caught.value)


@pytest.mark.quick
async def test_methods_are_not_pickled_either() -> None:
    for method in (ANY.get, partial(ANY.get, "k"), ANY.pipeline().get, ANY.subscribe):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            pickle.dumps(method)


class Remade(Client[str]):
    """A client that knows how to be made again."""

    def __reduce__(self) -> Any:
        return Remade, (str(self.node.settings.endpoint),)


@pytest.mark.quick
def test_a_subclass_may_know_how() -> None:
    assert repr(pickle.loads(pickle.dumps(Remade("redis://h:1")))) == repr(Remade("redis://h:1"))
    assert repr(copy.copy(Remade("redis://h:1"))).startswith("Remade(redis://h:1, ")


@pytest.mark.quick
async def test_a_delivery_is_not_pickled(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.xadd(f"{prefix}s", {"a": 1})
        async with r.group_reader("g", "c", f"{prefix}s", block=None) as entries:
            async for entry in entries:
                with pytest.raises(TypeError, match="pass its `stream`, `id` and `fields`, and acknowledge it here"):
                    copy.copy(entry)
                message = there_and_back((entry.stream, entry.id, entry.fields))
                assert message[2] == {"a": "1"}


@pytest.mark.quick
async def test_records_are_pickled_and_copied(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.xadd(f"{prefix}s", {"a": 1})
        async with r.stream_reader(f"{prefix}s", last_id="0", block=None) as entries:
            found = [entry async for entry in entries]
        gap = aioresp.Gap(1.0, 2.0)
        message = aioresp.Message("c", "x")
        for thing in (found, r.stats(), Retry(attempts=3), gap, message, aioresp.Credentials(None, "p")):
            for clone in (copy.copy, copy.deepcopy, there_and_back):
                assert clone(thing) == thing


# --- Errors travel ----------------------------------------------------------------------------------------------------


def fails(url: str, key: str) -> object:
    """Fail in another process, as a job of a worker does."""

    async def main() -> object:
        async with Client(url, retry=None) as r:
            await r.set(key, "text")
            async with r.pipeline() as p:
                p.get(key)
                p.lpush(key, 1)
            return None

    return asyncio.run(main())


async def test_an_error_comes_from_another_process(server: Server, prefix: str) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as workers:
        loop = asyncio.get_running_loop()
        with pytest.raises(aioresp.WrongTypeError) as caught:
            await loop.run_in_executor(workers, fails, server.url, f"{prefix}k")
    error = caught.value
    assert (error.command, error.key, error.index, error.code) == ("LPUSH", f"'{prefix}k'", 1, "WRONGTYPE")
    assert str(error).startswith("command #2 of 2 in the pipeline: WRONGTYPE")


async def test_errors_of_all_kinds_travel(server: Server, prefix: str) -> None:
    """Those that were raised: with all that a client has noted on them."""
    caught: list[RedisError] = []

    async def note(call: Any) -> None:
        try:
            await call
        except RedisError as error:
            caught.append(error)

    async with Proxy(server.host, server.port) as p, Client(p.url, retry=None, limit=1, concurrency=1) as r:
        await r.set(f"{prefix}k", "v")
        await note(r.lpush(f"{prefix}k", 1))
        await note(r.call("NONE"))
        await note(r.call("MULTI"))
        await r.ping()
        p.stall("down")
        waiting, sent = asyncio.create_task(note(r.incr(f"{prefix}n"))), p.bytes_up
        while p.bytes_up == sent:
            await asyncio.sleep(0.001)
        await note(r.with_options(timeout=0.01).get("k"))
        p.refuse()
        p.cut()
        await waiting
        await note(r.get(f"{prefix}n"))
    await note(r.get("k"))
    assert len(caught) == 7
    assert {ConnectionLost, PoolTimeout, aioresp.ClientClosed} < {type(error) for error in caught}
    for error in caught:
        for clone in (copy.copy, copy.deepcopy, there_and_back):
            again = clone(error)
            assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
            assert isinstance(again, ConnectionLost) == hasattr(error, "outcome")
            assert not isinstance(again, ResponseError) or again.code


# --- await, for, with -------------------------------------------------------------------------------------------------

#: Statements that are needed, by what they are needed for.
RIGHT: dict[str, str] = {
    "ANY.subscribe('c')": "async with r.subscribe(...) as s:",
    "ANY.psubscribe('c*')": "async with r.subscribe(...) as s:",
    "ANY.keyspace_events()": "async with r.keyspace_events(...) as s:",
    "ANY.monitor()": "async with r.monitor() as m:",
    "ANY.stream_reader('s')": "async with r.stream_reader(...) as s:",
    "ANY.group_reader('g', 'c', 's')": "async with r.group_reader(...) as g:",
    "ANY.connection()": "async with r.connection() as c:",
    "ANY.scan_iter()": "async for element in r.scan_iter(...):",
    "ANY.hscan_iter('h')": "async for element in r.scan_iter(...):",
}


@pytest.mark.quick
@pytest.mark.parametrize("made", RIGHT)
async def test_what_is_not_awaited(made: str) -> None:
    thing = eval(made)
    with pytest.raises(TypeError) as caught:
        await thing
    assert str(caught.value) == f"a {type(thing).__name__} is not awaited: use `{RIGHT[made]}`"
    with pytest.raises(TypeError) as caught, thing:
        raise AssertionError("this is entered")
    assert str(caught.value) == f"a {type(thing).__name__} is asynchronous: use `{RIGHT[made]}`"


@pytest.mark.quick
@pytest.mark.parametrize("made", [made for made in RIGHT if "connection" not in made])
async def test_what_a_plain_loop_does_not_read(made: str) -> None:
    thing = eval(made)
    for read in (list, iter, set):
        with pytest.raises(TypeError, match=r"is iterated asynchronously: use `async for \w+ in \S+:`"):
            read(thing)


async def test_pushes_of_a_lease(server: Server) -> None:
    async with Client(server.url) as r, r.connection() as c:
        pushes: Any = c.pushes()
        assert repr(pushes) == "Pushes(0 waiting, 0 dropped)"
        for read in (list, copy.copy, pickle.dumps):
            with pytest.raises(TypeError, match=r"async for push in|cannot be pickled or copied"):
                read(pushes)
        with pytest.raises(
            TypeError, match=r"a Pushes is not awaited: use `async for push in connection\.pushes\(\):`"
        ):
            await pushes
    assert repr(pushes) == "Pushes(ended, 0 waiting, 0 dropped)"


def subclasses(kind: type) -> set[type]:
    found: list[type] = kind.__subclasses__()
    return {each for below in found for each in (below, *subclasses(below))}


def test_each_class_has_words_of_its_own() -> None:
    for name in aioresp.__all__:
        getattr(aioresp, name)  # imports its module
    found = {kind for kind in subclasses(Entered) if "Inbox" not in kind.__name__ and kind.__module__ != __name__}
    found = {kind for kind in found if not kind.__module__.startswith("aioresp.recipes")}  # another test imports them
    assert len(found) > 8
    for kind in found - {Iterated}:
        assert kind._entering.startswith("async with r.") or "async for" in kind._entering, kind  # type: ignore[attr-defined]
        assert kind._instead != Bound._instead, kind  # type: ignore[attr-defined]


# --- repr and dir -----------------------------------------------------------------------------------------------------


@pytest.mark.quick
async def test_repr_of_views() -> None:
    r = Client("redis://h:1")
    assert repr(r) == "Client(redis://h:1, limit 100, concurrency 5000)"
    made = "Client(redis://h:1, limit 100, concurrency 5000, "
    assert repr(r.with_options(timeout=0.2)) == f"{made}timeout 0.2 s)"
    assert repr(r.with_options(timeout=None)) == f"{made}no timeout)"
    assert repr(r.with_options(decode_responses=False)) == f"{made}bytes)"
    assert repr(r.with_options(decode_responses=False).with_options(decode_responses=True)) == repr(r)
    assert repr(r.with_options(idempotent=True, retry=None)) == f"{made}no retry, idempotent)"
    assert repr(r.with_options(retry=Retry(attempts=2))) == f"{made}{Retry(attempts=2)!r})"
    assert repr(Client("redis://h:1", timeout=3, retry=None)) == repr(r)
    assert repr(Client("redis://h:1", timeout=3).with_options(timeout=10)) == f"{made}timeout 10 s)"


async def test_repr_of_what_is_closed(server: Server) -> None:
    async with Client(server.url) as r:
        await r.ping()
        assert "closed" not in repr(r) + repr(r.node)
    view = r.with_options(timeout=1)
    for thing in (r, view, r.node):
        assert repr(thing).endswith(", closed)")
    async with r:
        assert "closed" not in repr(r) + repr(view)
    assert repr(r).endswith(", closed)")


async def test_repr_of_a_lease(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        lease = r.connection()
        assert repr(lease) == "Lease(not entered)"
        async with lease:
            assert repr(lease) == "Lease(Connection(0 in flight))"
            await lease.select(1)
            assert repr(lease) == "Lease(Connection(0 in flight), changed by SELECT)"
        assert repr(lease).startswith("Lease(left")
        assert repr(r.with_options(decode_responses=False).connection()) == "Lease(not entered, bytes)"
        assert repr(r.with_options(decode_responses=False).pipeline()) == "Pipeline(0 queued, bytes)"


async def test_repr_of_an_iteration(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.sadd(f"{prefix}s", *range(2000))
        found = r.sscan_iter(f"{prefix}s", count=10)
        assert repr(found) == f"Scan(SSCAN '{prefix}s', not begun)"
        await anext(found)
        assert repr(found).startswith(f"Scan(SSCAN '{prefix}s', cursor ")
        async for _ in found:
            pass
        assert repr(found) == f"Scan(SSCAN '{prefix}s', at its end)"
        assert repr(r.scan_iter()) == "Scan(SCAN, not begun)"
        assert repr(r.hscan_iter(b"h" * 100)).count("h") < 70


async def test_repr_of_what_is_read(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        s = r.subscribe(f"{prefix}c")
        assert repr(s) == "Subscription(not entered)"
        async with s:
            assert repr(s) == "Subscription(1 channels, 0 waiting, 0 dropped)"
        assert repr(s) == "Subscription(ended, 0 waiting, 0 dropped)"
        m = r.monitor()
        assert repr(m) == "Monitor(not entered)"
        async with m:
            assert repr(m) == f"Monitor({m.waiting} waiting, 0 dropped)"
        assert repr(m) == f"Monitor(ended, {m.waiting} waiting, 0 dropped)"
        reader = r.stream_reader(f"{prefix}s")
        assert repr(reader) == f"StreamReader('{prefix}s', not entered)"
        async with reader:
            assert repr(reader) == f"StreamReader('{prefix}s', 0 fetched)"


@pytest.mark.quick
def test_dir_has_the_public_names() -> None:
    assert dir(aioresp) == sorted(aioresp.__all__)
    for name in dir(aioresp):
        assert getattr(aioresp, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'none'"):
        getattr(aioresp, "none")  # noqa: B009
