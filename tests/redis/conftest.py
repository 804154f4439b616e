"""Fixtures: clients of redis-py over the layer, by either of its two ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import pytest
import redis.asyncio as theirs

import aioresp.redis
from aioresp.testing import Server


class Make(Protocol):
    """Constructor of a client of redis-py, for the test's server or for another URL; the fixture closes it."""

    def __call__(self, url: str | None = None, /, **options: Any) -> Any: ...


@pytest.fixture
def installed() -> Iterator[None]:
    """Have the layer beneath all pools of redis-py."""
    assert aioresp.redis.install()
    yield
    aioresp.redis.uninstall()


@pytest.fixture(params=["install", "class"])
async def make(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Make]:
    """Make clients of redis-py with the layer beneath: by `install()`, and by the class `aioresp.redis.Redis`."""
    made: list[Any] = []
    if request.param == "install":
        aioresp.redis.install()
    kind: Any = theirs.Redis if request.param == "install" else aioresp.redis.Redis

    def client(url: str | None = None, /, **options: Any) -> Any:
        made.append(kind.from_url(url or server.url, **options))
        return made[-1]

    yield client
    for each in made:
        await each.aclose()
    aioresp.redis.uninstall()
