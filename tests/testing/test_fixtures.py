"""The pytest plugin in runs of pytest of their own: with pytest-asyncio, anyio's plugin, both of them, and neither."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

import aioresp

ROOT = Path(aioresp.__file__).parent.parent


def run_pytest(folder: Path, *arguments: str, **files: str) -> dict[str, int]:
    """Write files, run pytest on them with warnings as errors, and return how many tests passed, failed, ..."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    # Plugins by name: whether the installed aioresp, if any, is this one is another question.
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = ["-p", "aioresp.testing.fixtures", "-p", "no:cacheprovider"]
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "--rootdir", str(folder), *plugins, *arguments]
    done = subprocess.run(
        [*command, str(folder)], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    print(done.stdout, done.stderr)
    return {
        word: int(count) for count, word in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1]) if word != "in"
    }


ANYIO = ["-p", "anyio.pytest_plugin"]
#: Strict about what is not set: without the scope of fixtures' loops pytest-asyncio warns, and warnings are errors.
ASYNCIO = ["-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function"]

#: Coroutines run on asyncio's own loop and on uvloop's, as each of the two plugins wants to be told.
ANYIO_LOOPS = """
    import pytest

    @pytest.fixture(scope="session", params=["asyncio", "uvloop"])
    def anyio_backend(request):
        return "asyncio", {"use_uvloop": request.param == "uvloop", "debug": True}
"""
ASYNCIO_LOOPS = """
    import asyncio
    import uvloop

    def pytest_asyncio_loop_factories():
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
"""

COMMON = textwrap.dedent("""
    import asyncio
    import socket
    import pytest

    clients = []

    def at_rest(server):
        # Nobody is connected but this function.
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(f"AUTH {server.password}\\r\\n".encode())
            assert connection.recv(100) == b"+OK\\r\\n"
            connection.sendall(b"CLIENT LIST\\r\\n")
            assert connection.recv(1 << 16).count(b" addr=") == 1
        assert [client.stats().open for client in clients] == [0] * len(clients)

    async def work(client):
        clients.append(client)
        assert await client.dbsize() == 0  # whatever the tests before have left
        await client.set("k", "v")
        assert await client.get("k") == "v"
""")


def test_a_client_in_anyio_and_in_loops_of_ones_own(tmp_path: Path) -> None:
    test = """
        @pytest.mark.anyio
        async def test_anyio(aioresp_client):
            await work(aioresp_client)

        @pytest.mark.anyio
        async def test_anyio_again_in_the_same_loop(aioresp_client):
            await work(aioresp_client)

        @pytest.fixture
        async def prepared(aioresp_client):
            await aioresp_client.set("prepared", "1")
            yield aioresp_client
            assert await aioresp_client.delete("prepared") == 1

        @pytest.mark.anyio
        async def test_a_coroutine_fixture_on_it(prepared, aioresp_client):
            assert prepared is aioresp_client
            assert await aioresp_client.dbsize() == 1

        def test_two_loops_in_one_test(aioresp_client):
            asyncio.run(work(aioresp_client))
            asyncio.run(aioresp_client.flushall())
            asyncio.run(work(aioresp_client))

        def test_a_loop_that_stays_open(aioresp_client):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(work(aioresp_client))
            global left
            left = loop

        def test_unused(aioresp_client):
            pass

        def test_nothing_is_left(aioresp_server):
            left.close()
            at_rest(aioresp_server)
            with pytest.raises(Exception, match="closed"):
                asyncio.run(clients[0].get("k"))
    """
    outcome = run_pytest(tmp_path, *ANYIO, conftest=ANYIO_LOOPS, test_it=COMMON + textwrap.dedent(test))
    assert outcome == {"passed": 3 * 2 + 4}


def test_a_client_in_pytest_asyncio(tmp_path: Path) -> None:
    test = """
        import pytest_asyncio

        @pytest.mark.asyncio
        async def test_function(aioresp_client):
            await work(aioresp_client)

        @pytest.mark.asyncio(loop_scope="session")
        async def test_session(aioresp_client):
            await work(aioresp_client)

        @pytest.mark.asyncio(loop_scope="session")
        async def test_session_again(aioresp_client):
            await work(aioresp_client)

        @pytest_asyncio.fixture
        async def prepared(aioresp_client):
            await aioresp_client.set("prepared", "1")
            yield aioresp_client
            assert await aioresp_client.delete("prepared") == 1

        @pytest.mark.asyncio
        async def test_a_coroutine_fixture_on_it(prepared, aioresp_client):
            assert prepared is aioresp_client
            assert await aioresp_client.dbsize() == 1

        def test_a_plain_function(aioresp_client):
            asyncio.run(work(aioresp_client))

        def test_nothing_is_left(aioresp_server):
            at_rest(aioresp_server)
    """
    outcome = run_pytest(tmp_path, *ASYNCIO, conftest=ASYNCIO_LOOPS, test_it=COMMON + textwrap.dedent(test))
    assert outcome == {"passed": 4 * 2 + 2}


def test_a_client_in_the_auto_mode_of_pytest_asyncio(tmp_path: Path) -> None:
    test = """
        @pytest.fixture
        async def prepared(aioresp_client):
            loop = asyncio.get_running_loop()
            await aioresp_client.set("prepared", "1")
            yield loop
            assert asyncio.get_running_loop() is loop
            assert await aioresp_client.delete("prepared") == 1
            assert aioresp_client.stats().made == 1

        async def test_a_coroutine_fixture_on_it(prepared, aioresp_client):
            assert prepared is asyncio.get_running_loop()
            assert await aioresp_client.dbsize() == 1

        async def test_function(aioresp_client):
            await work(aioresp_client)

        def test_nothing_is_left(aioresp_server):
            at_rest(aioresp_server)
    """
    arguments = [*ASYNCIO, "-o", "asyncio_mode=auto"]
    outcome = run_pytest(tmp_path, *arguments, conftest=ASYNCIO_LOOPS, test_it=COMMON + textwrap.dedent(test))
    assert outcome == {"passed": 2 * 2 + 1}


