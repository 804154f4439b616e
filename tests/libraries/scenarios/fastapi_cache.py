"""fastapi-cache2: responses of an application, kept and asked for at once, some of the requests cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.coder import PickleCoder
from fastapi_cache.decorator import cache
from pydantic import BaseModel
from redis import asyncio as redis_asyncio

TASKS = 50


class Item(BaseModel):
    name: str
    price: float


computed: list[str] = []


def make(url: str) -> FastAPI:
    client = redis_asyncio.from_url(url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        FastAPICache.init(RedisBackend(client), prefix="shop")
        yield
        await client.aclose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/items/{name}")
    @cache(namespace="items", expire=60)
    async def item(name: str) -> Item:
        computed.append(name)
        return Item(name=name, price=len(name) / 2)

    @app.get("/report")
    @cache(namespace="reports", expire=60, coder=PickleCoder)
    def report() -> dict[str, int]:
        computed.append("report")
        return {"rows": 3}

    @app.delete("/items")
    async def forget() -> int:
        return await FastAPICache.clear(namespace="items") or 0

    return app


async def main(url: str) -> None:
    app = make(url)
    names = [f"item{i}" for i in range(TASKS)]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as web,
    ):
        first = await asyncio.gather(*(web.get(f"/items/{name}") for name in names))
        assert {reply.headers["X-FastAPI-Cache"] for reply in first} == {"MISS"}
        again = await asyncio.gather(*(web.get(f"/items/{name}") for name in names))
        assert {reply.headers["X-FastAPI-Cache"] for reply in again} == {"HIT"}
        assert [reply.json()["name"] for reply in again] == names == [reply.json()["name"] for reply in first]
        assert sorted(computed) == sorted(names)
        assert 0 < int(again[0].headers["Cache-Control"].removeprefix("max-age=")) <= 60
        same = await web.get(f"/items/{names[0]}", headers={"If-None-Match": again[0].headers["ETag"]})
        assert same.status_code == 304

        # What a cancelled request wanted reaches nobody else.
        for turns in range(12):
            tasks = [asyncio.ensure_future(web.get(f"/items/{name}")) for name in names[:10]]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for name, outcome in zip(names, outcomes, strict=False):
                if isinstance(outcome, httpx.Response):
                    assert outcome.json()["name"] == name, outcome.text
                else:
                    assert isinstance(outcome, asyncio.CancelledError), outcome

        assert (await web.get("/report")).json() == (await web.get("/report")).json() == {"rows": 3}
        assert computed.count("report") == 1
        await web.delete("/items")
        after = await web.get(f"/items/{names[0]}")
        assert after.headers["X-FastAPI-Cache"] == "MISS"
        assert (await web.get("/report")).headers["X-FastAPI-Cache"] == "HIT"
