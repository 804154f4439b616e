"""python-socketio: two servers joined by AsyncRedisManager, browsers on both, and a process that only emits."""

from __future__ import annotations

import asyncio

import socketio
from aiohttp import web
from stage import kill_connections, until


class Browser:
    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.heard: list[object] = []
        self.client.on("news", self.heard.append)
        self.client.on("ask", lambda question: f"answer to {question}")


async def main(url: str) -> None:
    nodes = [await start(url) for _ in range(2)]
    browsers = [Browser() for _ in range(6)]
    for number, browser in enumerate(browsers):
        await browser.client.connect(nodes[number % 2][2], transports=["websocket"])
    outside = socketio.AsyncRedisManager(url, write_only=True)
    await all_hear(browsers, outside, "first")

    # To a room whose members are on both servers.
    for browser in browsers[:4]:
        await browser.client.call("join", "room")
    server = nodes[0][0]
    for number in range(50):
        await server.emit("news", f"room {number}", room="room")
    for browser in browsers[:4]:
        await until(lambda b=browser: b.heard[-50:] == [f"room {n}" for n in range(50)], "the room has heard all")
    assert not any("room" in str(word) for browser in browsers[4:] for word in browser.heard)

    # The answer of a browser on the other server.
    other = browsers[1]
    answers: list[object] = []
    await server.emit("ask", "life", room=other.client.get_sid(), callback=answers.append)
    await until(lambda: answers == ["answer to life"], "the other server's browser has answered")

    await kill_connections()
    await all_hear(browsers, outside, "after the kill")
    await all_hear(browsers, nodes[1][0], "from a server")

    # One that another server throws out.
    await server.manager.disconnect(other.client.get_sid(), namespace="/")
    await until(lambda: not other.client.connected, "the other server has thrown it out")

    for browser in browsers:
        await browser.client.disconnect()
    for server, runner, _ in nodes:
        await server.shutdown()
        server.manager.thread.cancel()
        await asyncio.wait([server.manager.thread])
        await server.manager.redis.aclose()
        await runner.cleanup()
    await outside.redis.aclose()


async def start(url: str) -> tuple[socketio.AsyncServer, web.AppRunner, str]:
    server = socketio.AsyncServer(async_mode="aiohttp", client_manager=socketio.AsyncRedisManager(url))

    @server.event
    async def join(sid: str, room: str) -> None:
        await server.enter_room(sid, room)

    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    return server, runner, f"http://127.0.0.1:{port}"


async def all_hear(browsers: list[Browser], sender: object, word: str) -> None:
    """Emit until all have heard it: what is sent before a server has subscribed is lost."""
    for _ in range(200):
        await sender.emit("news", word)
        await asyncio.sleep(0.1)
        if all(word in browser.heard for browser in browsers):
            return
    raise AssertionError(f"{[browser.heard for browser in browsers]} lack {word!r}")
