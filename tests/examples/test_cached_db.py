"""Shop over SQLite: one load for all readers, the read that must not be stale, and what happens in an outage."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import httpx2
import pytest

from aioresp.testing import ClusterServers, SentinelServers, Server, server
from tests.examples.conftest import Open, shoot
from tests.examples.kit import PATIENCE, Application, application


class Shop:
    """The web processes of the application, by HTTP."""

    def __init__(self, running: Application, client: httpx2.AsyncClient, urls: list[str]) -> None:
        self.running = running
        self.urls = urls
        self._client = client

    async def ask(self, at: int, method: str, path: str, body: dict[str, int] | None = None, status: int = 200) -> Any:
        """Ask one of the processes, and return its JSON."""
        answer = await self._client.request(method, self.urls[at % len(self.urls)] + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def loads(self, way: str) -> int:
        return sum([(await self.ask(at, "GET", "/figures"))["ways"][way]["loads"] for at in range(len(self.urls))])

    async def price(self, at: int, way: str, id: int = 1) -> int:
        price: int = (await self.ask(at, "GET", f"/products/{id}?way={way}"))["price"]
        return price

    async def forget(self, way: str, id: int = 1) -> None:
        await self.ask(0, "DELETE", f"/products/{id}/cached?way={way}")

    async def race(self, way: str, price: int) -> int:
        """Write a price in one process while the other one loads, and return what a reader gets afterwards."""
        await self.forget(way)
        early = asyncio.create_task(self.ask(0, "GET", f"/products/1?way={way}&hold=true"))
        await self.until(0, "held", 1)
        assert await self.ask(1, "PUT", f"/products/1?way={way}", {"price": price}) == {"told": True}
        await self.ask(0, "POST", "/release")
        await early
        found = {await self.price(at, way) for at in (1, 0)}
        assert len(found) == 1
        return found.pop()

    async def until(self, at: int, name: str, value: object) -> None:
        end = time.monotonic() + PATIENCE
        while (figures := await self.ask(at, "GET", "/figures"))[name] != value:
            assert time.monotonic() < end, figures
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(running: Application) -> AsyncIterator[Shop]:
    url = await asyncio.to_thread(lambda: running.url)
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=2 * PATIENCE, limits=limits, trust_env=False) as client:
        while True:
            try:
                urls = (await client.get(f"{url}/figures")).json()["peers"]
                for each in urls:
                    await client.get(f"{each}/figures")
                break
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
        yield Shop(running, client, urls)


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.ci)])
async def test_the_application(processes: str) -> None:
    with application("cached_db", "--web", processes) as running:
        async with opened(running) as shop:
            # One load for all readers of all processes, or one for each.
            for way, least, most in (("aioresp", 1, 1), ("naive", 30, 60)):
                crowd = f"/products/7/crowd?way={way}&readers=30"
                told = await asyncio.gather(*(shop.ask(at, "POST", crowd) for at in (0, 1)))
                assert [each["failed"] for each in told] == [0, 0]
                assert least <= await shop.loads(way) <= most

            # The stale read, and a write that the other process sees.
            assert await shop.race("naive", 4200) == 1900
            assert await shop.race("aioresp", 4300) == 4300
            assert (await shop.ask(0, "GET", "/products/1/stored"))["price"] == 4300
            await shop.ask(0, "PUT", "/products/1", {"price": 4400})
            assert await shop.price(1, "aioresp") == 4400

            await shop.ask(0, "GET", "/products/99", status=404)
            await shop.ask(0, "PUT", "/products/99", {"price": 1}, status=404)
            await shop.ask(0, "PUT", "/products/1", {"price": -1}, status=422)
            await shop.ask(0, "GET", "/products/1?way=other", status=422)
            await shop.ask(0, "GET", f"/products/{1 << 63}", status=422)
        assert running.end() < 5


# --- The long forms ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture
async def shop(own_server: Server) -> AsyncIterator[Shop]:
    with application("cached_db", AIORESP_URL=own_server.url) as running:
        async with opened(running) as found:
            yield found
    own_server.flush()


@pytest.mark.soak
async def test_a_thousand_requests_at_once_are_one_load(shop: Shop) -> None:
    loads = []
    for product in (7, 8, 9):  # on a busy machine a load may outlast its lease of 0.25 s, and another one begins
        before = await shop.loads("aioresp")
        prices = await asyncio.gather(*(shop.price(number % 2, "aioresp", product) for number in range(1000)))
        assert len(set(prices)) == 1
        loads.append(await shop.loads("aioresp") - before)
        if loads[-1] == 1:
            break
    assert loads[-1] == 1, loads


@pytest.mark.ci
async def test_the_naive_way_loads_hundreds_of_times(shop: Shop) -> None:
    crowd = "/products/7/crowd?way=naive&readers=500"
    await asyncio.gather(*(shop.ask(at, "POST", crowd) for at in (0, 1)))
    assert 200 <= await shop.loads("naive") <= 1000


@pytest.mark.soak
async def test_the_stale_read_each_time(shop: Shop) -> None:
    old = await shop.price(0, "naive")
    for number in range(100):
        assert await shop.race("aioresp", 5000 + number) == 5000 + number
    for number in range(100):
        assert await shop.race("naive", 6000 + number) == (6000 + number - 1 if number else 5099), old


@pytest.mark.soak
async def test_a_write_is_seen_by_the_other_process(shop: Shop) -> None:
    for number in range(100):
        writer = number % 2
        await shop.price(1 - writer, "aioresp")  # cached
        await shop.ask(writer, "PUT", "/products/1", {"price": 7000 + number})
        assert await shop.price(1 - writer, "aioresp") == 7000 + number


@pytest.mark.ci
async def test_the_cache_is_away_for_a_while(shop: Shop, own_server: Server) -> None:
    await shop.price(0, "aioresp")
    own_server.stop()
    try:
        assert await shop.price(0, "aioresp") == 1900
        assert await shop.price(1, "aioresp", 2) == 2900
        await shop.until(0, "server", False)
        assert "away" in (await shop.ask(0, "GET", "/products/1?way=naive", status=503))["detail"]
        assert await shop.ask(1, "PUT", "/products/1", {"price": 8000}) == {"told": False}
        await shop.until(1, "debts", 1)
        assert await shop.price(0, "aioresp") == await shop.price(1, "aioresp") == 8000
    finally:
        own_server.start()
    await shop.until(0, "server", True)
    await shop.until(1, "debts", 0)
    assert await shop.price(0, "aioresp") == await shop.price(1, "aioresp") == 8000
    await asyncio.sleep(1.1)  # the cache asks the server again
    before = await shop.loads("aioresp")
    for at in (0, 1, 0, 1):
        await shop.price(at, "aioresp")
    assert await shop.loads("aioresp") <= before + 1


@pytest.mark.ci
async def test_a_cache_that_hangs_costs_a_moment(shop: Shop, own_server: Server) -> None:
    own_server.pause()
    try:
        assert await shop.price(0, "aioresp") == 1900
        await shop.until(0, "server", False)
    finally:
        own_server.resume()
    await shop.until(0, "server", True)


@pytest.mark.ci
async def test_a_locked_database_is_waited_for(shop: Shop) -> None:
    path = shop.running.member("web-1").environ()["CACHED_DB_FILE"]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(shop.ask(0, "PUT", "/products/1", {"price": 9000}))
        await asyncio.sleep(1)
        assert await shop.price(1, "aioresp") == 1900  # readers go on
        assert not writing.done()
        other.execute("COMMIT")
    assert await writing == {"told": True}
    assert await shop.price(1, "aioresp") == 9000


@pytest.mark.soak
async def test_a_web_process_that_dies_is_started_again(shop: Shop) -> None:
    await shop.ask(0, "PUT", "/products/1", {"price": 1000})
    dead = shop.running.member("web-1")
    loading = asyncio.create_task(shop.ask(0, "GET", "/products/1?hold=true"))
    await shop.until(0, "held", 1)
    dead.kill()
    with pytest.raises(httpx2.TransportError):
        await loading
    began = time.monotonic()
    assert await shop.price(1, "aioresp") == 1000  # when the lease of the dead one has ended
    assert time.monotonic() - began < 5 + PATIENCE / 2
    assert await shop.price(0, "aioresp") == 1000


@pytest.mark.ci
@pytest.mark.browser
async def test_the_page(shop: Shop, open_page: Open) -> None:
    page = await open_page(shop.urls[0])
    await page.wait_for_selector("#state.good >> text=2 of 2 web processes")
    await page.click("#stampede")
    await page.wait_for_selector("#stampede:enabled")
    naive, ours = [
        int(text.replace(",", "")) for text in await page.locator("#stampedes .figure:not(.push) b").all_inner_texts()
    ]
    assert 200 <= naive <= 1000
    assert ours == 1

    await page.click("#race")
    await page.wait_for_selector("#race:enabled")
    assert await page.locator("#races .aioresp .badge").inner_text() == "fresh"
    assert (await page.locator("#races .naive .badge").inner_text()).startswith("stale")
    assert await page.locator("#races li.now").count() == 2
    await page.wait_for_selector("#races .naive .badge >> text=was stale until its TTL ended", timeout=60_000)

    for way in ("aioresp", "naive"):
        await page.check(f"[name=way][value={way}]", force=True)
        before = await page.locator("#price").inner_text()
        await page.click("#write")
        await page.wait_for_function("before => document.querySelector('#price').textContent !== before", arg=before)
    reads = await page.locator("#figures-aioresp td").nth(1).inner_text()
    await page.check("#traffic")
    await page.wait_for_function(
        "was => document.querySelector('#figures-aioresp').children[1].textContent !== was", arg=reads
    )
    await shoot(page, "cached-db", full=True)


@pytest.mark.soak
@pytest.mark.browser
async def test_the_page_on_a_phone_in_the_dark_without_a_cache(shop: Shop, open_page: Open, own_server: Server) -> None:
    page = await open_page(shop.urls[0], width=390, height=844, scheme="dark")
    await page.wait_for_selector("#state.good")
    await shoot(page, "cached-db-phone", full=True)
    own_server.stop()
    try:
        await page.wait_for_selector("#away:visible")
        await page.click("#read")
        await page.wait_for_selector("#log tr:nth-child(2)")
        assert "19.00" in await page.locator("#log tr").first.inner_text()
        await shoot(page, "cached-db-away", full=True)
    finally:
        own_server.start()
    await page.wait_for_selector("#away", state="hidden")


@pytest.mark.ci
@pytest.mark.parametrize("kind", [ClusterServers, SentinelServers])
async def test_on_a_cluster_and_under_sentinel(kind: type[ClusterServers] | type[SentinelServers]) -> None:
    async with kind() as servers:
        with application("cached_db", AIORESP_URL=servers.url) as running:
            async with opened(running) as shop:
                assert await shop.race("naive", 4200) == 1900
                assert await shop.race("aioresp", 4300) == 4300
