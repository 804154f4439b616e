"""fastapi-limiter: routes of an application that uvicorn serves, under bursts of requests, with exact counts."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import Depends, FastAPI
from fastapi_limiter import FastAPILimiter
from fastapi_limiter.depends import RateLimiter
from redis import asyncio as redis_asyncio
from stage import kill_connections, repeated

LIMIT = 20
BURST = 60


def make(url: str) -> FastAPI:
    client = redis_asyncio.from_url(url, encoding="utf8")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await FastAPILimiter.init(client)
        yield
        await FastAPILimiter.close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/limited", dependencies=[Depends(RateLimiter(times=LIMIT, minutes=5))])
    async def limited() -> str:
        return "served"

    @app.get(
        "/strict", dependencies=[Depends(RateLimiter(times=1, seconds=60)), Depends(RateLimiter(times=5, hours=1))]
    )
    async def strict() -> str:
        return "served"

    return app


async def burst(web: httpx.AsyncClient, client: str) -> Counter[int]:
    async def get() -> httpx.Response:
        reply = await web.get("/limited", headers={"X-Forwarded-For": client})
        return reply if reply.status_code == 429 else reply.raise_for_status()

    replies = await asyncio.gather(*(repeated(get) for _ in range(BURST)))
    for reply in replies:
        if reply.status_code == 429:
            assert 0 < int(reply.headers["Retry-After"]) <= 300
    return Counter(reply.status_code for reply in replies)


async def main(url: str) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(make(url), log_level="warning"))
        serving = asyncio.ensure_future(server.serve([listening]))
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        limits = httpx.Limits(max_connections=BURST)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with (
            httpx.AsyncClient(base_url=address, limits=limits, timeout=60) as web,
            redis_asyncio.from_url(url) as other,
        ):
            assert await burst(web, "10.0.0.1") == {200: LIMIT, 429: BURST - LIMIT}
            assert await burst(web, "10.0.0.2") == {200: LIMIT, 429: BURST - LIMIT}
            # fastapi-limiter loads its script again once the server has forgotten it.
            await other.script_flush()
            assert (await web.get("/limited", headers={"X-Forwarded-For": "10.0.0.3"})).status_code == 200
            await kill_connections()
            assert await burst(web, "10.0.0.4") == {200: LIMIT, 429: BURST - LIMIT}
            assert [(await web.get("/strict")).status_code for _ in range(3)] == [200, 429, 429]
        server.should_exit = True
        await serving
