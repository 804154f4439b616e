"""Panel of sentinels: all that are known for one primary, asked at once.

Owns their nodes, and how long one that is silent is waited for. The seeds are kept forever; others come and go by the
words of their fellows. Never decides which word is right.
"""

from __future__ import annotations

import logging
from typing import Final

from aioresp.addresses import mapped
from aioresp.errors import (
    ArgumentError,
    AuthenticationError,
    CommandTimeout,
    ConnectError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TLSError,
    UnknownCommandError,
    copy_error,
)
from aioresp.node import Node
from aioresp.options import Settings
from aioresp.pool.resource import PoolStats
from aioresp.replicated.asking import ask_all
from aioresp.replicated.places import Address
from aioresp.sentinel.words import Word, fields, read
from aioresp.wire.packing import pack

logger = logging.getLogger("aioresp")

#: Seconds in which a sentinel must answer.
PATIENCE: Final = 2.0

#: Seconds for which the others are waited for, after the first answer. One that was silent is not waited for again.
GRACE: Final = 0.15

#: Sentinels that are known at most, besides the seeds.
MOST: Final = 30


class Panel:
    """The sentinels of one primary."""

    def __init__(self, settings: Settings, name: str) -> None:
        """Begin with the seeds. `settings.sentinel` has user, password and TLS of all sentinels."""
        self.name = name
        self._settings = settings
        self._seeds = tuple(Address(*seed) for seed in settings.seeds)
        self.nodes: dict[Address, Node] = {seed: self._node(seed) for seed in self._seeds}
        self._silent: set[Address] = set()
        self._parting: list[Node] = []
        #: Sums of the sentinels that were dropped.
        self.past = PoolStats()

    def _node(self, at: Address) -> Node:
        """Return a sentinel as a node. There is no database to select, and its name of a library is unknown to it."""
        s = self._settings
        assert s.sentinel is not None
        patience = PATIENCE if s.connect_timeout is None else min(PATIENCE, s.connect_timeout)
        endpoint = s.sentinel.replace(host=at.host, port=at.port)
        return Node(Settings(endpoint, 4, 1000, None, PATIENCE, patience, s.max_reply, None))

    def all_nodes(self) -> list[Node]:
        """Return the nodes of all sentinels, those that were dropped a moment ago, too."""
        return [*self.nodes.values(), *self._parting]

    def learn(self, told: set[Address]) -> None:
        """Know these sentinels from now on, besides the seeds, and drop others."""
        for at in [at for at in list(self.nodes) if at not in told and at not in self._seeds]:
            if (gone := self.nodes.pop(at, None)) is not None:  # no other thread has dropped it
                logger.info("%s is no sentinel of %s any more", at, self.name)
                gone.shut()  # its hub would try to hear it forever
                self._parting.append(gone)
        for node in [node for node in self._parting if not node.stats().open]:
            self._parting.remove(node)
            self.past += node.figures()[0]
        for at in sorted(told.difference(list(self.nodes)))[: max(0, MOST + len(self._seeds) - len(self.nodes))]:
            logger.info("%s has another sentinel, %s", self.name, at)
            self.nodes.setdefault(at, self._node(at))
        self._silent &= self.nodes.keys()

    async def ask(self) -> dict[Address, Word]:
        """Ask all at once; return the words of those that answer soon. Raises ConnectError if there is none."""
        asked = dict(self.nodes)
        words, errors = await ask_all(asked, self._ask, bool, GRACE, self._silent)
        late = {at for at in asked.keys() - words.keys() if isinstance(errors.get(at), (CommandTimeout, type(None)))}
        self._silent = (self._silent | late) - words.keys()
        if words:
            return words
        failure = await self._why(errors)
        try:
            raise failure
        finally:
            errors.clear()
            del failure  # it holds this frame by its traceback

    async def _ask(self, node: Node) -> Word:
        questions = ("MASTER", "GET-MASTER-ADDR-BY-NAME", "REPLICAS", "SENTINELS")
        packed = [pack(("SENTINEL", question, self.name)) for question in questions]
        replies = await node.route(node.terms).carry(packed, True, False)
        word = read(*replies.raw)
        if self._settings.address_map is None:
            return word
        return word.replace(
            primary=self.translate(word.primary),
            replicas=tuple(map(self.translate, word.replicas)),
            sentinels=tuple(map(self.translate, word.sentinels)),
        )

    def translate(self, at: Address) -> Address:
        """Return the address to connect to for one that a sentinel tells. Raises ArgumentError, by `address_map`."""
        return Address(*mapped(self._settings.address_map, *at))

    # --- Nobody knows ------------------------------------------------------------------------------------------------

    async def _why(self, errors: dict[Address, BaseException]) -> RedisError:
        """Return the error for callers when no sentinel has told where the primary is."""
        said = "; ".join(f"{at}: {errors[at]}" for at in sorted(errors))
        for error in errors.values():
            if isinstance(error, ArgumentError):  # `address_map` has failed
                return copy_error(error)
        own = next((error for error in errors.values() if isinstance(error, ResponseError)), None)
        for kind, advice in _ADVICE:
            refused = next((error for error in errors.values() if _is(error, kind)), None)
            if refused is not None and isinstance(own or refused, (ResponseError, AuthenticationError)):
                failure = type(refused)(f"sentinels refuse: {said}: {advice.format(user=self._user())}")
                failure.__cause__ = refused
                return failure  # type: ignore[return-value]  # a RedisError, as `kind` is one
        if own is not None and "No such master" in str(own):
            names = await self._names(errors)
            known = f"they know {', '.join(names)}" if names else "they watch none"
            unknown = ConnectError(f"no sentinel knows a primary called {self.name!r}: {known}")
            unknown.__cause__ = own  # so that nothing is tried again
            return unknown
        # Certificates do not change by trying again.
        kinds = TLSError if all(isinstance(error, TLSError) for error in errors.values()) else ConnectError
        advice = ""
        if isinstance(own, UnknownCommandError):
            advice = "; a server is no sentinel: sentinels listen at port 26379 by default"
        failed = kinds(f"none of {len(errors)} sentinels tells where {self.name!r} is: {said}{advice}")
        if own is not None:
            failed.__cause__ = own
        return failed

    def _user(self) -> str:
        known = self._settings.sentinel
        return "default" if known is None or known.username is None else known.username[:50]

    async def _names(self, errors: dict[Address, BaseException]) -> list[str]:
        """Return the names that sentinels know."""
        names: set[str] = set()
        for at, error in errors.items():
            node = self.nodes.get(at)
            if node is not None and isinstance(error, ResponseError):
                try:
                    replies = await node.route(node.terms).carry([pack(("SENTINEL", "MASTERS"))], True, False)
                except RedisError:
                    continue
                if isinstance(replies.raw[0], list):
                    names |= {name for each in replies.raw[0] if (name := fields(each).get("name"))}
        return sorted(names)


_ADVICE: Final[tuple[tuple[type[RedisError], str], ...]] = (
    (AuthenticationError, "give sentinel_password (and sentinel_username), as sentinels have credentials of their own"),
    (
        NoPermissionError,
        "at each sentinel, `ACL SETUSER {user} +hello +ping +sentinel|master +sentinel|get-master-addr-by-name "
        "+sentinel|replicas +sentinel|sentinels +sentinel|masters +subscribe +psubscribe +unsubscribe +punsubscribe "
        "allchannels` allows what is needed",
    ),
)


def _is(error: BaseException, kind: type[RedisError]) -> bool:
    return isinstance(error, kind) or isinstance(error.__cause__, kind)
