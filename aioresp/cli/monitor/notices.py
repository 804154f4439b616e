"""Warnings in words, each with its threshold.

Owns the rules. Never asks a server: the rules look at what was read anyway.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from aioresp.cli.monitor.rates import Rates
from aioresp.cli.monitor.reading import Reading
from aioresp.cli.monitor.rows import ClientRow, CommandRow, Notice, QueueRow
from aioresp.cli.monitor.source import NodeMoment
from aioresp.cli.monitor.words import amount, duration

#: New connections a second, on average over `CONNECTIONS_FOR` seconds.
CONNECTIONS: Final = 0.5
CONNECTIONS_FOR: Final = 10.0
#: Seconds of a span, of which three in a row must have seen new connections. A monitor that is younger than these asks
#: the average since the start of the server, which must have run for so long.
SPAN: Final = 2.0
LONG: Final = 3.0
#: Share of maxclients and of maxmemory that is in use.
NEAR: Final = 0.9
#: Evicted keys a second.
EVICTIONS: Final = 0.0
#: Hit rate, the fall of it against the average of the minute before, and lookups a second below which it says nothing.
HIT_RATE: Final = 0.8
HIT_RATE_FALL: Final = 0.2
LOOKUPS: Final = 10.0
#: rss divided by used memory, and bytes that it must waste.
FRAGMENTATION: Final = 1.5
WASTE: Final = 100_000_000
#: Bytes and seconds that a replica is behind.
LAG_BYTES: Final = 10_000_000
LAG_SECONDS: Final = 10
#: Bytes of one client's output buffer.
OUTPUT: Final = 10_000_000
#: Failed calls of the last `CONNECTIONS_FOR` seconds: share of all calls, a second, and at least.
FAILED: Final = 0.01
FAILED_A_SECOND: Final = 1.0
FAILED_CALLS: Final = 5
#: Microseconds that the fork of a save may take.
FORK: Final = 500_000
#: Blocked connections that say nothing, and their share of all.
BLOCKED: Final = 100
BLOCKED_SHARE: Final = 0.9
#: Commands that look at all keys or elements at once, and stop the server meanwhile.
GREEDY: Final = frozenset(("KEYS", "FLUSHALL", "FLUSHDB", "SORT", "SMEMBERS", "HGETALL", "LRANGE"))
#: Microseconds of an average call of those, KEYS apart, which warns always.
GREEDY_TIME: Final = 10_000.0
#: Seconds that a warning about a short event stays.
STAYS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the rules look at."""

    moment: NodeMoment
    reading: Reading
    rates: Rates | None
    recent: tuple[Rates, ...]
    """Rates of the last `CONNECTIONS_FOR` seconds."""
    usual: float | None
    """Hit rate of the minute before; None if it is unknown."""
    commands: tuple[CommandRow, ...]
    clients: tuple[ClientRow, ...]
    queues: tuple[QueueRow, ...]
    errors: dict[str, int]
    """Error replies of those seconds, by their first word."""
    is_fresh: bool
    """Whether the monitor has just begun."""


Rule = Callable[[Seen], Iterable[Notice]]


class Watchman:
    """Rules with their memory, for one server."""

    def __init__(self) -> None:
        #: Rates with the error replies of their time. Their clock is monotonic: a clock that is set changes nothing.
        self._past: deque[tuple[float, Rates, dict[str, int]]] = deque(maxlen=600)
        self._errors: dict[str, int] = {}
        self._stays: dict[str, tuple[float, Notice]] = {}
        #: Seconds that have been watched; infinite after the first gap.
        self._watched = 0.0

    def look(
        self,
        moment: NodeMoment,
        commands: tuple[CommandRow, ...] = (),
        clients: tuple[ClientRow, ...] = (),
        queues: tuple[QueueRow, ...] = (),
    ) -> list[Notice]:
        """Return the warnings of this moment, the critical ones first."""
        if moment.reading is None or moment.trouble or moment.lacks:
            return []
        now = moment.reading.clock
        errors = moment.reading.errors
        if moment.rates is None:
            self._watched = math.inf if self._past else self._watched
            self._past.clear()
            self._stays.clear()
        else:
            passed = {name: count - self._errors.get(name, 0) for name, count in errors.items()}
            self._past.append((now, moment.rates, passed))
        self._errors = errors
        recent = [each for each in self._past if each[0] > now - CONNECTIONS_FOR]
        seen = Seen(
            moment,
            moment.reading,
            moment.rates,
            tuple(rates for _, rates, _ in recent),
            self._usual(now),
            commands,
            clients,
            queues,
            _errors(each for _, _, each in recent),
            self._watched < 3 * SPAN,
        )
        self._watched += moment.rates.seconds if moment.rates is not None else 0.0
        found = [notice for rule in RULES for notice in rule(seen)]
        for notice in found:
            if notice.name in _SHORT:
                self._stays[notice.name] = (now, notice)
        there = {notice.name for notice in found}
        found += [notice for name, (at, notice) in self._stays.items() if name not in there and now - at < STAYS]
        return sorted(found, key=lambda notice: notice.level != "critical")

    def _usual(self, at: float) -> float | None:
        """Return the hit rate of the minute before the last ten seconds."""
        old = [rates for then, rates, _ in self._past if at - 70 < then <= at - 10]
        hits, misses = sum(each.hits * each.seconds for each in old), sum(each.misses * each.seconds for each in old)
        return hits / (hits + misses) if len(old) >= 5 and hits + misses >= 5 * LOOKUPS else None


