"""The states of a blocking command and of its put-back: each transition of their tables, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise, product
from typing import Any, TypeAlias

import pytest

import aioresp
from aioresp import Client, Lost
from aioresp.contexts import background
from aioresp.contexts.blocking import TRANSITIONS, Blocking, State
from aioresp.contexts.undo import STEPS, PutBack, Step
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from aioresp.wire.connection import Connection
from aioresp.wire.greeting import Greeting
from tests.contexts.blocking import cancel, is_blocked, is_gone, is_written
from tests.pubsub.listening import until
from tests.rest import at_rest, in_step

Path: TypeAlias = list[str]


def _nothing() -> None: ...


class World:
    """A server, a proxy that breaks, a client with two open connections, and where its pops have been."""

    def __init__(self, server: Server, r: Client[str], direct: Client[str], proxy: Proxy, losses: list[Lost]) -> None:
        self.server = server
        self.r = r
        self.direct = direct
        self.proxy = proxy
        self.losses = losses
        self.states: Path = []
        self.steps: Path = []
        self.refused: list[str] = []
        #: Called once when bytes have reached a leased connection, or when one was closed by the client.
        self.on_data: Callable[[], object] = _nothing
        self.on_close: Callable[[Connection], object] = lambda _: None

    def pop(self, seconds: float = 0) -> asyncio.Task[Any]:
        return asyncio.create_task(self.r.blpop("q", seconds))

    @property
    def blocking(self) -> Blocking:
        (work,) = self.r.node.pools.here()._closing.work
        assert isinstance(work, Blocking)
        return work

    @property
    def state(self) -> State:
        return self.blocking._state

    def abandon(self) -> None:
        """End the pool as the end of a loop does, which does not wait."""
        self.r.node.pools.here().abandon()

    async def pushed(self) -> None:
        await self.direct.rpush("q", "job")

    async def popped(self) -> None:
        await is_gone(self.direct, "q")

    async def left(self) -> list[str]:
        return await self.direct.lrange("q", 0, -1)


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with start_server() as running:
        yield running


@asynccontextmanager
async def a_world(server: Server, monkeypatch: pytest.MonkeyPatch, acl: str) -> AsyncIterator[World]:
    losses: list[Lost] = []
    async with Client(server.url) as direct, Proxy(server.host, server.port) as proxy:
        await direct.flushall()
        await direct.call("ACL", "SETUSER", "worker", "reset", "on", ">pw", "~*", "&*", "+@all", *acl.split())
        async with Client(proxy.url, username="worker", password="pw", on_lost=losses.append) as r:
            world = World(server, r, direct, proxy, losses)
            watch(world, monkeypatch)  # before there are connections: uvloop keeps their methods
            async with r.connection() as c:
                await asyncio.gather(r.ping(), c.ping())  # so that two connections are open
            yield world


def watch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Note each transition, and see when bytes come and connections are closed."""

    def noting(kind: type[Blocking] | type[PutBack], place: str, path: Path) -> None:
        plain: Callable[[Any, Any], None] = kind._to

        def to(self: Any, new: Any) -> None:
            path[:] = path or [getattr(self, place).name]
            try:
                plain(self, new)
            except AssertionError as error:  # raised in a callback, it would be in a log only
                world.refused.append(str(error))
                raise
            path.append(new.name)

        monkeypatch.setattr(kind, "_to", to)

    noting(Blocking, "_state", world.states)
    noting(PutBack, "step", world.steps)
    data_received, close = Connection.data_received, Connection.close

    def receive(self: Connection, data: bytes) -> None:
        data_received(self, data)
        if self.lent:
            act, world.on_data = world.on_data, _nothing
            act()

    def end(self: Connection, why: str = "closed") -> None:
        close(self, why)
        world.on_close(self)

    monkeypatch.setattr(Connection, "data_received", receive)
    monkeypatch.setattr(Connection, "close", end)


# --- The walks --------------------------------------------------------------------------------------------------------

Walk: TypeAlias = Callable[[World], Awaitable[None]]

#: What is walked: by whose rights, through which states, and through which steps of the put-back.
WALKS: dict[str, tuple[Walk, str, str, str]] = {}


def walk(states: str, steps: str = "", acl: str = "") -> Callable[[Walk], Walk]:
    def note(function: Walk) -> Walk:
        WALKS[function.__name__] = function, acl, states, steps
        return function

    return note


SERVED = "WAITING ANSWERED SETTLED OVER"
ENDED = "WAITING UNBLOCKING SETTLED OVER"
RETURNED = "WAITING UNBLOCKING PUTTING_BACK SETTLED OVER"
FORGOTTEN = "SCRIPT FORGETTING OVER"


