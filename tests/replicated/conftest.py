"""Fixtures: a primary and two replicas without sentinels, for all tests of this folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from aioresp import Client
from aioresp.reading import ReadFrom
from aioresp.testing.ensemble import in_threads
from aioresp.testing.member import Member
from aioresp.testing.sockets import HOST

CONFIG = {
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
    "repl-timeout": "5",  # for a synchronisation in the middle of which a server was paused
}


class Group:
    """Three servers, of which the first is the primary at the beginning of each test."""

    def __init__(self) -> None:
        self.servers = [Member(executable=None, config=CONFIG, password=None, tls=None, timeout=30.0) for _ in range(3)]

    def url(self, read_from: ReadFrom = "replica", order: tuple[int, ...] = (1, 0, 2)) -> str:
        """Return the address of these servers, in this order."""
        hosts = ",".join(f"{HOST}:{self.servers[number].port}" for number in order)
        return f"redis://{self.servers[0].credentials}{hosts}?read_from={read_from}"

    def settle(self) -> None:
        """Bring all servers back, in their roles and without keys."""
        for each in self.servers:
            if not each.running:
                each.start()
            each.resume()
        first, *others = self.servers
        if first.info("replication")["role"] != "master":
            first.call("REPLICAOF", "NO", "ONE")
        for each in self.servers:
            each.call("CONFIG", "SET", "replica-serve-stale-data", "yes")
        for each in others:
            told = each.info("replication")
            if told["role"] == "master" or told["master_port"] != str(first.port):
                each.call("REPLICAOF", HOST, first.port)
        mark = os.urandom(4).hex()
        deadline = time.monotonic() + 30
        for words, value in ((("SET", "mark", mark), mark), (("FLUSHALL",), None)):
            first.call(*words)
            while any(each.call("GET", "mark") != value for each in others):
                assert time.monotonic() < deadline, [each.info("replication") for each in self.servers]
                time.sleep(0.005)
        for each in self.servers:
            each.reset_stats()

    def promote(self, number: int) -> None:
        """Make a replica the primary of all servers that run, as a person would."""
        new = self.servers[number]
        new.call("REPLICAOF", "NO", "ONE")
        for each in self.servers:
            if each is not new and each.running:
                each.call("REPLICAOF", HOST, new.port)


@pytest.fixture(scope="package")
def started() -> Iterator[Group]:
    """The servers, in whatever state the test before has left them."""
    group = Group()
    try:
        in_threads(lambda each: each.start(), group.servers)
        yield group
    finally:
        in_threads(lambda each: each.close(), group.servers)


@pytest.fixture
def servers(started: Group) -> Group:
    """The servers in their roles, without keys."""
    started.settle()
    return started


async def replicated(r: Client[str], key: str, value: str | None) -> None:
    """Wait until all replicas have it."""
    seen = 0
    while seen < 8:
        seen = seen + 1 if await r.get(key) == value else 0