def _errors(past: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return the error replies of several moments in all, without those that clients expect."""
    found: Counter[str] = Counter()
    for passed in past:
        found.update(passed)
    return {name: count for name, count in found.items() if count > 0 and name not in _HARMLESS}


#: Warnings about events, which would blink otherwise.
_SHORT: Final = frozenset(("rejected", "evictions", "greedy", "failed"))


def _connections(seen: Seen) -> Iterator[Notice]:
    seconds = sum(each.seconds for each in seen.recent)
    made = sum(each.received * each.seconds for each in seen.recent)
    if not seconds or made / seconds < CONNECTIONS:
        return
    # Before these seconds: ten connections of a pool that begins now are many for a server that is young itself.
    before, uptime = seen.reading.connections.received - made, seen.reading.identity.uptime - seconds
    always = uptime >= LONG and before >= max(CONNECTIONS * uptime, 1) and round(made) >= 1
    if _is_steady(seen.recent) or (seen.is_fresh and always):
        yield Notice(
            "connections",
            "warning",
            f"{_number(made / seconds)} new connections a second: something makes a client for each job",
            "pool",
        )


def _is_steady(recent: tuple[Rates, ...]) -> bool:
    """Return whether connections come all the time. Clients that connect again after a failover come in one burst."""
    spans: list[float] = []
    made = passed = 0.0
    for each in reversed(recent):
        made, passed = made + each.received, passed + each.seconds
        if passed >= SPAN - 0.1:
            spans.append(made)
            made = passed = 0.0
    return len(spans) >= 3 and sum(not each for each in spans) <= (1 if len(spans) > 3 else 0)


def _rejected(seen: Seen) -> Iterator[Notice]:
    if seen.rates and seen.rates.rejected > 0:
        yield Notice(
            "rejected",
            "critical",
            f"{_number(seen.rates.rejected)} connections a second are rejected: "
            f"maxclients is {seen.reading.connections.limit:,}",
            "pool",
        )


def _maxclients(seen: Seen) -> Iterator[Notice]:
    c = seen.reading.connections
    if c.limit and c.open + 1 >= NEAR * c.limit:  # the monitor's own takes a place as well
        yield Notice(
            "maxclients",
            "critical",
            f"{c.open:,} of {c.limit:,} connections are open (maxclients): the server will reject more",
            "pool",
        )


def _evictions(seen: Seen) -> Iterator[Notice]:
    if seen.rates and seen.rates.evicted > EVICTIONS:
        policy = seen.reading.identity.policy
        yield Notice(
            "evictions",
            "warning",
            f"{_number(seen.rates.evicted)} keys a second are evicted ({policy}): the data does not fit into maxmemory",
            "caching",
        )


def _hit_rate(seen: Seen) -> Iterator[Notice]:
    rates = seen.rates
    if rates is None or seen.usual is None or rates.hits + rates.misses < LOOKUPS:
        return
    now = rates.hit_rate
    if now is not None and now < HIT_RATE and now < seen.usual - HIT_RATE_FALL:
        yield Notice(
            "hit_rate",
            "warning",
            f"the hit rate fell from {seen.usual:.0%} to {now:.0%}: keys expired, were evicted, or were never set",
            "caching",
        )


def _memory(seen: Seen) -> Iterator[Notice]:
    m = seen.reading.memory
    if m.limit and m.used >= NEAR * m.limit:
        policy = seen.reading.identity.policy
        what = "writes will fail" if policy == "noeviction" else f"keys will be evicted ({policy})"
        yield Notice(
            "memory",
            "critical" if policy == "noeviction" else "warning",
            f"{amount(m.used)} of {amount(m.limit)} of memory are in use (maxmemory): {what}",
            "caching",
        )


def _fragmentation(seen: Seen) -> Iterator[Notice]:
    m = seen.reading.memory
    if m.fragmentation >= FRAGMENTATION and m.rss - m.used >= WASTE:
        yield Notice(
            "fragmentation",
            "warning",
            f"the server takes {amount(m.rss)} for {amount(m.used)} of data (fragmentation {m.fragmentation:.1f}): "
            "a restart, or activedefrag, gives memory back",
            "monitor",
        )


def _persistence(seen: Seen) -> Iterator[Notice]:
    p, waiting = seen.reading.persistence, [row for row in seen.queues if row.waiting + row.delayed + row.running]
    if not p.save_ok:
        yield Notice(
            "save", "critical", "the last save to disk failed: the server's log tells why, often a full disk", "queue"
        )
    if not p.aof_ok:
        yield Notice(
            "aof", "critical", "the last write to the append-only file failed: the server's log tells why", "queue"
        )
    if waiting and not p.aof and seen.reading.replication.role == "primary":
        jobs = sum(row.waiting + row.delayed + row.running for row in waiting)
        yield Notice(
            "queues",
            "warning",
            f"{jobs:,} jobs are in queues and the server has no AOF: it forgets the newest if it ends; "
            "set appendonly yes",
            "queue",
        )
    if waiting and seen.reading.memory.limit and seen.reading.identity.policy != "noeviction":
        yield Notice(
            "evictable",
            "critical",
            f"the server may evict jobs of queues (maxmemory-policy {seen.reading.identity.policy}): "
            "set it to noeviction",
            "queue",
        )
    if p.fork >= FORK:
        yield Notice(
            "fork",
            "warning",
            f"the server stood still for {p.fork / 1e6:.1f} s to begin its last save (fork)",
            "monitor",
        )


def _replication(seen: Seen) -> Iterator[Notice]:
    r = seen.reading.replication
    if not r.link_up:
        ago = f" {duration(r.link_down_for)} ago" if r.link_down_for > 0 else ""
        doing = "receives all data again" if r.syncing else "serves old data"
        yield Notice("link", "critical", f"this replica lost its primary {r.primary}{ago}, and {doing}", "sentinel")
    for each in r.replicas:
        if each.state == "online" and (each.lag_bytes >= LAG_BYTES or each.lag_seconds >= LAG_SECONDS):
            yield Notice(
                "lag",
                "warning",
                f"the replica {each.address} is {amount(each.lag_bytes)} behind, "
                f"and last spoke {duration(each.lag_seconds)} ago",
                "sentinel",
            )


def _blocked(seen: Seen) -> Iterator[Notice]:
    c = seen.reading.connections
    if c.blocked >= BLOCKED and c.blocked >= BLOCKED_SHARE * c.open:
        yield Notice(
            "blocked",
            "warning",
            f"{c.blocked:,} of {c.open:,} connections wait in blocking commands: each worker process needs one only",
            "blocking",
        )


def _greedy(seen: Seen) -> Iterator[Notice]:
    for row in seen.commands:
        if row.calls <= 0 or row.name not in GREEDY:
            continue
        if row.name == "KEYS" or row.microseconds >= GREEDY_TIME:
            took = f"{row.microseconds / 1000:.1f} ms" if row.microseconds >= 100 else f"{row.microseconds:.0f} µs"
            instead = {"KEYS": ": SCAN does not", "SMEMBERS": ": SSCAN does not", "HGETALL": ": HSCAN does not"}
            yield Notice(
                "greedy",
                "warning",
                f"{row.name} was called {_often(row.calls)}, and stops the server for {took} each time"
                f"{instead.get(row.name, '')}",
                "monitor",
            )


def _output(seen: Seen) -> Iterator[Notice]:
    row = max(seen.clients, key=lambda row: row.output, default=None)
    if row is not None and row.output >= OUTPUT:
        who = f"{row.name} ({row.address})" if row.name else row.address
        yield Notice(
            "output",
            "warning",
            f"{amount(row.output)} of replies wait for {who}, which reads too slowly",
            "subscriptions",
        )
    elif seen.reading.connections.largest_output >= OUTPUT:
        size = amount(seen.reading.connections.largest_output)
        yield Notice(
            "output", "warning", f"{size} of replies wait for one client, which reads too slowly", "subscriptions"
        )


def _failed(seen: Seen) -> Iterator[Notice]:
    total = sum(seen.errors.values())
    seconds = max(sum(each.seconds for each in seen.recent), 1.0)
    calls = sum(each.commands * each.seconds for each in seen.recent)
    if total >= max(FAILED_CALLS, FAILED_A_SECOND * seconds, FAILED * calls):
        most = max(seen.errors, key=lambda name: seen.errors[name])
        yield Notice("failed", "warning", f"{_number(total / seconds)} calls a second fail, most with {most}", "errors")


#: Errors that clients expect, and mend by themselves.
_HARMLESS: Final = frozenset(("NOSCRIPT", "MOVED", "ASK", "BUSYGROUP", "TRYAGAIN"))

RULES: Final[tuple[Rule, ...]] = (
    *(_connections, _rejected, _maxclients, _memory, _evictions, _hit_rate, _fragmentation),
    *(_persistence, _replication, _blocked, _greedy, _output, _failed),
)


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _often(rate: float) -> str:
    if rate >= 0.95:
        return f"{_number(rate)} times a second"
    return f"{max(rate * 60, 1):.0f} times a minute"
