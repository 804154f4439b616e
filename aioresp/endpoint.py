"""Where a server is and who we are there: a frozen, comparable value.

Owns the address, TLS, credentials, database and protocol of a connection. Never connects and is never changed; its repr
shows no password.
"""

from __future__ import annotations

import ssl
from typing import Literal

from aioresp.record import Record


class Endpoint(Record):
    """One server, and how to introduce ourselves to it."""

    host: str = "localhost"
    port: int = 6379
    unix_socket_path: str | None = None
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None
    db: int = 0
    client_name: str | None = None
    protocol: Literal[2, 3] = 3

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.asdict().items() if name != "password")
        return f"Endpoint({', '.join(shown)})"

    def __str__(self) -> str:
        """Return the address as people write it, without credentials."""
        if self.unix_socket_path is not None:
            return f"unix://{self.unix_socket_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'redis' if self.tls is None else 'rediss'}://{host}:{self.port}"

    @property
    def credentials(self) -> tuple[str, ...]:
        """The arguments of AUTH, or an empty tuple if there is no password."""
        if self.password is None:
            return ()
        return (self.username, self.password) if self.username else (self.password,)


def tls_context(
    *,
    ca_certs: str | None = None,
    certfile: str | None = None,
    keyfile: str | None = None,
    check_hostname: bool = True,
) -> ssl.SSLContext:
    """Return a context that verifies the server, and its host name unless told not to.

    Raises OSError (ssl.SSLError) if a file cannot be read or is no certificate.
    """
    if keyfile is not None and certfile is None:
        raise ValueError("ssl_keyfile needs ssl_certfile")
    context = ssl.create_default_context(cafile=ca_certs)
    context.check_hostname = check_hostname
    if certfile is not None:
        context.load_cert_chain(certfile, keyfile)
    return context
