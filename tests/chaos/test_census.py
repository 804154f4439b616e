"""What a run leaves behind is found: tasks, descriptors, objects, memory."""

from __future__ import annotations

import asyncio
import os
import socket
import time

import pytest

from aioresp import Client
from aioresp.testing import Server
from tests.chaos.census import GROWTH, Census, Memory, Pulse, window
from tests.chaos.ledger import Ledger


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def laws(ledger: Ledger) -> list[str]:
    return sorted(ledger.problems.elements())


async def test_nothing_is_left_behind(ledger: Ledger, server: Server) -> None:
    census = Census()
    async with Client(server.url) as r:
        await r.ping()
    del r
    await census.compare(ledger)
    assert laws(ledger) == []


async def test_a_task_that_is_left_behind(ledger: Ledger) -> None:
    census = Census()
    task = asyncio.create_task(asyncio.sleep(60))
    await census.compare(ledger, 0.1)
    task.cancel()
    assert laws(ledger) == ["leak"]
    assert "sleep" in ledger.examples[0]


async def test_descriptors_that_are_left_behind(ledger: Ledger) -> None:
    census = Census()
    with socket.socket():
        reader, writer = os.pipe()
        await census.compare(ledger, 0.1)
        os.close(reader)
        os.close(writer)
    assert laws(ledger) == ["leak"]
    assert ledger.examples[0].startswith("leak: 3 descriptors")


async def test_objects_that_are_left_behind(ledger: Ledger, server: Server) -> None:
    census = Census()
    async with Client(server.url) as r:
        await r.ping()
        held = r.node.pools.here().current
    del r
    await census.compare(ledger, 0.1)
    assert "objects Connection" in " ".join(ledger.examples)
    assert held is not None


async def test_a_machine_that_stood_still(ledger: Ledger) -> None:
    pulse = Pulse(ledger)
    await asyncio.sleep(0.3)
    assert ledger.stood_still == 0.0
    time.sleep(1.5)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 1.3 < ledger.stood_still < 5
    pulse.end()


def test_memory_that_grows(ledger: Ledger) -> None:
    memory = Memory()
    memory.samples = [10.0, 20.0] + [50.0] * 98
    assert memory.check(ledger) == (50.0, 50.0)
    assert laws(ledger) == []
    memory.samples = [50.0 + n * GROWTH / 50 for n in range(100)]
    memory.check(ledger)
    assert laws(ledger) == ["memory grows"]
    assert window([], 1) == 0.0
