"""Limits of a benchmark that depend on the server: connections, memory, and its role.

Owns the sentences that refuse a run, and those that a reader of the figures must know.
"""

from __future__ import annotations

import resource
from typing import Final

from aioresp.cli.bench.plan import MOST_SECONDS, Plan
from aioresp.cli.bench.server import Facts
from aioresp.cli.bench.template import Maker
from aioresp.cli.faults import Fault

#: Connections of the server that are left to others, and to the control connection.
_SPARE: Final = 8

#: Descriptors of this process that are no connections.
_DESCRIPTORS: Final = 64

#: Commands a second of others from which the reader is told.
_BUSY: Final = 100

#: Part of the free memory that the data may take.
_PART: Final = 4

#: Commands that a cluster client splits by slot.
_SPLIT: Final = ("DEL", "UNLINK", "EXISTS", "TOUCH", "MGET")


def check(plan: Plan, facts: Facts, makers: list[Maker], cluster: bool) -> int | None:
    """Raise Fault, with the reason, for what would hurt this server. Returns the bytes that the data may take."""
    if facts.mode == "sentinel":
        raise Fault("this is a Sentinel, not a server with data: write redis+sentinel://host:26379/name")
    if facts.mode == "cluster" and not cluster:
        raise Fault("this is a node of a cluster: write redis+cluster://host:port")
    _check_connections(plan, facts)
    writers = [template for template in plan.templates if template.writes]
    if facts.role == "slave" and writers:
        raise Fault(f"this server is a replica, and {writers[0].name} writes: give the URL of the primary")
    if cluster:
        for template in plan.templates:
            name = template.words[0].upper()
            if len(template.keys) > 1 and name not in _SPLIT and not all("{{" in key for key in template.keys):
                raise Fault(
                    f"{name} has keys in several slots of the cluster: give them a tag, as {{prefix}}{{{{tag}}}}"
                )
    return _check_memory(plan, facts, makers)


def _check_connections(plan: Plan, facts: Facts) -> None:
    wanted = plan.open_at_once
    if facts.most_clients is not None and facts.clients is not None:
        room = facts.most_clients - facts.clients - _SPARE
        if wanted > room:
            raise Fault(
                f"-c {plan.tasks} would open {wanted:,} connections, and the server has room for {max(0, room):,}: its "
                f"maxclients is {facts.most_clients:,}, {facts.clients:,} are open, and {_SPARE} are left to others"
            )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise Fault(f"-c {plan.tasks} needs {needed:,} open files, and this process may have {hard:,}: ulimit -n")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _check_memory(plan: Plan, facts: Facts, makers: list[Maker]) -> int | None:
    # Commands under way have their values in buffers of both sides.
    wanted = 2 * plan.size * plan.pipeline * min(plan.tasks, 10_000)
    wanted += sum(maker.size_of(plan.rounds * len(plan.ways)) for maker in makers)
    for maker in makers:
        calls = [plan.calls(way) for way in plan.ways]
        wanted += maker.growth() * plan.pipeline * plan.rounds * sum(each for each in calls if each is not None)
    budget = None
    if facts.most_memory is not None and facts.used_memory is not None:
        budget = max(0, facts.most_memory - facts.used_memory)
        if wanted > budget:
            raise Fault(
                f"the data takes about {_size(wanted)}, and the server has {_size(budget)} left of its maxmemory of "
                f"{_size(facts.most_memory)}: take fewer keys (-r), smaller values (-d) or fewer tasks (-c)"
            )
    if facts.free_memory is not None:
        quarter = facts.free_memory // _PART
        if wanted > quarter:
            raise Fault(
                f"the data takes about {_size(wanted)}, and a quarter of the server's free memory is {_size(quarter)}: "
                "take fewer keys (-r), smaller values (-d) or fewer tasks (-c)"
            )
        budget = quarter if budget is None else min(budget, quarter)
    return budget


def notes(plan: Plan, facts: Facts, cluster: bool) -> list[str]:
    """Return what a reader of the figures must know of the server."""
    said = []
    if not facts.readable:
        said.append("This user may not read INFO: nothing is known of the server's own figures and limits.")
    if facts.others > _BUSY:
        said.append(
            f"The server is busy with the work of others: {facts.others:,.0f} commands a second before the run."
        )
    if facts.persistence and any(template.writes for template in plan.templates):
        said.append(f"The server writes to disk ({facts.persistence}): that is part of what is measured.")
    if facts.role == "slave" and any(template.fill for template in plan.templates):
        said.append("The server is a replica, and takes no writes: the commands find no data.")
    if cluster and "classic" in plan.ways:
        said.append("In a cluster the classic pool has 10 connections to each node.")
    if "fresh" in plan.ways and (plan.calls("fresh") or 0) < (plan.calls("shared") or 0):
        said.append(
            f"Fresh connections stop at {(plan.calls('fresh') or 0) * plan.rounds:,} calls, or after "
            f"{plan.seconds or MOST_SECONDS:g} s: more would use up the ports of this machine."
        )
    return said


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
