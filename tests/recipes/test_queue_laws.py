"""The laws of the queue hold on a real server, and each check fails for a queue that breaks the law."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.recipes import queue_laws as laws
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
        ("books", "release(id, job[1])\n", ""),
        ("books", "call('HGET', UNIQUE, unique) == id", "true"),
        ("purge", "release(id, job[1])", ""),
        ("enqueue", "if ARGV[6] == 'keep' then return other end", ""),
        ("enqueue", "close(other, 'cancelled', '')", ""),
    ],
    laws.told: [
        ("books", "if job[2] then call('PUBLISH', ROOT .. 'done', id) end", ""),
        ("wait", "call('HSET', key(id), 'waited', 1)", "local _"),
        ("cancel", "call('PUBLISH', ROOT .. 'cancel', id)", ""),
        ("purge", "call('PUBLISH', ROOT .. 'done', id)", "local _"),
    ],
    laws.to_the_dead_letters: [
        ("take", 'bury(id, \'{"type":"PayloadLost"', 'local _ = (id .. \'{"type":"PayloadLost"'),
    ],
    laws.each_script_twice: [
        ("take", "known:match('^%S+') == token", "false"),
        ("settle", "elseif by ~= token .. '!' then", "else"),
        ("settle", "call('HSET', key(id), 'by', token .. '!')", ""),
    ],
    laws.cancelled_at_each_turn: [
        ("settle", "call('HINCRBY', key(id), 'attempts', -1)", "local _"),
    ],
    laws.enqueue_cancelled_at_each_turn: [
        ("enqueue", "if not delayed then call('PERSIST', key(other)) end", ""),
    ],
}

#: Laws about workers in processes of their own.
FLEETS: Final[dict[Any, list[Mutation]]] = {
    laws.stopped_beyond_its_lease: [("tend", "call('HSET', key(id), 'by', '')", "")],
    laws.killed: [("tend", "call('ZREM', LEASES, id)", "if true then break end")],
    laws.poisoned: [
        ("tend", "deaths == DEATHS - 1 and SUSPECTS or line(id)", "line(id)"),
        ("tend", "deaths >= DEATHS", "deaths > DEATHS"),
    ],
    laws.other_clocks: [],
}


def name_of(value: Any) -> str:
    return value.__name__ if callable(value) else str(value[0])


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Server]:
    """A server of these tests alone, which they flush."""
    with start_server(config={"appendonly": "yes", "appendfsync": "always"}) as running:
        yield running


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as running:
        yield running


@pytest.mark.parametrize("law", LAWS, ids=name_of)
async def test_law(law: Any, laboratory: Server) -> None:
    await law(laboratory.url)


@pytest.mark.parametrize(
    ("law", "mutation"), [(law, each) for law, found in LAWS.items() for each in found], ids=name_of
)
async def test_its_check_finds_a_mutation(law: Any, mutation: Mutation, laboratory: Server) -> None:
    with broken(mutation), pytest.raises((AssertionError, TimeoutError)):
        await law(laboratory.url)


@pytest.mark.parametrize("law", FLEETS, ids=name_of)
async def test_law_of_a_fleet(law: Any, laboratory: Server, nursery: Nursery) -> None:
    await law(laboratory.url, nursery, None)


async def test_cut_at_each_byte(laboratory: Server, no_debug: None) -> None:
    await laws.cut_at_each_byte(laboratory)


async def test_survives(laboratory: Server) -> None:
    await laws.survives(laboratory)
