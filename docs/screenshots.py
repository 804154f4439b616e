"""Pictures of `aioresp monitor` for README and these pages, from runs on a real server: `python -m docs.screenshots`.

Starts a server, a web shop that uses it, and workers that make a client for each job and, after a while, share one. The
monitor looks on, and what it shows is drawn as SVG into docs/assets/monitor-*.svg. Blocks are drawn as rectangles:
fonts leave gaps between them. Takes a minute, and needs the extra `cli` and a server, on PATH or by the extra
`server`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from aioresp import Client
from aioresp.cli.monitor.live import Live
from aioresp.cli.monitor.screens.app import MonitorApp
from aioresp.cli.target import Target
from aioresp.testing import server as start_server

ASSETS: Final = Path(__file__).parent / "assets"

#: Columns and lines of the pictures.
SIZE: Final = (100, 30)

#: Seconds that the workers make a client for each job, and then share one.
CLIMB: Final = 32.0
FLAT: Final = 22.0

# A cell, and the frame around all, in pixels.
WIDTH: Final = 8.4
HEIGHT: Final = 18.0
MARGIN: Final = 10.0

FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
BLOCKS: Final = " ▁▂▃▄▅▆▇█"


class Shop:
    """A load as a small web shop makes it: users who read, carts that expire, and workers with jobs."""

    def __init__(self, url: str) -> None:
        self._url = url
        # True while workers make a client for each job; cleared when they are mended.
        self.is_wasteful = True

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let the shop run for as long as the block does."""
        async with AsyncExitStack() as stack:
            names = [*(f"web-{number}" for number in range(1, 7)), "mailer", "search", "worker"]
            clients = {name: await self._enter(stack, name) for name in names}
            await self._fill(clients["web-1"])
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            web = [client for name, client in clients.items() if name.startswith("web")]
            work = [tasks.create_task(self._visit(random.choice(web))) for _ in range(30)]
            work.append(tasks.create_task(self._work(clients["worker"])))
            work.append(tasks.create_task(self._listen(clients["search"])))
            work.append(tasks.create_task(self._mail(clients["mailer"])))
            yield
            for task in work:
                task.cancel()

    async def _enter(self, stack: AsyncExitStack, name: str) -> Client[str]:
        client = await stack.enter_async_context(Client(self._url, client_name=name))
        await client.ping()
        return client

    async def _fill(self, web: Client[str]) -> None:
        await web.mset({f"product:{number}": "x" * random.randrange(200, 900) for number in range(2_000)})
        await web.set("report:today", "x" * 180_000)
        await web.rpush("feed:home", *(random.randbytes(20).hex() for _ in range(900)))
        await web.zadd("bestsellers", {f"product:{number}": random.random() for number in range(800)})
        await web.sadd("newsletter", *(f"user{number}@example.com" for number in range(600)))

    async def _visit(self, web: Client[str]) -> None:
        while True:
            user = random.randrange(400)
            await web.get(f"product:{random.randrange(2_100)}")
            if random.random() < 0.1:
                await web.hset(f"cart:{user}", f"product:{random.randrange(2_000)}", 1)
                await web.expire(f"cart:{user}", 600)
                await web.set(f"session:{user}", random.randbytes(12).hex(), ex=900)
            await asyncio.sleep(random.expovariate(40))

    async def _mail(self, mailer: Client[str]) -> None:
        while True:
            await mailer.blpop("mails", timeout=0)

    async def _work(self, shared: Client[str]) -> None:
        while True:
            if self.is_wasteful:
                async with Client(self._url, client_name="job") as client:
                    await client.incr("jobs:done")
                    await asyncio.sleep(0.3)
            else:
                await shared.incr("jobs:done")
                await asyncio.sleep(0.3)

    async def _listen(self, web: Client[str]) -> None:
        async with web.subscribe("orders") as orders:
            async for _ in orders:
                pass


