"""Node of a cluster of test servers.

Owns its id, and what it says of itself and of the others. Never waits for other nodes.
"""

from __future__ import annotations

from typing import TypeAlias

from aioresp.testing.member import SOON, Member
from aioresp.testing.process import ServerFailed
from aioresp.testing.slots import NodeLine, parse_nodes
from aioresp.testing.sockets import BUS, HOST
from aioresp.testing.talk import ErrorReply, expect

#: What a node says of all nodes, by their ids.
View: TypeAlias = dict[str, NodeLine]


class ClusterNode(Member):
    """A node of a `ClusterServers`: a `Server` with an id."""

    id: str = ""
    """Name of the node in CLUSTER NODES, which survives restarts."""

    last: NodeLine | None = None
    """What the node said of itself before it was stopped, killed or paused."""

    def view(self, timeout: float = SOON) -> View:
        """Return what the node says of all nodes (CLUSTER NODES), by their ids."""
        return parse_nodes(expect(str, self.call("CLUSTER", "NODES", timeout=timeout)))

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
        self.last = self.view().get(self.id) or self.last
