"""The page of examples/analytics in a real browser: live rows, a moving curve, and a backlog that grows and drains."""

from __future__ import annotations

import asyncio
import re

import httpx2
import pytest

from tests.examples.conftest import Open, shoot
from tests.examples.kit import application

pytestmark = [pytest.mark.ci, pytest.mark.browser, pytest.mark.timeout(300)]

NAME = "<img src=x onerror=document.title='hacked'>"


async def test_the_page_lives_while_the_worker_dies(open_page: Open) -> None:
    with application("analytics", "--rate", "200") as app:
        page = await open_page(app.url, height=1100)
        phone = await open_page(app.url, width=390, height=844)
        dark = await open_page(app.url, height=1100, scheme="dark")

        async def number(name: str) -> float:
            text = await page.inner_text(f"#{name}")
            return float(text.replace(",", "")) if re.fullmatch(r"[\d,]+", text) else -1

        async def until(name: str, low: float, high: float = float("inf")) -> float:
            async with asyncio.timeout(60):
                while not low <= (found := await number(name)) <= high:
                    await asyncio.sleep(0.1)
            return found

        await page.wait_for_selector("#state.good")
        await page.wait_for_selector("#latest tr:nth-child(10)")
        total = await until("total", 300)
        curve = await page.get_attribute("#rates .accepted", "d")
        await until("total", total + 200)
        assert await page.get_attribute("#rates .accepted", "d") != curve
        assert await number("accepted") > 20

        # The worker stands still, so events wait; it is killed, and another one catches up.
        worker = app.member("worker")
        worker.suspend()
        waiting = await until("waiting", 500)
        await page.wait_for_selector("#workers .bad:has-text('silent')")
        assert await number("stored") == 0
        await until("waiting", waiting + 200)
        worker.kill()
        await until("waiting", 0, 400)
        await page.wait_for_selector("#workers .good:has-text('worker')")

        # The button does the same, without a kill.
        await page.click("#pause")
        await page.wait_for_selector("#note:has-text('none is lost')")
        assert await page.is_disabled("#pause")
        await until("waiting", 500)
        await shoot(page, "analytics-paused", full=True)
        await page.wait_for_selector("#note", state="hidden")
        await until("waiting", 0, 400)

        # What visitors write is shown as text.
        event = {"kind": "view", "page": f"/{NAME}", "user": NAME, "ms": 1}
        api = app.line(r"takes events at (\S+)")
        async with httpx2.AsyncClient() as http:
            for _ in range(50):
                assert (await http.post(api, json=[event] * 20)).status_code == 202
                if NAME in await page.inner_text("#latest"):
                    break
                await asyncio.sleep(0.1)
            else:
                pytest.fail("the events do not come to the page")
        assert await page.query_selector("main img") is None
        assert await page.title() == "analytics"

        # The web server of the page dies; the page connects again by itself, and shows the curve of before.
        await until("total", 2000)
        app.member("ui").kill()
        await page.wait_for_selector("#state:not(.good)")
        await page.wait_for_selector("#state.good")
        await until("accepted", 20)
        for curve in ("#rates .accepted", "#rates .stored", "#backlog .waiting"):
            places = re.findall(r"[ML](-?[\d.]+),", await page.get_attribute(curve, "d") or "")
            assert len(places) > 10
            assert places == sorted(places, key=float)

        for opened, name in ((page, "light"), (dark, "dark"), (phone, "phone")):
            await opened.wait_for_selector("#state.good")
            await shoot(opened, f"analytics-{name}", full=True)
        assert app.end() < 5