async def main() -> None:
    """Run the shop and the monitor, and draw what it shows."""
    with start_server() as server:
        shop = Shop(server.url)
        live = Live(Target(server.url))
        app = MonitorApp(live, period=0.5, theme="aioresp-dark")
        async with shop.open(), app.run_test(size=SIZE) as pilot:
            await asyncio.sleep(CLIMB)
            draw("monitor-climb", app)
            await pilot.press("2")
            await asyncio.sleep(2.5)
            draw("monitor-clients", app)
            await pilot.press("1")
            shop.is_wasteful = False
            await asyncio.sleep(FLAT)
            draw("monitor-flat", app)
            app.theme = "aioresp-light"
            await asyncio.sleep(0.6)
            draw("monitor-flat-light", app)
            await pilot.press("F", "5", "g")
            await asyncio.sleep(3.0)
            draw("monitor-keys-light", app)
        await live.aclose()


def draw(name: str, app: MonitorApp) -> None:
    """Write what the screen shows at present to an SVG."""
    lines = [list(strip) for strip in app.screen._compositor.render_strips()]
    back = app.screen.styles.background.hex
    width, height = SIZE[0] * WIDTH + 2 * MARGIN, SIZE[1] * HEIGHT + 2 * MARGIN
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img">',
        f"<title>aioresp monitor: {escape(name.removeprefix('monitor-').replace('-', ' '))}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{back}"/>',
        f'<g font-family="{FONT}" font-size="14" xml:space="preserve">',
        *(part for y, line in enumerate(lines) for part in _line(line, y, back)),
        "</g></svg>",
    ]
    path = ASSETS / f"{name}.svg"
    path.write_text("\n".join(drawn) + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


def _line(segments: Iterable[Segment], y: int, back: str) -> list[str]:
    """Return the elements of one line: what lies behind, and then what stands on it."""
    behind, front = [], []
    x = 0
    top = MARGIN + y * HEIGHT
    for text, style, _ in segments:
        style = style or Style()
        colour, ground = _colours(style, back)
        length = cell_len(text)
        if ground != back:
            behind.append(_box(MARGIN + x * WIDTH, top, length * WIDTH, HEIGHT, ground))
        weight = ' font-weight="bold"' if style.bold else ""
        for begin, piece in _pieces(text):
            left = MARGIN + (x + begin) * WIDTH
            if piece[0] in BLOCKS[1:]:
                part = BLOCKS.index(piece[0]) / 8 * HEIGHT
                front.append(_box(left, top + HEIGHT - part, len(piece) * WIDTH, part, colour))
            else:
                front.append(
                    f'<text x="{left:.1f}" y="{top + 13.5:.1f}" fill="{colour}"{weight} '
                    f'textLength="{cell_len(piece) * WIDTH:.1f}">{escape(piece)}</text>'
                )
        x += length
    return behind + front


def _pieces(text: str) -> list[tuple[int, str]]:
    """Return words with what is between them, and runs of equal blocks, each with its column."""
    found: list[tuple[int, str]] = []
    for column, mark in enumerate(text):
        if mark == " ":
            continue
        if found:
            begin, before = found[-1]
            joined = mark == before[-1] if mark in BLOCKS else before[-1] not in BLOCKS
            if joined and column - begin - len(before) <= (0 if mark in BLOCKS else 1):
                found[-1] = (begin, text[begin : column + 1])
                continue
        found.append((column, mark))
    return found


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    # A little more than the cell, so that no seam shows between two.
    return (
        f'<rect x="{x:.1f}" y="{y:.2f}" width="{width:.1f}" height="{height:.2f}" fill="{colour}" '
        'shape-rendering="crispEdges"/>'
    )


def _colours(style: Style, back: str) -> tuple[str, str]:
    colour = style.color.get_truecolor().hex if style.color is not None else "#888888"
    ground = style.bgcolor.get_truecolor().hex if style.bgcolor is not None else back
    return (ground, colour) if style.reverse else (colour, ground)


if __name__ == "__main__":
    asyncio.run(main())
