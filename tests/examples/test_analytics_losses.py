"""What the analytics pipeline promises: an accepted event is in the database exactly once, whatever dies in between."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import msgspec
import pytest
from websockets.sync.client import connect

from aioresp import Client, ResponseError
from aioresp.testing import Server, server
from tests.examples.kit import PATIENCE, application
from tests.examples.pipeline import Pipeline, finish, pipeline, wait_for
from tests.examples.postgres import Postgres, binaries, postgres

pytestmark = [pytest.mark.ci, pytest.mark.timeout(300)]

#: The message format, as its page spells it for programs in other languages.
STREAM, GROUP, DEAD, PAUSE = "{analytics}:events", "database", "{analytics}:dead", "{analytics}:pause"

VIEW = {"kind": "view", "page": "/shoes", "user": "ada", "ms": 12}

#: A worker that dies of SIGKILL between COMMIT and XACK of its first batch.
DIES_AFTER_COMMIT = """
import asyncio, os, signal
from examples.analytics import worker

async def acknowledge(self, entries):
    print(f"{len(entries)} are stored", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

worker.Worker.acknowledge = acknowledge
asyncio.run(worker.main("worker-1", 100, 0.1))
"""

#: A worker that dies of SIGKILL within its first transaction.
DIES_BEFORE_COMMIT = """
import asyncio, os, signal
from examples.analytics import db, worker

async def add(self, *rest):
    os.kill(os.getpid(), signal.SIGKILL)

db.Database._add = add
asyncio.run(worker.main("worker-1", 100, 0.1))
"""

#: Many processes that make the schema at the same moment.
PREPARES = """
import asyncio
from examples.analytics.db import Database

async def main():
    databases = [Database() for _ in range(5)]
    await asyncio.gather(*(database.prepare() for database in databases))
    for database in databases:
        await database.aclose()

asyncio.run(main())
"""

#: Workers that store the same events at the same time, in batches of other orders.
COLLIDES = """
import asyncio, random
from examples.analytics.db import Database
from examples.analytics.model import Event

async def main():
    database = Database()
    await database.prepare()
    events = [Event(id=f"event-{n:05}", at=1000 * (n % 40), kind="view", page=f"/{n % 37}", user="u", ms=1)
              for n in range(1000)]
    for _ in range(3):
        random.shuffle(events)
        for start in range(0, 1000, 100):
            await database.store(events[start:start + 100])
    await database.aclose()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def running_postgres() -> Iterator[Postgres]:
    programs = binaries()
    if programs is None:
        pytest.skip("there is no PostgreSQL: apt-get install postgresql")
    with postgres(programs) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def parts(request: pytest.FixtureRequest, aioresp_server: Server, tmp_path: Path) -> Iterator[Pipeline]:
    """The parts of a pipeline on each database, which is empty, and so is the server of the stream."""
    aioresp_server.flush()
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("running_postgres").url
    with pipeline(tmp_path, aioresp_server.url, url) as made:
        if url is not None:
            made.ask("DROP TABLE IF EXISTS events, seconds, pages")
        yield made


def ask(running: Server, *words: str | bytes) -> object:
    """Return the reply to a command."""

    async def asked() -> object:
        async with Client(running.url, decode_responses=False) as r:
            return await r.call(*words)

    return asyncio.run(asked())


@pytest.mark.soak
def test_a_worker_that_is_down_for_ten_seconds(parts: Pipeline) -> None:
    parts.api()
    worker = parts.worker()
    load = parts.load(400, 16)
    wait_for(lambda: parts.stored() > 100)
    finish(worker, signal.SIGKILL)
    before = parts.stored()
    time.sleep(10)
    assert parts.stored() == before
    assert len(parts.accepted()) > before + 1000
    parts.worker()
    finish(load)
    assert len(parts.accepted()) > before + 2000
    parts.settle()


def test_a_worker_that_dies_before_commit_or_between_commit_and_acknowledgement(parts: Pipeline) -> None:
    parts.api()
    finish(parts.load(400, 2))
    before = parts.code("before", DIES_BEFORE_COMMIT)
    finish(before)
    assert before.returncode == -signal.SIGKILL
    assert parts.stored() == 0
    finish(parts.code("after", DIES_AFTER_COMMIT))
    assert parts.log("after").endswith("100 are stored\n")
    assert parts.stored() == 100
    parts.worker()
    parts.settle()


@pytest.mark.soak
def test_workers_that_are_killed_again_and_again(parts: Pipeline) -> None:
    parts.api()
    load = parts.load(500, 10)
    workers = [parts.worker(f"worker-{number}", "--size", "50", "--wait", "0.02") for number in range(2)]
    number = 0
    while load.poll() is None:
        time.sleep(1.2)
        which = number % 2
        finish(workers[which], signal.SIGKILL)
        workers[which] = parts.worker(f"worker-{which}", "--size", "50", "--wait", "0.02")
        number += 1
    assert number >= 3
    parts.settle()


@pytest.mark.soak
@pytest.mark.parametrize("parts", ["postgres"], indirect=True)
def test_two_workers_share_the_work(parts: Pipeline) -> None:
    parts.api()
    workers = [parts.worker(f"worker-{number}", "--size", "50") for number in range(2)]
    finish(parts.load(1000, 4))
    parts.settle()
    for number, worker in enumerate(workers):
        assert finish(worker, signal.SIGTERM) < 5
        assert worker.returncode == 0
        assert "ends: " in parts.log(f"worker-{number}")
        assert "ends: 0 events" not in parts.log(f"worker-{number}")


@pytest.mark.parametrize("parts", ["sqlite"], indirect=True)
def test_events_of_a_worker_that_never_comes_back_go_to_another(parts: Pipeline, aioresp_server: Server) -> None:
    parts.api()
    gone = parts.worker("gone")

    def at_work() -> bool:
        with suppress(ResponseError):  # there is no stream yet
            return bool(ask(aioresp_server, "XINFO", "GROUPS", STREAM))
        return False

    wait_for(at_work)
    gone.send_signal(signal.SIGSTOP)
    finish(parts.load(400, 1))
    # What the worker would have fetched at this moment: it is pending, and nobody works on it.
    ask(aioresp_server, "XREADGROUP", "GROUP", GROUP, "gone", "COUNT", "50", "STREAMS", STREAM, ">")
    finish(gone, signal.SIGKILL)
    parts.worker("other")
    parts.settle()


def test_what_cannot_be_stored_goes_to_the_dead_letters(parts: Pipeline, aioresp_server: Server) -> None:
    good = {**VIEW, "at": 1, "id": "event-good"}
    parts.code("prepares", PREPARES).wait()
    if "postgres" in parts.database_url:
        parts.ask("ALTER TABLE events ADD CHECK (page <> '/refused')")
    else:
        parts.ask(
            "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN new.page = '/refused' "
            "BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed'); END"
        )
    bad = [
        (b"other", b"1", "no field"),
        (b"event", b"{", "truncated"),
        (b"event", b"\xff\xfe", "malformed"),
        (b"event", msgspec.json.encode(VIEW), "missing required field"),
        (b"event", msgspec.json.encode({**good, "ms": -1}), "$.ms"),
        (b"event", msgspec.json.encode({**good, "page": "/refused", "id": "event-refused"}), "constraint"),
    ]
    for number in range(300):
        ask(aioresp_server, "XADD", STREAM, "*", "event", msgspec.json.encode({**good, "id": f"event-{number:04}"}))
        if number % 50 == 0:
            ask(aioresp_server, "XADD", STREAM, "*", *bad[number // 50][:2])
    parts.worker()
    wait_for(lambda: parts.stored() == 300 and ask(aioresp_server, "LLEN", DEAD) == len(bad))
    letters = ask(aioresp_server, "LRANGE", DEAD, "0", "-1")
    assert isinstance(letters, list)
    reasons = " | ".join(msgspec.json.decode(letter)["reason"] for letter in letters)
    for _, _, reason in bad:
        assert reason in reasons, reasons
    wait_for(lambda: ask(aioresp_server, "XLEN", STREAM) == 0)
    assert parts.sums() == (300,) * 3


@pytest.mark.soak
def test_the_schema_is_made_by_many_at_once_and_collisions_count_once(parts: Pipeline) -> None:
    makers = [parts.code(f"makes-{number}", PREPARES) for number in range(4)]
    for number, maker in enumerate(makers):
        finish(maker)
        # SQLite has no lock around it: a second maker may find a table there, and the next attempt goes through.
        assert maker.returncode == 0 or "already exists" in parts.log(f"makes-{number}"), parts.log(f"makes-{number}")
    colliders = [parts.code(f"collides-{number}", COLLIDES) for number in range(3)]
    for number, collider in enumerate(colliders):
        finish(collider)
        assert collider.returncode == 0, parts.log(f"collides-{number}")
    assert parts.sums() == (1000,) * 3


def test_postgresql_is_away_for_a_while(running_postgres: Postgres, aioresp_server: Server, tmp_path: Path) -> None:
    aioresp_server.flush()
    with pipeline(tmp_path, aioresp_server.url, running_postgres.url) as parts:
        parts.ask("DROP TABLE IF EXISTS events, seconds, pages")
        parts.api()
        worker = parts.worker()
        load = parts.load(300, 10)
        wait_for(lambda: parts.stored() > 100)
        running_postgres.stop()
        try:
            time.sleep(5)
            assert worker.poll() is None
            assert "tries again" in parts.log("worker-1")
        finally:
            running_postgres.start()
        finish(load)
        parts.settle()
        assert worker.poll() is None

        running_postgres.stop()
        try:
            late = parts.worker("late")
            wait_for(lambda: "waits for the database" in parts.log("late"))
            for one in (worker, late):
                assert finish(one, signal.SIGTERM) < 5
                assert one.returncode == 0
        finally:
            running_postgres.start()


@pytest.mark.soak
def test_sqlite_is_locked_for_a_while(aioresp_server: Server, tmp_path: Path) -> None:
    aioresp_server.flush()
    with pipeline(tmp_path, aioresp_server.url) as parts:
        parts.api()
        worker = parts.worker()
        load = parts.load(300, 12)
        wait_for(lambda: parts.stored() > 100)
        with closing(sqlite3.connect(tmp_path / "analytics.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(8)  # longer than the worker's driver waits
            other.execute("ROLLBACK")
        assert "database is locked" in parts.log("worker-1")
        finish(load)
        parts.settle()
        assert worker.poll() is None


@pytest.mark.soak
def test_the_server_of_the_stream_is_killed_and_comes_back(tmp_path: Path) -> None:
    config = {"appendonly": "yes", "appendfsync": "always"}
    with server(config=config) as own, pipeline(tmp_path, own.url) as parts:
        parts.api()
        worker = parts.worker()
        load = parts.load(300, 14)
        wait_for(lambda: parts.stored() > 100)
        for _ in range(2):
            own.kill()
            began = time.monotonic()
            answer = httpx2.post(f"{parts.url}/event", content=msgspec.json.encode(VIEW), timeout=20)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert "away" in answer.json()["error"]
            assert time.monotonic() - began < 10
            time.sleep(2)
            own.start()
            before = len(parts.accepted())
            wait_for(lambda before=before: len(parts.accepted()) > before + 100)  # type: ignore[misc]
        finish(load)
        assert worker.poll() is None
        parts.settle()


@pytest.mark.soak
def test_all_start_while_the_server_is_away(tmp_path: Path) -> None:
    with server() as own, pipeline(tmp_path, own.url) as parts:
        own.stop()
        worker = parts.worker()
        parts.api()
        page = parts.ui()
        load = parts.load(100, 10)
        wait_for(lambda: "waits for the server of the stream" in parts.log("worker-1"))
        with connect(f"{page.replace('http', 'ws')}/live", proxy=None) as socket:
            while msgspec.json.decode(socket.recv(timeout=30))["trouble"] != ["The server of the stream is away."]:
                pass
            answer = httpx2.post(f"{parts.url}/event", content=msgspec.json.encode(VIEW), timeout=20)
            assert answer.status_code == 503
            assert httpx2.post(f"{page}/pause", timeout=20).status_code == 503
            assert parts.accepted() == []
            own.start()
            while True:
                seen = msgspec.json.decode(socket.recv(timeout=30))
                if not seen["trouble"] and seen["summary"]["total"] and seen["books"]["workers"]:
                    break
        finish(load)
        parts.settle()
        assert worker.poll() is None


def test_the_backlog_is_bounded(aioresp_server: Server, tmp_path: Path) -> None:
    aioresp_server.flush()
    with pipeline(tmp_path, aioresp_server.url, ANALYTICS_BOUND="2000") as parts, httpx2.Client() as http:
        parts.api()
        load = parts.load(0, 8, "--batch", "50", "--connections", "16")
        wait_for(lambda: int(ask(aioresp_server, "XLEN", STREAM)) > 1900)  # type: ignore[call-overload]
        time.sleep(2)
        assert load.poll() is None
        assert int(ask(aioresp_server, "XLEN", STREAM)) <= 2000  # type: ignore[call-overload]
        answer = http.post(f"{parts.url}/event", content=msgspec.json.encode([VIEW] * 100))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "2"
        assert "events wait for the database" in answer.json()["error"]
        parts.worker()
        finish(load)
        assert len(parts.accepted()) > 2000
        parts.settle()


@pytest.mark.soak
def test_sigterm_under_load_ends_all_and_the_rest_is_stored_at_the_next_start(
    aioresp_server: Server, tmp_path: Path
) -> None:
    aioresp_server.flush()
    words = ("--dir", str(tmp_path))
    with application("analytics", "--rate", "3000", *words, AIORESP_URL=aioresp_server.url) as app:
        app.line(r"takes events at")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(httpx2.post, f"{app.url}/pause").result()
        assert ask(aioresp_server, "PERSIST", PAUSE) == 1  # on a busy machine the load takes longer than the pause
        end = time.monotonic() + PATIENCE
        while int(ask(aioresp_server, "XLEN", STREAM)) < 3000:  # type: ignore[call-overload]
            assert time.monotonic() < end
            time.sleep(0.1)
        assert app.end() < 5
    waiting = int(ask(aioresp_server, "XLEN", STREAM))  # type: ignore[call-overload]
    accepted = int(ask(aioresp_server, "GET", "{analytics}:accepted"))  # type: ignore[call-overload]
    assert waiting >= 3000
    ask(aioresp_server, "DEL", PAUSE)
    with application("analytics", "--rate", "0", *words, AIORESP_URL=aioresp_server.url) as app:
        wait_for(lambda: ask(aioresp_server, "XLEN", STREAM) == 0)
        assert app.end() < 5
    with closing(sqlite3.connect(tmp_path / "analytics.db")) as database:
        # A post whose answer was cut off by the end of the API may be in the stream without its part of the counter.
        assert accepted <= database.execute("SELECT count(*) FROM events").fetchone()[0] <= accepted + 100


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_a_cluster_or_a_sentinel_set_by_its_url_alone(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    servers = request.getfixturevalue(f"aioresp_{kind}_servers")
    with pipeline(tmp_path, servers.url) as parts:
        parts.api()
        worker = parts.worker()
        finish(parts.load(300, 2))
        parts.settle()
        assert finish(worker, signal.SIGTERM) < 5
