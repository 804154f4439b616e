"""Panes that are tables: clients, commands, slow commands, queues, and the nodes of a cluster.

Owns their columns and the details of their rows. Never asks a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, Final

from aioresp.cli.monitor.rates import Rates
from aioresp.cli.monitor.reading import Reading
from aioresp.cli.monitor.rows import ClientRow, CommandRow, Listing, QueueRow, SlowRow
from aioresp.cli.monitor.screens.grid import Column, Grid
from aioresp.cli.monitor.screens.pane import TablePane
from aioresp.cli.monitor.screens.parts import Figure
from aioresp.cli.monitor.screens.units import UNKNOWN, count, duration, percent, rate, size, span
from aioresp.cli.monitor.source import NodeMoment, Source

__all__ = ["NodesPane", "clients", "commands", "nodes", "queues", "slow"]

#: Meanings of the letters in the flags of CLIENT LIST.
_FLAGS: Final = {
    "N": "no flag",
    "M": "a primary",
    "S": "a replica",
    "P": "subscribes",
    "x": "in MULTI",
    "b": "waits in a blocking command",
    "t": "tracks keys for its cache",
    "R": "its cache's other connection is gone",
    "B": "tracks keys in broadcast mode",
    "d": "a key that it watches was changed",
    "c": "is closed after its reply",
    "u": "is unblocked",
    "A": "is closed at once",
    "U": "by a unix socket",
    "r": "reads from a replica of a cluster",
    "e": "is spared from eviction",
    "T": "does not touch the keys' age",
    "O": "runs MONITOR",
    "I": "imports slots",
}


def _name(text: str) -> str:
    return text or UNKNOWN


def _at(seconds: float) -> str:
    """Return a time of today as a clock shows it, and the day of an earlier one."""
    at = datetime.fromtimestamp(seconds)  # the user's own clock is what the screen is compared with
    return at.strftime("%H:%M:%S") if time.time() - seconds < 64_800 else at.strftime("%b %d %H:%M")


def clients() -> TablePane[ClientRow]:
    """Return the pane of the connections."""
    columns = (
        Column[ClientRow]("id", 6, lambda row: str(row.id), lambda row: row.id, right=True, drop=4),
        Column[ClientRow]("node", 15, lambda row: row.node, lambda row: row.node, drop=5, cluster=True),
        Column[ClientRow]("name", 15, lambda row: _name(row.name), lambda row: row.name or None, grow=True),
        Column[ClientRow]("address", 21, lambda row: row.address, lambda row: row.address, drop=1),
        Column[ClientRow]("user", 9, lambda row: _name(row.user), lambda row: row.user or None, drop=7),
        Column[ClientRow](
            "library", 16, lambda row: _name(row.library), lambda row: row.library or None, drop=8, grow=True
        ),
        Column[ClientRow]("age", 6, lambda row: span(row.age), lambda row: row.age, right=True),
        Column[ClientRow]("idle", 6, lambda row: span(row.idle), lambda row: row.idle, right=True),
        Column[ClientRow](
            "flags",
            5,
            lambda row: row.flags,
            lambda row: row.flags,
            drop=6,
            style=lambda row: "warning" if set(row.flags) & {"O", "b"} else None,
        ),
        Column[ClientRow]("db", 3, lambda row: str(row.database), lambda row: row.database, right=True, drop=9),
        Column[ClientRow](
            "last command", 12, lambda row: _name(row.command), lambda row: row.command or None, grow=True
        ),
        Column[ClientRow](
            "subs",
            5,
            lambda row: count(row.subscriptions),
            lambda row: row.subscriptions,
            right=True,
            drop=10,
            style=lambda row: None if row.subscriptions else "muted",
        ),
        Column[ClientRow](
            "waiting",
            7,
            lambda row: size(row.output),
            lambda row: row.output,
            right=True,
            drop=3,
            style=lambda row: "warning" if row.output >= 1 << 20 else None if row.output else "muted",
        ),
        Column[ClientRow](
            "memory",
            7,
            lambda row: size(row.memory) if row.memory >= 0 else UNKNOWN,
            lambda row: row.memory if row.memory >= 0 else None,
            right=True,
            drop=2,
        ),
    )
    pane = TablePane(
        "Clients",
        Grid[ClientRow](columns, lambda row: (row.node, row.id), sort="age", descending=False, id="clients-grid"),
        lambda source, now: source.clients(now),
        noun="clients",
        empty="No client is connected but this monitor.",
        describe=client_details,
        node_of=lambda row: row.node,
    )
    return pane


def client_details(row: ClientRow) -> tuple[str, list[Figure]]:
    """Return all that is known of a connection."""
    meanings = ", ".join(_FLAGS.get(letter, letter) for letter in row.flags)
    return f"client {row.id}", [
        *([("node", row.node)] if row.node else []),
        ("name", _name(row.name)),
        ("address", row.address),
        ("user", _name(row.user)),
        ("library", _name(row.library)),
        ("connected", f"{span(row.age)} ago"),
        ("idle", span(row.idle)),
        ("last command", _name(row.command)),
        ("flags", f"{row.flags}: {meanings}"),
        ("database", str(row.database)),
        ("subscriptions", count(row.subscriptions)),
        ("replies that wait", size(row.output)),
        ("memory", size(row.memory) if row.memory >= 0 else UNKNOWN),
        *([("", "It is this monitor's own.")] if row.own else []),
    ]


def commands() -> TablePane[CommandRow]:
    """Return the pane of the commands."""
    columns = (
        Column[CommandRow]("command", 16, lambda row: row.name.upper(), lambda row: row.name, grow=True),
        Column[CommandRow](
            "calls/s",
            10,
            lambda row: rate(row.calls),
            lambda row: row.calls,
            right=True,
            style=lambda row: None if row.calls else "muted",
        ),
        Column[CommandRow]("mean", 7, _mean, lambda row: row.microseconds if row.calls else None, right=True),
        Column[CommandRow]("share", 7, lambda row: percent(row.share), lambda row: row.share, right=True),
        Column[CommandRow]("p50", 7, lambda row: _since(row.p50), lambda row: row.p50, right=True, drop=2),
        Column[CommandRow]("p99", 7, lambda row: _since(row.p99), lambda row: row.p99, right=True),
        Column[CommandRow](
            "failed/s",
            8,
            lambda row: rate(row.failed),
            lambda row: row.failed,
            right=True,
            drop=1,
            style=lambda row: "error" if row.failed else "muted",
        ),
        Column[CommandRow](
            "calls in all", 14, lambda row: count(row.all_calls), lambda row: row.all_calls, right=True, drop=4
        ),
        Column[CommandRow](
            "failed in all",
            13,
            lambda row: count(row.all_failed),
            lambda row: row.all_failed,
            right=True,
            drop=6,
            style=lambda row: "warning" if row.all_failed else "muted",
        ),
    )
    return TablePane(
        "Commands",
        Grid[CommandRow](columns, lambda row: (row.node, row.name), sort="share", id="commands-grid"),
        lambda source, now: source.commands(),
        noun="commands",
        empty="No command has been called since the server's start, or since CONFIG RESETSTAT.",
        describe=_command_details,
        node_of=lambda row: row.node,
        merge=_merged,
    )


def _merged(rows: list[CommandRow]) -> list[CommandRow]:
    """Return one row for each command of a cluster: sums, and the slowest node's percentiles."""
    found: dict[str, list[CommandRow]] = {}
    for row in rows:
        found.setdefault(row.name, []).append(row)
    if len(found) == len(rows):
        return rows
    spent = {name: sum(row.calls * row.microseconds for row in each) for name, each in found.items()}
    whole = sum(spent.values()) or 1.0
    return [
        CommandRow(
            node="",
            name=name,
            calls=(calls := sum(row.calls for row in each)),
            microseconds=spent[name] / calls if calls else 0.0,
            share=spent[name] / whole,
            failed=sum(row.failed for row in each),
            p50=max((row.p50 for row in each if row.p50 is not None), default=None),
            p99=max((row.p99 for row in each if row.p99 is not None), default=None),
            all_calls=sum(row.all_calls for row in each),
            all_microseconds=sum(row.all_microseconds for row in each),
            all_failed=sum(row.all_failed for row in each),
        )
        for name, each in found.items()
    ]


