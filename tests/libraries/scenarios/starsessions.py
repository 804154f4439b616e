"""starsessions: sessions of a Starlette application, kept over the requests of many browsers."""

from __future__ import annotations

import asyncio

import httpx
from redis.asyncio import Redis
from stage import kill_connections, repeated
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.session import regenerate_session_id
from starsessions.stores.redis import RedisStore

BROWSERS = 50


async def add(request: Request) -> JSONResponse:
    request.session.setdefault("cart", []).append(request.path_params["item"])
    return JSONResponse(request.session["cart"])


async def cart(request: Request) -> JSONResponse:
    return JSONResponse(request.session.get("cart", []))


async def login(request: Request) -> JSONResponse:
    request.session["user"] = "ada"
    return JSONResponse(regenerate_session_id(request))


async def logout(request: Request) -> JSONResponse:
    request.session.clear()
    return JSONResponse(None)


async def main(url: str) -> None:
    redis = Redis.from_url(url)
    app = Starlette(
        routes=[Route("/add/{item}", add), Route("/cart", cart), Route("/login", login), Route("/logout", logout)],
        middleware=[
            Middleware(
                SessionMiddleware,
                store=RedisStore(connection=redis, prefix="s:"),
                lifetime=3600,
                rolling=True,
                cookie_https_only=False,
            ),
            Middleware(SessionAutoloadMiddleware),
        ],
    )
    transport = httpx.ASGITransport(app)
    browsers = [httpx.AsyncClient(transport=transport, base_url="http://shop") for _ in range(BROWSERS)]

    async def browse(number: int) -> None:
        for item in range(4):
            reply = await browsers[number].get(f"/add/{number}-{item}")
            assert reply.json() == [f"{number}-{each}" for each in range(item + 1)], reply.text

    async def carts() -> list[list[str]]:
        replies = await asyncio.gather(*(repeated(lambda one=one: one.get("/cart")) for one in browsers))
        return [reply.json() for reply in replies]

    filled = [[f"{number}-{item}" for item in range(4)] for number in range(BROWSERS)]
    await asyncio.gather(*map(browse, range(BROWSERS)))
    assert await carts() == filled
    keys = await redis.keys("s:*")
    assert len(keys) == BROWSERS
    assert all(3500 < ttl <= 3600 for ttl in await asyncio.gather(*map(redis.ttl, keys)))

    await kill_connections()
    assert await carts() == filled

    # A request cancelled at any point leaves every session as it was, or with the whole of its own change.
    for turns in range(15):
        tasks = [asyncio.ensure_future(browser.get("/cart")) for browser in browsers[:10]]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for expected, outcome in zip(filled, outcomes, strict=False):
            if isinstance(outcome, httpx.Response):
                assert outcome.json() == expected
            else:
                assert isinstance(outcome, asyncio.CancelledError), outcome
    assert await carts() == filled

    before = browsers[0].cookies["session"]
    after = (await browsers[0].get("/login")).json()
    assert after == browsers[0].cookies["session"] != before
    assert (await browsers[0].get("/cart")).json() == filled[0]
    assert await redis.exists(f"s:{after}") == 1
    await asyncio.gather(*(browser.get("/logout") for browser in browsers))
    assert await redis.exists(f"s:{after}") == 0
    assert await carts() == [[]] * BROWSERS
    for browser in browsers:
        await browser.aclose()
    await redis.aclose()
