"""The coding judge over HTTP and WebSockets: verdicts, two tabs, and what is killed while it judges."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx2
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from aioresp import Client
from aioresp.testing import ClusterServers, SentinelServers, Server
from aioresp.testing import server as start_server
from examples.judge.problems import PROBLEMS, SAMPLES
from tests.examples.kit import PATIENCE, Application, application

RIGHT = PROBLEMS["sum"].solution
WRONG = 'print("42")\n'
SLOW = f"import time\ntime.sleep(0.7)\n{RIGHT}"


class Tab:
    """A tab of a user, as the page is one: it asks for all states after each `hello` and each `gap`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._changed = asyncio.Condition()
        self.states: dict[str, dict[str, Any]] = {}
        self.server = ""
        self.gaps = 0

    async def read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self._socket:
                word = json.loads(text)
                states = [word["state"]] if word["type"] == "state" else word.get("states", [])
                if word["type"] in ("hello", "gap"):
                    self.server = word.get("server", self.server)
                    self.gaps += word["type"] == "gap"
                    await self._socket.send("history")
                async with self._changed:
                    for state in states:
                        if self.states.get(state["id"], {}).get("phase") != "done":
                            self.states[state["id"]] = state
                    self._changed.notify_all()

    async def verdict(self, id: str) -> dict[str, Any]:
        """Wait for the verdict of a submission."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.states.get(id, {}).get("phase") == "done")
        return self.states[id]

    async def phase(self, id: str, phase: str) -> dict[str, Any]:
        """Wait until a submission is in a phase."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.states.get(id, {}).get("phase") == phase)
        return self.states[id]


class Judge:
    """The application, and what its users send."""

    def __init__(self, app: Application, web: httpx2.AsyncClient, ports: list[int]) -> None:
        self.app = app
        self.web = web
        self.ports = ports

    async def submit(self, source: str, *, user: str = "ada", problem: str = "sum", id: str = "") -> str:
        id = id or uuid.uuid4().hex
        body = {"id": id, "user": user, "problem": problem, "source": source}
        answer = await self.web.post("/submissions", json=body)
        assert answer.status_code == 202, answer.text
        return id

    @asynccontextmanager
    async def tab(self, user: str = "ada", *, server: int = 0, **options: Any) -> AsyncIterator[Tab]:
        address = f"ws://127.0.0.1:{self.ports[server]}/tab?user={user}"
        async with connect(address, open_timeout=PATIENCE, max_size=None, **options) as socket:
            tab = Tab(socket)
            reading = asyncio.create_task(tab.read())
            try:
                async with asyncio.timeout(PATIENCE):
                    while not tab.server:
                        await asyncio.sleep(0.01)
                yield tab
            finally:
                reading.cancel()


@asynccontextmanager
async def judging(*words: str, **environment: str) -> AsyncIterator[Judge]:
    with application("judge", *words, **environment) as app:
        async with httpx2.AsyncClient(base_url=await asyncio.to_thread(lambda: app.url), timeout=PATIENCE) as web:
            yield Judge(app, web, (await web.get("/setup")).json()["ports"])


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server as a user's own would be."""
    with start_server(config={"appendonly": "yes", "appendfsync": "always"}) as running:
        yield running


async def test_verdicts_reach_both_tabs_of_their_user() -> None:
    async with (
        judging("--workers", "1", JUDGE_SECONDS="20") as judge,
        judge.tab() as one,
        judge.tab(server=1) as two,
        judge.tab("bob") as other,
    ):
        assert {one.server, two.server} == {"web-1", "web-2"}
        right = await judge.submit(RIGHT)
        wrong = await judge.submit('print("<script>alert(1)</script>")')
        error = await judge.submit("print(1 / 0)")
        for tab in (one, two):
            assert (await tab.verdict(right))["verdict"] == "accepted"
            state = await tab.verdict(wrong)
            assert (state["verdict"], state["passed"], state["expected"]) == ("wrong answer", 0, "6")
            assert state["output"] == "<script>alert(1)</script>\n"
            state = await tab.verdict(error)
            assert state["verdict"] == "error"
            assert 'File "program.py", line 1' in state["errors"]
            assert "ZeroDivisionError" in state["errors"]
        async with judge.tab(server=1) as late:  # opened after all was over
            assert (await late.verdict(right))["verdict"] == "accepted"
        assert other.states == {}
        page = await judge.web.get("/")
        assert "This is no sandbox" in page.text
        assert (await judge.web.get("/style.css")).headers["content-type"].startswith("text/css")
        assert await asyncio.to_thread(judge.app.end) < 10  # with three tabs open; it is one second
        assert re.search("Traceback|ERROR|WARNING", judge.app.output) is None, judge.app.output


