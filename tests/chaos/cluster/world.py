"""The cluster of a run: six nodes, a proxy before each, and who looks after them all.

Owns the nodes' lives, the moves of slots, and the windows in which the servers themselves lose something. Never knows
what the tasks do.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from random import Random
from typing import Final, ParamSpec, TypeVar

from aioresp import Retry
from aioresp.cluster import Cluster
from aioresp.testing import ClusterNode, ClusterServers, Proxy, Server, ServerFailed
from aioresp.testing.slots import keyslot
from tests.chaos.channels import Channel, Ear
from tests.chaos.cluster.story import Stories
from tests.chaos.ledger import Ledger
from tests.chaos.losses import Losses, Window
from tests.chaos.stage import Stage

T = TypeVar("T")
P = ParamSpec("P")

#: Seconds of silence after which a node is taken for dead.
NODE_TIMEOUT: Final = 1.0

#: Milliseconds for which a primary takes no writes, so that its replica catches up before it is ended.
CATCH_UP: Final = 4000

#: Seconds that a link between two nodes needs to be there again.
RELINKED: Final = 1.5

#: Seconds after which the client knows that a connection is half open.
SILENT: Final = 15.0

#: Name of the connections of those who look after the nodes.
OWN_NAME: Final = "direct"

#: Keys whose slots move: of all kinds of jobs, and some of which nothing else is known.
ROAMING: Final = (
    *("{account}", "shared:0", "shared:1", "pair:0", "pair:1", "popped-0", "popped-1", "scored-0", "moved-0"),
    *("moved-1", "streamed-0", "log-0", "who:1", "who:2", "short:3", "whose:4", "list:5", "remember:0"),
    *("line:0:0", "line:1:0", "line:2:0", "line:pipeline:0:0", "register:0:0", "register:1:0"),
)


class ClusterWorld(Stage):
    """Six nodes; `seed` is an address that leads to one of them, whatever becomes of their ports."""

    def __init__(
        self,
        servers: ClusterServers,
        seed_proxy: Proxy,
        own_seed: Proxy,
        direct: Cluster[str],
        ledger: Ledger,
        seed: str,
    ) -> None:
        super().__init__(direct, ledger, seed)
        self.servers = servers
        self.seed_proxy = seed_proxy
        self.channels: list[Channel] = []
        """All channels; the slots of shard channels move as well."""
        self.client: Cluster[str]
        """The client of the tasks, whose word on the topology is compared with that of the servers."""
        self.stories = Stories()
        """Where the time of calls goes."""
        self._own_seed = own_seed
        self._cuts = 0
        self.ears: list[Ear] = []
        """All who listen to something from the beginning to the end."""
        self.stranded_at = -math.inf
        """Moment of the last fault that left half-open connections, which the client finds out by their silence."""
        self._primaries: set[ClusterNode] = set()
        self._looked = time.monotonic()
        assert ledger.losses is not None
        self._losses: Losses = ledger.losses

    # --- As a stage ---------------------------------------------------------------------------------------------------

    @property
    def server(self) -> Server:
        """One of the nodes."""
        return self.servers.nodes[0]

    @property
    def proxy(self) -> Proxy:
        """The proxy before a node, another one each time."""
        return self.servers.proxies[self.chance.choice(self.servers.nodes)]

    @property
    def proxies(self) -> list[Proxy]:
        """The proxies before all nodes."""
        return list(self.servers.proxies.values())

    @property
    def cuts(self) -> int:
        """How many connections the proxies have cut."""
        return self._cuts + sum(proxy.cuts for proxy in self.proxies)

    @property
    def url(self) -> str:
        """The cluster by its seed."""
        return f"redis+cluster://{self.servers.nodes[0].credentials}127.0.0.1:{self.seed_proxy.port}"

    async def clients(self) -> int:
        """Return how many connections the nodes have, but for those of `direct`, of their replicas, and of the kit."""
        return await do(sum, (_count_clients(node) for node in self.servers.nodes if node.reachable))

    async def heal(self) -> None:
        """Take all faults back, and wait until the cluster is whole."""
        self.mend_network()
        await do(self.servers.restore)

    def mend_network(self) -> None:
        """Let all connections pass."""
        for proxy in self.proxies:
            proxy.heal()

    def note(self, text: str) -> None:
        """Note it in the stories of calls."""
        self.stories.note(text)

    async def look(self) -> None:
        """Note it if a node has ended by itself, or if the cluster has failed over with nobody asking for it."""
        for node in self.servers.nodes:
            try:
                await do(node.call, "PING", timeout=20)
            except ServerFailed as error:
                self.ledger.wrong("the server died", f"{error}; its log: {node.log[-3000:]}")
                await do(node.kill)
                await do(node.start)
        await self._look_at_roles()

    async def _look_at_roles(self, *expected: ClusterNode) -> None:
        """Find a failover that nobody has asked for: on a machine that is too busy, nodes take each other for dead.

        The primaries that are `expected` to be replaced do not count.
        """
        primaries = set(await do(self.servers.primaries))
        if self._primaries - primaries - set(expected):
            self.ledger.figures["failovers with no fault"] += 1
            self._losses.open("write", since=self._looked).close()
            self._losses.open("message", since=self._looked).close()
        self._primaries, self._looked = primaries, time.monotonic()

    async def fill(self) -> None:
        """Write what never changes, and wait until the replicas have it."""
        p = self.direct.pipeline()
        self.queue_static(p)
        await p.execute()
        await do(self._all_caught_up)
        await self._look_at_roles()

    def _all_caught_up(self) -> None:
        for primary in self.servers.primaries():
            for replica in self.servers.replicas_of(primary):
                wait_for_offset(replica, offset(primary))

    # --- What the nodes do --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def breaking(self, *expected: ClusterNode) -> AsyncIterator[None]:
        """Take it for granted that these primaries are replaced, and messages between nodes lost; then mend it all."""
        window = self._losses.open("message")
        try:
            yield
        finally:
            await do(self.servers.restore)
            await self._look_at_roles(*expected)
            asyncio.get_running_loop().call_later(RELINKED, window.close)

    @contextmanager
    def on_its_way(self, key: str) -> Iterator[None]:
        """Take it for granted that replicas do not find keys of this slot: some are at another node already."""
        window = self._losses.open("read", {keyslot(key)})
        try:
            yield
        finally:
            window.close()

    async def pick(self) -> tuple[ClusterNode, ClusterNode]:
        """Return a primary and its replica, which is in step with it.

        Nothing else is broken then: it would be waited for, too.
        """
        self.mend_network()
        if time.monotonic() - self.stranded_at < SILENT:
            for proxy in self.proxies:
                proxy.cut()
        await do(self.servers.wait_until_ok)
        servers = self.servers
        pairs = await do(
            lambda: [(each, replica) for each in servers.primaries() for replica in servers.replicas_of(each)]
        )
        return self.chance.choice(pairs)

    def hold_writes(self, primary: ClusterNode, replica: ClusterNode) -> float:
        """Let a primary take no more writes, and wait until its replica has all; return the end of that pause.

        On a slow machine the replica may need longer than one pause: the primary is held all the time.
        """
        end = time.monotonic() + 20
        while True:
            held = time.monotonic() + CATCH_UP / 1000
            primary.call("CLIENT", "PAUSE", CATCH_UP, "WRITE")
            if offset(replica) >= offset(primary):
                return held
            if time.monotonic() > end:
                raise ServerFailed(f"{replica!r} does not catch up")
            time.sleep(0.01)

    @contextmanager
    def slipping(self, primary: ClusterNode, held: float) -> Iterator[None]:
        """Take it for granted that a primary that was ended later than it was held has taken more, until replaced."""
        if time.monotonic() <= held:
            yield
            return
        assert primary.last is not None
        self.ledger.figures["primaries ended after their pause"] += 1
        window = self._losses.open("write", {slot for each in primary.last.slots for slot in each}, held)
        try:
            yield
        finally:
            window.close()

    def window(self, primary: ClusterNode, replica: ClusterNode) -> Window:
        """Return the window of what this primary acknowledges from now on: its replica has all from before."""
        since = time.monotonic()
        wait_for_offset(replica, offset(primary))
        line = primary.view()[primary.id]
        return self._losses.open("write", {slot for each in line.slots for slot in each}, since)

    async def wait_for_client(self, old: ClusterNode, heir: ClusterNode) -> None:
        """Wait until the client knows who has taken over."""

        def knows() -> bool:
            ports = {node.port for node in self.client.topology().primaries}
            return heir.announced_port in ports and old.announced_port not in ports

        end = time.monotonic() + 10
        while not knows():
            if time.monotonic() > end:
                self.ledger.wrong("topology not found", f"10 s after a failover: {self.client.topology()}")
                return
            await asyncio.sleep(0.02)

    async def restart(self) -> None:
        """End all nodes, and start them on other ports."""
        self._cuts = self.cuts
        async with self.breaking():
            await do(self.servers.restart, elsewhere=True)
            self.lead_seeds()

    def lead_seeds(self) -> None:
        """Let the seeds lead to nodes that there are."""
        first, second, *_ = self.servers.nodes
        self.seed_proxy.lead_to("127.0.0.1", first.port)
        self._own_seed.lead_to("127.0.0.1", second.port)


async def do(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Call what blocks in a thread."""
    return await asyncio.to_thread(function, *arguments, **options)


