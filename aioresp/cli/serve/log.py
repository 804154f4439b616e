"""Log of a server that runs in the foreground, as far as its user should hear of it.

Owns the place up to which it was read. Never shows what a server says though nothing is wrong.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from aioresp.testing import Server

#: A line at warning level: its process and role, the date, the level, the text.
_WARNING: Final = re.compile(r"\d+:\w [\w :.]+ # (.*)")

#: Warnings of a server about its start and end, though nothing is wrong.
_USUAL: Final = re.compile("signal handler|shutdown|bye bye|Memory overcommit|Transparent Huge", re.IGNORECASE)


class Log:
    """The warnings of one server from now on."""

    def __init__(self, server: Server) -> None:
        self._path = os.path.join(server.folder, "server.log")
        self._read = os.path.getsize(self._path)

    def warnings(self) -> Iterator[str]:
        """Return the warnings since the last look."""
        with open(self._path, "rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # the rest of it comes later
                    break
                self._read += len(line)
                found = _WARNING.match(line.decode(errors="replace").rstrip())
                if found is not None and not _USUAL.search(found[1]):
                    yield found[1]
