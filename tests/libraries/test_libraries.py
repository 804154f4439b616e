"""Libraries over redis-py do on the layer what they do without it, and the server sees few connections.

Each scenario runs first on plain redis-py, which proves that the scenario is right. Then it runs with
`aioresp.redis.install()` before it, and nothing else changed. The server's own counters prove that the layer was there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import pytest

from tests.libraries import Combination, Mark
from tests.libraries.environments import NoIndex, python_of
from tests.libraries.play import TooOld, play


def library(
    scenario: str, *packages: str, redis: tuple[str, ...], connections: int, ci: str | None = None
) -> Iterator[Combination]:
    """Yield a library with each redis-py; with that of `ci`, it is in .ci/run, otherwise in `make soak` alone."""
    for version in redis:
        mark: Mark = "ci" if version == ci else "soak"
        yield Combination(scenario, version, packages, connections, mark)


#: What a web application is served by and asked through.
WEB: Final = ("fastapi>=0.115", "uvicorn>=0.34", "httpx>=0.28", "jinja2>=3.1")

#: Which combinations there are. A library has each redis-py out of 5.2, 6.4, 7.1 and 8.1 that its requirements admit.
#: Those that require a single major version have a release for each.
COMBINATIONS: Final = (
    *library("saq", "saq[redis]==0.26.4", "typing_extensions", redis=("5.2", "6.4", "7.1"), ci="7.1", connections=30),
    *library("arq", "arq==0.28.0", redis=("5.2",), ci="5.2", connections=36),
    *library("taskiq_redis", "taskiq-redis==1.0.9", "taskiq==0.11.*", redis=("5.2",), connections=24),
    *library("taskiq_redis", "taskiq-redis==1.1.2", "taskiq==0.11.*", redis=("6.4",), connections=24),
    *library("taskiq_redis", "taskiq-redis==1.2.4", redis=("8.1",), connections=24),
    *library("channels_redis", "channels-redis==4.3.0", redis=("5.2", "6.4", "7.1", "8.1"), ci="8.1", connections=12),
    *library("socketio", "python-socketio[asyncio-client]==5.18.1", redis=("5.2", "6.4", "7.1", "8.1"), connections=8),
    *library("faststream", "faststream[redis]==0.7.8", redis=("5.2", "6.4", "7.1", "8.1"), connections=14),
    *library("redis_om", "redis-om==1.2.0", redis=("6.4", "7.1", "8.1"), connections=4),
    *library("limits", "limits[redis]==5.8.0", redis=("5.2", "6.4", "7.1"), connections=8),
    *library("aiocache", "aiocache[redis]==0.12.3", redis=("5.2", "6.4", "7.1", "8.1"), connections=8),
    # Its extra for Redis pins redis-py 4, which nothing in its code asks for.
    *library("fastapi_cache", "fastapi-cache2==0.2.2", *WEB, redis=("5.2", "6.4", "7.1", "8.1"), connections=8),
    # The last release whose limits are redis-py's own: those of 0.2 are another library's.
    *library("fastapi_limiter", "fastapi-limiter==0.1.6", *WEB, redis=("5.2", "6.4", "7.1", "8.1"), connections=8),
    # The extras for Redis of aiogram and fastapi-users stop before redis-py 8; the packages themselves do not.
    *library("aiogram", "aiogram==3.31.0", redis=("6.4", "7.1", "8.1"), connections=8),
    *library("aiogram", "aiogram[redis]==3.22.0", redis=("5.2",), connections=8),
    *library("starsessions", "starsessions[redis]==2.2.1", *WEB, redis=("5.2", "6.4", "7.1", "8.1"), connections=8),
    *library("fastapi_users", "fastapi-users==15.0.5", *WEB, redis=("5.2", "6.4", "7.1", "8.1"), connections=8),
    *library("aiohttp_session", "aiohttp-session[aioredis]==2.12.1", redis=("5.2", "6.4", "7.1", "8.1"), connections=8),
)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "combination", [pytest.param(one, id=one.name, marks=getattr(pytest.mark, one.mark)) for one in COMBINATIONS]
)
async def test_the_layer_carries_the_library(combination: Combination) -> None:
    try:
        python = await asyncio.to_thread(python_of, combination)
    except NoIndex as error:
        pytest.skip(f"the package index cannot be reached: {str(error).strip().splitlines()[-1]}")
    try:
        plain = await play(combination, python, layer=False)
    except TooOld as error:
        pytest.skip(str(error))
    assert plain.status == 0, f"on plain redis-py, the scenario fails: {plain}"
    assert plain.libraries
    assert not any("aioresp" in name for name in plain.libraries), str(plain)

    layered = await play(combination, python, layer=True)
    assert layered.status == 0, f"with the layer: {layered}"
    assert layered.libraries
    assert all("aioresp" in name for name in layered.libraries), str(layered)
    assert layered.connections <= combination.connections, str(layered)
    assert not layered.repeated, str(layered)
    assert not layered.complaints - plain.complaints, str(layered)


def test_each_scenario_is_in_the_table() -> None:
    files = {path.stem for path in COMBINATIONS[0].file.parent.glob("*.py")}
    assert {one.scenario for one in COMBINATIONS} == files
    names = [one.name for one in COMBINATIONS]
    assert len(set(names)) == len(names)
