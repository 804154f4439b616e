"""Fixtures: one Sentinel set for all tests of this folder. Forming one takes three seconds, so none ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from aioresp import Client
from aioresp.testing import SentinelServers


@pytest.fixture(scope="package")
def shared() -> Iterator[SentinelServers]:
    """A primary, two replicas and three sentinels, with different passwords, for tests that change nothing of it."""
    with SentinelServers() as s:
        yield s


@pytest.fixture
def servers(shared: SentinelServers) -> SentinelServers:
    """The same set, for tests with failovers and failures: all its servers run, and there are no keys."""
    shared.restore()
    shared.flush()
    return shared


@pytest.fixture
async def r(shared: SentinelServers) -> AsyncIterator[Client[str]]:
    """A client of the primary."""
    async with Client(shared.url) as client:
        yield client
