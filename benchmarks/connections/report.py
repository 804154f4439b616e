"""The Markdown report: commands per second, processor time and connections, a table for each transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .ways import WAYS

TITLES = {"tcp": "TCP", "unix": "Unix socket", "tls": "TLS"}


def markdown(facts: Mapping[str, Any], cells: Sequence[Any]) -> str:
    clients = ", ".join(f"{name} {version}" for name, version in facts["clients"].items())
    where = "the client on one core and the server on another" if facts["pinned"] else "nothing is pinned to a core"
    lines = [
        f"{facts['machine']}; {facts['server']}; {where}. {facts['rounds']} "
        f"round{'' if facts['rounds'] == 1 else 's'} of {facts['seconds']:g} s, medians. "
        f"{clients}."
    ]
    for transport in dict.fromkeys(cell.transport for cell in cells):
        here = [cell for cell in cells if cell.transport == transport]
        lines += ["", f"### {TITLES[transport]}"]
        tables = [("commands a second", _rate)]
        if transport == "tcp":  # those of the others are alike, and --json has them
            tables += [("client's µs of CPU a command", _cpu), ("connections for 10,000 commands", _connections)]
        for title, say in tables:
            lines += ["", _table(title, here, list(facts["clients"]), say)]
    failures = [f"{_name(cell)}: {cell.failure}" for cell in cells if cell.failure]
    if failures:
        lines += ["", "Failed:", "", *(f"- {each}" for each in failures)]
    return "\n".join(lines) + "\n"


def _name(cell: Any) -> str:
    return f"{cell.client}, {WAYS[cell.way]}, {cell.tasks:,} tasks, {TITLES[cell.transport]}"


def _table(title: str, cells: Sequence[Any], clients: Sequence[str], say: Callable[[Any], str]) -> str:
    lines = [f"| {title} | {' | '.join(clients)} |", "|---|" + "---:|" * len(clients)]
    for way in WAYS:
        for tasks in dict.fromkeys(cell.tasks for cell in cells if cell.way == way):
            found = {cell.client: cell for cell in cells if (cell.way, cell.tasks) == (way, tasks)}
            row = [say(found[client]) if client in found else "" for client in clients]
            number = f"{tasks:,} task{'' if tasks == 1 else 's'}"
            lines.append(f"| {WAYS[way]}, {number} | {' | '.join(row)} |")
    return "\n".join(lines)


def _rate(cell: Any) -> str:
    return "failed" if cell.failure else f"{cell.median('rates'):,.0f}"


def _cpu(cell: Any) -> str:
    value = cell.median("cpu")
    return "" if cell.failure or value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def connections(cell: Any) -> float | None:
    """Return the connections for 10,000 commands, or those of a pool, which needs no more for any number."""
    if cell.failure or not sum(cell.commands):
        return None
    if cell.way in ("shared", "classic"):
        return float(cell.median("connections"))
    return sum(map(int, cell.connections)) / sum(map(int, cell.commands)) * 10_000


def _connections(cell: Any) -> str:
    value = connections(cell)
    return "" if value is None else f"{value:,.0f}"
