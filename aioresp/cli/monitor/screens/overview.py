"""Overview: the figures of one server, or of a whole cluster, with their curves.

Owns which figure stands where. Never asks a server: it is shown moments.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Grid as Layout

from aioresp.cli.monitor.rates import Rates
from aioresp.cli.monitor.reading import Reading
from aioresp.cli.monitor.screens.curve import Curve
from aioresp.cli.monitor.screens.parts import Card, Figure
from aioresp.cli.monitor.screens.past import Past
from aioresp.cli.monitor.screens.units import UNKNOWN, clock, count, duration, percent, rate, size, span
from aioresp.cli.monitor.source import NodeMoment

__all__ = ["Overview"]


class Overview(Layout):
    """Eight cards; the first and largest is about connections, which is what this monitor is for."""

    DEFAULT_CSS = """
    Overview {
        grid-size: 3 3;
        grid-rows: 6fr 5fr 5fr;
        grid-gutter: 1 1;
        padding: 0;
    }
    Overview.-tall { grid-rows: 10fr 6fr 5fr; }
    Overview.-short { grid-rows: 1fr 1fr 6; grid-gutter: 0 1; }
    Overview > #received { column-span: 2; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        # A pool that makes its second connection is no climb: ten connections are the least that fill the card.
        self._received = Card("connections received", Curve(least=10, hero=True), id="received", lines=1)
        self._open = Card("connections open", Curve(room=1.3), id="open")
        self._commands = Card("commands", Curve(), id="commands")
        self._memory = Card("memory", Curve(room=1.3), id="memory")
        self._hits = Card("hit rate", Curve(high=1.0), id="hits")
        self._cpu = Card("cpu", Curve(least=0.01), id="cpu")
        self._persistence = Card("persistence", id="persistence")
        self._replication = Card("replication", id="replication")

    def compose(self) -> ComposeResult:
        """Put the cards in their places."""
        yield self._received
        yield self._open
        yield self._commands
        yield self._memory
        yield self._hits
        yield self._cpu
        yield self._persistence
        yield self._replication

    def on_resize(self) -> None:
        """Give what is free of a tall terminal to the connections; in a short one, let the cards touch each other."""
        self.set_class(self.size.height >= 28, "-tall")
        self.set_class(self.size.height < 20, "-short")

    def show(self, moment: NodeMoment, past: Past, alarms: frozenset[str]) -> None:
        """Show a moment. `alarms` are the names of the notices that belong to it."""
        reading, rates = moment.reading, moment.rates
        stale = bool(moment.trouble)
        if reading is None:
            for card in self.query(Card):
                card.show("", [], [], stale=True)
            return
        self._show_connections(reading, rates, past, alarms, stale)
        self._commands.show(
            rate(rates.commands if rates else None),
            past.rates(lambda each: each.commands),
            [
                [
                    ("in", f"{size(rates.bytes_in)}/s" if rates else UNKNOWN),
                    ("failed", rate(rates.errors if rates else None), "warning" if rates and rates.errors >= 1 else ""),
                ],
                [
                    ("out", f"{size(rates.bytes_out)}/s" if rates else UNKNOWN),
                    ("peak", rate(self._commands.curve.peak if self._commands.curve else None)),
                ],
            ],
            stale=stale,
        )
        self._show_memory(reading, rates, past, alarms, stale)
        self._show_cpu(reading, rates, past, stale)
        self._show_persistence(reading, stale)
        self._show_replication(reading, stale)

    def _show_connections(
        self, reading: Reading, rates: Rates | None, past: Past, alarms: frozenset[str], stale: bool
    ) -> None:
        connections = reading.connections
        curve = self._received.curve
        window = min(len(past), curve.size.width if curve else 0)
        self._received.show(
            f"+{rate(past.pace())}" if rates else UNKNOWN,
            _from_window(past.received(), window),
            [
                [
                    (f"last {clock(past.seconds(window))}", f"+{count(curve.rising if curve else 0)}"),
                    ("in all", count(connections.received)),
                    ("rejected", count(connections.rejected), "warning" if connections.rejected else ""),
                ]
            ],
            kind="warning" if "connections" in alarms else "strong",
            stale=stale,
        )
        self._open.show(
            count(connections.open),
            past.readings(lambda each: each.connections.open),
            [
                [("of", count(connections.limit)), ("blocked", count(connections.blocked))],
                [("pub/sub", count(connections.pubsub)), ("buffer", size(connections.largest_output))],
            ],
            kind="warning" if alarms & {"maxclients", "blocked", "output"} else "strong",
            stale=stale,
        )

    def _show_memory(
        self, reading: Reading, rates: Rates | None, past: Past, alarms: frozenset[str], stale: bool
    ) -> None:
        memory = reading.memory
        self._memory.show(
            f"{size(memory.used)} of {size(memory.limit)}" if memory.limit else size(memory.used),
            past.readings(lambda each: each.memory.used),
            [
                [
                    ("rss", size(memory.rss)),
                    (
                        "evicted",
                        rate(rates.evicted if rates else None),
                        "warning" if rates and rates.evicted else "",
                    ),
                ],
                [("peak", size(memory.peak)), ("frag", f"{memory.fragmentation:.2f}")],
            ],
            kind="warning" if alarms & {"memory", "evictions", "fragmentation"} else "strong",
            stale=stale,
        )
        self._hits.show(
            percent(rates.hit_rate if rates else None),
            past.rates(lambda each: each.hit_rate),
            [
                [
                    ("misses", rate(rates.misses if rates else None)),
                    ("expired", rate(rates.expired if rates else None)),
                ],
                [
                    ("keys", count(reading.keys)),
                    ("ttl", f"{reading.expiring * 100:.0f} %" if reading.keys else UNKNOWN),
                ],
            ],
            kind="warning" if "hit_rate" in alarms else "strong",
            stale=stale,
        )

    def _show_cpu(self, reading: Reading, rates: Rates | None, past: Past, stale: bool) -> None:
        totals = reading.totals
        kernel = totals.cpu_system / ((totals.cpu_user + totals.cpu_system) or 1)
        self._cpu.show(
            percent(rates.cpu if rates else None),
            past.rates(lambda each: each.cpu),
            [
                [("of one core", "")],
                [("kernel", percent(kernel, 0)), ("in all", span(totals.cpu_user + totals.cpu_system))],
            ],
            stale=stale,
        )

    def _show_persistence(self, reading: Reading, stale: bool) -> None:
        found = reading.persistence
        ok = found.save_ok and found.aof_ok
        saved = reading.since_save
        state = "failed" if not ok else "rewriting" if found.rewriting else "saving" if found.saving else "ok"
        self._persistence.show(
            state,
            [],
            [
                [
                    (
                        "AOF",
                        ("on" if found.aof_ok else "on, failed") if found.aof else "off",
                        "" if found.aof_ok else "error",
                    )
                ],
                [("saved", "not yet" if saved is None else f"{span(saved)} ago")],
                [("changes", count(found.changes))],
                [("fork", duration(found.fork / 1e6) if found.fork else UNKNOWN)],
                [("evicts", reading.identity.policy)],
            ],
            kind="error" if not ok else "strong",
            stale=stale,
        )

    def _show_replication(self, reading: Reading, stale: bool) -> None:
        found = reading.replication
        figures: list[Figure] = []
        if found.role == "replica":
            down = f"down for {span(found.link_down_for)}"
            figures += [
                ("of", found.primary or UNKNOWN),
                (
                    "link",
                    "receives all data" if found.syncing else "up" if found.link_up else down,
                    "" if found.link_up else "error",
                ),
            ]
        else:
            online = sum(replica.state == "online" for replica in found.replicas)
            figures.append(("replicas", f"{online} online" if found.replicas else "none"))
            if online < len(found.replicas):
                figures[-1] = ("replicas", f"{online} online of {len(found.replicas)}", "warning")
            if found.replicas:
                worst = max(found.replicas, key=lambda replica: replica.lag_bytes)
                figures.append(("lag", f"{size(worst.lag_bytes)}, {worst.lag_seconds} s"))
        figures.append(("offset", count(found.offset)))
        figures.append(("up", span(reading.identity.uptime)))
        self._replication.show(
            found.role, [], [[figure] for figure in figures], kind="strong" if found.link_up else "error", stale=stale
        )


def _from_window(values: list[float | None], window: int) -> list[float | None]:
    """Return the latest values less the first of them, so that the curve lies on the ground where it is flat."""
    shown = values[-window:] if window else values
    first = next((value for value in shown if value is not None), 0.0)
    return [None if value is None else value - first for value in shown]
