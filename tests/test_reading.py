"""Order in which servers are asked for a read."""

from __future__ import annotations

from aioresp.facts.traits import traits
from aioresp.reading import PENALTY, READS, Choice, may_be_read


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_only_commands_that_read_and_stand_alone_go_to_replicas() -> None:
    assert {"GET", "get", "HGETALL", "ZRANGE", "MGET"} <= READS
    assert not {"SET", "XREAD", "SCAN", "HSCAN", "EVALSHA_RO", "MULTI", "INCR", "EVAL"} & READS
    assert may_be_read(traits(("OBJECT", "ENCODING", "k")))
    assert may_be_read(traits(("XREAD", "STREAMS", "s", "0")))
    assert not may_be_read(traits(("XREAD", "BLOCK", "0", "STREAMS", "s", "$")))
    assert not may_be_read(traits(("SCAN", "0"))), "its cursor belongs to one server"
    assert not may_be_read(traits(("SORT", "k")))


def test_replicas_take_turns_and_the_primary_is_last() -> None:
    choice: Choice[str] = Choice()
    orders = [choice.order("replica", "P", ["a", "b"]) for _ in range(4)]
    assert [order[0] for order in orders] == ["a", "b", "a", "b"]
    assert all(order[-1] == "P" and len(order) == 3 for order in orders)


def test_prefer_replica_asks_the_primary_at_once_after_one_failure() -> None:
    choice: Choice[str] = Choice()
    assert choice.order("prefer_replica", "P", ["a", "b"]) == ["a", "P"]


def test_without_replicas_the_primary_serves() -> None:
    choice: Choice[str] = Choice()
    for policy in ("primary", "replica", "prefer_replica", "nearest"):
        assert choice.order(policy, "P", []) == ["P"]
    assert choice.order("primary", "P", ["a"]) == ["P"]


def test_reads_that_fail_together_are_one_failure_and_one_read_tries_again() -> None:
    clock = Clock()
    choice: Choice[str] = Choice(clock=clock)
    for _ in range(50):
        choice.failed("a")
    clock.now += PENALTY[0] + 0.01
    for policy in ("replica", "nearest"):
        firsts = [choice.order(policy, "P", ["a"])[0] for _ in range(10)]
        assert firsts == ["a", *["P"] * 9]
        choice.failed("a")  # the one that has tried
        clock.now += PENALTY[0] + 0.01
        assert choice.order(policy, "P", ["a"])[0] == "P", "it failed again: it is left alone for longer"
        clock.now += 4 * PENALTY[0]
    assert choice.order("replica", "P", ["a"])[0] == "a"
    choice.served("a", 0.001)
    assert {choice.order("replica", "P", ["a"])[0] for _ in range(10)} == {"a"}


def test_a_server_that_failed_is_asked_last_for_a_while_that_grows() -> None:
    clock = Clock()
    choice: Choice[str] = Choice(clock=clock)
    choice.failed("a")
    assert {choice.order("replica", "P", ["a", "b"])[0] for _ in range(4)} == {"b"}
    clock.now += PENALTY[0] + 0.01
    assert {choice.order("replica", "P", ["a", "b"])[0] for _ in range(4)} == {"a", "b"}
    choice.failed("a")
    clock.now += PENALTY[0] + 0.01
    assert {choice.order("replica", "P", ["a", "b"])[0] for _ in range(4)} == {"b"}
    choice.served("a", 0.001)
    assert {choice.order("replica", "P", ["a", "b"])[0] for _ in range(4)} == {"a", "b"}


def test_if_all_replicas_have_failed_the_primary_is_first() -> None:
    choice: Choice[str] = Choice()
    choice.failed("a")
    choice.failed("b")
    assert choice.order("replica", "P", ["a", "b"])[0] == "P"
    assert choice.order("prefer_replica", "P", ["a", "b"])[0] == "P"


def test_the_fastest_is_the_nearest_and_is_measured_again() -> None:
    clock = Clock()
    choice: Choice[str] = Choice(clock=clock)
    for server, seconds in (("P", 0.002), ("a", 0.001), ("b", 0.003)):
        choice.served(server, 1.0)  # with the making of a connection
        choice.served(server, seconds)
    assert choice.order("nearest", "P", ["a", "b"]) == ["a", "P", "b"]
    clock.now += 11.0
    first = [choice.order("nearest", "P", ["a", "b"])[0] for _ in range(3)]
    assert sorted(first) == ["P", "a", "b"], "each is measured by one read"


def test_the_own_zone_comes_before_the_fastest() -> None:
    choice: Choice[str] = Choice(zone="z1")
    for server, seconds, zone in (("P", 0.001, "z2"), ("a", 0.002, "z1"), ("b", 0.003, None)):
        choice.served(server, 1.0)  # with the making of a connection
        choice.served(server, seconds)
        choice.learn(server, zone)
    assert choice.order("nearest", "P", ["a", "b"]) == ["a", "P", "b"]
    choice.failed("a")
    assert choice.order("nearest", "P", ["a", "b"]) == ["P", "b", "a"]
