"""Cluster of test servers: real nodes that form, fail over and hand slots over at a test's word.

Owns the forming, the waits until the nodes agree, and failovers. Never asks CLUSTER SLOTS or SHARDS after the forming,
which tests count.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Literal, TypeAlias

from aioresp.testing.ensemble import Ensemble, first_or_fail, in_threads
from aioresp.testing.member import SOON
from aioresp.testing.migration import Migration, migrate_at_once
from aioresp.testing.node import ClusterNode, View
from aioresp.testing.slots import SLOTS, NodeLine, keyslot, share_out
from aioresp.testing.sockets import HOST
from aioresp.testing.talk import expect

#: A key (text or bytes) or a slot.
Place: TypeAlias = str | bytes | int

DUMP = "dump.rdb"
PATIENCE = 5.5  # seconds until a failover that lacks votes is asked for again: a server gives up after 5


class ClusterServers(Ensemble[ClusterNode]):
    """A cluster of real servers for `with` or `async with`, by default on free ports of 127.0.0.1.

    It has `primaries` primaries, which share the slots, and `replicas` replicas, dealt out to them in turn. Entering
    takes two to three seconds, so a fixture for a module or the whole run should do it.

    `node_timeout` is the number of seconds of silence after which a node is taken for dead. `full_coverage=False` keeps
    the other slots in use while those of a dead primary have no owner. `config`, `executable` and `tls` are those of
    `server()`, for each node; with `tls` the nodes talk TLS among themselves, too.

    The nodes ask for a random password, as `server()` does, or for `password`; an empty one leaves them open.

    `port` is the first of as many ports in a row as there are nodes; their bus needs the ports 10,000 above.

    `proxies` puts a `Proxy` before each node, and the nodes tell clients of its port: `c.proxies[node]`.

    Methods block, as those of `Server` do: `await asyncio.to_thread(c.failover, "key")` keeps the event loop running.
    What takes longer than `timeout` seconds raises ServerFailed.
    """

    def __init__(
        self,
        *,
        primaries: int = 3,
        replicas: int = 3,
        node_timeout: float = 2.0,
        full_coverage: bool = True,
        password: str | None = None,
        config: Mapping[str, str] | None = None,
        executable: str | None = None,
        port: int | None = None,
        tls: tuple[str, str, str] | None = None,
        proxies: bool = False,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(timeout, proxies)
        if primaries < 1 or replicas < 0:
            raise ValueError(f"primaries is {primaries} and replicas {replicas}: give at least 1 and 0")
        self._primaries = primaries
        #: Seconds for which a node counts the votes of an election, as the servers have it.
        self._votes_last = max(2 * node_timeout, 2.0)
        settings = {
            # A primary that has saved its keys for a replica would load them when it starts again.
            "repl-diskless-sync": "yes",
            "rdb-del-sync-files": "yes",  # and a replica that is to start empty has no keys of an earlier life
            "repl-diskless-sync-delay": "0",
            # CLUSTER SLOTS leaves out a replica that has received nothing yet, and an idle primary sends only these.
            "repl-ping-replica-period": "1",
            **(config or {}),
            "cluster-enabled": "yes",
            "cluster-node-timeout": f"{node_timeout * 1000:.0f}",
            "cluster-require-full-coverage": "yes" if full_coverage else "no",
        }
        if tls:
            settings |= {"tls-cluster": "yes", "tls-replication": "yes"}
        self._members = tuple(
            ClusterNode(
                executable=executable,
                config=settings,
                password=password,
                tls=tls,
                timeout=timeout,
                port=port and port + number,
            )
            for number in range(primaries + replicas)
        )

    @property
    def nodes(self) -> tuple[ClusterNode, ...]:
        """All nodes, those that are down as well, in the order of their making: the first primaries come first."""
        return self._members

    @property
    def url(self) -> str:
        """Address of the cluster as a URL with all nodes: `redis+cluster://:PASSWORD@127.0.0.1:PORT,127.0.0.1:PORT`.

        With `tls` it begins with `rediss+cluster://`. With `proxies` the ports are theirs.
        """
        addresses = ",".join(f"{HOST}:{node.announced_port}" for node in self._members)
        scheme = "rediss" if self._members[0].tls_port else "redis"
        return f"{scheme}+cluster://{self._members[0].credentials}{addresses}"

    @staticmethod
    def keyslot(key: str | bytes) -> int:
        """Return the slot of a key."""
        return keyslot(key)

    def primaries(self) -> list[ClusterNode]:
        """Return the nodes that run and say of themselves that they are primaries."""
        return [node for node, line in self._lines().items() if line.is_primary]

    def replicas(self) -> list[ClusterNode]:
        """Return the nodes that run and say of themselves that they are replicas."""
        return [node for node, line in self._lines().items() if not line.is_primary]

    def primary_of(self, place: Place) -> ClusterNode:
        """Return the node that owns a key's slot, or a slot; one that is down if no other has taken the slot over."""
        slot = place if isinstance(place, int) else keyslot(place)
        lines = self._lines()
        owners = [node for node, line in lines.items() if line.owns(slot)]
        if owners:
            return max(owners, key=lambda node: lines[node].epoch)  # one that has just come back may be out of date
        down = [node for node in self._members if node not in lines and node.last and node.last.owns(slot)]
        return first_or_fail(f"no node of {self!r} owns slot {slot}", down)

    def replicas_of(self, place: Place | ClusterNode) -> list[ClusterNode]:
        """Return the running replicas of a primary, or of the primary that owns a key's slot, or a slot."""
        primary = place if isinstance(place, ClusterNode) else self.primary_of(place)
        return [node for node, line in self._lines().items() if line.primary_id == primary.id]

    def wait_until_promoted(self, old: ClusterNode, timeout: float | None = None) -> ClusterNode:
        """Wait until all running nodes agree on who has taken over from a node that is down, and return that one."""
        if old.last is None or not old.last.slots:
            raise ValueError(f"{old!r} owned no slots when it went down, or is not down")
        return self._wait_for_heir(old, old.last.slots[0].start, timeout)

    def failover(
        self,
        place: Place | ClusterNode,
        to: ClusterNode | None = None,
        *,
        how: Literal["orderly", "force", "takeover"] = "orderly",
        timeout: float | None = None,
    ) -> ClusterNode:
        """Promote a replica of a primary, or of the one that owns a key's slot, and return it when all nodes agree.

        `to` is the replica, by default the first that runs. An orderly failover loses nothing and needs the primary;
        "force" and "takeover" are the options of CLUSTER FAILOVER for one that is down.
        """
        old = place if isinstance(place, ClusterNode) else self.primary_of(place)
        line = self._lines().get(old, old.last)
        if line is None or not line.slots:
            raise ValueError(f"{old!r} owns no slots: there is nothing to take over")
        heir = to or first_or_fail(f"{old!r} has no running replica", self.replicas_of(old))
        words = ("CLUSTER", "FAILOVER", *([] if how == "orderly" else [how.upper()]))
        heir.call(*words)
        asked = time.monotonic()

        def missing() -> str:
            nonlocal asked
            lines = [node.view().get(heir.id) for node in self._reachable()]
            if all(each is not None and each.owns(line.slots[0].start) for each in lines):
                followed = [node.view()[old.id].primary_id for node in self._reachable()]
                # Otherwise the other primaries, which take the old one for a primary, refuse it their votes.
                return "" if not old.reachable or set(followed) == {heir.id} else "the old primary does not follow yet"
            if time.monotonic() - asked > PATIENCE:
                asked = time.monotonic()
                heir.call(*words)
            return f"the node on port {heir.port} has not taken over"

        self._until(missing, timeout, 0.005)
        heir.follow(old, self._votes_last)
        return heir

    def begin_migration(self, place: Place, target: ClusterNode) -> Migration:
        """Begin to hand a slot over to another primary, key by key, and return what goes on with it.

        Until its `end()` the old owner answers ASK for keys that it no longer has.
        """
        slot = place if isinstance(place, int) else keyslot(place)
        return Migration(slot, self.primary_of(slot), target, self._members, self._agree_on)

    def migrate(self, place: Place, target: ClusterNode, *, atomic: bool = False) -> None:
        """Hand a slot over to another primary with all its keys, and return when all running nodes agree.

        `atomic` does it in one step, with CLUSTER MIGRATESLOTS, which servers have since Valkey 9.0.
        """
        if not atomic:
            self.begin_migration(place, target).end()
            return
        slot = place if isinstance(place, int) else keyslot(place)
        migrate_at_once(slot, self.primary_of(slot), target, lambda missing: self._until(missing, None, 0.005))
        self._agree_on(slot, target)

    def restart(self, *, elsewhere: bool = False) -> None:
        """End all nodes in good order and start them again with their keys, on the same ports or all `elsewhere`.

        A write that was acknowledged before is there afterwards; a node that was down or frozen has what it last saved.
        """
        in_threads(lambda node: node.save_and_end(), self._members)
        if elsewhere:
            self._open_gates()
        in_threads(lambda node: node.start(elsewhere=elsewhere), self._members)
        for node in self._members:
            with contextlib.suppress(FileNotFoundError):  # lest a later crash brings back what was deleted meanwhile
                os.unlink(os.path.join(node.folder, DUMP))
        if elsewhere:
            for node in self._members:
                self._meet(node, self._members)
        self.wait_until_ok()

    def announce(self, hostname: str, endpoint: Literal["ip", "hostname", "unknown-endpoint"] = "hostname") -> None:
        """Let the nodes tell clients of a host name, with 7.0 and newer, and return when all running nodes know it.

        `endpoint` is what they prefer to tell: also addresses ("ip", as after the forming), or nothing, which stands
        for the host that the client has asked. An empty `hostname` takes the name back.
        """
        self.call_all("CONFIG", "SET", "cluster-announce-hostname", hostname)
        self.call_all("CONFIG", "SET", "cluster-preferred-endpoint-type", endpoint)

        def missing() -> str:
            told = {line.hostname for node in self._reachable() for line in node.view().values()}
            return "" if told == {hostname} else f"the nodes tell of {sorted(told)}, not of {hostname!r} alone"

        self._until(missing, None)

    def call_all(self, *words: str | bytes | int) -> None:
        """Send a command to every running node, as ACL SETUSER or CONFIG SET."""
        in_threads(lambda node: node.call(*words), self._reachable())

    def flush(self) -> None:
        """Delete every key."""
        in_threads(lambda node: node.call("FLUSHALL"), self.primaries())

    def errorstats(self) -> dict[str, int]:
        """Return how many errors of each kind the running nodes have sent in all: `{"MOVED": 3}`."""
        return _sum(in_threads(lambda node: node.errorstats(), self._reachable()))

    def commandstats(self) -> dict[str, int]:
        """Return how often the running nodes have run each command in all."""
        return _sum(in_threads(lambda node: node.commandstats(), self._reachable()))

    def _form(self) -> None:
        in_threads(self._prepare, self._members)
        first, *_ = self._members
        shares = share_out(self._primaries)
        for node, share in zip(self._members, shares, strict=False):
            if node.version >= (7, 0):
                node.call("CLUSTER", "ADDSLOTSRANGE", str(share[0]), str(share[-1]))
            else:
                node.call("CLUSTER", "ADDSLOTS", *map(str, share))
        self._meet(first, self._members)
        self._until(self._strangers, None)
        for number, node in enumerate(self._members[self._primaries :]):
            node.call("CLUSTER", "REPLICATE", self._members[number % self._primaries].id)
        self._until(self._trouble, None)
        self._until(self._unseen, None)
        self.reset_stats()

    def _reunite(self) -> None:
        """End migrations that a test has left in the middle."""
        self._until(self._trouble, None)
        nodes = {node.id: node for node in self._members}
        lines = self._lines()
        for source, line in lines.items():
            for slot, target in line.leaving.items() if line.is_primary else ():
                Migration(slot, source, nodes[target], self._members, self._agree_on).end()
        for node, line in self._lines().items():
            for slot in line.arriving if line.is_primary else ():
                node.call("CLUSTER", "SETSLOT", slot, "STABLE")

    def _prepare(self, node: ClusterNode) -> None:
        node.start()
        node.last = None
        node.id = expect(str, node.call("CLUSTER", "MYID"))
        # Without epochs of their own the nodes would have to agree on them first.
        node.call("CLUSTER", "SET-CONFIG-EPOCH", str(self._members.index(node) + 1))

    def _meet(self, node: ClusterNode, others: tuple[ClusterNode, ...]) -> None:
        for other in others:
            if other is not node:
                node.call("CLUSTER", "MEET", HOST, other.announced_port, other.bus_port)

    def _lines(self) -> dict[ClusterNode, NodeLine]:
        """Return what each running node says of itself."""
        return {node: node.view()[node.id] for node in self._reachable()}

    def _strangers(self) -> str:
        counts = [len(node.view()) for node in self._members]
        return "" if min(counts) == len(self._members) else f"the nodes know {counts} nodes"

    def _trouble(self) -> str:
        """Return why the cluster is not ok, or nothing."""
        running = {node.id: node for node in self._reachable()}
        views = {node: node.view() for node in running.values()}
        for node, view in views.items():
            if "cluster_state:ok" not in expect(str, node.call("CLUSTER", "INFO", timeout=SOON)):
                return f"the node on port {node.port} says that the cluster is not ok"
            lines = [view.get(name) for name in running]
            if any(line is None or not line.linked or line.flags & {"fail", "fail?"} for line in lines):
                return f"the node on port {node.port} does not see all running nodes"
            if _owners(view) != _owners(views[next(iter(views))]):
                return f"the nodes on ports {next(iter(views)).port} and {node.port} do not agree on the slots"
            if not view[node.id].is_primary:
                replication = node.info("replication")
                if replication["master_link_status"] != "up" or int(replication["slave_repl_offset"]) < 1:
                    return f"the replica on port {node.port} is not in step with its primary"
        owners = _owners(next(iter(views.values())))
        if sum(len(each) for slots in owners.values() for each in slots) < SLOTS or owners.keys() - running.keys():
            return "not all slots have a running owner"
        return ""

    def _unseen(self) -> str:
        """Return which node does not tell clients of all nodes, or nothing."""
        for node in self._members:
            told = str(node.call("CLUSTER", "SLOTS"))
            if any(other.id not in told for other in self._members):
                return f"the node on port {node.port} leaves replicas out of CLUSTER SLOTS"
        return ""

    def _agree_on(self, slot: int, owner: ClusterNode, timeout: float | None = None) -> None:
        """Wait until all running nodes say that a slot is this node's."""

        def missing() -> str:
            for node in self._reachable():
                line = node.view().get(owner.id)
                if line is None or not line.owns(slot):
                    return f"the node on port {node.port} does not know that slot {slot} is with port {owner.port}"
            return ""

        self._until(missing, timeout, 0.005)

    def _wait_for_heir(self, old: ClusterNode, slot: int, timeout: float | None) -> ClusterNode:
        heirs: list[ClusterNode] = []

        def missing() -> str:
            heirs[:] = [node for node, line in self._lines().items() if line.owns(slot) and node is not old]
            return "" if heirs else f"no node has taken over from port {old.port}"

        begin = time.monotonic()
        seconds = self._timeout if timeout is None else timeout
        self._until(missing, seconds, 0.005)
        heirs[0].follow(old, self._votes_last)
        self._agree_on(slot, heirs[0], max(0.0, begin + seconds - time.monotonic()))
        return heirs[0]


def _owners(view: View) -> dict[str, tuple[range, ...]]:
    """Return the slots of each node that has some."""
    return {name: line.slots for name, line in view.items() if line.is_primary and line.slots}


def _sum(counts: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
