"""A Sentinel set for each test that asks for one, of the server that the tests run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.sentinel.forming import Servers


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    made = Servers()
    await asyncio.to_thread(made.__enter__)
    try:
        yield made
    finally:
        await asyncio.to_thread(made.__exit__)
