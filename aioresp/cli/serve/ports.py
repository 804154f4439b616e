"""Ports that are taken, and the processes that hold them.

Owns the check before a start. Never ends or asks another process.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from aioresp.cli.faults import Fault
from aioresp.testing.sockets import ask


def check(host: str, ports: Iterable[int]) -> None:
    """Raise Fault, naming the holder if it is known, unless a server can listen on all of these ports."""
    for port in ports:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise Fault(f"--host {host}: {error.strerror}") from None
        family, _, _, _, address = found[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
                probe.listen(1)
            except OSError as error:
                raise Fault(refusal(host, port, error)) from None


def refusal(host: str, port: int, error: OSError) -> str:
    """Return the sentence about a port that cannot be had."""
    if error.errno != errno.EADDRINUSE:
        return f"cannot listen on {f'{host}, port {port}' if port else host}: {error.strerror}"
    return f"port {port} is in use{_held(port)}: end that, or take another by --port (0 takes a free one)"


def _held(port: int) -> str:
    """Return what holds a port, as the end of a phrase; nothing if that is not known."""
    found = _holder(port)
    said = "" if found is None else f" by {found[1]} (process {found[0]})"
    try:
        answer = ask(("127.0.0.1", port), [["PING"]], 1.0)
    except OSError:
        return said
    redis = answer == "+PONG" or answer.startswith(("-NOAUTH", "-DENIED", "-LOADING"))
    if not said and redis:
        return " by a Redis or Valkey server"
    return said


def _holder(port: int) -> tuple[int, str] | None:
    """Return process id and name of the process that listens on a port; None unless this system and user can tell."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # LISTEN
                inodes.add(fields[9])
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for handle in os.listdir(process / "fd"):
                link = os.readlink(process / "fd" / handle)
                found = re.fullmatch(r"socket:\[(\d+)\]", link)
                if found is not None and found[1] in inodes:
                    return int(process.name), (process / "comm").read_text().strip()
        except OSError:
            continue
    return None
