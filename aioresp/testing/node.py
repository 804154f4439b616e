"""Node of a cluster of test servers.

Owns its id, and what it says of itself and of the others. Never waits for other nodes.
"""

from __future__ import annotations

import math
import time
from typing import TypeAlias

from aioresp.testing.member import SOON, Member
from aioresp.testing.process import ServerFailed
from aioresp.testing.slots import NodeLine, parse_nodes
from aioresp.testing.sockets import BUS, HOST
from aioresp.testing.talk import ErrorReply, expect, fields

#: What a node says of all nodes, by their ids.
View: TypeAlias = dict[str, NodeLine]


class ClusterNode(Member):
    """A node of a `ClusterServers`: a `Server` with an id."""

    id: str = ""
    """Name of the node in CLUSTER NODES, which survives restarts."""

    last: NodeLine | None = None
    """The node's own line in CLUSTER NODES before it was stopped, killed or paused."""

    _elected_at: float = -math.inf
    """Time of its last promotion (monotonic)."""

    _rests_until: float = -math.inf
    """Time before which the kit does not end or freeze it (monotonic)."""

    def view(self, timeout: float = SOON) -> View:
        """Return what the node says of all nodes (CLUSTER NODES), by their ids."""
        return parse_nodes(expect(str, self.call("CLUSTER", "NODES", timeout=timeout)))

    def follow(self, old: ClusterNode, votes_last: float) -> None:
        """Note that this node has taken over from another, which may still count votes for itself for so many seconds.

        If this node failed by then, that one would take itself for elected, with an epoch that is out of date: no node
        accepts it, and it asks for no votes again.
        """
        self._elected_at = time.monotonic()
        self._rests_until = old._elected_at + votes_last

    @property
    def current_epoch(self) -> int:
        """Newest epoch that the node has heard of."""
        return int(fields(self.call("CLUSTER", "INFO", timeout=SOON))["cluster_current_epoch"])

    @property
    def bus_port(self) -> int:
        """Port on which the nodes talk among themselves."""
        return (self._tls_port or self._port) + BUS

    def save_and_end(self) -> None:
        """End the node, and save its keys before if it can: for its next start they are in its folder."""
        if self.reachable:
            self._last_words()
            try:
                self.call("SHUTDOWN", "SAVE", *(["NOW"] if self.version >= (7, 0) else []))
            except ErrorReply:
                raise
            except ServerFailed:
                pass  # it has closed the connection, and that is its answer
        self.kill()

    def _announcing(self, port: int) -> dict[str, str]:
        clients = "cluster-announce-tls-port" if self._tls else "cluster-announce-port"
        return {"cluster-announce-ip": HOST, clients: str(port), "cluster-announce-bus-port": str(self.bus_port)}

    def _last_words(self) -> None:
        time.sleep(max(0.0, self._rests_until - time.monotonic()))
        self.last = self.view().get(self.id) or self.last
