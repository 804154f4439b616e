"""A connection to the server for its own count of the connections that it has received."""

from __future__ import annotations

import re
import socket

from aioresp.testing import Server


class Talk:
    def __init__(self, process: Server) -> None:
        self._socket = socket.create_connection((process.host, process.port))
        self._file = self._socket.makefile("rb")

    def received(self) -> int:
        """Return `total_connections_received`."""
        self._socket.sendall(b"INFO stats\r\n")
        length = int(self._file.readline()[1:])
        text = self._file.read(length + 2).decode()
        found = re.search(r"total_connections_received:(\d+)", text)
        assert found is not None
        return int(found[1])

    def close(self) -> None:
        self._file.close()
        self._socket.close()
