"""The chaos run finds what is wrong with a library: each test breaks one law in it, on purpose, and the run must tell.

Marked `soak`, as each of them is a run. What single checks find in a history is tested in `test_checks.py`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

import aioresp.node
from aioresp.contexts.borrowed import Borrowed
from aioresp.contexts.pipeline import Pipeline
from aioresp.contexts.undo import PutBack
from aioresp.errors import ConnectionLost
from aioresp.facts.putback import Popped
from aioresp.pool.pool import Pool
from aioresp.pubsub.subscription import Subscription
from aioresp.retry import may_repeat
from aioresp.wire.connection import Connection
from tests.chaos import world
from tests.chaos.dealing import Deck, Fault
from tests.chaos.faults import client_kill, kill
from tests.chaos.network import cut, cut_in_a_reply, delay
from tests.chaos.report import Report
from tests.chaos.run import Run

pytestmark = [pytest.mark.soak, pytest.mark.timeout(120), pytest.mark.usefixtures("no_debug")]


async def run(*faults: Fault[world.World], seconds: float = 8) -> Report:
    deck: Deck[world.World] = dict.fromkeys(faults, (1, 0.0))
    return await Run(seconds, "mutant", 0.02, deck).go()


async def test_without_a_mutation_there_is_no_problem() -> None:
    report = await run(cut, cut_in_a_reply, delay, kill, client_kill)
    assert not report.problems, str(report)


async def test_what_may_have_run_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(error: BaseException, *arguments: Any, **options: Any) -> bool:
        return isinstance(error, ConnectionLost) or may_repeat(error, *arguments, **options)

    monkeypatch.setattr(aioresp.node, "may_repeat", careless)
    report = await run(delay, cut_in_a_reply, cut_in_a_reply, cut)
    assert report.problems["ran twice"]


async def test_a_cancelled_call_gives_up_its_place_in_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    send = Connection.send

    def forgetful(self: Connection, *arguments: Any) -> asyncio.Future[Any]:
        future = send(self, *arguments)

        def forget(future: asyncio.Future[Any]) -> None:
            if future.cancelled() and future in self._waiters:
                self._waiters.remove(future)

        over_tcp = isinstance(self.peer, tuple)  # else it is the run's own, which looks after the server
        if over_tcp and isinstance(future, asyncio.Future):  # else it is a pipeline's
            future.add_done_callback(forget)
        return future

    monkeypatch.setattr(Connection, "send", forgetful)
    report = await run(delay)
    assert report.problems["crossed reply"]


async def test_what_was_popped_for_nobody_is_not_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PutBack, "begin", lambda self: self._end(None))
    report = await run(delay, seconds=15)
    assert report.problems["job lost"]


async def test_a_put_back_is_repeated_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = PutBack._answered

    def deaf(self: PutBack, answer: asyncio.Future[Any]) -> None:
        """Take the reply to the first attempt for lost."""
        if not self._unanswered and answer.exception() is None:
            answer = asyncio.get_running_loop().create_future()
            answer.set_exception(ConnectionLost("gone"))
        answered(self, answer)

    monkeypatch.setattr(PutBack, "_answered", deaf)
    monkeypatch.setattr(Popped, "undo_once", lambda self, token: self.undo())
    report = await run(delay, seconds=15)
    assert report.problems["job done twice"]


async def test_a_gap_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subscription, "_take_gap", lambda self, *gap: None)
    report = await run(cut)
    assert report.problems["hole without a Gap"]


async def test_a_server_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "CONFIG", world.CONFIG | {"appendfsync": "no"})

    async def forgetful_kill(w: world.World) -> None:
        """Lose the last bytes of the log, as a power cut would."""
        await w.kill()
        w.lose_the_end()
        await w.start()

    report = await run(forgetful_kill)
    assert report.problems["acknowledged write lost"]


async def test_a_lease_is_given_back_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back = Pool.give_back

    def careless(self: Pool[Any], resource: Any, *, changed: bool = False) -> None:
        give_back(self, resource)

    monkeypatch.setattr(Pool, "give_back", careless)
    report = await run(delay)
    assert report.problems["crossed reply"]


async def test_watch_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def blind(self: Pipeline[Any], *names: Any) -> bool:
        self._watching = await self._route.private()
        self._immediate = True
        return True

    monkeypatch.setattr(Pipeline, "watch", blind)
    report = await run(delay)
    assert report.problems["acknowledged write lost"]


@pytest.mark.parametrize(
    "leak", [lambda held, connection: held.append(connection), lambda held, _: held.append(socket.socket())]
)
async def test_something_is_kept_of_each_connection(
    monkeypatch: pytest.MonkeyPatch, leak: Callable[[list[Any], Connection], None]
) -> None:
    held: list[Any] = []
    lost = Connection.connection_lost

    def kept(self: Connection, exc: Exception | None) -> None:
        leak(held, self)
        lost(self, exc)

    monkeypatch.setattr(Connection, "connection_lost", kept)
    report = await run(cut, seconds=3)
    for item in held:
        item.close()
    assert report.problems["leak"]


async def test_a_lease_is_never_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back = Borrowed.give_back

    def forgetful(self: Borrowed) -> None:
        if self._why != "connection()" or self._changed:
            give_back(self)

    monkeypatch.setattr(Borrowed, "give_back", forgetful)
    report = await run(delay, seconds=3)
    assert report.problems["not at rest"]
