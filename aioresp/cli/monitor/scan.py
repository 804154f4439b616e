"""Scan of all keys: the largest, and their number and bytes by type and by prefix.

Owns the budget, and what was found so far. A report holds all of it, so that any report can be resumed. Never writes.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aioresp.cli.monitor.place import Place
from aioresp.cli.monitor.rows import HotRow, KeyGroup, KeyReport, KeyRow, Pace
from aioresp.cli.monitor.words import ailment, is_refusal, lacking, printable
from aioresp.errors import ConnectionLost, NoPermissionError, RedisError, ResponseError, UnknownCommandError
from aioresp.replies import as_is, integer_or_none, shown

#: Keys that one SCAN looks at.
COUNT: Final = 100
#: Elements of a large value that MEMORY USAGE measures.
SAMPLES: Final = 5
#: Large and hot keys, and groups, that a report holds.
LARGEST: Final = 100
HOT: Final = 20
GROUPS: Final = 1000
#: Name of the group of all further prefixes.
OTHERS: Final = "(others)"
#: Name of the group of keys without a prefix.
NONE: Final = "(no prefix)"
#: Seconds between two reports, and between two attempts at a server that does not answer.
EVERY: Final = 0.25
PAUSE: Final = 1.0

_SEPARATORS: Final = b":/|.-_"


@dataclass(slots=True)
class _Sum:
    count: int = 0
    size: int = 0
    eternal: int = 0

    def add(self, size: int, eternal: bool) -> None:
        self.count += 1
        self.size += size
        self.eternal += eternal


class KeyScan:
    """One scan over one server, or over the primaries of a cluster."""

    def __init__(self, places: Sequence[Place], pace: Pace, resume: KeyReport | None) -> None:
        self._places = places
        self._pace = pace
        self._cursors: dict[str, int | None] = {place.node: None for place in places}
        self._seen = self._total = self._bytes = self._eternal = 0
        self._largest: list[tuple[int, int, KeyRow]] = []
        self._hot: list[tuple[int, int, HotRow]] = []
        self._types: dict[str, _Sum] = {}
        self._prefixes: dict[str, _Sum] = {}
        self._spent = 0.0
        self._lacks: dict[str, str] = {}
        #: Questions that the user may ask of each key; those that are refused go.
        self._asks = ["MEMORY", "TYPE", "PTTL"]
        if resume is not None:
            self._take_up(resume)

    def _take_up(self, report: KeyReport) -> None:
        self._seen, self._total, self._bytes, self._eternal = report.seen, report.total, report.bytes, report.eternal
        self._cursors.update(report.cursors)
        self._spent = report.seconds
        for groups, held in ((report.types, self._types), (report.prefixes, self._prefixes)):
            held.update((each.name, _Sum(each.count, each.size, each.eternal)) for each in groups)
        self._largest = [(row.size, -number, row) for number, row in enumerate(report.largest)]
        self._hot = [(row.figure, -number, row) for number, row in enumerate(report.hot)]
        heapq.heapify(self._largest)
        heapq.heapify(self._hot)

    async def run(self) -> AsyncIterator[KeyReport]:
        """Scan, and yield a report some times a second and at the end; go on after a server has been away."""
        began = last = time.monotonic()
        before = self._spent
        allowance = 0.0
        yield self._report()
        while left := [place for place in self._places if self._cursors.get(place.node) != -1]:
            place = left[0]
            try:
                asked = time.monotonic()
                looked = await self._step(place)
            except ConnectionLost as error:
                self._lacks["trouble"] = f"The server {place.node} {ailment(error)}; trying again.".replace("  ", " ")
                await asyncio.sleep(PAUSE)
                looked, asked = 0, time.monotonic()
            except RedisError as error:
                if is_refusal(error):
                    self._lacks["scan"] = lacking(error, "scan")
                    break
                self._lacks["trouble"] = f"The server {place.node} {ailment(error)}; trying again.".replace("  ", " ")
                await asyncio.sleep(PAUSE)
                looked, asked = 0, time.monotonic()
            else:
                self._lacks.pop("trouble", None)
            rate = self._pace.keys_a_second
            if rate is not None:
                # A delay is not made up for later: the rest would come in a burst.
                allowance = max(allowance + looked / rate - (time.monotonic() - asked), 0.0)
                while allowance > 0 and self._pace.keys_a_second is not None:
                    nap = min(allowance, EVERY)
                    await asyncio.sleep(nap)
                    allowance -= nap
            allowance = allowance if self._pace.keys_a_second is not None else 0.0
            now = time.monotonic()
            self._spent = before + now - began
            if now - last >= EVERY:
                last = now
                yield self._report()
        for place in self._places:
            await self._ask_for_hot(place)
        yield self._report(finished=all(self._cursors.get(place.node) == -1 for place in self._places))

    async def _step(self, place: Place) -> int:
        """Look at one batch of keys; return how many there were at least."""
        cursor = self._cursors.get(place.node)
        if cursor is None:
            with place.account.asking("dbsize"):
                self._total += int(await place.client.execute(("DBSIZE",), as_is))
            cursor = 0
        with place.account.asking("scan"):
            said = await place.client.execute(("SCAN", cursor, "COUNT", COUNT), as_is)
        following, keys = int(said[0]), [key if isinstance(key, bytes) else str(key).encode() for key in said[1]]
        await self._measure(place, keys)
        self._cursors[place.node] = following or -1
        return max(len(keys), COUNT // 10)

    async def _measure(self, place: Place, keys: list[bytes]) -> None:
        asks = [*self._asks, *(["OBJECT"] if _is_lfu(place) else [])]
        async with place.client.pipeline() as p:
            for key in keys:
                for ask in asks:
                    p.execute(_words(ask, key), as_is)
            said = await p.execute(raise_on_error=False)
        for ask in asks:
            place.account.note(_NAMES[ask], len(keys))
        for number, key in enumerate(keys):
            answers = dict(zip(asks, said[number * len(asks) : (number + 1) * len(asks)], strict=True))
            for ask, answer in answers.items():
                place.account.note_error(_NAMES[ask], answer)
            place.account.note_lookups(
                answer not in (b"none", "none", -2)
                for ask, answer in answers.items()
                if ask != "MEMORY" and not isinstance(answer, Exception)
            )
            self._note(place, key, {name: self._checked(name, answer) for name, answer in answers.items()})

    def _checked(self, ask: str, answer: Any) -> Any:
        """Return an answer, None for an error; note what the user may not ask."""
        if not isinstance(answer, Exception):
            return answer
        if isinstance(answer, ResponseError) and is_refusal(answer):
            name = _NAMES[ask]
            if isinstance(answer, NoPermissionError) and "key" in str(answer):
                self._lacks.setdefault("keys", "The user may not read some keys: they are counted without their size.")
            elif ask in self._asks:
                self._asks.remove(ask)
                self._lacks[ask] = lacking(answer, name)
            elif isinstance(answer, UnknownCommandError):
                pass
        return None

    def _note(self, place: Place, key: bytes, said: dict[str, Any]) -> None:
        kind = said.get("TYPE", b"")
        kind = "unknown" if not kind else shown(kind)
        ttl, size = said.get("PTTL"), said.get("MEMORY")
        if kind == "none" or ttl == -2:
            return  # it is gone since SCAN has seen it
        size = integer_or_none(size) or 0
        eternal = ttl == -1
        self._seen += 1
        self._bytes += size
        self._eternal += eternal
        self._types.setdefault(kind, _Sum()).add(size, eternal)
        prefix = prefix_of(key)
        if prefix not in self._prefixes and len(self._prefixes) >= GROUPS - 1:
            prefix = OTHERS
        self._prefixes.setdefault(prefix, _Sum()).add(size, eternal)
        if len(self._largest) < LARGEST or size > self._largest[0][0]:
            row = KeyRow(place.node, printable(shown(key)[:500]), kind, size, -2 if ttl is None else ttl)
            _push(self._largest, (size, -self._seen, row), LARGEST)
        frequency = said.get("OBJECT")
        if frequency:
            row_of_hot = HotRow(place.node, printable(shown(key)[:500]), int(frequency), "LFU")
            _push(self._hot, (int(frequency), -self._seen, row_of_hot), HOT)

    async def _ask_for_hot(self, place: Place) -> None:
        """Take the hot keys of a session of HOTKEYS, if somebody has had one. Since Redis 8.6."""
        known = place.last.reading
        if known is None or known.identity.flavour != "redis" or _version(known.identity.version) < (8, 6):
            return
        try:
            with place.account.asking("hotkeys|get"):
                found = await place.client.hotkeys_get()
        except RedisError:
            return
        if found is not None:
            self._hot = [
                (figure, 0, HotRow(place.node, printable(shown(key)), figure, unit))
                for unit, figures in (("µs", found.by_cpu_time_us), ("bytes", found.by_net_bytes))
                for key, figure in figures or ()
            ]

    def _report(self, finished: bool = False) -> KeyReport:
        return KeyReport(
            seen=self._seen,
            total=self._total,
            bytes=self._bytes,
            eternal=self._eternal,
            largest=tuple(row for _, _, row in sorted(self._largest, key=lambda each: each[:2], reverse=True)),
            types=_groups(self._types),
            prefixes=_groups(self._prefixes),
            hot=tuple(row for _, _, row in sorted(self._hot, key=lambda each: each[:2], reverse=True)),
            cursors=tuple((node, cursor) for node, cursor in self._cursors.items() if cursor is not None),
            seconds=self._spent,
            finished=finished,
            lacks=" ".join(self._lacks.values()),
        )


def prefix_of(key: bytes) -> str:
    """Return the first part of a key with its separator: "user:" of "user:1:name"."""
    for separator in (b":", b"/", b"|", b".", b"-", b"_"):
        start, found, _ = key.partition(separator)
        if found:
            return printable(shown(start + separator)[:100])
    return NONE


def _push(heap: list[Any], item: tuple[int, int, Any], most: int) -> None:
    if len(heap) < most:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)


def _groups(held: dict[str, _Sum]) -> tuple[KeyGroup, ...]:
    found: Iterable[KeyGroup] = (KeyGroup(name, each.count, each.size, each.eternal) for name, each in held.items())
    return tuple(sorted(found, key=lambda group: (-group.size, -group.count, group.name)))


def _is_lfu(place: Place) -> bool:
    return place.last.reading is not None and "lfu" in place.last.reading.identity.policy


def _version(said: str) -> tuple[int, ...]:
    return tuple(int(part) for part in said.split(".")[:2] if part.isdecimal())


def _words(ask: str, key: bytes) -> tuple[str | bytes | int, ...]:
    match ask:
        case "MEMORY":
            return "MEMORY", "USAGE", key, "SAMPLES", SAMPLES
        case "OBJECT":
            return "OBJECT", "FREQ", key
        case _:
            return ask, key


_NAMES: Final = {"MEMORY": "memory|usage", "TYPE": "type", "PTTL": "pttl", "OBJECT": "object|freq"}
