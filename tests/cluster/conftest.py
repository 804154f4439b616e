"""Fixtures: one cluster for all tests that leave it as it was, and a client of it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from aioresp.cluster import Cluster
from aioresp.testing import ClusterServers
from aioresp.testing.executables import find_executable


@pytest.fixture(scope="package")
def cluster() -> Iterator[ClusterServers]:
    """A cluster of three primaries and three replicas. Tests that move slots or end nodes leave all as it was."""
    config = {"enable-debug-command": "yes"} if find_executable().version >= (7,) else {}  # for DEBUG SLEEP
    with ClusterServers(node_timeout=1.0, full_coverage=False, config=config) as c:
        yield c


@pytest.fixture
async def r(cluster: ClusterServers) -> AsyncIterator[Cluster[str]]:
    """A client of the cluster."""
    async with Cluster(cluster.url) as client:
        yield client


@pytest.fixture
def fresh(cluster: ClusterServers) -> ClusterServers:
    """The cluster without keys, with its counts at 0."""
    cluster.flush()
    cluster.reset_stats()
    return cluster
