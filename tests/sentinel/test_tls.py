"""TLS to the servers and to the sentinels, each with passwords and certificates of its own: S7."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from aioresp import Client, TLSError
from aioresp.testing import SentinelServers
from tests.security.tls import Paths, program_with_tls


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return Paths(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def encrypted(paths: Paths) -> Iterator[SentinelServers]:
    program = program_with_tls(paths)
    if program is None:
        pytest.skip("no server here was built with TLS")
    own = paths.certificate("127.0.0.1")
    with SentinelServers(replicas=1, sentinels=1, tls=(own, own, paths.authority), executable=program) as s:
        yield s


async def test_servers_and_sentinels_talk_tls_through_a_failover(encrypted: SentinelServers, paths: Paths) -> None:
    url = f"{encrypted.url}&ssl_ca_certs={paths.authority}&read_from=replica"
    assert url.startswith("rediss+sentinel://")
    async with Client(url) as r:
        await r.set("k", "1")
        assert await r.get("k") in ("1", None)
        await asyncio.to_thread(encrypted.failover)
        await r.set("k", "2")
        assert await r.with_options(read_from="primary").get("k") == "2"


@pytest.mark.parametrize("query", ["", "&sentinel_ssl=no"])
async def test_what_does_not_fit_is_told_at_once(encrypted: SentinelServers, query: str) -> None:
    since = time.monotonic()
    async with Client(encrypted.url + query, timeout=30) as r:
        with pytest.raises(TLSError, match=r"none of 1 sentinels tells.*(vouches for|speaks TLS)"):
            await r.set("k", "1")
    assert time.monotonic() - since < 10


async def test_a_name_that_no_certificate_has_is_told_with_the_way_to_give_one(
    encrypted: SentinelServers, paths: Paths
) -> None:
    def renamed(address: tuple[str, int]) -> tuple[str, int]:
        return "localhost", address[1]

    url = f"{encrypted.url}&ssl_ca_certs={paths.authority}"
    async with Client(url, address_map=renamed, timeout=30) as r:
        with pytest.raises(TLSError, match=r"tell this server as localhost:\d+: .*announce-hostnames.*address_map"):
            await r.set("k", "1")
