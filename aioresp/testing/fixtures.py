"""Pytest plugin with servers, a cluster and a Sentinel set for the whole run, and what one test has of them.

Owns the fixtures. Never does anything until a test asks for a fixture: pytest loads the plugin in
every environment with aioresp, so imports stand inside the fixtures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from aioresp import Client, Cluster
    from aioresp.pool.loops import PerLoop
    from aioresp.testing import ClusterServers, SentinelServers, Server

    E = TypeVar("E", ClusterServers, SentinelServers)


@pytest.fixture(scope="session")
def aioresp_server() -> Iterator[Server]:
    """Yield a real server, started for this run of the tests and gone after it.

    A conftest.py that defines a fixture of this name in its place decides about version and configuration; the
    environment variable `AIORESP_SERVER` does it for the whole run.
    """
    from aioresp.testing import server  # noqa: PLC0415 (see the docstring above)

    with server() as s:
        yield s


@pytest.fixture
def aioresp_client(aioresp_server: Server) -> Iterator[Client[str]]:
    """Yield a client of `aioresp_server`, whose keys were all deleted before the test, and close it afterwards.

    It is for tests of every kind: one client works in pytest-asyncio's loop, in anyio's, and in `asyncio.run()`.
    """
    from aioresp import Client  # noqa: PLC0415 (see the docstring above)

    aioresp_server.flush()
    client = Client(aioresp_server.url)
    try:
        yield client
    finally:
        _close(client)


@pytest.fixture(scope="session")
def aioresp_shared_cluster() -> Iterator[ClusterServers]:
    """Yield a cluster of real servers, formed for this run of the tests and gone after it.

    Tests use `aioresp_cluster_servers`. A conftest.py that defines a fixture of this name in its place decides about
    the number of nodes, their version and their configuration.
    """
    from aioresp.testing import ClusterServers  # noqa: PLC0415 (see the docstring above)

    with ClusterServers() as c:
        yield c


@pytest.fixture
def aioresp_cluster_servers(aioresp_shared_cluster: ClusterServers) -> ClusterServers:
    """Return the cluster of the run: all its nodes run, it has no keys, and its counts begin at 0."""
    return _renewed(aioresp_shared_cluster)


@pytest.fixture
def aioresp_cluster_client(aioresp_cluster_servers: ClusterServers) -> Iterator[Cluster[str]]:
    """Yield a client of `aioresp_cluster_servers`, which has no keys, and close it afterwards, as `aioresp_client`."""
    from aioresp import Cluster  # noqa: PLC0415 (see the docstring above)

    client = Cluster(aioresp_cluster_servers.url)
    try:
        yield client
    finally:
        _close(client)


@pytest.fixture(scope="session")
def aioresp_shared_sentinels() -> Iterator[SentinelServers]:
    """Yield a primary with replicas and sentinels, formed for this run of the tests and gone after it.

    Tests use `aioresp_sentinel_servers`. A conftest.py that defines a fixture of this name in its place decides about
    the number of servers, their version and their configuration.
    """
    from aioresp.testing import SentinelServers  # noqa: PLC0415 (see the docstring above)

    with SentinelServers() as s:
        yield s


@pytest.fixture
def aioresp_sentinel_servers(aioresp_shared_sentinels: SentinelServers) -> SentinelServers:
    """Return the Sentinel set of the run: all its servers run, there are no keys, and the counts begin at 0."""
    return _renewed(aioresp_shared_sentinels)


@pytest.fixture
def aioresp_sentinel_client(aioresp_sentinel_servers: SentinelServers) -> Iterator[Client[str]]:
    """Yield a client of the primary of `aioresp_sentinel_servers`, without keys, and close it as `aioresp_client`."""
    from aioresp import Client  # noqa: PLC0415 (see the docstring above)

    client = Client(aioresp_sentinel_servers.url)
    try:
        yield client
    finally:
        _close(client)


def _renewed(servers: E) -> E:
    servers.restore()
    servers.flush()
    servers.reset_stats()
    return servers


def _close(client: Client[str]) -> None:
    """Close a client from outside its loop."""
    owner: PerLoop[Any] = getattr(client.node, "outlooks", client.node.pools)  # reads of replicas have no other pool
    # A loop that has ended closed its connections. One of a wider scope than the test (anyio's runner, pytest-asyncio's
    # `loop_scope`) is idle now, and its connections can be closed in it alone.
    for loop in list(owner.pools):
        if not loop.is_running() and not loop.is_closed():
            loop.run_until_complete(client.aclose())
            return
    # Not asyncio.run(): that would leave the thread without the current loop that others may have set.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(client.aclose())