def for_each(nodes: Iterable[ClusterNode], call: Callable[[ClusterNode], object]) -> None:
    """Call a function for each node."""
    for node in nodes:
        call(node)


def _count_clients(node: ClusterNode) -> int:
    said = [dict(word.split("=", 1) for word in line.split()) for line in str(node.call("CLIENT", "LIST")).splitlines()]
    others = (each for each in said if not each["addr"].endswith(":0") and each["name"] != OWN_NAME)
    return sum(not {"S", "M"} & {*each["flags"]} for each in others)  # which are replicas and primaries


def offset(node: ClusterNode) -> int:
    """Return how many bytes of replication a node has sent, or has taken in."""
    said = node.info("replication")
    return int(said["slave_repl_offset" if said["role"] == "slave" else "master_repl_offset"])


def wait_for_offset(replica: ClusterNode, wanted: int) -> None:
    """Wait until a replica has taken in so many bytes."""
    end = time.monotonic() + 20
    while offset(replica) < wanted:
        if time.monotonic() > end:
            raise ServerFailed(f"{replica!r} does not catch up")
        time.sleep(0.01)


@asynccontextmanager
async def world(ledger: Ledger, seed: str, executable: str | None = None) -> AsyncIterator[ClusterWorld]:
    """Form a cluster, and fill it."""
    servers = ClusterServers(
        node_timeout=NODE_TIMEOUT,
        full_coverage=False,
        proxies=True,
        timeout=60,
        executable=executable,
        # A replica that comes back gets what it has missed, and not all again.
        config={"repl-backlog-size": "16mb"},
    )

    def past_the_proxies(address: tuple[str, int]) -> tuple[str, int]:
        ports = {node.announced_port: node.port for node in servers.nodes}
        return address[0], ports.get(address[1], address[1])

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(servers)
        first, second, *_ = servers.nodes
        chance = Random(f"{seed}:proxy")
        seeds = [
            await stack.enter_async_context(Proxy("127.0.0.1", node.port, seed=chance.randrange(2**32)))
            for node in (first, second)
        ]
        direct: Cluster[str] = await stack.enter_async_context(
            Cluster(
                f"redis+cluster://{first.credentials}127.0.0.1:{seeds[1].port}",
                address_map=past_the_proxies,
                timeout=20,
                retry=Retry(100, cap=0.2),
                limit=4,
                client_name=OWN_NAME,
            )
        )
        made = ClusterWorld(servers, seeds[0], seeds[1], direct, ledger, seed)
        stack.enter_context(made.stories.listening())
        await made.fill()
        yield made