def _mean(row: CommandRow) -> str:
    return duration(row.microseconds / 1e6) if row.calls else UNKNOWN


def _since(microseconds: float | None) -> str:
    return UNKNOWN if microseconds is None else duration(microseconds / 1e6)


def _command_details(row: CommandRow) -> tuple[str, list[Figure]]:
    return row.name.upper(), [
        *([("node", row.node)] if row.node else []),
        ("calls", rate(row.calls)),
        ("mean", duration(row.microseconds / 1e6)),
        ("share of the time", percent(row.share)),
        ("failed or rejected", rate(row.failed)),
        ("p50 since the start", _since(row.p50)),
        ("p99 since the start", _since(row.p99)),
        ("calls since the start", count(row.all_calls)),
        ("time since the start", duration(row.all_microseconds / 1e6)),
        ("failed since the start", count(row.all_failed)),
    ]


def slow() -> TablePane[SlowRow]:
    """Return the pane of the slow commands and of the latency events."""
    columns = (
        Column[SlowRow]("when", 12, lambda row: _at(row.at), lambda row: row.at),
        Column[SlowRow]("node", 15, lambda row: row.node, lambda row: row.node, drop=5, cluster=True),
        Column[SlowRow](
            "took",
            8,
            lambda row: duration(row.milliseconds / 1e3),
            lambda row: row.milliseconds,
            right=True,
            style=lambda row: "warning" if row.milliseconds >= 100 else None,
        ),
        Column[SlowRow]("kind", 13, lambda row: row.kind, lambda row: row.kind, drop=2),
        Column[SlowRow](
            "size", 7, lambda row: size(row.size) if row.size else UNKNOWN, lambda row: row.size, right=True, drop=3
        ),
        Column[SlowRow]("client", 16, lambda row: _name(row.client), lambda row: row.client or None),
        Column[SlowRow]("command", 16, lambda row: row.command, lambda row: row.command, grow=True),
    )
    return TablePane(
        "Slow",
        Grid[SlowRow](
            columns, lambda row: (row.node, row.kind, row.id, row.command, row.at), sort="when", id="slow-grid"
        ),
        lambda source, now: source.slow(),
        noun="slow commands",
        empty="No command was slow so far, by the server's setting slowlog-log-slower-than (10 ms by default).",
        describe=_slow_details,
        node_of=lambda row: row.node,
    )


