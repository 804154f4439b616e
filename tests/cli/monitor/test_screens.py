"""The monitor's screens over real servers, by keys and clicks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aioresp import Client
from aioresp.cli.monitor.live import Live
from aioresp.cli.monitor.record import Recorder
from aioresp.cli.monitor.replay import Replay
from aioresp.cli.monitor.rows import ClientRow
from aioresp.cli.monitor.screens.units import clock, count, duration, percent, rate, size, span
from aioresp.cli.target import Target
from aioresp.testing import ClusterServers
from aioresp.testing import server as start_server
from tests.cli.monitor.watching import Watching, watching

if TYPE_CHECKING:  # see there
    from aioresp.cli.monitor.screens.grid import Grid

pytestmark = pytest.mark.usefixtures("no_debug")


def names(w: Watching) -> list[str]:
    """Return the names of the clients that are shown, in their order."""
    return [row.name for row in grid(w).rows]


def grid(w: Watching, name: str = "#clients-grid") -> Grid[ClientRow]:
    from aioresp.cli.monitor.screens.grid import Grid  # noqa: PLC0415 (see above)

    found: Grid[ClientRow] = w.app.query_one(name, Grid)
    return found


async def test_all_screens_and_keys() -> None:
    with start_server() as server:
        async with (
            Client(server.url, client_name="web") as web,
            Client(server.url, client_name="worker") as worker,
            watching(server.url) as w,
        ):
            await web.set("user:1", "x" * 1_000)
            await worker.rpush("list", "a")
            await web.set("[/][link=http://x]y[/link]", "x")
            await w.until("connections received", "connections open", "commands", "replication", "up", "1 Overview")
            await w.until("keys 3")

            await w.press("2")
            await w.until("web", "worker", "last command")
            await _clients(w, web, worker)

            await w.pilot.click("TabBar", offset=(26, 0))
            await w.until("RPUSH", "calls/s", "p99")
            await w.press("4")
            await w.until("No command was slow so far")
            await web.config_set({"slowlog-log-slower-than": 0})
            await web.get("user:1")
            await w.until("GET user:1", "slow")
            await w.press("enter")
            await w.until("took", "Esc closes")
            await w.press("escape")

            await w.press("5")
            await w.until("Press g to look at all keys")
            await w.press("F", "g")
            await w.until("all keys", "100 %", "user:1", "string", "list", "no ttl")
            # What users write is no markup and no link: of a prefix, it is even the title.
            w.app.query_one("#keys-prefixes").focus()
            await w.press("slash", *"http", "enter")
            w.app.query_one("#keys-prefixes").focus()
            await w.press("enter")
            await w.until("[/][link=http:", "without a TTL", "Esc closes")
            await w.press("escape", "slash", "escape")

            await w.press("6")
            await w.until("MONITOR shows each command")
            await w.press("g")
            await w.until("half to three quarters")
            while "GET user:2" not in w.text:
                await web.get("user:2")
                await asyncio.sleep(0.05)
            await w.press("g")
            await w.until("GET user:2", but="half to three quarters")

            await w.press("space", "7")
            await w.until("No queue of aioresp.recipes was found", "paused")  # a screen that was never shown is read
            await w.press("space")

            await w.press("question_mark")
            await w.until("everywhere", "recordings", "with Shift a minute")
            await w.press("escape", "w")
            await w.until("warnings", "Esc closes")
            await w.press("escape")
            await w.press("t")
            assert w.app.theme == "aioresp-light"
            await w.press("minus")
            assert w.app.period == 1.0
            await w.press("1", "space")
            await w.until("paused")
            taken = w.app.moment
            await w.true(lambda: w.app.moment is not taken)  # the figures are read all the same
            await w.press("space")
            await w.until("connections received", but="paused")
            await w.press("q")
        assert w.app.return_code == 0


async def _clients(w: Watching, web: Client[str], worker: Client[str]) -> None:
    """Sort, filter, look closer and kill."""
    await w.pilot.click("#clients-grid", offset=(3, 0))
    shown = names(w)
    assert shown == sorted(shown)
    await w.press("r")
    assert names(w) == sorted(shown, reverse=True)
    before = grid(w).order
    await w.press("s")
    assert grid(w).order != before

    await w.press("slash", *"WEB")
    assert names(w) == ["web"]
    await w.press("enter", "enter")
    await w.until("client", "database", "flags")
    await w.press("escape")

    # Nobody is killed by No, by Esc, by Enter on No, or where the list has changed meanwhile.
    found = grid(w).selected
    assert found is not None
    for answer in ("n", "escape", "enter"):
        await w.press("K")
        await w.until(f"kill client {found.id}?", "web")
        await w.press(answer)
        await w.true(lambda: len(w.app.screen_stack) == 1)
    assert await web.client_id() == found.id
    await w.press("K")
    await w.until("kill client")
    await w.press("y")
    await w.true(lambda: len(w.app.screen_stack) == 1)
    await w.true(lambda: all(row.id != found.id for row in grid(w).rows))
    assert await web.client_id() != found.id

    await w.press("slash", "escape")
    assert {"web", "worker", "aioresp-monitor"} <= {*names(w), "web"}
    await w.press("slash", *"aioresp-mon", "enter", "K")
    await w.until("This is the monitor's own connection")
    assert len(w.app.screen_stack) == 1
    w.app.clear_notifications()
    await w.press("slash", "escape")
    assert w.app.focused is grid(w)
    assert not any(box.display for box in w.app.query("Input"))


@pytest.mark.ci
@pytest.mark.parametrize("size", [(80, 24), pytest.param((120, 40), marks=pytest.mark.soak), (200, 60)], ids=str)
async def test_nothing_is_cut(size: tuple[int, int]) -> None:
    with start_server() as server:
        async with Client(server.url) as client, watching(server.url, size) as w:
            await client.mset({f"user:{number}": "x" * 100 for number in range(1_000)})
            screen = await w.until("keys 1,000", "noeviction", "in all", "peak", "offset", "misses", "out ")
            lines = screen.split("\n")
            assert len(lines) == size[1]
            assert all(len(line) == size[0] for line in lines)
            assert "…" not in screen
            await w.press("question_mark")
            assert "…" not in await w.until("everywhere", "with Shift a minute", "Esc closes")
            await w.press("escape", "2")
            assert "…" not in (await w.until("address", "memory", "aioresp-monitor")).replace("aioresp-monit…", "")


@pytest.mark.ci
@pytest.mark.parametrize("size", [(40, 12), pytest.param((20, 6), marks=pytest.mark.soak), (5, 2)], ids=str)
async def test_a_terminal_that_is_too_small(size: tuple[int, int]) -> None:
    with start_server() as server:
        async with watching(server.url, size) as w:
            await w.true(lambda: w.app.moment is not None)
            for key in "1234567":
                await w.press(key, "g", "slash", "x", "escape", "question_mark", "escape", "down")
                await w.true(lambda: len(w.text.split("\n")) == size[1])
            await w.press("q")
        assert w.app.return_code == 0


@pytest.mark.ci
async def test_a_server_that_is_restarted() -> None:
    with start_server() as server:
        async with watching(server.url) as w:
            await w.until("in all", "offset")
            await w.true(lambda: len(w.app._pasts[""]) > 3)
            await w.press("2")
            await w.until("aioresp-monitor")
            await w.press("1")
            server.kill()
            refused = f"{server.host}:{server.port} cannot be reached (connection refused)"  # reset, while it dies
            await w.until("trying again", refused, "noeviction")  # the last figures stay
            await w.press("2")
            await w.until("The server does not answer", "aioresp-monitor")  # greyed
            assert grid(w).stale
            await w.press("1")
            server.start()
            await w.until("in all", but="trying again")
            await w.true(lambda: None not in w.app._pasts[""].received()[-3:])
            received = w.app._pasts[""].received()
            assert None in received  # a gap
            assert (received[-1] or 0.0) - (received[0] or 0.0) < 10  # and no leap


@pytest.mark.ci
async def test_a_user_who_lacks_rights() -> None:
    with start_server() as server:
        async with Client(server.url) as client:
            await client.acl_setuser("guest", rules=["on", "nopass", "~*", "+@read", "+info", "+ping", "+hello"])
            url = server.url.replace("redis://", "redis://guest:x@")
            async with watching(url) as w:
                await w.until("in all", "offset")
                for key, right in (("2", "+client|list"), ("4", "+slowlog"), ("6", "+monitor")):
                    await w.press(key)
                    if key == "6":
                        await w.press("g")
                    await w.until("is missing", right)
            await client.acl_setuser("guest", rules=["-info"])
            async with watching(url) as w:
                await w.until("The user may not run INFO", "+info")


@pytest.mark.ci
async def test_nodes_of_a_cluster() -> None:
    with ClusterServers() as cluster:
        async with watching(cluster.url, (120, 40)) as w:
            await w.until("cluster of 6", "8 Nodes", "in all")
            await w.press("3")
            await w.until("INFO", "calls/s")
            commands = [row.name for row in grid(w, "#commands-grid").rows]
            assert len(commands) == len(set(commands))  # of all nodes together
            await w.press("8")
            addresses = {f"{node.host}:{node.port}" for node in cluster.nodes}
            await w.until(*addresses, "primary", "replica")
            await w.press("enter")
            screen = await w.until("connections received", "up")
            assert "cluster of 6" not in screen
            assert w.app.node in addresses
            await w.press("2")
            await w.until("aioresp-monitor")
            assert {row.node for row in grid(w).rows} == {w.app.node}
            await w.press("escape")
            await w.until("state")
            assert w.app.node == ""


@pytest.mark.ci
async def test_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    with start_server() as server:
        recorder = Recorder(Live(Target(server.url)), path)
        async with Client(server.url, client_name="web") as client:
            for number in range(20):
                await client.set(f"key:{number}", number)
                await recorder.read()
                await asyncio.sleep(0.1)
        await recorder.aclose()
    replay = Replay(path, 0.1)  # slowly: two seconds pass before a busy machine draws anything
    begin, end = replay.timeline.begin, replay.timeline.end
    async with watching(replay) as w:
        await w.until("0.1 times as fast", "keys 1")
        await w.press("right", "2")
        await w.until("the end", "web")
        await w.press("K")
        await w.until("This is a recording")
        w.app.clear_notifications()
        await w.press("1", "space", "left")
        await w.until("paused", "keys 1 ")
        assert replay.timeline.at == begin
        await w.press("plus")
        assert replay.timeline.speed == 1.0
        await w.pilot.click("Scrubber", offset=(40, 0))
        await w.true(lambda: 0.2 < (replay.timeline.at - begin) / (end - begin) < 0.8)
        assert len([value for value in w.app._pasts[""].received() if value is not None]) > 3  # with the past there
        await w.press("space", "right")
        await w.until("the end", "keys 20")


def test_curves() -> None:
    from aioresp.cli.monitor.screens.curve import heights  # noqa: PLC0415 (see above)

    assert heights([0, 1, 2, 4], 4, 1, 0, 4) == [1, 2, 4, 8]
    assert heights([0, None, 4], 4, 2, 0, 4) == [None, 1, None, 16]  # a gap is not 0
    assert heights([5, 5, 5], 2, 3, 5, 5) == [1, 1]  # a flat one lies on the ground
    assert heights([9], 1, 1, 0, 4) == [8]
    assert heights([1, 2], 0, 1, 0, 2) == []


def test_units() -> None:
    assert [rate(each) for each in (None, 0.0, 0.04, 0.4, 9.9, 10.0, 12_431.4)] == [
        *("–", "0/s", "0/s", "0.4/s", "9.9/s", "10/s", "12,431/s")  # noqa: RUF001  # an en dash
    ]
    assert [duration(each) for each in (0.0000042, 0.00004, 0.0012, 0.9994, 3.14)] == [
        *("4.2 µs", "40 µs", "1.2 ms", "999 ms", "3.1 s")
    ]
    assert (count(1_204_331), size(412 * 1024**2), span(12), percent(0.971)) == (
        "1,204,331",
        "412 MB",
        "12 s",
        "97.1 %",
    )
    assert (clock(67), clock(3_723)) == ("1:07", "1:02:03")


def test_what_a_server_says_moves_no_cursor() -> None:
    from aioresp.cli.monitor.screens.grid import plain  # noqa: PLC0415 (see above)

    assert plain("a\x1b[2Jb\nc") == "a·[2Jb·c"