@pytest.mark.ci
def test_a_client_where_both_plugins_are(tmp_path: Path) -> None:
    test = """
        @pytest.mark.asyncio
        async def test_asyncio(aioresp_client):
            await work(aioresp_client)

        @pytest.mark.anyio
        async def test_anyio(aioresp_client):
            await work(aioresp_client)

        def test_nothing_is_left(aioresp_server):
            at_rest(aioresp_server)
    """
    outcome = run_pytest(tmp_path, *ASYNCIO, *ANYIO, conftest=ANYIO_LOOPS, test_it=COMMON + textwrap.dedent(test))
    assert outcome == {"passed": 1 + 2 + 1}


def test_the_server_may_be_ones_own_and_is_started_on_demand(tmp_path: Path) -> None:
    conftest = """
        import pytest
        from aioresp.testing import server

        @pytest.fixture(scope="session")
        def aioresp_server():
            with server(config={"databases": "3"}) as s:
                yield s
    """
    test = """
        import asyncio
        import psutil

        def test_not_asked_for():
            assert psutil.Process().children() == []

        def test_asked_for(aioresp_client):
            assert len(psutil.Process().children()) == 1
            assert "'3'" in str(asyncio.run(aioresp_client.call("CONFIG", "GET", "databases")))
    """
    assert run_pytest(tmp_path, conftest=conftest, test_it=test) == {"passed": 2}


@pytest.mark.parametrize(
    ("mark", "arguments"), [("asyncio", ASYNCIO), pytest.param("anyio", ANYIO, marks=pytest.mark.ci)]
)
def test_a_cluster_and_sentinels(tmp_path: Path, mark: str, arguments: list[str]) -> None:
    conftest = """
        import pytest
        from aioresp.testing import ClusterServers, SentinelServers

        @pytest.fixture(scope="session")
        def anyio_backend():
            return "asyncio"

        @pytest.fixture(scope="session")
        def aioresp_shared_cluster():
            with ClusterServers(primaries=1, replicas=0) as c:
                yield c

        @pytest.fixture(scope="session")
        def aioresp_shared_sentinels():
            with SentinelServers(replicas=1, sentinels=1) as s:
                yield s
    """
    test = f"""
        import asyncio
        import pytest
        from aioresp import Client

        @pytest.mark.parametrize("turn", [1, 2])
        @pytest.mark.{mark}
        async def test_cluster(aioresp_cluster_servers, turn):
            node = aioresp_cluster_servers.primary_of("k")
            async with Client(node.url) as r:
                assert await r.set("k", "v", nx=True)  # no test sees another's keys
                assert node.commandstats()["set"] == 1  # or its counts
            node.pause()  # it runs again in the next test

        @pytest.mark.parametrize("turn", [1, 2])
        @pytest.mark.{mark}
        async def test_sentinels(aioresp_sentinel_servers, turn):
            node = aioresp_sentinel_servers.primary()
            async with Client(node.url) as r:
                assert await r.set("k", "v", nx=True)
                assert node.commandstats()["set"] == 1
            aioresp_sentinel_servers.sentinels[0].kill()

        clients = []

        @pytest.mark.{mark}
        async def test_clients(aioresp_cluster_client, aioresp_sentinel_client):
            clients.extend((aioresp_cluster_client, aioresp_sentinel_client))
            for client in clients:
                assert await client.dbsize() == 0
                await client.set("k", "v")
            assert await aioresp_sentinel_client.with_options(read_from="replica").get("k") in ("v", None)

        @pytest.mark.{mark}
        async def test_a_client_that_only_reads(aioresp_sentinel_client):
            clients.append(aioresp_sentinel_client)
            assert await aioresp_sentinel_client.with_options(read_from="replica").get("k") is None

        def test_a_plain_function(aioresp_cluster_client, aioresp_sentinel_client):
            for client in aioresp_cluster_client, aioresp_sentinel_client:
                clients.append(client)
                assert asyncio.run(client.dbsize()) == 0

        def test_nothing_is_left():
            assert [client.stats().open for client in clients] == [0] * 5
    """
    assert run_pytest(tmp_path, *arguments, conftest=conftest, test_it=test) == {"passed": 8}


@pytest.mark.parametrize(
    ("mark", "arguments"), [pytest.param("asyncio", ASYNCIO, marks=pytest.mark.ci), ("anyio", ANYIO)]
)
def test_the_example_in_the_documentation(tmp_path: Path, mark: str, arguments: list[str]) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    found = [text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f"@pytest.mark.{mark}" in text]
    test = next(text for text in found if "sentinel" not in text)
    assert run_pytest(tmp_path, *arguments, test_it=test) == {"passed": test.count("def test_")}


def test_the_entry_point_names_the_plugin() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    module = importlib.import_module(project["entry-points"]["pytest11"]["aioresp"])
    cluster = {"aioresp_shared_cluster", "aioresp_cluster_servers", "aioresp_cluster_client"}
    sentinels = {"aioresp_shared_sentinels", "aioresp_sentinel_servers", "aioresp_sentinel_client"}
    assert {"aioresp_server", "aioresp_client"} | cluster | sentinels <= set(vars(module))
