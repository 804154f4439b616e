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

    `password` decrypts the key. Raises OSError (ssl.SSLError), naming the option and the file, if a file cannot be
    read or is no certificate.
    """
    for name, value in (("ssl_keyfile", keyfile), ("ssl_password", password)):
        if value is not None and certfile is None:
            raise ArgumentError(f"{name} needs ssl_certfile")
    for name, value in (("ssl_ca_certs", ca_certs), ("ssl_certfile", certfile), ("ssl_keyfile", keyfile)):
        if value is not None and (value or name != "ssl_ca_certs"):  # an empty one means those of the system
            _look_at(name, value)
    try:
        context = ssl.create_default_context(cafile=ca_certs)
    except ssl.SSLError as error:
        raise _about_file(error, f"ssl_ca_certs: {ca_certs!r} holds no certificate in PEM format") from None
    context.check_hostname = check_hostname
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if min_version is None else min_version
    if certfile is not None:

        def secret() -> str:
            # Without this OpenSSL would ask on the terminal, and wait.
            if password is None:
                raise ArgumentError("the key of ssl_certfile is encrypted: give ssl_password")
            return password

        try:
            context.load_cert_chain(certfile, keyfile, secret)
        except ssl.SSLError as error:
            raise _about_file(error, _wrong_pair(certfile, keyfile, password, error)) from None
    return context


def _look_at(name: str, path: str) -> None:
    """Raise an OSError that names the option and the file if it cannot be read, or if `path` is none."""
    if "-----" in path or "\n" in path:
        raise ArgumentError(f"{name} is the text of a file, not its path; the text can go into an ssl_context")
    number, said = 0, ""
    try:
        with open(path, "rb"):
            return
    except OSError as error:
        number, said = error.errno or 0, error.strerror or ""
    except ValueError:
        pass  # a zero byte
    if not number:
        raise ArgumentError(f"{name} is not the path of a file")
    raise OSError(number, f"{name}: {said}", path)


def _about_file(error: ssl.SSLError, said: str) -> ssl.SSLError:
    """Return the error of OpenSSL with a message that names the option and the file."""
    own = ssl.SSLError(error.errno, f"{said} ({error.strerror or error})")
    own.reason, own.library = error.reason, error.library
    return own


def _wrong_pair(certfile: str, keyfile: str | None, password: str | None, error: ssl.SSLError) -> str:
    """Return what is wrong with a certificate and its key."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"ssl_keyfile: {keyfile or certfile!r} is not the key of the certificate in {certfile!r}"
    if b"CERTIFICATE-----" not in _content(certfile):
        return f"ssl_certfile: {certfile!r} holds no certificate in PEM format"
    name = f"ssl_certfile: {certfile!r}" if keyfile is None else f"ssl_keyfile: {keyfile!r}"
    if b"PRIVATE KEY-----" not in _content(keyfile or certfile):
        return f"{name} holds no private key in PEM format{': give ssl_keyfile' if keyfile is None else ''}"
    return f"{name} cannot be read{'' if password is None else ': is ssl_password right?'}"


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


#: Codes of OpenSSL for a certificate that does not have the host name, or the IP address.
MISMATCH: Final = (62, 64)

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
    "WRONG_VERSION_NUMBER": "that is not TLS: is it the right port? without TLS the URL begins with redis://",
    "RECORD_LAYER_FAILURE": "that is not TLS: is it the right port? without TLS the URL begins with redis://",
    "PACKET_LENGTH_TOO_LONG": "that is not TLS: is it the right port? without TLS the URL begins with redis://",
}


def why_tls_failed(error: ssl.SSLError) -> str:
    """Return OpenSSL's message, with advice where there is some."""
    said = str(error)
    reason = error.reason or ""
    advice = _ADVICE.get(getattr(error, "verify_code", 0))
    if advice is None:
        advice = next((text for end, text in _ADVICE.items() if isinstance(end, str) and reason.endswith(end)), None)
    return said if advice is None else f"{advice} ({said})"
