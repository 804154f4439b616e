"""Sentinel as the source of addresses.

Owns the choice of the word that counts: the newest one. Never knows connections to the servers themselves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Final

from aioresp.errors import ClientClosed, ConnectError, RedisError
from aioresp.node import Node, NodeRole
from aioresp.options import Settings
from aioresp.pool.resource import PoolStats
from aioresp.replicated.outlook import Outlook
from aioresp.replicated.places import Address, Found
from aioresp.sentinel.panel import Panel
from aioresp.sentinel.watch import Watch
from aioresp.sentinel.words import Word

#: Seconds for which most sentinels must tell an older word before it counts.
RESET: Final = 5.0

#: Most seconds for which the first connection waits until the sentinels are heard.
HEARD: Final = 0.1

#: Epoch before any word.
_NONE: Final = (-1, False)


class SentinelSource:
    """Source of addresses: the words of the sentinels of one primary."""

    def __init__(self, settings: Settings) -> None:
        assert settings.master is not None
        self._panel = Panel(settings, settings.master)
        self._newest = _NONE
        self._older_since: float | None = None  # the time from which on most sentinels have told older words only
        #: Set when no sentinel has answered a question, or with older words only; cleared by the next answer.
        self.silent = False
        scheme = "redis" if settings.endpoint.tls is None else "rediss"
        seeds = ",".join(str(Address(*seed)) for seed in settings.seeds)
        self.name = f"{scheme}+sentinel://{seeds}/{settings.master}"

    def __repr__(self) -> str:
        return f"SentinelSource({self.name})"

    @property
    def sentinels(self) -> tuple[Address, ...]:
        """The sentinels that are known."""
        return tuple(self._panel.nodes)

    @property
    def role(self) -> NodeRole:
        """The role of the nodes that it asks."""
        return "sentinel"

    @property
    def past(self) -> PoolStats:
        """The figures of sentinels that it asks no more."""
        return self._panel.past

    def nodes(self) -> Iterable[Node]:
        """Return the nodes of the sentinels."""
        return self._panel.all_nodes()

    async def find(self) -> Found:
        """Ask all sentinels at once; return the newest word.

        A word that is older than one heard before does not count, unless the sentinels were reset: all of them answer,
        or most of them for `RESET` seconds, and none knows a newer one.
        """
        known = self._newest
        try:
            words = await self._panel.ask()
        except RedisError:
            self.silent = True
            raise
        newest = max(words.values(), key=lambda word: (word.epoch, _agreed(word, words)))
        # Words that were on their way while another loop heard newer ones are no reset.
        if newest.epoch < self._newest and (self._newest != known or not self._were_reset(len(words))):
            self.silent = True
            raise ConnectError(f"the sentinels of {self._panel.name} that answer have not heard of its last failover")
        self._newest, self._older_since, self.silent = newest.epoch, None, False
        self._panel.learn({at for word in words.values() for at in word.sentinels} | words.keys())
        failing = not newest.epoch[1] and any(word.failing for word in words.values())
        return Found(newest.primary, newest.replicas, failing)

    def _were_reset(self, answers: int) -> bool:
        known, now = len(self._panel.nodes), time.monotonic()
        if 2 * answers <= known:
            self._older_since = None
        elif self._older_since is None:
            self._older_since = now
        return answers >= known or (self._older_since is not None and now - self._older_since > RESET)

    def watch(self, outlook: Outlook) -> None:
        """Hear the messages of all sentinels in the running loop."""
        for node in list(self._panel.nodes.values()):
            try:
                hub = node.hubs.here()
                if hub not in outlook.watched:
                    outlook.watched.add(hub)
                    hub.level = logging.DEBUG  # it has no topics of the program
                    watch = Watch(outlook, hub, self._panel.name, self._panel.translate)
                    watch.begin()
                    outlook.watches.add(watch)
            except ClientClosed:
                return

    async def listen(self, outlook: Outlook) -> None:
        """Do as `watch`, and wait until the sentinels are heard, `HEARD` seconds at most."""
        self.watch(outlook)
        if new := [watch for watch in outlook.watches if not watch.heard]:
            await asyncio.gather(*(watch.wait_until_heard(HEARD) for watch in new))


def _agreed(word: Word, words: dict[Address, Word]) -> int:
    return sum(other.primary == word.primary for other in words.values())
