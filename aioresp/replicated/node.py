"""Primary with replicas as one node: writes go to the primary, wherever it is, and reads to the server of one's choice.

Owns the nodes of the replicas, and the outlooks of the loops. A source tells where the servers are. Never knows whether
that is Sentinel.
"""

from __future__ import annotations

import logging
import math
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aioresp.errors import (
    ClientClosed,
    ConnectError,
    PoolTimeout,
    RedisError,
    ResponseError,
    TLSError,
    copy_error,
    unreached,
)
from aioresp.events import MasterChanged, tell
from aioresp.facts.traits import LEAST
from aioresp.node import Dial, Node, NodeRole, Stats, stats_of
from aioresp.options import Settings, Terms
from aioresp.pool.entries import Closing
from aioresp.pool.loops import PerLoop, running_loop
from aioresp.pool.resource import PoolStats
from aioresp.reading import NEXT, Choice
from aioresp.replicated.outlook import Outlook
from aioresp.replicated.places import Address, Found
from aioresp.replicated.role import role_of, standing_of
from aioresp.retry import NEVER, Retry
from aioresp.timers import Timeout
from aioresp.trail import TRAIL, follow
from aioresp.wire.connection import Connection
from aioresp.wire.endpoint import MISMATCH

if TYPE_CHECKING:
    from typing import Protocol

    from aioresp.contexts.routes import SharedRoute

    class Source(Protocol):
        """Knowledge of where the servers are: that of Sentinel, or of the servers' own roles."""

        @property
        def name(self) -> str:
            """Its name in messages: a URL without credentials."""
            ...

        @property
        def role(self) -> NodeRole | None:
            """The role of the nodes that it asks; None if these are the servers themselves."""
            ...

        @property
        def past(self) -> PoolStats:
            """The figures of the nodes that it asks no more."""
            ...

        def nodes(self) -> Iterable[Node]:
            """Return the nodes that it asks, which are closed with the client."""
            ...

        async def find(self) -> Found:
            """Return where the servers are now. Raises ConnectError if nobody can tell."""
            ...

        @property
        def silent(self) -> bool:
            """Whether nobody has answered the last question, so that nothing new is known."""
            ...

        def watch(self, outlook: Outlook) -> None:
            """Tell `outlook` of changes from now on, in the running loop; a second time does nothing."""
            ...

        async def listen(self, outlook: Outlook) -> None:
            """Do as `watch`, and wait until changes are heard, a short time at most."""
            ...


T = TypeVar("T")

logger = logging.getLogger("aioresp")

#: Attempts that end with the deadline alone: a failover takes as long as it takes.
WITHOUT_END: Final = 2**62

#: Longest pause between attempts, so that a new primary is in use soon after it is known.
CAP: Final = 0.25

#: Seconds for which the list of replicas counts, and the least between two questions for it.
FRESH: Final = 10.0
PAUSE: Final = 0.25

#: Most seconds that one server may take for a read while others could serve it.
SHARE: Final = 5.0


