"""Greeting of a server: the fields of its reply to HELLO.

Owns the fields that the core uses. Never raises: a field that the server does not send, or sends in another type, is
None.
"""

from __future__ import annotations

from typing import Any

from aioresp.record import Record


class Greeting(Record):
    """The server's words about itself and a connection; with RESP2 only the `id` is known."""

    id: int | None = None
    """The server's number for the connection."""
    server: str | None = None
    """The kind of server, such as redis or valkey."""
    version: str | None = None
    mode: str | None = None
    """One of standalone, sentinel and cluster."""
    role: str | None = None
    """One of master and replica (older servers say slave), at the time of the handshake."""
    availability_zone: str | None = None
    """The server's zone, if it is configured (Valkey 8.1)."""

    @classmethod
    def read(cls, said: Any) -> Greeting:
        """Return the greeting in the reply to HELLO."""
        if type(said) is not dict:
            return cls()
        texts = {name: said.get(name) for name in ("server", "version", "mode", "role", "availability_zone")}
        return cls(number(said.get("id")), **{name: text for name, text in texts.items() if type(text) is str and text})


def number(said: Any) -> int | None:
    """Return the server's number of a connection, which CLIENT UNBLOCK needs; None if it is not an int."""
    return said if type(said) is int else None