@walk(SERVED)
async def the_caller_takes_the_reply(w: World) -> None:
    await w.pushed()
    assert await w.pop() == ("q", "job")
    assert w.losses == []


@walk(SERVED)
async def the_caller_takes_the_error(w: World) -> None:
    await w.direct.set("q", "text")
    with pytest.raises(aioresp.WrongTypeError):
        await w.pop()
    assert w.losses == []


@walk(SERVED)
async def the_caller_hears_of_the_end_of_the_connection(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.proxy.cut()
    with pytest.raises(aioresp.ConnectionLost):
        await task
    assert w.losses == []


@walk(SERVED)
async def the_converter_refuses_the_element(w: World) -> None:
    await w.direct.rpush("q", b"\xff")
    with pytest.raises(aioresp.DecodeError):
        await w.pop()
    assert [lost.outcome for lost in w.losses] == ["lost"]


@walk("WAITING SETTLED OVER")
async def the_reply_makes_no_sense(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.proxy.inject(b":1\r\n")
    with pytest.raises(aioresp.ProtocolError):
        await task
    assert [lost.outcome for lost in w.losses] == ["unknown"]


@walk("WAITING PUTTING_BACK SETTLED OVER", FORGOTTEN)
async def the_caller_goes_in_the_turn_in_which_elements_arrive(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.on_data = task.cancel
    await w.pushed()
    with pytest.raises(asyncio.CancelledError):
        await task
    await at_rest(w.r)
    assert await w.left() == ["job"]


@walk("WAITING SETTLED OVER")
async def the_caller_goes_in_the_turn_in_which_nothing_arrives(w: World) -> None:
    task = w.pop(0.3)
    await is_written(w.r)
    await is_blocked(w.direct)
    await until(lambda: w.r.stats().in_flight == 1)  # the question before the pop is answered
    w.on_data = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    assert w.losses == []


@walk("WAITING ANSWERED PUTTING_BACK SETTLED OVER", FORGOTTEN)
async def the_caller_goes_before_its_task_has_run(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    loop = asyncio.get_running_loop()
    w.on_data = lambda: loop.call_soon(task.cancel)  # behind the reply's own callback
    await w.pushed()
    with pytest.raises(asyncio.CancelledError):
        await task
    await at_rest(w.r)
    assert await w.left() == ["job"]


@walk("WAITING ANSWERED SETTLED OVER")
async def the_caller_goes_before_it_has_taken_nothing(w: World) -> None:
    task = w.pop(0.3)
    await is_written(w.r)
    await is_blocked(w.direct)
    await until(lambda: w.r.stats().in_flight == 1)  # the question before the pop is answered
    loop = asyncio.get_running_loop()
    w.on_data = lambda: loop.call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert w.losses == []


@walk(ENDED)
async def a_cancelled_wait(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    await cancel(task)
    assert w.state is State.UNBLOCKING
    await at_rest(w.r)
    assert (await w.direct.info("clients"))["blocked_clients"] == 0


@walk(ENDED)
async def a_wait_that_is_closed_by_hand(w: World) -> None:
    coroutine = w.r.blpop("q")
    coroutine.send(None)  # an idle connection is there: it goes as far as the reply
    assert w.state is State.WAITING
    coroutine.close()
    await at_rest(w.r)
    assert w.losses == []


@walk(ENDED)
async def a_client_that_is_closed(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    await w.r.aclose()
    with pytest.raises(aioresp.ClientClosed):
        await task


@walk(ENDED)
async def the_connection_ends_before_the_command(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.proxy.stall()
    await cancel(task)
    w.proxy.cut()
    await until(lambda: bool(w.losses))
    assert [lost.outcome for lost in w.losses] == ["unknown"]


@walk("WAITING UNBLOCKING DROPPING SETTLED OVER", acl="-client +client|id +client|setname")
async def the_server_refuses_to_unblock(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    await cancel(task)
    await until(lambda: bool(w.losses))
    assert "CLIENT UNBLOCK was refused" in str(w.losses[0].error)


@walk("WAITING UNBLOCKING DROPPING SETTLED OVER")
async def the_server_never_told_the_number_of_the_connection(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.blocking._connection.greeting = Greeting()
    await cancel(task)
    await until(lambda: bool(w.losses))
    assert "did not tell the connection's id" in str(w.losses[0].error)


@walk("WAITING UNBLOCKING DROPPING SETTLED OVER")
async def the_command_does_not_end_in_time(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.proxy.stall("up")
    await cancel(task)
    w.blocking._unblock(overdue(w))
    w.proxy.resume()
    await until(lambda: bool(w.losses))
    assert "did not end the command in" in str(w.losses[0].error)


def overdue(w: World) -> background.Background:
    """Return what a blocking command sends by, with no patience left."""
    given = w.blocking._background
    assert given is not None
    given._give_up_at = 0.0
    return given


@walk("WAITING UNBLOCKING DROPPING PUTTING_BACK SETTLED OVER", FORGOTTEN)
async def elements_arrive_before_the_end_of_the_dropped_connection(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    (connection,) = w.r.node.pools.here()._leased

    def arrive(closed: Connection) -> None:
        if closed is connection:
            closed.data_received(b"*2\r\n$1\r\nq\r\n$3\r\njob\r\n")

    w.on_close = arrive
    w.proxy.stall("down")
    await w.pushed()
    await w.popped()
    await cancel(task)
    # The answer to CLIENT UNBLOCK does not come; nor do the elements, but by hand.
    w.blocking._drop("a test")
    w.proxy.resume()
    await at_rest(w.r)
    assert await w.left() == ["job"]
    assert w.losses == []


async def popped_for_nobody(w: World) -> None:
    """Cancel a pop that the server has run, and whose reply is on its way."""
    await w.pushed()
    w.proxy.delay = 0.1
    task = w.pop()
    await w.popped()
    await cancel(task)


@walk(RETURNED, FORGOTTEN)
async def elements_go_back(w: World) -> None:
    await popped_for_nobody(w)
    await at_rest(w.r)
    assert await w.left() == ["job"]
    assert await w.direct.dbsize() == 1


@walk(RETURNED, "SCRIPT OVER")
async def the_answer_to_the_script_is_lost(w: World) -> None:
    await popped_for_nobody(w)
    await until_async(lambda: w.left(), ["job"])
    w.proxy.cut()
    await at_rest(w.r)
    assert await w.left() == ["job"]
    assert w.losses == []


@walk(RETURNED, "SCRIPT OVER")
async def the_key_is_something_else_by_now(w: World) -> None:
    await popped_for_nobody(w)
    await w.direct.set("q", "text")
    await at_rest(w.r)
    assert [(lost.elements, lost.outcome) for lost in w.losses] == [((b"job",), "lost")]


@walk(RETURNED, "SCRIPT PLAIN OVER", acl="-eval")
async def the_script_is_forbidden(w: World) -> None:
    await popped_for_nobody(w)
    await at_rest(w.r)
    assert await w.left() == ["job"]


@walk(RETURNED, "SCRIPT PLAIN OVER", acl="-eval -lpush")
async def the_plain_command_is_forbidden_too(w: World) -> None:
    await popped_for_nobody(w)
    await at_rest(w.r)
    assert [(lost.elements, lost.outcome) for lost in w.losses] == [((b"job",), "lost")]


@walk(RETURNED, FORGOTTEN)
async def the_connection_ends_while_the_token_is_forgotten(w: World) -> None:
    await popped_for_nobody(w)
    await until(lambda: "FORGETTING" in w.steps)
    w.proxy.cut()
    await at_rest(w.r)
    assert await w.left() == ["job"]
    assert w.losses == []


async def until_async(read: Callable[[], Awaitable[object]], wanted: object) -> None:
    async with asyncio.timeout(10):
        while await read() != wanted:
            await asyncio.sleep(0.002)


# --- The pool is closed by force --------------------------------------------------------------------------------------


@walk("WAITING SETTLED OVER")
async def abandoned_while_the_caller_waits(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.abandon()
    assert [lost.outcome for lost in w.losses] == ["unknown"]
    with pytest.raises(aioresp.ClientClosed, match="what the command took was reported"):
        await task


@walk("WAITING SETTLED OVER")
async def abandoned_in_the_turn_in_which_elements_arrive(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.on_data = w.abandon
    await w.pushed()
    await until(lambda: bool(w.losses))
    assert [(lost.elements, lost.outcome) for lost in w.losses] == [((b"job",), "lost")]
    with pytest.raises(aioresp.ClientClosed, match="what the command took was reported"):
        await task


@walk("WAITING SETTLED OVER")
async def abandoned_in_the_turn_in_which_nothing_arrives(w: World) -> None:
    task = w.pop(0.3)
    await is_written(w.r)
    await is_blocked(w.direct)
    await until(lambda: w.r.stats().in_flight == 1)
    w.on_data = w.abandon
    await until(lambda: "OVER" in w.states)
    assert w.losses == []
    with pytest.raises(aioresp.ClientClosed, match="what the command took was reported"):
        await task


@walk(SERVED)
async def abandoned_before_the_task_of_the_caller_has_run(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    loop = asyncio.get_running_loop()
    w.on_data = lambda: loop.call_soon(w.abandon)
    await w.pushed()
    with pytest.raises(aioresp.ClientClosed, match="what the command took was reported"):
        await task
    assert [(lost.elements, lost.outcome) for lost in w.losses] == [((b"job",), "lost")]


@walk(ENDED)
async def abandoned_while_it_is_unblocked(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.proxy.stall()
    await cancel(task)
    w.abandon()
    assert [lost.outcome for lost in w.losses] == ["unknown"]


@walk("WAITING UNBLOCKING DROPPING SETTLED OVER")
async def abandoned_while_its_connection_is_dropped(w: World) -> None:
    task = w.pop()
    await is_blocked(w.direct)
    w.proxy.stall()
    await cancel(task)
    w.blocking._drop("a test")
    w.abandon()
    assert [lost.outcome for lost in w.losses] == ["unknown"]


@walk(RETURNED, "SCRIPT OVER")
async def abandoned_while_elements_go_back(w: World) -> None:
    await popped_for_nobody(w)
    await until(lambda: w.states[-1:] == ["PUTTING_BACK"])
    w.abandon()
    assert [lost.elements for lost in w.losses] == [(b"job",)]


@walk(RETURNED, FORGOTTEN)
async def abandoned_while_the_token_is_forgotten(w: World) -> None:
    await popped_for_nobody(w)
    await until(lambda: "FORGETTING" in w.steps)
    w.abandon()
    assert w.losses == []
    assert await w.left() == ["job"]


# --- The tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WALKS)
async def test_a_walk(name: str, own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    function, acl, states, steps = WALKS[name]
    async with a_world(own_server, monkeypatch, acl) as w:
        await function(w)
        await until(lambda: "OVER" in w.states)
        await at_rest(w.r)
    assert w.refused == []
    assert (" ".join(w.states), " ".join(w.steps)) == (states, steps)


def walked(place: int) -> set[tuple[str, str]]:
    return {pair for facts in WALKS.values() for pair in pairwise(str(facts[place]).split())}


def test_each_transition_is_walked_and_no_other() -> None:
    assert walked(2) == {(old.name, new.name) for old, new in TRANSITIONS}
    assert walked(3) == {(old.name, new.name) for old, new in STEPS}


@pytest.mark.parametrize(("states", "table"), [(State, TRANSITIONS), (Step, STEPS)], ids=["states", "steps"])
def test_the_table_in_the_docstring_is_the_one_in_use(states: type[State] | type[Step], table: object) -> None:
    names = {state.name for state in states}
    lines = [line.split() for line in (states.__doc__ or "").splitlines()]
    assert {(line[0], line[1]) for line in lines if len(line) > 2 and {line[0], line[1]} <= names} == {
        (old.name, new.name)
        for old, new in table  # type: ignore[attr-defined]  # a frozenset
    }


def test_a_transition_that_is_not_in_the_table_is_refused() -> None:
    blocking, put_back = object.__new__(Blocking), object.__new__(PutBack)
    for old, new in product(State, State):
        blocking._state = old
        if (old, new) in TRANSITIONS:
            blocking._to(new)
        else:
            with pytest.raises(AssertionError, match=f"from {old.name} to {new.name}"):
                blocking._to(new)
        assert blocking._state is (new if (old, new) in TRANSITIONS else old)
    for before, after in product(Step, Step):
        put_back.step = before
        if (before, after) in STEPS:
            put_back._to(after)
        else:
            with pytest.raises(AssertionError, match=f"from {before.name} to {after.name}"):
                put_back._to(after)
        assert put_back.step is (after if (before, after) in STEPS else before)


# --- What a state forbids ---------------------------------------------------------------------------------------------


async def test_the_connection_is_kept_while_an_unblock_is_on_its_way(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_world(own_server, monkeypatch, "") as w:
        task = w.pop()
        await is_blocked(w.direct)
        blocking = w.blocking
        w.proxy.stall("up")  # the CLIENT UNBLOCK does not reach the server
        await cancel(task)
        await w.pushed()
        await until(lambda: blocking._reply.done())
        w.proxy.resume()
        await at_rest(w.r)
        assert await w.left() == ["job"]
        assert w.states[-2:] == ["SETTLED", "OVER"]
        await in_step(w.r)
