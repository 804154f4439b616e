"""The laws of the queue hold on a real server, and each check fails for a queue that breaks the law."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest

from aioresp.recipes import JobFailed, Worker
from aioresp.recipes.queue import job as job_module
from aioresp.recipes.queue import worker as worker_module
from aioresp.recipes.queue.hand import Hand
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.recipes import queue_laws as laws
from tests.recipes.mutated import TIME
from tests.recipes.queue_kit import Mutation, Nursery, broken

#: Each law, with the mutations of scripts that its check must find: script, text, and what stands in its place.
LAWS: Final[dict[Any, list[Mutation]]] = {
    laws.enqueued_twice: [
        ("enqueue", "if call('EXISTS', key(id)) == 1 then return id end", ""),
    ],
    laws.one_holder: [
        ("settle", "if by == token then", "if by then"),
        ("renew", "if job[1] == token then", "if job[1] then"),
        ("tend", "call('HSET', key(id), 'by', '')", ""),
    ],
    laws.on_time: [
        ("books", "if due <= now then", "if due <= now + 100 then"),
        ("books", "if call('ZRANGE', DELAYED, 0, 0)[1] == id then wake() end", ""),
        ("take", "jobs[1] = math.max(first[2] - now, 0)", "jobs[1] = -1"),
    ],
    laws.many_due: [
        ("take", "'LIMIT', 0, 100)", "'LIMIT', 0, 1000)"),
    ],
    laws.unique_ends: [
        ("ends", "release(id, job[1])\n", ""),
        ("ends", "call('HGET', UNIQUE, unique) == id", "true"),
        ("purge", "release(id, job[1])", ""),
        ("enqueue", "if ARGV[6] == 'keep' then return other end", ""),
        ("enqueue", "close(other, 'cancelled', '')", ""),
        ("enqueue", "if not delayed then call('PERSIST', key(other)) end", ""),
        ("give", "call('PEXPIRE', key(id), job[9] or KEEP)", "local _"),
    ],
    laws.told: [
        ("ends", "if job[2] then call('PUBLISH', ROOT .. 'done', id) end", ""),
        ("wait", "call('HSET', key(id), 'waited', 1)", "local _"),
        ("cancel", "call('PUBLISH', ROOT .. 'cancel', id)", ""),
        ("purge", "call('PUBLISH', ROOT .. 'done', id)", "local _"),
    ],
    laws.to_the_dead_letters: [
        ("give", 'bury(id, \'{"type":"PayloadLost"', 'local _ = (id .. \'{"type":"PayloadLost"'),
    ],
    laws.each_script_twice: [
        ("give", "known:match('^%S+') == token", "false"),
        ("settle", "elseif by ~= token .. '!' then", "else"),
        ("settle", "call('HSET', key(id), 'by', token .. '!')", ""),
    ],
    laws.cancelled_at_each_turn: [
        ("settle", "call('HINCRBY', key(id), 'attempts', -1)", "local _"),
    ],
    laws.enqueue_cancelled_at_each_turn: [("cancel", "close(id, 'cancelled', '')", "")],
}

#: Laws about workers in processes of their own.
FLEETS: Final[dict[Any, list[Mutation | str]]] = {
    laws.stopped_beyond_its_lease: [("tend", "call('ZREM', LEASES, id)", "if true then break end")],
    laws.killed: [("tend", "call('ZREM', LEASES, id)", "if true then break end")],
    laws.poisoned: [
        ("tend", "deaths == DEATHS - 1 and SUSPECTS or line(id)", "line(id)"),
        ("tend", "deaths >= DEATHS", "deaths > DEATHS"),
    ],
    laws.other_clocks: [("books", *TIME), "reckon delays"],
    laws.blocked_loop: [("renew", "call('ZADD', LEASES, now + lease, id)", "")],
    laws.hung_until_its_timeout: ["forget deadlines"],
}


#: Laws whose checks end connections, or the server.
SERVERS: Final = (laws.replies_lost, laws.cut_at_each_byte, laws.told_after_a_gap, laws.survives)


#: Mutations that a lost reply shows.
CUTS: Final[list[Mutation]] = [
    ("give", "known:match('^%S+') == token", "false"),
    ("enqueue", "if call('EXISTS', key(id)) == 1 then return id end", ""),
    ("settle", "call('HSET', key(id), 'by', token .. '!')", ""),
]

#: Laws whose checks take long to find their mutations, but for the first one.
SLOW: Final = (laws.on_time, laws.told)


def ci(*arguments: Any, unless: bool = False) -> Any:
    """Return the arguments of a test of which a short form is left in `make test`."""
    return pytest.param(*arguments, marks=() if unless else pytest.mark.ci)


def name_of(value: Any) -> str:
    return str(value[0]) if isinstance(value, tuple) else str(getattr(value, "__name__", value))


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Server]:
    """A server of these tests alone, which they flush."""
    with start_server(config={"appendonly": "yes", "appendfsync": "always"}) as running:
        yield running


@pytest.fixture(scope="module")
def forking() -> Iterator[Nursery]:
    with Nursery() as running:
        yield running


@pytest.fixture
def nursery(forking: Nursery) -> Iterator[Nursery]:
    """A process that forks workers; none of them outlives the test."""
    yield forking
    forking.kill_all()


async def _deaf_to_gaps(self: Any, live: asyncio.Future[None]) -> None:
    async with self._books.view.subscribe(self._books.done) as words:
        live.set_result(None)
        async for word in words:
            for event in self._of(word.data):
                event.set()


#: The same for changes of the package's own methods: the law, the object, its attribute, another value.
METHODS: Final[list[tuple[Any, Any, str, Any]]] = [
    (laws.cancelled_at_each_turn, Hand, "_cancelled", lambda self, _: self.outcome("again", b"{}")),
    (laws.told_after_a_gap, job_module.Waiters, "_read", _deaf_to_gaps),
    (laws.on_time, Worker, "_look_again", lambda _: None),
    (laws.survives, worker_module._Patience, "__exit__", lambda *_: False),
]


@pytest.fixture
def no_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither waiters nor workers look without a word: only a word helps them."""
    monkeypatch.setattr(job_module, "LOOK", 60.0)
    monkeypatch.setattr(worker_module, "LOOK", 60.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a law waits for is not there soon: the law is broken."""
    monkeypatch.setattr(laws, "SOON", 1.0)


@pytest.mark.usefixtures("no_looking", "either")
@pytest.mark.parametrize(
    ("law", "resp"),
    [ci(law, resp, unless=resp == 3 or law is not laws.cancelled_at_each_turn) for law in LAWS for resp in (3, 2)],
    ids=name_of,
)
async def test_law(law: Any, laboratory: Server, no_debug: None) -> None:
    await law(laboratory.url)


@pytest.mark.usefixtures("no_looking", "impatient")
@pytest.mark.parametrize(
    ("law", "mutation"),
    [ci(law, each, unless=each is found[0] or law not in SLOW) for law, found in LAWS.items() for each in found],
    ids=name_of,
)
async def test_its_check_finds_a_mutation(law: Any, mutation: Mutation, laboratory: Server) -> None:
    with broken(mutation), pytest.raises((AssertionError, TimeoutError, pytest.fail.Exception)):
        await law(laboratory.url)


@pytest.mark.usefixtures("no_looking", "impatient")
@pytest.mark.parametrize(
    ("law", "owner", "name", "instead"), [ci(*each, unless=each[0] in SERVERS) for each in METHODS], ids=name_of
)
async def test_its_check_finds_a_change(
    law: Any, owner: Any, name: str, instead: Any, laboratory: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, instead)
    with pytest.raises((AssertionError, TimeoutError, pytest.fail.Exception, ExceptionGroup)):
        await law(laboratory if law in SERVERS else laboratory.url)


@pytest.mark.parametrize("law", FLEETS, ids=name_of)
async def test_law_of_a_fleet(law: Any, laboratory: Server, nursery: Nursery) -> None:
    await law(laboratory.url, nursery, None)


@pytest.mark.ci
@pytest.mark.parametrize(
    ("law", "mutation"), [(law, each) for law, found in FLEETS.items() for each in found], ids=name_of
)
async def test_its_check_finds_a_mutation_in_a_fleet(
    law: Any, mutation: Mutation | str, laboratory: Server, nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laws, "SOON", 4.0)
    with pytest.raises((AssertionError, TimeoutError, JobFailed)):
        await law(laboratory.url, nursery, mutation)


@pytest.mark.parametrize("mutation", CUTS, ids=name_of)
async def test_its_check_finds_a_mutation_with_cuts(mutation: Mutation, laboratory: Server, no_debug: None) -> None:
    with broken(mutation), pytest.raises(AssertionError):
        await laws.replies_lost(laboratory)


@pytest.mark.parametrize("law", SERVERS, ids=name_of)
async def test_law_with_a_server(law: Any, laboratory: Server, no_debug: None) -> None:
    await law(laboratory)


@pytest.mark.ci
async def test_its_check_finds_a_mutation_at_some_byte(laboratory: Server, no_debug: None, impatient: None) -> None:
    with broken(CUTS[0]), pytest.raises((AssertionError, TimeoutError)):
        await laws.cut_at_each_byte(laboratory, 67)


@pytest.mark.ci
async def test_cut_at_more_bytes(laboratory: Server, no_debug: None) -> None:
    await laws.cut_at_each_byte(laboratory, 67)


@pytest.mark.soak
async def test_a_million_due(laboratory: Server, no_debug: None) -> None:
    await laws.many_due(laboratory.url, 1_000_000)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_cut_at_each_of_many_bytes(laboratory: Server, no_debug: None) -> None:
    await laws.cut_at_each_byte(laboratory, 11, 6000)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_cancelled_at_each_of_many_turns(laboratory: Server, no_debug: None) -> None:
    await laws.cancelled_at_each_turn(laboratory.url, 300)
