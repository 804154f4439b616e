"""Lab of task lists: what a killed worker loses, and the connections of the two kinds of workers."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aioresp import Client
from aioresp.testing import ClusterServers, SentinelServers, Server, server
from examples.tasks import experiment
from tests.examples.kit import PATIENCE, ROOT, Application


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with server(config={"appendonly": "yes"}) as running:
        yield running


@contextmanager
def lab(url: str, *words: str) -> Iterator[Application]:
    running = Application("tasks", words, {"AIORESP_URL": url} if url else {})
    try:
        yield running
    finally:
        running.close()
        left = running.wait_left()
        assert left == [], f"processes are left: {left}"


def finish(running: Application) -> dict[str, list[str]]:
    """Wait for the end, and return the rows of the table."""
    assert running.process.wait(2 * PATIENCE) == 0, running.output
    running.close()
    found = (re.split(r"\s{2,}", line.strip()) for line in running.lines if re.match(r" +[a-z]+(-\d)?   ", line))
    return {name: cells for name, *cells in found}


async def names_left(running: Server) -> list[str]:
    async with Client(running.url) as client:
        return [key async for key in client.scan_iter()]


async def test_a_killed_worker_loses_its_task_on_a_list_and_not_on_a_queue(own_server: Server) -> None:
    with lab(own_server.url, "--kill", "--clients", "1", "--workers", "2", "--tasks", "3") as running:
        table = await asyncio.to_thread(finish, running)
    assert table["submitted"] == ["3", "3"], running.output
    assert [re.sub(r"ada-\d", "TASK", cell) for cell in table["lost"]] == ["1 TASK", "0"], running.output
    assert table["done"] == ["2", "3"]
    assert table["worker-2"][0].endswith(f"killed in {table['lost'][0].split()[1]}")
    assert "nothing tells anybody" in running.output
    assert re.search(r"Queue: ada-\d stayed on the server, and worker-1 did it \d+\.\d s later", running.output)
    assert await names_left(own_server) == []


async def test_connections_climb_by_one_a_job_or_stay(own_server: Server) -> None:
    """By the server's count: `total_connections_received`."""
    async with server() as other:
        ways = {"loop-a-job": own_server.url, "runner-a-thread": other.url}
        counts = await experiment.watch(ways, seconds=2, rate=10)
    climbing, flat = counts["loop-a-job"], counts["runner-a-thread"]
    assert 6 <= climbing[0] < climbing[1] <= 20
    assert climbing[1] >= 15
    assert flat == [experiment.THREADS] * 2
    assert experiment.verdict("loop-a-job", [1, 2, 3, 4]).endswith("climbs by 1.0 a second, as long as it runs")
    assert experiment.verdict("runner-a-thread", [1, 3, 3, 3]).endswith("flat after the first of each thread")
    assert await names_left(own_server) == []


# --- The long forms ---------------------------------------------------------------------------------------------------


@pytest.mark.ci
async def test_a_restart_of_the_server_loses_nothing() -> None:
    async with server(config={"appendonly": "yes", "appendfsync": "always"}) as own:
        with lab(own.url, "--tasks", "8") as running:
            seen = 0
            for title in ("One list", "Queue"):
                await asyncio.to_thread(running.line, title)
                await asyncio.to_thread(running.line, "submits ada-3", after=seen)
                await asyncio.to_thread(own.kill)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(own.start)
                await asyncio.to_thread(running.line, "submits bob-8", after=seen)
                seen = len(running.lines)
            table = await asyncio.to_thread(finish, running)
        assert table["submitted"][1] == table["done"][1] == "16", running.output
        assert table["lost"][1] == "0", running.output
        assert await names_left(own) == []


@pytest.mark.ci
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all(own_server: Server, number: int) -> None:
    with lab(own_server.url) as running:
        await asyncio.to_thread(running.line, "begins ada-2")
        assert await asyncio.to_thread(running.end, number) < 5
    assert await names_left(own_server) == []


@pytest.mark.ci
@pytest.mark.parametrize("kind", [ClusterServers, SentinelServers])
async def test_on_a_cluster_and_under_sentinel(kind: type[ClusterServers] | type[SentinelServers]) -> None:
    async with kind() as servers:
        with lab(servers.url, "--kill", "--clients", "1", "--workers", "2", "--tasks", "3") as running:
            table = await asyncio.to_thread(finish, running)
    assert table["done"] == ["2", "3"]


@pytest.mark.ci
def test_no_process_is_left_when_the_lab_is_killed() -> None:
    with lab("") as running:  # on a server of its own
        running.line("begins ada-2")
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(PATIENCE)
        assert running.wait_left() == []


@pytest.mark.ci
def test_a_reader_that_goes_ends_the_lab(own_server: Server) -> None:
    with lab(own_server.url) as running:
        running.line("begins ada-1")
        assert running.process.stdout is not None
    assert running.process.returncode == 128 + signal.SIGTERM


@pytest.mark.ci
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "nonsense"])
def test_a_server_that_is_not_there_is_one_sentence(url: str) -> None:
    with lab(url) as running:
        assert running.process.wait(PATIENCE) == 1
        running.close()
        assert re.fullmatch(r"tasks: .+", running.output), running.output


@pytest.mark.ci
def test_a_server_that_goes_for_good_is_one_sentence() -> None:
    with server() as own, lab(own.url) as running:
        running.line("begins ada-2")
        own.stop()
        assert running.process.wait(PATIENCE) == 1
        running.close()
        assert re.match(r"tasks: .+", running.lines[-1]), running.output


@pytest.mark.ci
def test_the_experiment_alone() -> None:
    running = Application("tasks.experiment", ("--seconds", "4", "--rate", "2"), {})
    try:
        assert running.process.wait(PATIENCE) == 0
        running.close()
        assert "loop-a-job: 8 connections received; climbs by 2.0 a second, as long as it runs" in running.output
        assert "runner-a-thread: 3 connections received; flat" in running.output
        assert len(re.findall(r"aioresp monitor redis://", running.output)) == 2
    finally:
        running.close()
    assert running.wait_left() == []


@pytest.mark.ci
@pytest.mark.parametrize(("way", "warned"), [("loop-a-job", True), ("runner-a-thread", False)])
def test_the_monitor_sees_the_difference(own_server: Server, way: str, warned: bool) -> None:
    words = ("--way", way, "--rate", "4", "--seconds", "60")
    running = Application("tasks.experiment", words, {"AIORESP_URL": own_server.url})
    try:
        running.line("^ +2 ")  # the second second: all threads have their connections
        command = [sys.executable, "-m", "aioresp", "monitor", own_server.url, "--once"]
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=2 * PATIENCE, check=True, cwd=ROOT
        ).stdout
        assert ("new connections a second: something makes a client for each job" in said) == warned, said
    finally:
        running.close()
    assert running.wait_left() == []
    own_server.flush()
