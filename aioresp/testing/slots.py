"""Hash slots, and what a node of a cluster says about the nodes in CLUSTER NODES.

Owns the arithmetic of slots and the reading of these lines. Never talks to a server.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from itertools import pairwise

SLOTS = 16_384


@dataclass(frozen=True, slots=True)
class NodeLine:
    """A line of CLUSTER NODES."""

    id: str
    flags: frozenset[str]
    primary_id: str | None
    epoch: int
    linked: bool
    slots: tuple[range, ...]
    leaving: dict[int, str]
    """Slots on their way to another node, and its id; only a node itself tells of them."""
    arriving: dict[int, str]
    """Slots on their way from another node, and its id."""
    hostname: str

    @property
    def is_primary(self) -> bool:
        """Whether the node is a primary, with slots or without."""
        return "master" in self.flags

    def owns(self, slot: int) -> bool:
        """Return whether the slot is the node's."""
        return self.is_primary and any(slot in each for each in self.slots)


def keyslot(key: str | bytes) -> int:
    """Return the slot of a key: that of what stands between its first `{` and the next `}`, if anything does."""
    data = key if isinstance(key, bytes) else key.encode(errors="surrogateescape")
    start = data.find(b"{") + 1
    end = data.find(b"}", start) if start else -1
    return binascii.crc_hqx(data[start:end] if end > start else data, 0) % SLOTS


def share_out(primaries: int) -> list[range]:
    """Return the slots of each primary: all slots, in shares of equal size."""
    ends = [round(SLOTS * n / primaries) for n in range(primaries + 1)]
    return [range(*pair) for pair in pairwise(ends)]


def parse_nodes(text: str) -> dict[str, NodeLine]:
    """Return the lines of CLUSTER NODES by node id, without nodes that are still shaking hands."""
    found = {}
    for line in text.splitlines():
        name, address, flags, primary, _, _, epoch, link, *slots = line.split()
        if "handshake" in flags or "noaddr" in flags.split(","):
            continue
        ranges = []
        leaving, arriving = {}, {}
        for word in slots:
            first, _, rest = word.strip("[]").partition("-")
            if not word.startswith("["):
                ranges.append(range(int(first), int(rest or first) + 1))
            elif rest.startswith(">"):  # [slot->-id]
                leaving[int(first)] = rest[2:]
            else:  # [slot-<-id]
                arriving[int(first)] = rest[2:]
        owner = None if primary == "-" else primary
        hostname = next((word for word in address.split(",")[1:] if "=" not in word), "")
        linked = link == "connected"
        found[name] = NodeLine(
            name, frozenset(flags.split(",")), owner, int(epoch), linked, tuple(ranges), leaving, arriving, hostname
        )
    return found
