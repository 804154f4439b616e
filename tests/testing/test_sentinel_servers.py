"""The kit's Sentinel set: it forms on every server of the matrix, fails over, and is always gone at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from aioresp.testing import ErrorReply, SentinelServers, ServerFailed
from tests.testing.processes import PROGRAMS, gone, wait_until


@pytest.fixture(scope="module", params=PROGRAMS)
def every(request: pytest.FixtureRequest) -> Iterator[SentinelServers]:
    """A set of each server of the matrix."""
    with SentinelServers(executable=request.param) as s:
        yield s


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelServers]:
    """A set of the default server, whose members are killed."""
    with SentinelServers() as s:
        yield s


def test_it_forms(every: SentinelServers) -> None:
    first, *others = every.servers
    assert every.primary() is first
    assert every.replicas() == others
    assert len(every.sentinels) == 3
    assert first.call("SET", "k", "v") == "OK"
    assert first.call("WAIT", 2, 5000) == 2
    for sentinel, address in zip(every.sentinels, every.addresses, strict=True):
        assert address == f"127.0.0.1:{sentinel.port}"
        told = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
        assert told == ["127.0.0.1", str(first.port)]
        for word, count in (("REPLICAS", 2), ("SENTINELS", 2)):
            rows = sentinel.call("SENTINEL", word, "mymaster")
            assert isinstance(rows, list)
            assert len(rows) == count
    every.flush()
    assert first.call("DBSIZE") == 0


def test_a_failover_on_demand(every: SentinelServers) -> None:
    old = every.primary()
    heir = every.failover()
    assert heir is not old
    assert every.primary() is heir
    switch = f"mymaster 127.0.0.1 {old.port} 127.0.0.1 {heir.port}"
    for sentinel in every.sentinels:
        assert sentinel.events("+switch-master") == [switch]
    assert sum(len(sentinel.events("+selected-slave")) for sentinel in every.sentinels) == 1


def test_passwords_apart(sentinels: SentinelServers) -> None:
    assert sentinels.password != sentinels.sentinel_password
    sentinel, server = sentinels.sentinels[0], sentinels.servers[0]
    for member, own, foreign in (
        (sentinel, sentinels.sentinel_password, sentinels.password),
        (server, sentinels.password, sentinels.sentinel_password),
    ):
        assert member.password == own
        assert member.url == f"redis://:{own}@127.0.0.1:{member.port}"
        assert member.call("AUTH", own or "") == "OK"
        with pytest.raises(ErrorReply, match="WRONGPASS"):
            member.call("AUTH", foreign or "")


def test_a_sentinel_starts_again_with_what_it_knew(sentinels: SentinelServers) -> None:
    sentinel = sentinels.sentinels[0]
    name = sentinel.call("SENTINEL", "MYID")
    sentinel.kill()
    sentinels.wait_until_ok()
    sentinel.start()
    sentinels.wait_until_ok()
    assert sentinel.call("SENTINEL", "MYID") == name
    assert wait_until(lambda: sentinel.connections_received() > 0)  # the other two come back

    def leaves_the_kit_out() -> bool:
        sentinel.reset_stats()
        sentinel.call("PING")
        return sentinel.connections_received() == 0

    for peer in sentinels.sentinels[1:]:  # they would connect between the two counts
        peer.pause()
    assert wait_until(leaves_the_kit_out)  # not at once: a connection of theirs may be on its way
    for peer in sentinels.sentinels[1:]:
        peer.resume()
    sentinels.wait_until_ok()


def test_sentinels_that_start_on_other_ports_know_all_that_they_knew(sentinels: SentinelServers) -> None:
    primary = sentinels.failover()
    ports = {each.port for each in sentinels.sentinels}
    for sentinel in sentinels.sentinels:
        sentinel.kill()
    for sentinel in sentinels.sentinels:
        sentinel.start(elsewhere=True)
    assert not ports & {each.port for each in sentinels.sentinels}
    assert sentinels.primary() is primary
    sentinels.restore()


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_primary_that_is_gone_has_an_heir_and_comes_back_as_a_replica(sentinels: SentinelServers, how: str) -> None:
    old = sentinels.primary()
    old.call("SET", "k", how)
    old.call("WAIT", 2, 5000)
    getattr(old, how)()
    heir = sentinels.wait_until_promoted(old)
    assert heir.call("GET", "k") == how
    sentinels.restore()
    assert sentinels.primary() is heir
    assert old in sentinels.replicas()
    assert old.call("GET", "k") == how


def test_what_does_not_come_is_named(sentinels: SentinelServers) -> None:
    with pytest.raises(ServerFailed, match=f"still names port {sentinels.primary().port}"):
        sentinels.wait_until_promoted(sentinels.primary(), timeout=0.1)


@pytest.mark.ci
def test_other_shapes() -> None:
    async def main() -> None:
        kit = SentinelServers(
            replicas=1, sentinels=1, name="other", password="", sentinel_password='a "word"', config={"hz": "20"}
        )
        async with kit as s:
            assert s.password is None
            assert s.sentinel_password == 'a "word"'
            assert s.sentinels[0].master("other")["quorum"] == "1"
            assert s.primary().call("CONFIG", "GET", "hz") == ["hz", "20"]
            members = [*s.servers, *s.sentinels]
            pids, folders = [each.pid for each in members], [each.folder for each in members]
        assert gone(pids, folders)

    asyncio.run(main())
    with pytest.raises(ValueError, match="sentinels 0"):
        SentinelServers(sentinels=0)
