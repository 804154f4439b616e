"""Sum of the nodes of a cluster: one moment as if they were one server.

Owns what is added up and what is not. Never asks a server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from aioresp.cli.monitor.rates import Rates
from aioresp.cli.monitor.reading import Connections, Database, Memory, Persistence, Reading, Replication, Totals
from aioresp.cli.monitor.source import NodeMoment


def whole(at: float, nodes: Sequence[NodeMoment]) -> NodeMoment:
    """Return the sum: keys and TTLs of the primaries, all else of all nodes that answer."""
    if len(nodes) == 1 and not nodes[0].node:
        return nodes[0]
    there = [each for each in nodes if each.reading is not None and not each.trouble]
    readings = [each.reading for each in there if each.reading is not None]
    rates = [each.rates for each in there if each.rates is not None]
    away = [each for each in nodes if each.trouble]
    trouble, since = "", None
    if away and not there:
        trouble, since = away[0].trouble, min(each.since or at for each in away)
    return NodeMoment(
        node="",
        at=at,
        reading=_sum(at, readings) if readings else None,
        rates=_sum_of_rates(rates) if rates else None,
        trouble=trouble,
        since=since,
        lacks=next((each.lacks for each in nodes if each.lacks), ""),
        remark=next((f"{each.node}: {each.remark}" for each in nodes if each.remark), ""),
    )


def _sum_of_rates(rates: Sequence[Rates]) -> Rates:
    return Rates(
        seconds=max(each.seconds for each in rates),
        received=sum(each.received for each in rates),
        rejected=sum(each.rejected for each in rates),
        commands=sum(each.commands for each in rates),
        bytes_in=sum(each.bytes_in for each in rates),
        bytes_out=sum(each.bytes_out for each in rates),
        hits=sum(each.hits for each in rates),
        misses=sum(each.misses for each in rates),
        expired=sum(each.expired for each in rates),
        evicted=sum(each.evicted for each in rates),
        errors=sum(each.errors for each in rates),
        cpu=sum(each.cpu for each in rates),
    )


def _sum(at: float, readings: Sequence[Reading]) -> Reading:
    primaries = [each for each in readings if each.replication.role == "primary"] or readings
    first = primaries[0]
    errors: Counter[str] = Counter()
    for each in readings:
        errors.update(each.errors)
    return Reading(
        at=at,
        clock=max(each.clock for each in readings),
        server_clock=None,
        identity=replace(
            first.identity,
            run_id="",
            uptime=min(each.identity.uptime for each in readings),
            loading=any(each.identity.loading for each in readings),
        ),
        connections=_sum_of_connections([each.connections for each in readings]),
        memory=_sum_of_memory([each.memory for each in readings]),
        totals=_sum_of_totals([each.totals for each in readings]),
        databases=_sum_of_databases([each.databases for each in primaries]),
        persistence=_all_persistence([each.persistence for each in readings]),
        replication=Replication(
            role="primary",
            offset=sum(each.replication.offset for each in primaries),
            replicas=tuple(replica for each in primaries for replica in each.replication.replicas),
            primary="",
            link_up=all(each.replication.link_up for each in readings),
            link_down_for=max(each.replication.link_down_for for each in readings),
            syncing=any(each.replication.syncing for each in readings),
        ),
        errors=dict(errors),
    )


def _sum_of_connections(parts: Sequence[Connections]) -> Connections:
    pubsub = [each.pubsub for each in parts if each.pubsub is not None]
    dropped = [each.dropped_for_output for each in parts if each.dropped_for_output is not None]
    return Connections(
        open=sum(each.open for each in parts),
        received=sum(each.received for each in parts),
        rejected=sum(each.rejected for each in parts),
        blocked=sum(each.blocked for each in parts),
        pubsub=sum(pubsub) if pubsub else None,
        limit=sum(each.limit for each in parts),
        largest_output=max(each.largest_output for each in parts),
        dropped_for_output=sum(dropped) if dropped else None,
    )


def _sum_of_memory(parts: Sequence[Memory]) -> Memory:
    used, rss = sum(each.used for each in parts), sum(each.rss for each in parts)
    # A sum of limits says nothing where one node has none.
    limit = sum(each.limit for each in parts) if all(each.limit for each in parts) else 0
    return Memory(used, rss, sum(each.peak for each in parts), limit, rss / used if used else 0.0)


def _sum_of_totals(parts: Sequence[Totals]) -> Totals:
    return Totals(
        commands=sum(each.commands for each in parts),
        bytes_in=sum(each.bytes_in for each in parts),
        bytes_out=sum(each.bytes_out for each in parts),
        hits=sum(each.hits for each in parts),
        misses=sum(each.misses for each in parts),
        expired=sum(each.expired for each in parts),
        evicted=sum(each.evicted for each in parts),
        errors=sum(each.errors for each in parts),
        cpu_system=sum(each.cpu_system for each in parts),
        cpu_user=sum(each.cpu_user for each in parts),
    )


def _sum_of_databases(parts: Sequence[tuple[Database, ...]]) -> tuple[Database, ...]:
    keys: Counter[int] = Counter()
    expires: Counter[int] = Counter()
    life: Counter[int] = Counter()
    for each in [database for databases in parts for database in databases]:
        keys[each.number] += each.keys
        expires[each.number] += each.expires
        life[each.number] += each.average_ttl * each.expires
    return tuple(
        Database(number, count, expires[number], life[number] // (expires[number] or 1))
        for number, count in sorted(keys.items())
    )


def _all_persistence(parts: Sequence[Persistence]) -> Persistence:
    return Persistence(
        aof=all(each.aof for each in parts),
        aof_ok=all(each.aof_ok for each in parts),
        saving=any(each.saving for each in parts),
        rewriting=any(each.rewriting for each in parts),
        last_save=min(each.last_save for each in parts),
        save_ok=all(each.save_ok for each in parts),
        changes=sum(each.changes for each in parts),
        saves=sum(each.saves for each in parts),
        fork=max(each.fork for each in parts),
    )
