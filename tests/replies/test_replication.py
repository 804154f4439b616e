"""What ROLE says on servers that the round trips do not have."""

from __future__ import annotations

from aioresp.replies.replication import ReplicaRole, SentinelRole, role
from tests.commands.exact import exactly


def test_sentinel() -> None:
    for raw in (["sentinel", ["a", "b"]], [b"sentinel", [b"a", b"b"]]):
        exactly(role(raw), SentinelRole(["a", "b"]))


def test_a_replica_without_a_link() -> None:
    exactly(role([b"slave", b"::1", 6379, b"connect", -1]), ReplicaRole("::1", 6379, "connect", -1))
