"""Socket helpers of a test server: a free port, and a check whether a server listens on it."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Sequence
from typing import TypeAlias

HOST = "127.0.0.1"
BUS = 10_000  # from a cluster node's port to the port of its bus
Address: TypeAlias = str | tuple[str, int]

#: The password of all servers of this process: one, so that they can be replicas of each other.
PASSWORD = os.urandom(16).hex()

#: The ports of these servers, for a `Proxy` in front of one.
locked: set[int] = set()


def credentials(port: int) -> str:
    """Return what stands before the host in the URL of a port at 127.0.0.1."""
    return f":{PASSWORD}@" if port in locked else ""


def ask(address: Address, commands: Sequence[Sequence[str]], timeout: float) -> str:
    """Send commands over a connection of their own and return the first line of the last reply.

    The replies before it must be of one line. Raises OSError without an answer.
    """
    reply = b""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as connection:
        connection.settimeout(timeout)
        connection.connect(address)
        with connection.makefile("rb") as replies:
            for words in commands:
                parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
                connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
                reply = replies.readline()
    if not reply.endswith(b"\r\n"):
        raise ConnectionError("the server closed the connection")
    return reply.decode(errors="replace").rstrip()


def free_port() -> int:
    """Return a TCP port without a listener at this moment, and without one on the cluster bus, 10,000 above it.

    Both lie below the ports that operating systems give to outgoing connections: otherwise a connection of any
    process might sit on one of them by the time the server binds.
    """
    chance = random.SystemRandom()  # tests seed the shared generator, in many processes alike
    while True:
        port = chance.randrange(10_240, 22_760)
        if _is_free(port) and _is_free(port + BUS):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
