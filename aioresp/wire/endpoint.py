"""Endpoint of a connection: the server's address, and how to log in there, as a frozen, comparable value.

Owns the address, TLS, credentials, database and protocol of a connection. Never connects and is never changed; its repr
shows no password.
"""

from __future__ import annotations

import ssl
from typing import Final, Literal

from aioresp.errors import ArgumentError
from aioresp.record import Record
from aioresp.wire.credentials import CredentialProvider, Credentials


class Endpoint(Record):
    """The address of one server, and the parameters of a handshake with it."""

    host: str = "localhost"
    port: int = 6379
    unix_socket_path: str | None = None
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None
    db: int = 0
    client_name: str | None = None
    lib_name: str | None = "aioresp"
    """The name of the library in CLIENT LIST; None to tell the server nothing about the library."""
    protocol: Literal[2, 3] = 3
    credential_provider: CredentialProvider | None = None
    """Source of user and password at each handshake; excludes both fields."""
    server_hostname: str | None = None
    """The name in the server's certificate, if it differs from `host`."""

    def __repr__(self) -> str:
        secret = ("password", "credential_provider")
        shown = (f"{name}={value!r}" for name, value in self.asdict().items() if name not in secret)
        return f"Endpoint({', '.join(shown)})"

    def __str__(self) -> str:
        """Return the address as a URL, without credentials."""
        if self.unix_socket_path is not None:
            return f"unix://{self.unix_socket_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'redis' if self.tls is None else 'rediss'}://{host}:{self.port}"

    @property
    def credentials(self) -> Credentials | None:
        """The user and the password; None without a password."""
        return None if self.password is None else Credentials(self.username, self.password)


def tls_context(
    *,
    ca_certs: str | None = None,
    certfile: str | None = None,
    keyfile: str | None = None,
    password: str | None = None,
    check_hostname: bool = True,
    min_version: ssl.TLSVersion | None = None,
) -> ssl.SSLContext:
    """Return a context that verifies the server, and its host name unless told not to, with TLS 1.2 or newer.

    `password` decrypts the key. Raises OSError (ssl.SSLError) if a file cannot be read or is no certificate.
    """
    for name, value in (("ssl_keyfile", keyfile), ("ssl_password", password)):
        if value is not None and certfile is None:
            raise ArgumentError(f"{name} needs ssl_certfile")
    context = ssl.create_default_context(cafile=ca_certs)
    context.check_hostname = check_hostname
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if min_version is None else min_version
    if certfile is not None:

        def secret() -> str:
            # Without this OpenSSL would ask on the terminal, and wait.
            if password is None:
                raise ArgumentError("the key of ssl_certfile is encrypted: give ssl_password")
            return password

        nameless: OSError | None = None
        try:
            context.load_cert_chain(certfile, keyfile, secret)
        except OSError as error:
            if error.filename is None:
                raise
            nameless = OSError(error.errno, error.strerror)  # since Python 3.15 it shows the option's value
        if nameless is not None:
            raise nameless
    return context


# Advice by the end of OpenSSL's reason, or by its number for a refused certificate.
_ADVICE: Final[dict[str | int, str]] = {
    10: "the server's certificate has expired: renew it, or look at the clock here",
    9: "the server's certificate is not valid yet: look at the clock here",
    62: "the server's certificate is for another host: connect under a name that it has",
    64: "the server's certificate is for another host: connect under a name that it has",
    "CERTIFICATE_VERIFY_FAILED": "no authority trusted here vouches for the server's certificate: "
    "give the right one by ssl_ca_certs",
    "CERTIFICATE_REQUIRED": "the server asks for a client certificate: give ssl_certfile and ssl_keyfile",
    "HANDSHAKE_FAILURE": "the server accepts nothing that was offered: does it ask for a client certificate "
    "(ssl_certfile, ssl_keyfile)?",
    "UNKNOWN_CA": "the server does not know the authority of the client certificate: give another by ssl_certfile",
    "CERTIFICATE_EXPIRED": "the client certificate has expired: give another by ssl_certfile",
    "BAD_CERTIFICATE": "the server refused the client certificate: give another by ssl_certfile",
    "UNSUPPORTED_CERTIFICATE": "the server refused the client certificate: give another by ssl_certfile",
    "PROTOCOL_VERSION": "the server speaks no version of TLS that is allowed here: see ssl_min_version",
    "UNSUPPORTED_PROTOCOL": "the server speaks no version of TLS that is allowed here: see ssl_min_version",
    "WRONG_VERSION_NUMBER": "that is no TLS: is it the right port? without TLS the URL begins with redis://",
    "RECORD_LAYER_FAILURE": "that is no TLS: is it the right port? without TLS the URL begins with redis://",
    "PACKET_LENGTH_TOO_LONG": "that is no TLS: is it the right port? without TLS the URL begins with redis://",
}


def why_tls_failed(error: ssl.SSLError) -> str:
    """Return OpenSSL's message, with advice where there is some."""
    said = str(error)
    reason = error.reason or ""
    advice = _ADVICE.get(getattr(error, "verify_code", 0))
    if advice is None:
        advice = next((text for end, text in _ADVICE.items() if isinstance(end, str) and reason.endswith(end)), None)
    return said if advice is None else f"{advice} ({said})"
