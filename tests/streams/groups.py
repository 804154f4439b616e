"""What the tests of consumers of a group have in common: a client, what they ask the server, and a ledger.

Owns the ledger, and its judgement that nothing is acknowledged before its body ended well. Never reads from a group.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from aioresp import Client, Delivery
from aioresp.command import Arguments
from aioresp.testing import Server


class Ledger:
    """What was handed out and ended well; sees to it that nothing else is acknowledged."""

    def __init__(self) -> None:
        self.handed: list[int] = []
        self.ended: list[int] = []
        self.acks = 0

    async def middleware(self, arguments: Arguments, send: Callable[[], Awaitable[Any]]) -> Any:
        if arguments[0] == "XACK":
            for number in arguments[3:]:
                assert isinstance(number, bytes)
                assert int(number.partition(b"-")[0]) in self.ended, "acknowledged before its body ended well"
                self.acks += 1
        return await send()

    def take(self, entry: Delivery[Any]) -> int:
        number = number_of(entry)
        self.handed.append(number)
        return number


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def s(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


def text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def number_of(entry: Delivery[Any]) -> int:
    return int(text(entry.id).partition("-")[0])


async def add(r: Client[Any], name: str, *numbers: int) -> None:
    for number in numbers:
        await r.xadd(name, {"n": number}, id=f"{number}-1")


async def pending(r: Client[Any], name: str, consumer: str | None = None) -> list[int]:
    lines = await r.xpending_range(name, "g", "-", "+", 1000, consumer)
    return [int(text(line.id).partition("-")[0]) for line in lines]