@pytest.mark.ci
async def test_programs_that_go_wrong_leave_the_worker_as_it_was() -> None:
    async with judging("--workers", "1", "--web", "1") as judge, judge.tab() as tab:
        worker = judge.app.member("worker")
        began = {name: await judge.submit(source) for name, source in SAMPLES.items()}
        verdicts = {name: (await tab.verdict(id))["verdict"] for name, id in began.items()}
        assert verdicts.pop("fork bomb") in ("error", "timeout")
        assert verdicts == {
            "wrong answer": "wrong answer",
            "error": "error",
            "endless loop": "timeout",
            "endless output": "too much output",
            "1 GB of memory": "too much memory",
        }
        sleeper = "import subprocess\nsubprocess.Popen(['sleep', '4242'], start_new_session=True)\nprint(6)\n"
        assert (await tab.verdict(await judge.submit(sleeper)))["passed"] >= 1
        assert [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "4242"]] == []
        assert (await tab.verdict(await judge.submit("import os\nos.killpg(0, 9)")))["verdict"] != "accepted"
        assert (await tab.verdict(await judge.submit("raise SystemExit(3)")))["verdict"] == "error"
        flood = await tab.verdict(await judge.submit("import sys\nwhile True: sys.stderr.write('x' * 4096)"))
        assert flood["verdict"] == "too much output"
        # This is no sandbox, and the README says so: files can be read. The password of the server is not among them.
        told = await tab.verdict(await judge.submit("import os\nprint(len(open('/etc/passwd').read()), os.environ)"))
        assert told["output"].split()[0].isdigit()
        assert "AIORESP_URL" not in told["output"]
        assert (await tab.verdict(await judge.submit(RIGHT)))["verdict"] == "accepted"
        assert judge.app.member("worker") == worker
        for problem in PROBLEMS.values():
            id = await judge.submit(problem.solution, problem=problem.id)
            assert (await tab.verdict(id))["verdict"] == "accepted"


@pytest.mark.ci
async def test_another_worker_judges_when_one_is_killed() -> None:
    async with judging(JUDGE_LEASE="1.5", JUDGE_SECONDS="20") as judge, judge.tab() as tab:
        id = await judge.submit("import time\n" + SLOW)
        worker = (await tab.phase(id, "running"))["worker"]
        process = judge.app.member(worker)
        process.kill()
        state = await tab.verdict(id)
        assert (state["verdict"], state["attempt"]) == ("accepted", 2)
        await asyncio.to_thread(judge.app.line, f"{worker} died of SIGKILL, and is started again")
        assert judge.app.member(worker) != process


@pytest.mark.ci
async def test_a_worker_that_was_thought_dead_changes_no_verdict() -> None:
    async with judging(JUDGE_LEASE="1.5", JUDGE_SECONDS="20") as judge, judge.tab() as tab:
        id = await judge.submit(SLOW)
        process = judge.app.member((await tab.phase(id, "running"))["worker"])
        process.suspend()
        try:
            state = await tab.verdict(id)
            assert (state["verdict"], state["attempt"]) == ("accepted", 2)
        finally:
            process.resume()
        await asyncio.sleep(2)  # what it would write, it writes now
        async with judge.tab() as late:
            assert await late.verdict(id) == state


@pytest.mark.ci
async def test_no_verdict_is_lost_with_subscriptions(own_server: Server) -> None:
    async with (
        judging(AIORESP_URL=own_server.url, JUDGE_SECONDS="20") as judge,
        Client(own_server.url) as redis,
        judge.tab() as one,
        judge.tab(server=1) as two,
    ):
        ids = []
        for number in range(30):
            ids.append(await judge.submit(RIGHT if number % 3 else WRONG))
            if number % 3 == 0:
                await redis.call("CLIENT", "KILL", "TYPE", "pubsub")
        for tab in (one, two):
            verdicts = [(await tab.verdict(id))["verdict"] for id in ids]
            assert verdicts == ["accepted" if number % 3 else "wrong answer" for number in range(30)]
            assert tab.gaps >= 1


