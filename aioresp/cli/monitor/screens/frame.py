"""Frame around the panes: the line about the server, the banner of a lost one, and the band of warnings.

Owns what they say. Never asks a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical

from aioresp.cli.monitor.rows import Notice
from aioresp.cli.monitor.screens.grid import plain
from aioresp.cli.monitor.screens.parts import Line
from aioresp.cli.monitor.screens.units import span
from aioresp.cli.monitor.source import Moment, NodeMoment
from aioresp.cli.monitor.words import place

__all__ = ["Band", "Header", "trouble_of"]

#: Warnings that the band shows before it says how many more there are.
_SHOWN: Final = 3


class Header(Line):
    """The server, and how the monitor reads it. Words that do not fit are left out, the last first."""

    DEFAULT_CSS = "Header { padding: 0 1; background: $panel; }"

    def show_server(self, moment: Moment | None, node: NodeMoment | None, address: str, state: str, kind: str) -> None:
        """Show which server it is, and at the right the state of the monitor."""
        pieces = ["aioresp monitor"]
        if moment is None or node is None or node.reading is None:
            pieces.append(place(address))
        else:
            reading = node.reading
            identity = reading.identity
            pieces.append(f"{identity.flavour} {identity.version}")
            address = node.node or place(moment.address)
            state_of_disk = "AOF on" if reading.persistence.aof else "AOF off"
            if moment.is_cluster and not node.node:
                # Its address is long: a seed for each node.
                pieces += [f"cluster of {len(moment.nodes)}", state_of_disk, identity.policy, address]
            else:
                count = len(reading.replication.replicas)
                replicas = f", {count} replica{'s' * (count != 1)}" if count else ""
                pieces += [address, f"{reading.replication.role}{replicas}", f"up {span(identity.uptime)}"]
                pieces += [state_of_disk, identity.policy]
        room = self.size.width - cell_len(state) - 2
        while len(pieces) > 2 and cell_len("   ".join(filter(None, pieces))) > room:
            pieces.pop()
        self.show("   ".join(filter(None, pieces)), state, kind="strong", right_kind=kind)


class Band(Vertical):
    """Warnings in words; nothing where nothing is wrong."""

    DEFAULT_CSS = """
    Band { height: auto; background: $band; padding: 0 1; }
    Band.-none { display: none; }
    """

    def __init__(self) -> None:
        super().__init__(classes="-none")
        self.lines = [Line() for _ in range(_SHOWN)]

    def compose(self) -> ComposeResult:
        """Put the lines one below another."""
        yield from self.lines

    def show(self, notices: Sequence[Notice]) -> None:
        """Show the first of these warnings, and how many more there are."""
        self.set_class(not notices, "-none")
        shown = list(notices[:_SHOWN]) if len(notices) <= _SHOWN else list(notices[: _SHOWN - 1])
        for line, notice in zip(self.lines, shown, strict=False):
            kind = "error" if notice.level == "critical" else "warning"
            where = f"{notice.node}: " if notice.node else ""
            line.show(f"! {where}{plain(notice.text)}", f"docs: {notice.page}", kind=kind, right_kind="muted")
            line.display = True
        for line in self.lines[len(shown) :]:
            line.display = False
        if len(notices) > _SHOWN:
            line = self.lines[-1]
            line.display = True
            line.show(f"  and {len(notices) - len(shown)} more: w shows all", "", kind="muted")

    @property
    def text(self) -> str:
        """All that the band says."""
        return "\n".join(line.text for line in self.lines if line.display) if not self.has_class("-none") else ""


def trouble_of(moment: Moment, node: NodeMoment, now: float) -> str:
    """Return what is wrong with a server, or with some of a cluster's, in a sentence; "" if nothing is."""
    if node.trouble:
        return node.sentence(moment.address, now)
    if node.lacks:
        return node.lacks
    lost = [each for each in moment.nodes if each.trouble]
    if len(lost) == 1:
        return lost[0].sentence(moment.address, now)
    if lost and not node.node:
        return f"{len(lost)} of {len(moment.nodes)} nodes do not answer: {', '.join(each.node for each in lost)}"
    return ""
