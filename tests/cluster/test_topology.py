"""Views of a cluster as nodes tell them, in both protocols, and the newest of several."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp import UnexpectedReply
from aioresp.cluster.topology import Address, Reading, Topology, Unclear, epoch_of, newest

ASKED: Address = ("asked.example", 7000)


def flat(value: Any) -> Any:
    """Return a reply as RESP2 has it: each map is a list."""
    if isinstance(value, dict):
        return [flat(item) for pair in value.items() for item in pair]
    return [flat(item) for item in value] if isinstance(value, list) else value


def node(
    number: int, role: bytes = b"master", health: bytes = b"online", extra: dict[str, Any] | None = None, **more: Any
) -> dict[bytes, Any]:
    said = {"id": b"n%d" % number, "port": 7000 + number, "ip": b"10.0.0.%d" % number}
    said |= {"endpoint": b"10.0.0.%d" % number, "role": role, "replication-offset": 1, "health": health}
    return {name.encode(): value for name, value in (said | more | (extra or {})).items()}


def shard(*nodes: dict[bytes, Any], slots: tuple[int, ...] = (0, 16383)) -> dict[bytes, Any]:
    return {b"slots": list(slots), b"nodes": list(nodes)}


def read(*shards: dict[bytes, Any], tls: bool = False, epoch: int = 1) -> Topology:
    reading = Reading(ASKED, tls, None)
    found = reading.shards(list(shards), epoch)
    assert reading.shards(flat(list(shards)), epoch) == found
    return found


def test_shards_are_read_in_both_protocols() -> None:
    view = read(
        shard(node(1), node(3, b"replica"), slots=(0, 99, 200, 299)),
        shard(node(2, extra={"availability-zone": b"north"}), slots=(100, 199)),
    )
    assert [str(each) for each in view.primaries] == ["10.0.0.1:7001", "10.0.0.2:7002"]
    assert [str(each) for each in view.replicas] == ["10.0.0.3:7003"]
    assert view.covered == 300
    assert view.primaries[1].zone == "north"
    found = view.shard_of(250)
    assert found is not None
    assert found.primary.id == "n1"
    assert view.shard_of(300) is None


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({"endpoint": b""}, ("asked.example", 7001)),
        ({"endpoint": None}, ("asked.example", 7001)),
        ({"endpoint": b"?"}, ("10.0.0.1", 7001)),
        ({"endpoint": b"name.example", "hostname": b"name.example"}, ("name.example", 7001)),
        ({"port": 0}, ("10.0.0.1", 7000)),
        ({"extra": {"tls-port": 7443}}, ("10.0.0.1", 7001)),
    ],
)
def test_what_a_node_does_not_tell_is_that_of_the_node_asked(more: dict[str, Any], address: Address) -> None:
    assert read(shard(node(1, **more))).primaries[0].address == address


def test_with_tls_the_port_is_that_of_tls() -> None:
    assert read(shard(node(1, extra={"tls-port": 7443})), tls=True).primaries[0].port == 7443
    # What ends TLS before the node has the port that is told, as with CLUSTER SLOTS.
    assert read(shard(node(1)), tls=True).primaries[0].port == 7001
    assert read(shard(node(1, port=0)), tls=True).primaries[0].port == 7000
    assert read(shard(node(1, port=0, extra={"tls-port": 7443})), tls=True).primaries[0].port == 7443


def test_a_node_without_any_address_is_left_out() -> None:
    view = read(shard(node(1), node(2, b"replica", endpoint=b"?", ip=b"")))
    assert view.replicas == ()


def test_addresses_are_mapped() -> None:
    reading = Reading(ASKED, False, lambda address: ("nat.example", address[1] + 1000))
    assert reading.shards([shard(node(1))], 1).primaries[0].address == ("nat.example", 8001)


def test_a_failed_primary_beside_a_new_one_is_not_the_primary() -> None:
    view = read(shard(node(1, health=b"fail"), node(2)))
    assert view.primaries[0].id == "n2"
    # Replies under way from a node that is not in the topology would be waited for.
    assert [(each.id, each.role, each.healthy) for each in view.replicas] == [("n1", "replica", False)]


def test_a_failed_primary_without_a_successor_is_still_the_primary() -> None:
    view = read(shard(node(1, health=b"fail"), node(2, b"replica")))
    assert (view.primaries[0].id, view.primaries[0].healthy) == ("n1", False)


def test_two_primaries_of_one_shard_tell_nothing() -> None:
    with pytest.raises(Unclear):
        read(shard(node(1), node(2)))


def test_a_slot_that_no_cluster_has_is_refused() -> None:
    with pytest.raises(UnexpectedReply):
        read(shard(node(1), slots=(0, 16384)))


def test_slots_are_read_with_and_without_metadata() -> None:
    raw = [
        [0, 99, [b"10.0.0.1", 7001, b"n1", {b"hostname": b"x"}], [b"10.0.0.3", 7003, b"n3", []]],
        [200, 299, [b"10.0.0.1", 7001, b"n1"], [b"10.0.0.3", 7003, b"n3"]],
        [100, 199, [None, 7002, b"n2", [b"ip", b"10.0.0.2"]]],
        [300, 300, [b"?", 7004, b"n4", [b"ip", b"10.0.0.4"]]],
        [301, 301, [b"?", 7005, b"n5", []]],
    ]
    view = Reading(ASKED, False, None).slots(raw, 5)
    assert [node.address for node in view.primaries] == [
        ("10.0.0.1", 7001),
        ("asked.example", 7002),
        ("10.0.0.4", 7004),
    ]
    assert view.shards[0].slots == ((0, 99), (200, 299))
    assert [node.id for node in view.replicas] == ["n3"]
    assert view.covered == 301


def test_the_epoch_is_that_of_the_cluster() -> None:
    assert epoch_of(b"cluster_state:ok\r\ncluster_current_epoch:7\r\ncluster_my_epoch:2\r\n") == 7
    assert epoch_of(b"") == 0
    assert epoch_of(RuntimeError()) == 0


def test_the_newest_view_has_the_highest_epoch_then_the_most_votes_then_the_most_slots() -> None:
    old = read(shard(node(1)), epoch=6)
    new = read(shard(node(2)), epoch=7)
    assert newest([old, old, new]) is new
    one, two = read(shard(node(1)), epoch=7), read(shard(node(2)), epoch=7)
    assert newest([one, two, read(shard(node(2)), epoch=7)]) == two
    few = read(shard(node(1), slots=(0, 5)), epoch=7)
    assert newest([few, one]) is one