class ReplicatedNode(Node):
    """Primary and replicas of one data set. As a node it is the primary."""

    def __init__(self, settings: Settings, source: Source) -> None:
        """Make a node that has no connection yet; `source` tells where the servers are."""
        # The hub of a loop may outlive its client for a while, and must not keep it.
        connect = weakref.WeakMethod(self._connect)
        super().__init__(settings.replace(retry=_lasting(settings.retry)), partial(_connect_of, connect, None))
        if self.observer is not None:
            self.observer.server = source.name
        if self.terms.middleware:
            where = partial(follow, partial(_primary_of, weakref.ref(self)))
            self.terms = self.terms.replace(middleware=(where, *self.terms.middleware))
        self.source = source
        self._reached: set[Address] = set()  # addresses that a connection was made to
        #: Places of the servers, as the source last told them; None before.
        self.found: Found | None = None
        self.choice: Choice[Node] = Choice(settings.availability_zone)
        self._replicas: dict[Address, Node] = {}
        self._in_turn: tuple[Node, ...] = ()  # the same, as they take turns
        self._parting: list[Node] = []  # nodes of former replicas, until they have closed
        self._past = PoolStats()  # the figures of those that have closed
        self._asked_at = -math.inf  # the time (monotonic) of the last question
        self._questions = self._answered = 0  # the number of questions, and that of the last one that was answered
        self._trouble = ""  # the last error for which nobody could be asked, which was logged
        self._primary: Address | None = None  # the primary by the last news or answer, which the hook has been told
        make: Any = partial(Outlook, weakref.ref(self), source.name)
        self.outlooks: PerLoop[Outlook] = PerLoop(make)

    def __repr__(self) -> str:
        return f"ReplicatedNode({', '.join((self.address, *self.remarks()))}{', closed' if self.closed else ''})"

    @property
    def address(self) -> str:
        """The name of the source: the sentinels with the name of the primary, or all servers."""
        return self.source.name

    def remarks(self) -> list[str]:
        """Return where the primary and its replicas are, if that is known."""
        found = self.found
        if found is None:
            return []
        replicas = ", ".join(map(str, found.replicas)) or "none"
        return [f"primary {found.primary}", f"replicas {replicas}"]

    # --- Where the servers are ---------------------------------------------------------------------------------------

    async def _connect(self, dial: Dial, address: Address | None) -> Connection:
        """Return a connection to a replica, or to the primary, which says itself that it is one."""
        if address is not None:
            return await self._connect_replica(dial, address)
        outlook = self.outlooks.here()
        if outlook.primary is None:
            await self.source.listen(outlook)  # first, or a failover that begins now would go unnoticed
        else:
            self.source.watch(outlook)
        await outlook.opened()
        turn = outlook.turn
        found = await self._find_or_stay(outlook)
        if found.failing and outlook.primary is None:  # its news came before anybody here could hear it
            outlook.hold("a failover is under way")
            await outlook.opened()
            turn = outlook.turn
            found = await self._find_or_stay(outlook)
        connection = await self._dial(dial, found.primary)
        try:
            if await role_of(connection) == "replica":
                raise ConnectError(f"{found.primary}, the primary by the word of {self.source.name}, is a replica")
            if outlook.turn != turn:
                raise ConnectError(f"{found.primary} was replaced as the primary meanwhile")
        except BaseException:
            connection.close()
            raise
        if outlook.primary not in (None, found.primary):
            # Found before the news came; what leads to the old one must not stay.
            outlook.switch(found.primary, "a new connection found it")
        outlook.primary = found.primary
        self.choice.learn(self, connection.greeting.availability_zone)
        return connection

    async def _dial(self, dial: Dial, address: Address) -> Connection:
        told = self.settings.master is not None and self.settings.address_map is None  # as sentinels tell it
        try:
            connection = await dial(self._endpoint(address))
        except TLSError as error:
            if self.settings.master is None or getattr(error.__cause__, "verify_code", 0) not in MISMATCH:
                raise
            own = copy_error(error)
        except ConnectError as error:
            if not told or address in self._reached or isinstance(error.__cause__, ResponseError):
                raise
            raise unreached(error, "the sentinels tell") from error.__cause__
        else:
            self._reached.add(address)
            return connection
        own.args = (
            f"{own.args[0]}; the sentinels tell this server as {address}: let them tell names "
            "(sentinel resolve-hostnames yes, sentinel announce-hostnames yes), or translate the addresses by "
            "address_map",
        )
        try:
            raise own
        finally:
            del own  # its traceback holds this frame

    def _endpoint(self, address: Address) -> Any:
        return self.settings.endpoint.replace(host=address.host, port=address.port)

    async def find(self) -> Found:
        """Ask where the servers are, and take note of it."""
        self._asked_at = time.monotonic()
        self._questions += 1
        number = self._questions
        found = await self.source.find()
        if number < self._answered and self.found is not None:
            return self.found  # a later question was answered before
        self._answered, self._trouble = number, ""
        self.found = found
        self._note(found)
        self.outlooks.tell(self.source.watch)  # sentinels that were told of are heard in each loop, too
        self.note_primary(found.primary, "it was found by asking")
        return found

    async def _find_or_stay(self, outlook: Outlook) -> Found:
        """Ask where the servers are; if nobody can be asked, the primary in use is still the one."""
        try:
            return await outlook.find()
        except RedisError as error:
            found = self.found
            if not self.source.silent or found is None or found.primary != outlook.primary:
                raise
            if str(error) != self._trouble:  # once for each trouble, which may last for hours
                self._trouble = str(error)
                logger.warning("%s; %s is used as the primary still", error, found.primary)
            return found

    def note_primary(self, primary: Address, why: str, before: Address | None = None) -> None:
        """Note which server is the primary, and tell of a change once for all loops.

        `before` is the former primary by the news. If it is not the known one, a loop hears of a change that is known.
        """
        known = self._primary
        if primary == known or (known is not None and before not in (None, known)):
            return
        self._primary = primary
        if known is None:
            return
        logger.warning("%s: the primary is %s now, and was %s: %s", self.source.name, primary, known, why)
        if self.settings.events is not None:
            tell(self.settings.events, MasterChanged(self.source.name, str(primary), str(known), why))

    def _note(self, found: Found) -> None:
        for address in [address for address in list(self._replicas) if address not in found.replicas]:
            if (gone := self._replicas.pop(address, None)) is not None:  # no other thread has dropped it
                gone.retire(ConnectError(f"{address} is no replica any more"))
                gone.shut()
                self._parting.append(gone)
        for node in [node for node in self._parting if not node.stats().open]:
            self._parting.remove(node)
            self._past += node.figures()[0]
        for address in found.replicas:
            if address not in self._replicas:
                self._replicas.setdefault(address, self._replica(address))
        self._in_turn = tuple(self._replicas.values())
        self.choice.keep([self, *self._replicas.values()])

    def _replica(self, address: Address) -> Node:
        settings = self.settings.replace(endpoint=self._endpoint(address), retry=None, middleware=None)
        connect = weakref.WeakMethod(self._connect)
        return Node(settings, partial(_connect_of, connect, address))

    async def _connect_replica(self, dial: Dial, address: Address) -> Connection:
        """Return a connection to a replica, or to a former one that is the primary by now."""
        connection = await self._dial(dial, address)
        try:
            role, out_of_step = await standing_of(connection)
            if role == "master" and (self.found is None or self.found.primary != address):
                raise ConnectError(f"{address} is no replica: it may have been the primary before")
            if out_of_step:
                raise ConnectError(f"{address} has not got the keys of its primary yet")
        except BaseException:
            connection.close()
            raise
        if (node := self._replicas.get(address)) is not None:
            self.choice.learn(node, connection.greeting.availability_zone)
        return connection

    def look_again(self, outlook: Outlook) -> None:
        """Ask for the replicas soon: not sooner than `PAUSE` after the last question."""
        outlook.ask(max(0.0, self._asked_at + PAUSE - time.monotonic()))

    # --- Reads -------------------------------------------------------------------------------------------------------

    @property
    def replicas(self) -> tuple[Node, ...]:
        """The replicas that are known."""
        return self._in_turn

    @property
    def has_replicas(self) -> bool:
        """Return True: views may read from replicas."""
        return True

    def reader(self, terms: Terms) -> Node | None:
        """Return the server to ask first for a read; None if there are none, one has failed, or it is time to look."""
        if time.monotonic() - self._asked_at > FRESH or TRAIL.get() is not None:
            return None
        return self.choice.first(terms.read_from, self._in_turn)

    def terms_of_read(self, terms: Terms) -> Terms:
        """Return terms with half of the time, or `SHARE` seconds where there is no limit, and without retries."""
        share = SHARE if terms.timeout is None else min(terms.timeout / 2, SHARE)
        return terms.replace(read_from="primary", middleware=(), timeout=share, retry=NEVER)

    def could_not_read(self, reader: Node) -> None:
        """Note that a server has not served a read: it is asked after the others for a while. Raises ClientClosed."""
        if reader in self._in_turn or reader is self:  # else it was left meanwhile
            self.choice.failed(reader)
        self.look_again(self.outlooks.here())

    async def read(self, call: Callable[[Node, Terms], Awaitable[T]], terms: Terms) -> T:
        """Call with the servers that `terms` prefer for a read, one after the other, until one has served it.

        Each server but the last may take half of the time that is left, or `SHARE` seconds where there is no limit.
        """
        loop = running_loop()
        deadline = math.inf if terms.timeout is None else loop.time() + terms.timeout
        order = await self._order(terms)
        terms = terms.replace(read_from="primary", middleware=())
        for node in order[:-1] if order[-1] is self else order:
            left = deadline - loop.time()
            try:
                since = loop.time()
                value = await call(node, terms.replace(timeout=max(min(left / 2, SHARE), LEAST), retry=NEVER))
            except NEXT as error:
                if left <= 0 or (node is self and isinstance(error, (PoolTimeout, ClientClosed))):
                    raise
                self.could_not_read(node)
            else:
                self.choice.served(node, loop.time() - since)
                if (trail := TRAIL.get()) is not None and (found := _place_of(node)) is not None:
                    trail.reach(*found)
                    trail.arrive(found[0])
                return value
        since = loop.time()
        value = await call(self, terms if deadline == math.inf else terms.replace(timeout=max(deadline - since, LEAST)))
        self.choice.served(self, loop.time() - since)
        return value

    async def _order(self, terms: Terms) -> list[Node]:
        if terms.read_from == "primary":
            return [self]
        if self.found is None:
            try:
                async with Timeout(None if terms.timeout is None else terms.timeout / 2):
                    await self.outlooks.here().find()
            except (RedisError, TimeoutError):
                return [self]  # whose connections ask again, until the deadline
        outlook = self.outlooks.here()
        self.source.watch(outlook)
        if time.monotonic() - self._asked_at > FRESH:
            self.look_again(outlook)
        return self.choice.order(terms.read_from, self, self.replicas)

    def route(self, terms: Terms) -> SharedRoute:
        """Return the route of pipelines: those that only read go where single reads go."""
        if terms.read_from == "primary":
            return super().route(terms)
        from aioresp.replicated.route import ReadingRoute  # noqa: PLC0415 (many programs have no pipelines)

        return ReadingRoute(self, terms)

    # --- The whole ---------------------------------------------------------------------------------------------------

    def _others(self) -> Iterator[Node]:
        yield from list(self._replicas.values())
        yield from self._parting
        yield from self.source.nodes()

    def shut(self, *, here: bool = False) -> Closing:
        """Begin to close the servers and the source, or with `here` what they have in the running loop."""
        begun: Closing = [(self.outlooks, self.outlooks.shut(0.0, here=here))]
        begun += super().shut(here=here)
        for node in self._others():
            begun += node.shut(here=here)
        return begun

    def reopen(self) -> None:
        """Take commands again."""
        super().reopen()
        self.outlooks.closed = False
        for node in (*self._replicas.values(), *self.source.nodes()):
            node.reopen()

    def stats(self) -> Stats:
        """Return the figures of this moment: their sum, with all replicas and sentinels, and those of each server.

        The connections to a former primary count at the present one.
        """
        found = self.found
        own = None if found is None else str(found.primary)
        roles: dict[str, NodeRole | None] = dict.fromkeys(map(_place, self.source.nodes()), self.source.role)
        if found is not None:
            roles |= dict.fromkeys(map(str, found.replicas), "replica")
            roles[str(found.primary)] = "primary"
        others = [(_place(node), node.figures()) for node in self._others()]
        return stats_of([(own, self.figures()), *others], roles, self._past + self.source.past)


