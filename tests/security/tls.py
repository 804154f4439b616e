"""Certificates made for a run of the tests, and servers that speak TLS with them.

Owns the files. A server is a real one that was built with TLS, or the end of TLS in front of one that was not.
"""

from __future__ import annotations

import asyncio
import datetime
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from aioresp.testing import Server, ServerFailed
from aioresp.testing import server as start_server
from tests.servers import MATRIX


class Paths:
    """An authority and the certificates it has issued, each as a path of a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.authority = self._write("authority", self._authority.cert_pem)
        self.stranger = self._write("stranger", trustme.CA().cert_pem)

    def _write(self, name: str, *blobs: trustme.Blob) -> str:
        path = self._folder / f"{name}.pem"
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)

    def certificate(self, name: str, *, expired: bool = False, authority: trustme.CA | None = None) -> str:
        """Issue a certificate for a host, and return the path of it and its key in one file."""
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=-1 if expired else 1)
        start = end - datetime.timedelta(days=30)
        issued = (authority or self._authority).issue_cert(name, not_before=start, not_after=end)
        kind = f"{name}-{expired}-{authority is None}"
        return self._write(kind, issued.private_key_pem, *issued.cert_chain_pems)

    def encrypted_key(self, password: str) -> str:
        """Make a key that needs a password, and return its path."""
        key = rsa.generate_private_key(65537, 2048)
        encryption = serialization.BestAvailableEncryption(password.encode())
        path = self._folder / "encrypted.pem"
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
        return str(path)


@asynccontextmanager
async def tls_server(
    behind: Server | str, certificate: str, authority: str, *, ask: bool = False, versions: str = "TLSv1.2 TLSv1.3"
) -> AsyncIterator[int]:
    """Yield the port of a server that speaks TLS: the program `behind`, or the server with TLS ended in front of it.

    `ask` demands a certificate of the client that `authority` issued.
    """
    if isinstance(behind, str):
        config = {"tls-auth-clients": "yes" if ask else "no", "tls-protocols": f'"{versions}"', "requirepass": ""}
        async with start_server(executable=behind, tls=(certificate, certificate, authority), config=config) as own:
            yield own.tls_port
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if "1.3" not in versions:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if ask:
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    async with _front(behind, context) as port:
        yield port


@asynccontextmanager
async def _front(server: Server, context: ssl.SSLContext) -> AsyncIterator[int]:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(server.host, server.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        try:
            await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
        except OSError:
            pass
        finally:
            up_writer.close()
            writer.close()

    # The clients that are refused here show up on the listener's side as errors of the loop.
    asyncio.get_running_loop().set_exception_handler(lambda loop, about: None)
    listener = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await listener.wait_closed()
        await asyncio.sleep(0.05)


def program_with_tls(paths: Paths) -> str | None:
    """Return a server's program that was built with TLS: the default one, which is "", or another that is here."""
    certificate = paths.certificate("localhost")
    on_path = [name for name in ("redis-server", "valkey-server") if shutil.which(name)]
    for program in ("", *on_path, *(str(s.program) for s in MATRIX if s.is_there)):
        try:
            with start_server(executable=program, tls=(certificate, certificate, paths.authority)):
                return program
        except ServerFailed as error:
            if "built without TLS" not in str(error):
                raise
    return None
