"""Sentinel as the source of addresses.

Owns which of the sentinels' words counts: the newest one. Never knows connections to the servers themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aioresp.errors import ClientClosed, ConnectError
from aioresp.node import Node
from aioresp.options import Settings
from aioresp.replicated.outlook import Outlook
from aioresp.replicated.places import Address, Found
from aioresp.sentinel.panel import Panel
from aioresp.sentinel.watch import Watch
from aioresp.sentinel.words import Word

#: Epoch before any word.
_NONE: Final = (-1, False)


class SentinelSource:
    """What the sentinels of one primary say."""

    def __init__(self, settings: Settings) -> None:
        assert settings.master is not None
        self._panel = Panel(settings, settings.master)
        self._newest = _NONE
        scheme = "redis" if settings.endpoint.tls is None else "rediss"
        seeds = ",".join(str(Address(*seed)) for seed in settings.seeds)
        self.name = f"{scheme}+sentinel://{seeds}/{settings.master}"

    def __repr__(self) -> str:
        return f"SentinelSource({self.name})"

    @property
    def sentinels(self) -> tuple[Address, ...]:
        """The sentinels that are known."""
        return tuple(self._panel.nodes)

    def nodes(self) -> Iterable[Node]:
        """Return the nodes of the sentinels."""
        return self._panel.all_nodes()

    async def find(self) -> Found:
        """Ask all sentinels at once; return the newest word.

        A word that is older than one heard before does not count, unless all sentinels answer and none knows a newer
        one: then they were reset.
        """
        words = await self._panel.ask()
        newest = max(words.values(), key=lambda word: (word.epoch, _agreed(word, words)))
        if newest.epoch < self._newest and len(words) < len(self._panel.nodes):
            raise ConnectError(f"the sentinels of {self._panel.name} that answer have not heard of its last failover")
        self._newest = newest.epoch
        self._panel.learn({at for word in words.values() for at in word.sentinels} | words.keys())
        return Found(newest.primary, newest.replicas)

    def watch(self, outlook: Outlook) -> None:
        """Hear the messages of all sentinels in the running loop."""
        for node in self._panel.nodes.values():
            try:
                hub = node.hubs.here()
                if hub not in outlook.watched:
                    outlook.watched.add(hub)
                    Watch(outlook, hub, self._panel.name).begin()
            except ClientClosed:
                return


def _agreed(word: Word, words: dict[Address, Word]) -> int:
    return sum(other.primary == word.primary for other in words.values())
