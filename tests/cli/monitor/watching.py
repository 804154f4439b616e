"""What the tests of the screens share: an app over a source, its screen as text, and waiting for what it shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aioresp.cli.monitor.live import Live
from aioresp.cli.monitor.source import Source
from aioresp.cli.target import Target

if TYPE_CHECKING:  # each process that collects tests would take half a second for textual
    from textual.pilot import Pilot

    from aioresp.cli.monitor.screens.app import MonitorApp


class Watching:
    """An app that runs, and the keys that are pressed."""

    def __init__(self, app: MonitorApp, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        """The lines of the screen, as they are drawn."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, *texts: str, but: str = "", seconds: float = 30.0) -> str:
        """Wait until the screen shows all texts, and not the other one; return the screen."""
        await self.true(lambda: all(text in self.text for text in texts) and not (but and but in self.text), seconds)
        return self.text

    async def true(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.text
            await asyncio.sleep(0.15)


@asynccontextmanager
async def watching(
    source: Source | str, size: tuple[int, int] = (80, 24), *, period: float = 0.3, theme: str = "aioresp-dark"
) -> AsyncIterator[Watching]:
    """Run an app without a terminal over a source, or over the server at a URL."""
    from aioresp.cli.monitor.screens.app import MonitorApp  # noqa: PLC0415 (see above)

    live = Live(Target(source)) if isinstance(source, str) else source
    try:
        app = MonitorApp(live, period=period, theme=theme)
        async with app.run_test(size=size, notifications=True) as pilot:
            yield Watching(app, pilot)
    finally:
        await live.aclose()
