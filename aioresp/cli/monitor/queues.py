"""Queues of the recipes on one server: found by a budgeted scan, and counted by plain reads.

Owns the scan's place and the names that it has found. Never writes a key, and runs no script.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any, Final

from aioresp import Client
from aioresp.cli.monitor.own import Account
from aioresp.cli.monitor.rows import Listing, QueueRow
from aioresp.cli.monitor.words import is_refusal, lacking, printable
from aioresp.errors import RedisError, WrongTypeError
from aioresp.replies import as_is, shown

#: Priorities of the recipe, which is in an extra of its own; tests compare them.
PRIORITIES: Final = (2, 1, 0, -1, -2)

#: Keys that are looked at a second, while queues are looked for in the background and while they are shown.
BACKGROUND: Final = 500
SHOWN: Final = 2000
#: Seconds after which the search begins again.
AGAIN: Final = 60.0
#: Queues that are counted.
MOST: Final = 100

_KEY: Final = re.compile(rb"\{([^{}\s]+)\}:(?:ready:-?[0-2]|delayed|leases|dead|suspects|job:.*)", re.DOTALL)


class Search:
    """Search for queues on one server."""

    def __init__(self, node: str, client: Client[Any], account: Account, named: Iterable[str] = ()) -> None:
        self.node = node
        self.client = client
        self.account = account
        self.named = tuple(name.strip("{}") for name in named)
        #: Names that were found or given, each with a key by which it was found.
        self.names: dict[str, bytes] = dict.fromkeys(self.named, b"")
        #: Those that are queues for sure; of the others a key looks like one.
        self._sure: set[str] = set()
        #: Names whose keys turned out to be of something else.
        self._others: set[str] = set()
        self.lacks = ""
        self._cursor = 0
        self._seen = self._total = 0
        self._ended = 0.0
        self._asked = 0.0

    async def advance(self, keys_a_second: int) -> None:
        """Look at some more keys, as many as the time since the last call allows; never raises for the server."""
        now = time.monotonic()
        passed, self._asked = min(now - self._asked, 2.0), now
        if self.named or self.lacks or (self._ended and now - self._ended < AGAIN):
            return
        try:
            await self._look(max(int(keys_a_second * passed), 10))
        except RedisError as error:
            if is_refusal(error):
                self.lacks = f"{lacking(error, 'scan')} Name queues with --queue NAME."

    async def _look(self, keys: int) -> None:
        if self._cursor == 0:
            self._seen, self._ended = 0, 0.0
            with self.account.asking("dbsize"):
                self._total = int(await self.client.execute(("DBSIZE",), as_is))
        # Redis looks at COUNT keys, and returns those that match.
        words = ("SCAN", self._cursor, "MATCH", "{*}:*", "COUNT", keys)
        with self.account.asking("scan"):
            cursor, found = await self.client.execute(words, as_is)
        self._cursor, self._seen = int(cursor), self._seen + keys
        for key in found:
            key = key if isinstance(key, bytes) else str(key).encode()
            match = _KEY.fullmatch(key)
            name = match[1].decode(errors="replace") if match else ""
            if name and len(self.names) < MOST and name not in self._others:
                self.names.setdefault(name, key)
        if self._cursor == 0:
            self._ended = time.monotonic()

    @property
    def progress(self) -> float:
        """Share of the keys that were looked at, 0 to 1."""
        return 1.0 if self._ended or self.named else min(self._seen / (self._total or 1), 0.99)

    async def count(self, client: Client[Any] | None = None) -> Listing[QueueRow]:
        """Count the jobs of the queues that are known; `client` reaches all keys of a cluster."""
        rows, lacks = [], self.lacks
        for name in list(self.names):
            try:
                row = await self._count(client or self.client, name)
            except WrongTypeError:
                row = None
            except RedisError as error:
                lacks = lacks or lacking(error, "llen")
                continue
            if row is not None:
                rows.append(row)
            elif name not in self.named:
                self._others.add(name)
                del self.names[name]
        note = (
            ""
            if self.progress == 1.0 or lacks
            else f"Looking for queues: {self.progress:.0%} of the keys were looked at."
        )
        return Listing(time.time(), tuple(sorted(rows, key=lambda row: row.name)), lacks, note)

    async def _count(self, client: Client[Any], name: str) -> QueueRow | None:
        root = f"{{{name}}}:"
        lists = [f"{root}ready:{priority}" for priority in PRIORITIES]
        async with client.pipeline() as p:
            for key in (f"{root}suspects", *lists):
                p.llen(key)
            for key in ("delayed", "leases", "dead"):
                p.zcard(root + key)
            for key in lists:
                p.lindex(key, 0)
            said = await p.execute(raise_on_error=False)
        self._check([*["llen"] * 6, *["zcard"] * 3, *["lindex"] * 5], said)
        self.account.note_lookups(each is not None and each != 0 for each in said)
        waiting, (delayed, running, dead), first = sum(said[:6]), said[6:9], said[9:]
        oldest = await self._oldest(client, root, [shown(each) for each in first if each is not None])
        if waiting or delayed or running or dead or name in self.named:
            self._sure.add(name)
        elif name not in self._sure and not await self._has_jobs(client, name):
            return None
        return QueueRow(self.node, printable(name), waiting, delayed, running, dead, oldest)

    def _check(self, names: list[str], said: list[Any]) -> None:
        """Count commands with their errors, and raise the first of these."""
        for name, answer in zip(names, said, strict=True):
            self.account.note(name)
            self.account.note_error(name, answer)
        for answer in said:
            if isinstance(answer, RedisError):
                raise answer

    async def _oldest(self, client: Client[Any], root: str, ids: list[str]) -> float | None:
        """Return how long the first jobs in line have waited at most."""
        if not ids:
            return None
        async with client.pipeline() as p:
            for id in ids:
                p.hget(f"{root}job:{id}", "at")
            times = await p.execute(raise_on_error=False)
        self._check(["hget"] * len(ids), times)
        self.account.note_lookups(each is not None for each in times)
        known = [float(each) / 1000 for each in times if each is not None]
        return max(time.time() - min(known), 0.0) if known else None

    async def _has_jobs(self, client: Client[Any], name: str) -> bool:
        """Return whether the key by which an idle queue was found is a job of the recipe."""
        key = self.names[name]
        if b":job:" not in key:
            return False
        with self.account.asking("hexists"):
            found = bool(await client.execute(("HEXISTS", key, "fn"), as_is))
        self.account.note_lookups([found])
        return found
