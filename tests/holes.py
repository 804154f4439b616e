"""Addresses from which no answer comes, as from behind a firewall that drops packets."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listener(stack: ExitStack, address: str, port: int, backlog: int = 100) -> socket.socket:
    """Return a socket that listens and accepts nothing: the kernel answers, and nobody else."""
    sock = stack.enter_context(socket.socket(family(address), socket.SOCK_STREAM))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
    except OSError as error:
        pytest.skip(f"no {address} here: {error}")
    sock.listen(backlog)
    return sock


def black_hole(stack: ExitStack, address: str, port: int = 0) -> int:
    """Make the kernel drop what comes to this address, as its backlog is full; return the port."""
    port = listener(stack, address, port, 0).getsockname()[1]
    for _ in range(4):
        filler = stack.enter_context(socket.socket(family(address), socket.SOCK_STREAM))
        filler.setblocking(False)
        filler.connect_ex((address, port))
    return port
