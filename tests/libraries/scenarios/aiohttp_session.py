"""aiohttp-session: sessions of an aiohttp application, kept over the requests of many browsers."""

from __future__ import annotations

import asyncio

from aiohttp import ClientSession, CookieJar, web
from aiohttp.test_utils import TestServer
from aiohttp_session import get_session, new_session, setup
from aiohttp_session.redis_storage import RedisStorage
from redis import asyncio as redis_asyncio
from stage import kill_connections, repeated

BROWSERS = 50


async def visit(request: web.Request) -> web.Response:
    session = await get_session(request)
    session["visits"] = session.get("visits", 0) + 1
    return web.json_response({"name": session.get("name"), "visits": session["visits"]})


async def login(request: web.Request) -> web.Response:
    session = await new_session(request)
    session["name"] = request.match_info["name"]
    return web.json_response(session["name"])


async def logout(request: web.Request) -> web.Response:
    (await get_session(request)).invalidate()
    return web.json_response(None)


async def main(url: str) -> None:
    redis = redis_asyncio.from_url(url)
    app = web.Application()
    setup(app, RedisStorage(redis, max_age=3600, cookie_name="S"))
    app.add_routes([web.get("/visit", visit), web.post("/login/{name}", login), web.post("/logout", logout)])

    async def close(_: web.Application) -> None:
        await redis.aclose()

    app.on_cleanup.append(close)
    async with TestServer(app) as server:
        jars = [CookieJar(unsafe=True) for _ in range(BROWSERS)]
        browsers = [ClientSession(server.make_url("/"), cookie_jar=jar) for jar in jars]

        async def browse(number: int) -> None:
            browser = browsers[number]
            async with browser.post(f"/login/name{number}") as reply:
                assert await reply.json() == f"name{number}"
            for visits in range(1, 5):
                async with browser.get("/visit") as reply:
                    assert await reply.json() == {"name": f"name{number}", "visits": visits}

        async def visited(number: int) -> int:
            async with browsers[number].get("/visit", raise_for_status=True) as reply:
                seen = await reply.json()
            assert seen["name"] == f"name{number}"
            return int(seen["visits"])

        await asyncio.gather(*map(browse, range(BROWSERS)))
        keys = await redis.keys("S_*")
        assert len(keys) == BROWSERS
        assert all(3500 < ttl <= 3600 for ttl in await asyncio.gather(*map(redis.ttl, keys)))
        await kill_connections()
        visits = await asyncio.gather(*(repeated(lambda number=number: visited(number)) for number in range(BROWSERS)))
        assert visits == [5] * BROWSERS

        # A browser that goes away has its request cancelled, or finished: no other session is touched.
        for moment in range(10):
            tasks = [asyncio.ensure_future(visited(number)) for number in range(10)]
            await asyncio.sleep(moment / 1000)
            for task in tasks[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [each for each in outcomes if isinstance(each, Exception)], outcomes
            assert outcomes[1::2] == [6 + moment] * 5
        assert await asyncio.gather(*map(visited, range(10, BROWSERS))) == [6] * (BROWSERS - 10)

        async with browsers[0].post("/logout"):
            pass
        async with browsers[0].get("/visit") as reply:
            assert await reply.json() == {"name": None, "visits": 1}
        for browser in browsers:
            await browser.close()