def _place(node: Node) -> str:
    endpoint = node.settings.endpoint
    return str(Address(endpoint.host, endpoint.port))


def _place_of(node: Node) -> tuple[Address, Connection | None] | None:
    """Return the address of a node, and its connection that commands share; None if the primary is not known."""
    if isinstance(node, ReplicatedNode):
        at = None if node.found is None else node.found.primary
    else:
        at = Address(node.settings.endpoint.host, node.settings.endpoint.port)
    pool = node.pools.find(running_loop())
    current = None if pool is None else pool.current
    return None if at is None else (at, current if isinstance(current, Connection) else None)


def _primary_of(owner: weakref.ref[ReplicatedNode]) -> tuple[Address, Connection | None] | None:
    node = owner()
    return None if node is None else _place_of(node)


async def _connect_of(
    connect: Callable[[], Callable[..., Awaitable[Connection]] | None], *arguments: Any
) -> Connection:
    """Call the method of a node that may be gone. `Node` gives the function that dials last."""
    method = connect()
    if method is None:
        raise ClientClosed("the client is gone")
    return await method(arguments[-1], *arguments[:-1])


def _lasting(retry: Retry | None) -> Retry | None:
    """Return a policy that ends with the deadline of a call, and not after a number of attempts."""
    if retry is None or retry.attempts == 1:
        return retry
    return Retry(WITHOUT_END, base=min(retry.base, CAP), cap=min(retry.cap, CAP), jitter=retry.jitter)
