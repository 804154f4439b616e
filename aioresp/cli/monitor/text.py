"""Plain text of one moment, on one screen of 80 columns: what `--once` prints.

Owns the lines and their order. Never reads anything.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Final

from aioresp.cli.monitor.reading import Reading
from aioresp.cli.monitor.rows import ClientRow, CommandRow, Listing, QueueRow, SlowRow
from aioresp.cli.monitor.source import Moment, NodeMoment
from aioresp.cli.monitor.words import amount, duration, place

WIDTH: Final = 80
_LABEL: Final = 14
#: Commands, queues, slow commands and names of clients that are told.
_COMMANDS: Final = 6
_OTHERS: Final = 3


def text(
    moment: Moment,
    clients: Listing[ClientRow],
    commands: Listing[CommandRow],
    slow: Listing[SlowRow],
    queues: Listing[QueueRow],
) -> str:
    """Return the figures of one moment, and the warnings."""
    whole = moment.whole
    lines = [_head(moment)]
    if whole.trouble:
        lines += _wrapped("", whole.sentence(moment.address, moment.at))
    if whole.remark:
        lines += _wrapped("", whole.remark)
    if whole.lacks:
        lines += _wrapped("", whole.lacks)
    lines.append("")
    if whole.reading is not None:
        for label, parts in _figures(whole, whole.reading):
            lines += _row(label, parts)
    if moment.is_cluster:
        lines += ["", *_nodes(moment)]
    for label, parts in (
        ("commands", _commands(commands)),
        ("clients", _clients(clients)),
        ("slow", _slow(slow, moment.at)),
        ("queues", _queues(queues)),
    ):
        lines += _row(label, parts)
    lines.append("")
    for notice in moment.notices:
        where = f"{notice.node}: " if notice.node else ""
        lines += _wrapped("! ", f"{where}{notice.text} (docs:\0{notice.page})")
    if not moment.notices and whole.reading is not None and not whole.trouble:
        lines.append("no warnings")
    return "\n".join(line.rstrip() for line in lines).replace("\0", " ")


def _head(moment: Moment) -> str:
    whole = moment.whole
    said = ["aioresp monitor"]
    address = place(moment.address)
    if whole.reading is None:
        return f"{said[0]}  {address}"
    identity, replication = whole.reading.identity, whole.reading.replication
    said += [f"{identity.flavour} {identity.version}", address, f"up {duration(identity.uptime)}"]
    if moment.is_cluster:
        said.append(f"{len(moment.nodes)} nodes")
    else:
        count = len(replication.replicas)
        said.append(f"{replication.role}, {count} replica{'' if count == 1 else 's'}" if count else replication.role)
    said.append("AOF on" if whole.reading.persistence.aof else "no AOF")
    said.append(identity.policy)
    return "\n".join(textwrap.wrap("  ".join(each.replace(" ", "\0") for each in said), WIDTH)).replace("\0", " ")


def _figures(whole: NodeMoment, reading: Reading) -> Iterator[tuple[str, list[str]]]:
    rates, c, m = whole.rates, reading.connections, reading.memory
    limit = f" of {c.limit:,}" if c.limit else ""
    parts = [f"{c.open:,} open{limit}"]
    if rates is not None:
        parts.append(f"received {_a_second(rates.received)}")
    parts += [f"received in all {c.received:,}", f"blocked {c.blocked:,}", f"rejected {c.rejected:,}"]
    yield "connections", [*parts, *([] if c.pubsub is None else [f"pub/sub {c.pubsub:,}"])]
    if rates is not None:
        found = (
            "no lookups"
            if rates.hit_rate is None
            else f"{rates.hit_rate:.1%} of {_a_second(rates.hits + rates.misses)}"
        )
        yield (
            "traffic",
            [
                f"{_a_second(rates.commands)} commands",
                f"in {amount(rates.bytes_in)}/s",
                f"out {amount(rates.bytes_out)}/s",
                f"failed {_a_second(rates.errors)}",
            ],
        )
        yield "hit rate", [found, f"expired {_a_second(rates.expired)}", f"evicted {_a_second(rates.evicted)}"]
        yield "cpu", [f"{rates.cpu:.0%} of a core" if rates.cpu >= 0.01 else f"{rates.cpu:.1%} of a core"]
    memory = f"{amount(m.used)} of {amount(m.limit)}" if m.limit else f"{amount(m.used)}, no limit"
    yield (
        "memory",
        [memory, f"peak {amount(m.peak)}", f"rss {amount(m.rss)}", f"fragmentation {m.fragmentation:.2f}"],
    )
    each = [f"db{one.number} {one.keys:,}" for one in reading.databases if len(reading.databases) > 1]
    yield "keys", [f"{reading.keys:,}", f"{reading.expiring:.0%} with a TTL", *each]
    yield "persistence", _persistence(reading)
    yield "replication", _replication(reading)


def _persistence(reading: Reading) -> list[str]:
    p = reading.persistence
    parts = [("AOF on" if p.aof_ok else "AOF FAILED") if p.aof else "AOF off"]
    if not p.save_ok:
        parts.append("last save FAILED")
    else:
        parts.append("not saved yet" if reading.since_save is None else f"last save {duration(reading.since_save)} ago")
    parts.append(f"{p.changes:,} changes since")
    parts += [name for name, doing in (("saving", p.saving), ("rewriting the AOF", p.rewriting)) if doing]
    return [*parts, *([f"fork {p.fork / 1000:.1f} ms"] if p.fork else [])]


def _replication(reading: Reading) -> list[str]:
    r = reading.replication
    if r.role == "replica":
        link = "link up" if r.link_up else f"link DOWN for {duration(r.link_down_for)}"
        return [f"replica of {r.primary}", link, f"offset {r.offset:,}"]
    behind = [f"{each.address} {each.state}, {amount(each.lag_bytes)} behind" for each in r.replicas]
    return behind or ["no replicas"]


def _nodes(moment: Moment) -> Iterator[str]:
    width = max(len(each.node) for each in moment.nodes)
    yield f"{'node':{width}}  {'role':7} {'open':>6} {'made/s':>7} {'ops/s':>8} {'memory':>8} {'keys':>10} {'cpu':>5}"
    for each in moment.nodes:
        reading, rates = each.reading, each.rates
        if reading is None or each.trouble:
            yield f"{each.node:{width}}  {each.trouble or each.lacks}"
            continue
        made, ops, cpu = (
            ("-", "-", "-")
            if rates is None
            else (
                f"{rates.received:.1f}",
                f"{rates.commands:,.0f}",
                f"{rates.cpu:.0%}",
            )
        )
        yield (
            f"{each.node:{width}}  {reading.replication.role:7} {reading.connections.open:>6,} {made:>7} {ops:>8} "
            f"{amount(reading.memory.used):>8} {reading.keys:>10,} {cpu:>5}"
        )


def _commands(found: Listing[CommandRow]) -> list[str]:
    if found.lacks:
        return [found.lacks]
    sums: Counter[str] = Counter()
    for row in found.rows:
        sums[row.name] += row.calls  # type: ignore[assignment]  # a Counter adds up floats as well
    times = {row.name: row.microseconds for row in found.rows}
    return [
        f"{name} {_a_second(calls)} {times[name]:,.0f} µs" for name, calls in sums.most_common(_COMMANDS) if calls > 0
    ]


def _clients(found: Listing[ClientRow]) -> list[str]:
    if found.lacks or not found.rows:
        return [found.lacks or found.note] if found.lacks or found.note else []
    names = Counter(row.name or row.library or "without a name" for row in found.rows if not row.own)
    return [f"{count:,} {name}" for name, count in names.most_common(_COMMANDS)]


def _slow(found: Listing[SlowRow], at: float) -> list[str]:
    latest = [row for row in found.rows if row.kind == "slow"][:_OTHERS]
    told = [
        f"{textwrap.shorten(row.command, 30, placeholder='...') or row.command[:27]} {row.milliseconds:,.1f} ms, "
        f"{duration(at - row.at)} ago"
        for row in latest
    ]
    return [*told, *([found.lacks] if found.lacks else [])]


def _queues(found: Listing[QueueRow]) -> list[str]:
    told = [
        f"{row.name}: {row.waiting:,} waiting, {row.delayed:,} delayed, {row.running:,} running, {row.dead:,} dead"
        for row in found.rows[:_OTHERS]
    ]
    return [*told, *([found.lacks] if found.lacks else [])]


def _a_second(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 9.95 or rate < 0.05 else f"{rate:.1f}/s"


def _row(label: str, parts: list[str]) -> list[str]:
    """Return a row with its label; what does not fit goes on below."""
    if not parts:
        return []
    lines, line = [], ""
    for part in parts:
        if line and _LABEL + len(line) + 3 + len(part) > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line}   {part}" if line else part
    wrapped = [each for one in [*lines, line] for each in textwrap.wrap(one, WIDTH - _LABEL) or [""]]
    if any("   " in each for each in (*lines, line)):
        wrapped = [*lines, line]
    return [f"{label if number == 0 else '':{_LABEL}}{each}" for number, each in enumerate(wrapped)]


def _wrapped(sign: str, sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, initial_indent=sign, subsequent_indent=" " * len(sign)) or [""]