def _slow_details(row: SlowRow) -> tuple[str, list[Figure]]:
    return f"{row.kind} {row.id}" if row.id >= 0 else row.kind, [
        *([("node", row.node)] if row.node else []),
        ("when", datetime.fromtimestamp(row.at).strftime("%Y-%m-%d %H:%M:%S")),  # as in the table
        ("took", duration(row.milliseconds / 1e3)),
        *([("size", size(row.size))] if row.size else []),
        ("client", _name(row.client)),
        ("command", row.command),
    ]


def queues() -> TablePane[QueueRow]:
    """Return the pane of the queues of `aioresp.recipes`."""
    columns = (
        Column[QueueRow]("queue", 20, lambda row: row.name, lambda row: row.name, grow=True),
        Column[QueueRow]("node", 15, lambda row: row.node, lambda row: row.node, drop=5, cluster=True),
        Column[QueueRow]("waiting", 9, lambda row: count(row.waiting), lambda row: row.waiting, right=True),
        Column[QueueRow]("running", 9, lambda row: count(row.running), lambda row: row.running, right=True),
        Column[QueueRow]("delayed", 9, lambda row: count(row.delayed), lambda row: row.delayed, right=True),
        Column[QueueRow](
            "dead",
            9,
            lambda row: count(row.dead),
            lambda row: row.dead,
            right=True,
            style=lambda row: "error" if row.dead else "muted",
        ),
        Column[QueueRow]("first waits", 11, lambda row: span(row.oldest), lambda row: row.oldest, right=True),
    )
    return TablePane(
        "Queues",
        Grid[QueueRow](columns, lambda row: (row.node, row.name), sort="waiting", id="queues-grid"),
        lambda source, now: source.queues(),
        noun="queues",
        empty="No queue of aioresp.recipes was found. A queue exists while it has jobs; `--queue NAME` names one.",
        describe=_queue_details,
        node_of=lambda row: row.node,
    )


