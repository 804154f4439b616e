"""Verdict on a way: what its speed is limited by, and how to see more.

Owns the thresholds and the sentences. Never measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aioresp.cli.bench.plan import Plan
from aioresp.cli.bench.progress import Lane
from aioresp.cli.bench.ways import LIMIT

#: Part of the time from which a process counts as busy all the time.
_BUSY: Final = 0.75

#: Part of the time in which a process waits for a core, from which that is told.
_WAITS: Final = 0.15

#: The same, from which nothing else can be told.
_CROWDED: Final = 0.3

#: Part of a rate from which it counts as reached.
_REACHED: Final = 0.97


@dataclass(frozen=True)
class Verdict:
    """The limit of a way: "rate", "machine", "client", "server", "pool" or "round trip"."""

    limit: str
    client: float
    """Processor time of this process, as a part of the time."""
    delay: float | None
    """Time that this process waited for a core, likewise."""
    server: float | None
    """Time of the server's main thread, with what it waited for a core; of the busiest server in a cluster."""
    reached: bool | None
    """Whether the rate was reached; None without one."""


def judge(lane: Lane, plan: Plan) -> Verdict:
    """Return what limits a way."""
    seconds = lane.total.seconds or 1e-9
    client = lane.cpu / seconds
    delay = None if lane.delay is None else lane.delay / seconds
    server = lane.used.busiest / lane.used.seconds if lane.used.seconds and lane.used.commands else None
    reached = None
    if plan.rate is not None:
        reached = lane.rate >= plan.rate * _REACHED and not lane.total.unsent
    if reached:
        limit = "rate"
    elif delay is not None and delay >= _CROWDED:
        limit = "machine"
    elif client + (delay or 0.0) >= _BUSY and client + (delay or 0.0) >= (server or 0.0):
        limit = "client"
    elif server is not None and server >= _BUSY:
        limit = "server"
    elif lane.way == "classic" and plan.tasks > LIMIT:
        limit = "pool"
    else:
        limit = "round trip"
    return Verdict(limit, client, delay, server, reached)


def sentences(lanes: list[Lane], plan: Plan) -> list[str]:
    """Return who is the limit of which way, and what to do to see more."""
    found: dict[tuple[str, bool], list[tuple[Lane, Verdict]]] = {}
    for lane in lanes:
        if lane.rounds:
            verdict = judge(lane, plan)
            found.setdefault((verdict.limit, verdict.reached is False), []).append((lane, verdict))
    said = []
    for (limit, missed), pairs in found.items():
        ways = " and ".join([", ".join(lane.way for lane, _ in pairs[:-1]), pairs[-1][0].way][len(pairs) < 2 :])
        text = _SENTENCES[limit](plan, pairs)
        if missed and plan.rate is not None:
            most = max(lane.rate for lane, _ in pairs)
            text = f"the rate of {plan.rate:,.0f} was not reached ({most:,.0f} at most), and so calls waited; {text}"
        said.append(f"{ways}: {text}")
    return said


def _rate(plan: Plan, pairs: list[tuple[Lane, Verdict]]) -> str:
    return f"the rate of {plan.rate:,.0f} a second is the limit, and it was kept. {_waited(pairs)}".rstrip()


def _client(plan: Plan, pairs: list[tuple[Lane, Verdict]]) -> str:
    clients = _range([verdict.client for _, verdict in pairs])
    servers = [verdict.server for _, verdict in pairs if verdict.server is not None]
    server = f", the server {_range(servers)}" if servers else ""
    text = f"this process is the limit, not the server. It used {clients} of a core{server}. "
    text += _waited(pairs)
    pipeline = f" -P {plan.pipeline}" if plan.pipeline > 1 else ""
    return text + f"`redis-benchmark -c {plan.tasks}{pipeline}` or several processes show what the server can do."


def _machine(plan: Plan, pairs: list[tuple[Lane, Verdict]]) -> str:
    clients = _range([verdict.client for _, verdict in pairs])
    delays = _range([verdict.delay or 0.0 for _, verdict in pairs])
    return (
        f"this machine is the limit, as others use its cores. This process waited for one {delays} of the time, and "
        f"used {clients} of one. Measure again when the machine is quiet."
    )


def _waited(pairs: list[tuple[Lane, Verdict]]) -> str:
    delays = [verdict.delay for _, verdict in pairs if verdict.delay is not None]
    if not delays or max(delays) < _WAITS:
        return ""
    return f"This process waited for a core {_range(delays)} of the time, as others use this machine. "


def _server(plan: Plan, pairs: list[tuple[Lane, Verdict]]) -> str:
    servers = _range([verdict.server for _, verdict in pairs if verdict.server is not None])
    return (
        f"the server is the limit. Its main thread was busy {servers} of the time. "
        "A cluster, or more io-threads where its reads and writes dominate, would do more."
    )


def _pool(plan: Plan, pairs: list[tuple[Lane, Verdict]]) -> str:
    return f"the {LIMIT} connections are the limit. Each waits for its reply, and {plan.tasks} tasks wait for them."


def _trip(plan: Plan, pairs: list[tuple[Lane, Verdict]]) -> str:
    clients = _range([verdict.client for _, verdict in pairs])
    return (
        f"the round trip is the limit. {plan.tasks} tasks wait for replies, and this process used {clients} of a core. "
        f"More tasks (-c {plan.tasks * 10}) or pipelines (-P 10) send more at a time."
    )


_SENTENCES = {
    "rate": _rate,
    "machine": _machine,
    "client": _client,
    "server": _server,
    "pool": _pool,
    "round trip": _trip,
}


def _range(parts: list[float]) -> str:
    low, high = round(min(parts) * 100), round(max(parts) * 100)
    return f"{low} %" if low == high else f"{low} to {high} %"
