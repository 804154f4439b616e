"""Inquiry about a silent connection, over another one to the same server.

Owns the verdict: whether the server still serves the silent one, or has long done all that it heard there. Never ends a
connection, and never believes another server about it: behind one address there may be several. A busy server gives no
verdict, because it does not answer; nor does one that refuses CLIENT LIST.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from aioresp.errors import CommandTimeout, ConnectionLost, RedisError
from aioresp.typed import Enum
from aioresp.wire.deadlines import WAKE
from aioresp.wire.packing import pack

if TYPE_CHECKING:  # protocols take time to import
    from aioresp.wire.packing import Packed

    class Party(Protocol):
        """A connection, as far as an inquiry knows it."""

        @property
        def id(self) -> int | None:
            """The server's number for it."""
            ...

        @property
        def server(self) -> str | None:
            """The identity of the server's process."""
            ...

        @property
        def _transport(self) -> asyncio.Transport | None: ...

        def send(self, packed: Packed, decode: bool, timeout: float | None) -> asyncio.Future[Any]:
            """Send a command."""
            ...


#: Seconds for which the server must have had nothing to do for the silent connection. It counts whole seconds by a
#: clock of its own, so that 2 may be little more than 1.
IDLE: Final = 2

#: Seconds by which the age of a connection may differ between server and client.
SAME_AGE: Final = 3.0


class Verdict(Enum):
    """Result of an inquiry."""

    GONE = "gone"
    """The server does not know the connection, or thinks that it has long answered everything."""
    TOO_EARLY = "too early"
    """The server has done something for the connection a moment ago."""
    ALIVE = "alive"
    """A command of the connection waits on the server, or there is no way to know."""
    NO_ANSWER = "no answer"
    """The witness did not answer."""


async def inquire(silent: Party, witness: Party, age: float) -> Verdict:
    """Ask `witness` about a connection that was made `age` seconds ago and has been silent for a second or more."""
    asked = time.monotonic()
    number, own = silent.id, witness.id
    known = None not in (number, own, silent.server) and silent.server == witness.server
    try:
        # A server that does not list the one that asks does not know all of its clients.
        question = ("CLIENT", "LIST", "ID", number, own) if known else ("PING",)
        said = await witness.send(pack(question), False, WAKE)
        if not known:
            return _by_kernel(silent)
    except (CommandTimeout, ConnectionLost):
        return Verdict.NO_ANSWER
    except RedisError:  # of an older server, or for a user who may not ask
        return _by_kernel(silent)
    try:
        rows = {int(row[b"id"]): row for row in map(_fields, said.splitlines()) if row}
        if number is None or own not in rows or not rows.keys() <= {number, own}:
            return _by_kernel(silent)
        fields = rows.get(number)
        if fields is None:
            return Verdict.GONE
        if abs(int(fields[b"age"]) - age - time.monotonic() + asked) > SAME_AGE:
            return _by_kernel(silent)  # of a proxy that gives numbers of its own
        if b"b" in fields[b"flags"]:  # it blocks, or the server has paused its clients
            return Verdict.ALIVE
        return Verdict.GONE if int(fields[b"idle"]) >= IDLE else Verdict.TOO_EARLY
    except (KeyError, ValueError, TypeError, AttributeError):
        return _by_kernel(silent)


def _fields(line: bytes) -> dict[bytes, bytes]:
    """Return the fields of a line of CLIENT LIST."""
    return {name: value for name, _, value in (part.partition(b"=") for part in line.split())}


def _by_kernel(silent: Party) -> Verdict:
    """Return the verdict of the kernel, which knows whether the peer acknowledges what it was sent (on Linux)."""
    if sys.platform != "linux" or silent._transport is None:
        return Verdict.ALIVE
    try:
        sock = silent._transport.get_extra_info("socket")
        said = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 60)
        _, _, retransmits, *_ = struct.unpack("8B", said[:8])
        unacknowledged, acknowledged_ago = struct.unpack("I", said[24:28])[0], struct.unpack("I", said[56:60])[0]
    except (OSError, struct.error, AttributeError):
        return Verdict.ALIVE
    gone = retransmits > 1 and unacknowledged and acknowledged_ago >= 1000
    return Verdict.GONE if gone else Verdict.ALIVE