def _queue_details(row: QueueRow) -> tuple[str, list[Figure]]:
    return row.name, [
        *([("node", row.node)] if row.node else []),
        ("waiting", count(row.waiting)),
        ("running", count(row.running)),
        ("delayed or retried", count(row.delayed)),
        ("dead", count(row.dead), "error" if row.dead else ""),
        ("the first in line waits", span(row.oldest)),
    ]


class NodesPane(TablePane[NodeMoment]):
    """The nodes of a cluster; Enter opens one."""

    hints: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("⏎", "open the node", "details"),
        ("/", "filter", "filter"),
        ("s", "sort", "sort"),
        ("r", "reverse", "reverse"),
    )

    def keep(self, moments: tuple[NodeMoment, ...], at: float) -> None:
        """Take the nodes of a moment, to be shown at the next update."""
        self.listing = Listing(at, moments)

    listing: Listing[NodeMoment] = Listing(0.0, ())


def nodes() -> NodesPane:
    """Return the pane of a cluster's nodes."""

    async def fetch(source: Source, now: bool) -> Listing[NodeMoment]:
        return pane.listing

    def kind(row: NodeMoment) -> str | None:
        return "error" if row.trouble else None

    columns = (
        Column[NodeMoment]("node", 21, lambda row: row.node, lambda row: row.node, style=kind),
        Column[NodeMoment]("role", 8, lambda row: row.reading.replication.role if row.reading else UNKNOWN, _role),
        _rated("new/s", 7, lambda each: each.received, rate),
        _read("open", 6, lambda each: each.connections.open, count),
        _rated("commands", 9, lambda each: each.commands, rate),
        _read("memory", 7, lambda each: each.memory.used, size),
        _rated("hit rate", 8, lambda each: each.hit_rate, percent, drop=4),
        _read("keys", 10, lambda each: each.keys, count, drop=2),
        _rated("cpu", 7, lambda each: each.cpu, percent, drop=1),
        Column[NodeMoment](
            "state",
            24,
            lambda row: row.trouble or _link(row),
            lambda row: row.trouble,
            grow=True,
            drop=3,
            style=kind,
        ),
    )
    pane = NodesPane(
        "Nodes",
        Grid[NodeMoment](columns, lambda row: row.node, sort="role", descending=False, id="nodes-grid"),
        fetch,
        noun="nodes",
        empty="The cluster has not said yet which nodes it has.",
        describe=lambda row: (row.node, []),
    )
    return pane


def _rated(
    title: str,
    width: int,
    of: Callable[[Rates], float | None],
    spell: Callable[[float | None], str],
    drop: int = 0,
) -> Column[NodeMoment]:
    """Return a column of something that happens each second."""
    return _figure(title, width, lambda row: None if row.rates is None else of(row.rates), spell, drop)


def _read(
    title: str,
    width: int,
    of: Callable[[Reading], float | None],
    spell: Callable[[float | None], str],
    drop: int = 0,
) -> Column[NodeMoment]:
    """Return a column of a figure that is what it is at a moment."""
    return _figure(title, width, lambda row: None if row.reading is None else of(row.reading), spell, drop)


def _figure(
    title: str,
    width: int,
    of: Callable[[NodeMoment], float | None],
    spell: Callable[[float | None], str],
    drop: int,
) -> Column[NodeMoment]:
    """Return a column of a figure, which rows are sorted by."""
    return Column(title, width, lambda row: spell(of(row)), of, right=True, drop=drop)


def _role(row: NodeMoment) -> tuple[str, str] | None:
    return (row.reading.replication.role, row.node) if row.reading else None


def _link(row: NodeMoment) -> str:
    if row.reading is None:
        return "not read yet"
    found = row.reading.replication
    if found.role == "replica":
        return f"follows {found.primary}" if found.link_up else f"lost {found.primary}"
    return f"{len(found.replicas)} replicas" if len(found.replicas) != 1 else "1 replica"
