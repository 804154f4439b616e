"""Greeting of a server: the fields of its reply to HELLO.

Owns the fields that the core uses, and what INFO adds to them. Never raises: a field that the server does not send, or
sends in another type, is None.
"""

from __future__ import annotations

from typing import Any

from aioresp.record import Record


class Greeting(Record):
    """The server's words about itself and a connection; with RESP2 the `id` and the words of INFO alone are known."""

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
    """The server's zone, if it is configured, from HELLO (Valkey 8.1) or INFO (Valkey 8.0)."""
    seen_as: str | None = None
    """The addresses of the connection's ends as the server sees them; None before it was asked, "" if unknown."""
    run_id: str | None = None
    """The identity of the server's process, from INFO; no two servers have the same one."""
    protocol: int = 2
    """The version of RESP: 3 once the server has accepted HELLO 3."""

    @classmethod
    def read(cls, said: Any) -> Greeting:
        """Return the greeting in the undecoded reply to HELLO; a zone that is not UTF-8 is escaped."""
        if type(said) is not dict:
            return cls(protocol=3)
        names = ("server", "version", "mode", "role", "availability_zone")
        texts = {name: said.get(name.encode()) for name in names}
        words = {name: text.decode("utf-8", "backslashreplace") for name, text in texts.items() if type(text) is bytes}
        return cls(number(said.get(b"id")), protocol=3, **{name: word for name, word in words.items() if word})

    def completed(self, said: Any) -> Greeting:
        """Return the greeting with what the undecoded reply to INFO adds; what is known already stays."""
        return self.replace(
            run_id=self.run_id or _told(said, b"run_id"),
            availability_zone=self.availability_zone or _told(said, b"availability_zone"),
        )


def _told(said: Any, name: bytes) -> str | None:
    """Return a field in the undecoded reply to INFO; None if the server does not tell it."""
    if type(said) is not bytes:
        return None
    _, found, rest = said.partition(b"\n%b:" % name)
    text = rest.partition(b"\n")[0].strip() if found else b""
    return text.decode("utf-8", "backslashreplace") or None


def number(said: Any) -> int | None:
    """Return the server's number of a connection, which CLIENT UNBLOCK needs; None if it is not an int."""
    return said if type(said) is int else None
