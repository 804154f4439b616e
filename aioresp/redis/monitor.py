"""Lines of MONITOR as a server writes them, from the commands of a monitor.

Owns their one format. Never reads from the network.
"""

from __future__ import annotations

from typing import Final

from aioresp.pubsub.monitor import MonitoredCommand

_ESCAPES: Final = {**{value: f"\\x{value:02x}" for value in range(256) if not 32 <= value < 127}}
_ESCAPES.update({ord('"'): '\\"', ord("\\"): "\\\\", 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"})


def as_line(command: MonitoredCommand[bytes]) -> bytes:
    """Return the line for a command."""
    words = (each.decode("latin-1").translate(_ESCAPES) for each in command.arguments)
    said = " ".join(f'"{word}"' for word in words)
    return f"{command.time:.6f} [{command.db} {command.client!s}] {said}".encode("latin-1")
