"""The page of the judge in a real Chromium: verdicts in two tabs, what is killed, and how it looks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from aioresp import Client
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.examples.conftest import Open, shoot
from tests.examples.kit import application

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.ci]

RIGHT = "print(sum(map(int, open(0).read().split())))"


@pytest.fixture
def own_server() -> Iterator[Server]:
    with start_server(config={"appendonly": "yes", "appendfsync": "always"}) as running:
        yield running


async def live(page: Page) -> str:
    """Wait until a page is connected, and return the name of its web server."""
    return (await page.locator("#state.good", has_text="live on").inner_text()).rpartition(" ")[2]


async def submit(page: Page, source: str = RIGHT) -> None:
    await page.fill("#source", source)
    await page.click("#submit")


async def verdicts(page: Page, count: int) -> list[str]:
    """Wait for a number of verdicts, and return them, the newest first."""
    await page.wait_for_function(f"document.querySelectorAll('li[data-phase=done]').length === {count}")
    badges: list[str] = await page.locator("li .badge").all_inner_texts()
    return badges


async def test_a_verdict_comes_to_both_tabs_and_to_no_other_user(open_page: Open) -> None:
    with application("judge", JUDGE_SECONDS="20") as app:
        one, two = [await open_page(f"{app.url}/?user=ada") for _ in range(2)]
        other = await open_page(f"{app.url}/?user=bob")
        for page in (one, two, other):
            await live(page)
        await submit(one)
        await one.keyboard.press("Control+Enter")  # the focus is on the button, where it does nothing
        assert await verdicts(two, 1) == ["accepted"]
        await submit(two, "print('<img src=x onerror=document.body.remove()>')")
        await submit(one, "print(1 / 0)")
        assert await verdicts(one, 3) == ["error", "wrong answer", "accepted"]
        assert await verdicts(two, 3) == ["error", "wrong answer", "accepted"]
        await two.click("li[data-verdict='wrong answer'] summary")
        await two.locator("li[data-verdict='wrong answer'] .body", has_text="<img src=x").wait_for()
        assert await two.locator("li img").count() == 0
        await two.click("li[data-verdict='wrong answer'] button")
        await two.wait_for_function("document.querySelector('#source').value.startsWith('print(\\'<img src=x')")
        assert await other.locator("li").count() == 0
        await one.reload()
        assert await verdicts(one, 3) == ["error", "wrong answer", "accepted"]
        app.end()


@pytest.mark.soak
async def test_the_page_moves_when_its_web_server_dies(open_page: Open) -> None:
    with application("judge", JUDGE_SECONDS="20") as app:
        page = await open_page(app.url)
        first = await live(page)
        app.member(first).kill()
        second = {"web-1": "web-2", "web-2": "web-1"}[first]
        await page.get_by_text(f"live on {second}").wait_for()
        await submit(page)
        assert await verdicts(page, 1) == ["accepted"]
        app.member(second).suspend()  # it hangs: nothing tells the page
        try:
            await page.get_by_text(f"live on {first}").wait_for()
            await submit(page)
            assert await verdicts(page, 2) == ["accepted", "accepted"]
        finally:
            app.member(second).resume()
        app.end()


async def test_verdicts_come_through_a_restart_of_the_server(open_page: Open, own_server: Server) -> None:
    with application("judge", AIORESP_URL=own_server.url, JUDGE_SECONDS="20", JUDGE_LEASE="2") as app:
        one, two = [await open_page(f"{app.url}/?user=ada") for _ in range(2)]
        await live(one)
        await live(two)
        await submit(one, f"import time; time.sleep(1); {RIGHT}")
        await one.locator("li[data-phase=running]").wait_for()
        await asyncio.to_thread(own_server.kill)
        await submit(two)  # refused now: the page sends it again and again
        await asyncio.sleep(1)
        await asyncio.to_thread(own_server.start)
        async with Client(own_server.url) as redis:
            await redis.call("CLIENT", "KILL", "TYPE", "pubsub")
        for page in (one, two):
            assert await verdicts(page, 2) == ["accepted", "accepted"]
        app.end()


@pytest.mark.soak
async def test_a_worker_dies_and_the_page_says_so(open_page: Open) -> None:
    with application("judge", JUDGE_SECONDS="20", JUDGE_LEASE="1.5") as app:
        page = await open_page(app.url)
        await live(page)
        await submit(page, f"import time; time.sleep(1.5); {RIGHT}")
        worker = (await page.locator("li[data-phase=running] .more").first.inner_text()).strip()
        app.member(worker).kill()
        await page.get_by_text("running again").wait_for()
        await shoot(page, "judge-again")
        assert await verdicts(page, 1) == ["accepted"]
        assert "attempt 2" in await page.inner_text("li .more >> nth=0")
        app.end()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("light", {}, marks=pytest.mark.soak),
        ("dark", {"scheme": "dark"}),
        pytest.param("phone", {"width": 390, "height": 844}, marks=pytest.mark.soak),
        ("narrow", {"width": 320, "height": 568, "scheme": "dark"}),
    ],
)
async def test_it_looks_well(open_page: Open, name: str, options: dict[str, Any]) -> None:
    with application("judge") as app:
        page = await open_page(f"{app.url}/?user=ada", **options)
        await live(page)
        await page.locator("#empty").wait_for()
        samples = ["", "error", "1 GB of memory", "endless output", "wrong answer", "", "endless loop"]
        for count, sample in enumerate(samples, 1):
            await page.locator(f"#problems button >> nth={count % 3}").click()
            await page.select_option("#samples", sample)
            await page.click("#submit")
            if sample != "endless loop":
                await verdicts(page, count)
        await page.locator("li[data-phase=running]").wait_for()
        await page.locator("#problems button >> nth=2").click()
        await shoot(page, f"judge-{name}", full=name in ("phone", "narrow"))
        await page.locator("li[data-verdict='error'] summary").click()
        await shoot(page, f"judge-{name}-open", full=True)
