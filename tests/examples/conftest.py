"""Browser of the tests: Debian's Chromium, driven by playwright; its tests are skipped where there is none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"

#: `--no-sandbox` for a run as root; the others keep the browser from calling home.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

#: Where screenshots are kept, to be looked at.
SCREENSHOTS = Path(os.environ.get("AIORESP_SCREENSHOTS") or Path(tempfile.gettempdir(), "aioresp-screenshots"))

Open: TypeAlias = "Callable[..., Awaitable[Page]]"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not os.access(CHROMIUM, os.X_OK):
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    from playwright.async_api import async_playwright  # noqa: PLC0415 (half a second)

    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        await running.close()


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[Open]:
    """Open a page, in a profile of its own; at the end no page may have had an error."""
    errors: list[str] = []
    contexts = []

    async def open_page(
        url: str, *, width: int = 1200, height: int = 800, scheme: Literal["light", "dark"] = "light"
    ) -> Page:
        context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(url)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert errors == [], errors


async def shoot(page: Page, name: str, *, full: bool = False) -> Path:
    """Keep a screenshot. The page must not be wider than its window."""
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page is {wide} pixels wider than its window"
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    await page.screenshot(path=path, full_page=full)
    return path