@pytest.mark.soak
async def test_no_verdict_is_lost_by_a_restart_of_the_server(own_server: Server) -> None:
    async with (
        judging(AIORESP_URL=own_server.url, JUDGE_SECONDS="20") as judge,
        judge.tab() as one,
        judge.tab(server=1) as two,
    ):
        ids = [await judge.submit(SLOW) for _ in range(12)]
        await one.phase(ids[0], "running")
        await asyncio.to_thread(own_server.kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_server.start)
        ids.append(await judge.submit(RIGHT))
        for tab in (one, two):
            assert {(await tab.verdict(id))["verdict"] for id in ids} == {"accepted"}


@pytest.mark.ci
async def test_without_the_server_a_submission_is_refused_and_can_be_repeated(own_server: Server) -> None:
    async with judging(AIORESP_URL=own_server.url, JUDGE_SECONDS="20") as judge, judge.tab() as tab:
        await asyncio.to_thread(own_server.stop)
        id = uuid.uuid4().hex
        body = {"id": id, "user": "ada", "problem": "sum", "source": RIGHT}
        answer = await judge.web.post("/submissions", json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        await asyncio.to_thread(own_server.start)
        for _ in range(3):
            assert (await judge.web.post("/submissions", json=body)).status_code == 202
        assert (await tab.verdict(id))["verdict"] == "accepted"
        await asyncio.to_thread(judge.app.line, id[:8])
        await asyncio.sleep(1)  # in which a second job would end
        judged = [line for line in judge.app.lines if id[:8] in line]
        assert len(judged) == 1, judged


@pytest.mark.ci
async def test_a_web_server_that_is_killed_comes_back_at_its_address() -> None:
    async with judging("--workers", "1", JUDGE_SECONDS="20") as judge, judge.tab(server=1) as tab:
        judge.app.member("web-1").kill()
        async with httpx2.AsyncClient(base_url=judge.app.url, timeout=PATIENCE) as web:
            id = await Judge(judge.app, web, []).submit(RIGHT)  # it waits in the socket that the starter holds
        assert (await tab.verdict(id))["verdict"] == "accepted"
        async with judge.tab() as again:
            assert again.server == "web-1"
            assert (await again.verdict(id))["verdict"] == "accepted"


@pytest.mark.soak
async def test_a_burst_is_judged_once_each(own_server: Server) -> None:
    async with judging(AIORESP_URL=own_server.url, JUDGE_SECONDS="20") as judge, AsyncExitStack() as stack:
        tabs = [await stack.enter_async_context(judge.tab(server=number % 2)) for number in range(4)]
        ids = [uuid.uuid4().hex for _ in range(500)]
        gate = asyncio.Semaphore(20)

        async def send(id: str) -> None:
            async with gate:
                await judge.submit(WRONG, id=id)

        await asyncio.gather(*map(send, ids))
        async with asyncio.timeout(100), Client(own_server.url) as redis:
            while len([1 for tab in tabs for id in ids if tab.states.get(id, {}).get("phase") == "done"]) < 2000:
                await asyncio.sleep(0.1)
            counted = await redis.zcard("judge:{ada}:history")
            subscribed = await redis.client_list(_type="pubsub")
        assert counted == 50
        judged = [line for line in judge.app.lines if "of ada: wrong answer, attempt 1" in line]
        assert len(judged) == 500
        # One connection for the tabs of a web server, and one for each worker.
        assert len(subscribed) == 4


@pytest.mark.ci
async def test_a_job_that_is_gone_ends_its_submission(own_server: Server) -> None:
    async with judging("--workers", "0", AIORESP_URL=own_server.url) as judge, Client(own_server.url) as redis:
        id = await judge.submit(RIGHT)
        await redis.delete(*[key async for key in redis.scan_iter(match="{judge}:*")])
        await asyncio.sleep(5.1)
        async with judge.tab() as tab:
            assert (await tab.verdict(id))["verdict"] == "not judged"


@pytest.mark.ci
async def test_what_is_left_on_the_server_expires(own_server: Server) -> None:
    async with judging(AIORESP_URL=own_server.url, JUDGE_SECONDS="20") as judge:
        async with judge.tab() as tab:
            await tab.verdict(await judge.submit(RIGHT))
        assert await asyncio.to_thread(judge.app.end) < 10
    async with Client(own_server.url) as redis:
        lives = {key: await redis.ttl(key) async for key in redis.scan_iter()}
    assert {key for key in lives if not key.startswith(("judge:{ada}:", "{judge}:"))} == set()
    assert {key for key, life in lives.items() if not 0 < life <= 86_400} == set()


@pytest.mark.ci
async def test_only_its_own_pages_may_send_programs() -> None:
    async with judging("--workers", "0", "--web", "1") as judge:
        with pytest.raises(InvalidStatus):
            async with judge.tab(origin="https://example.org"):
                pass
        async with judge.tab(origin=f"http://localhost:{judge.ports[0]}") as tab:
            assert tab.server == "web"
        body = {"id": uuid.uuid4().hex, "user": "ada", "problem": "sum", "source": RIGHT}
        assert (await judge.web.post("/submissions", json=body, headers={"Host": "evil.example"})).status_code == 400
        plain = {"Content-Type": "text/plain"}  # as a form of another site could send it
        assert (await judge.web.post("/submissions", content=json.dumps(body), headers=plain)).status_code == 422
        asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
        assert "access-control-allow-origin" not in (await judge.web.options("/submissions", headers=asked)).headers
        for wrong in ({"user": "a:b"}, {"user": ""}, {"problem": "none"}, {"source": ""}, {"source": "x" * 16_001}):
            assert (await judge.web.post("/submissions", json={**body, **wrong})).status_code == 422, wrong
        for source in ("a\0b", "\ud800"):
            answer = await judge.web.post(
                "/submissions",
                content=json.dumps({**body, "source": source}).encode(),
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code == 422
        assert (await judge.web.get("/submissions/none?user=ada")).status_code == 404


@pytest.mark.ci
async def test_a_program_dies_with_its_worker() -> None:
    async with judging("--workers", "1", "--web", "1", JUDGE_SECONDS="60") as judge:
        await judge.submit("import time\ntime.sleep(59)")
        worker = judge.app.member("worker")
        async with asyncio.timeout(PATIENCE):
            while not running("time.sleep(59)", judge.app):
                await asyncio.sleep(0.05)
        programs = worker.children(recursive=True)
        worker.kill()
        assert (await asyncio.to_thread(psutil.wait_procs, programs, timeout=PATIENCE))[1] == []


def running(words: str, app: Application) -> list[psutil.Process]:
    """Return the processes below the starter, if the program with these words is among them."""
    found = psutil.Process(app.process.pid).children(recursive=True)
    with suppress(psutil.NoSuchProcess):
        return found if any(words in " ".join(each.cmdline()) for each in found) else []
    return []


@pytest.mark.ci
async def test_all_ends_with_its_starter() -> None:
    async with judging("--workers", "2", JUDGE_SECONDS="20") as judge, judge.tab() as tab:
        id = await judge.submit("import time\ntime.sleep(19)")
        await tab.phase(id, "running")
        async with asyncio.timeout(PATIENCE):
            while not (programs := running("time.sleep(19)", judge.app)):
                await asyncio.sleep(0.05)
        began = time.monotonic()
        judge.app.process.kill()
        await asyncio.to_thread(psutil.wait_procs, programs, timeout=PATIENCE)
        assert [each for each in programs if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
        assert time.monotonic() - began < 10  # four seconds at most, on a machine that is free


@pytest.mark.soak
async def test_a_job_in_hand_does_not_hold_up_the_end(own_server: Server) -> None:
    async with judging(AIORESP_URL=own_server.url, JUDGE_SECONDS="20") as judge, judge.tab() as tab:
        id = await judge.submit("import time\ntime.sleep(19)")
        await tab.phase(id, "running")
        assert await asyncio.to_thread(judge.app.end, signal.SIGINT) < 10
    async with judging(AIORESP_URL=own_server.url, JUDGE_SECONDS="1") as judge, judge.tab() as tab:
        state = await tab.verdict(id)  # it was given back, and the next start finds it
        assert (state["verdict"], state["attempt"]) == ("timeout", 1)


@pytest.mark.ci
async def test_on_a_cluster() -> None:
    async with ClusterServers() as cluster, judging(AIORESP_URL=cluster.url, JUDGE_SECONDS="20") as judge:
        await judge_for_many(judge)


@pytest.mark.ci
async def test_under_sentinel() -> None:
    async with SentinelServers() as sentinels, judging(AIORESP_URL=sentinels.url, JUDGE_SECONDS="20") as judge:
        await judge_for_many(judge)


async def judge_for_many(judge: Judge) -> None:
    """Judge programs of users whose keys are in several slots."""
    async with AsyncExitStack() as stack:
        users = [f"user{number}" for number in range(6)]
        tabs = [await stack.enter_async_context(judge.tab(user, server=1)) for user in users]
        ids = [await judge.submit(RIGHT, user=user) for user in users]
        for tab, id in zip(tabs, ids, strict=True):
            assert (await tab.verdict(id))["verdict"] == "accepted"
            assert list(tab.states) == [id]
        assert await asyncio.to_thread(judge.app.end) < 10
