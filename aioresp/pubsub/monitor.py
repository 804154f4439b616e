"""MONITOR as an asynchronous iterator: every command that the server runs.

Owns a leased connection from entering to leaving. Never gives that connection back to the pool: a connection in MONITOR
mode is of no use to others, so it is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from functools import cache
from types import TracebackType
from typing import Any, Self

from aioresp.advice import MONITOR
from aioresp.command import AnyStr
from aioresp.elsewhere import advising
from aioresp.errors import CommandTimeout, RedisError, about
from aioresp.pool.pool import Pool
from aioresp.pubsub.inbox import Inbox, Overflow
from aioresp.record import Record
from aioresp.timers import Timeout
from aioresp.typed import Generic
from aioresp.wire.connection import Connection
from aioresp.wire.listener import Listener
from aioresp.wire.packing import Push, pack

logger = logging.getLogger("aioresp")


class MonitoredCommand(Record, Generic[AnyStr]):
    """Command that the server ran."""

    time: float
    """Time at which it ran, in seconds since 1970."""
    db: int
    client: str
    """Address of the sender: "127.0.0.1:54321", "unix:/path", or "lua" for a script."""
    arguments: tuple[AnyStr, ...]
    """The command and its arguments. In text, bytes that are not UTF-8 look like `\\xff`. Passwords are left out."""


@advising(MONITOR)
class Monitor(Inbox[MonitoredCommand[AnyStr]], Generic[AnyStr]):
    """Iterator over the commands that a server runs from entering on; ConnectionLost ends it."""

    _entering = "async with r.monitor() as m:"
    _reading = "async for command in m:"

    def __init__(
        self,
        find_pool: Callable[[], Pool[Connection]],
        decode: bool,
        timeout: float | None,
        buffer: int,
        overflow: Overflow,
    ) -> None:
        super().__init__(buffer, overflow)
        self._find_pool = find_pool
        self._decode = decode
        self._timeout = timeout
        self._confirmed: asyncio.Future[None] | None = None
        self._listener: Listener | None = None

    def __repr__(self) -> str:
        if not hasattr(self, "_listener"):  # its constructor failed
            return "Monitor(not made)"
        if self._loop is None:
            return "Monitor(not entered)"
        return f"Monitor({'ended, ' if self._ended else ''}{self.waiting} waiting, {self.dropped} dropped)"

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise RuntimeError("a monitor is entered once")
        pool = self._find_pool()
        self._loop = asyncio.get_running_loop()
        deadline = None if self._timeout is None else self._loop.time() + self._timeout
        connection = await pool.lease("monitor()", deadline)
        try:
            self._confirmed = self._loop.create_future()
            self._listener = Listener(connection, self._hear, self.end)
            self._listener.send(pack(("MONITOR",)))
            async with Timeout(self._timeout, deadline):
                await self._confirmed
        except TimeoutError:
            connection.close()
            raise CommandTimeout(f"no reply in {self._timeout:.3g} s [MONITOR]") from None
        except BaseException:
            connection.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
        self._items.clear()
        assert self._listener is not None
        self._listener.connection.close()

    def end(self, error: RedisError | None = None) -> None:
        """Take nothing more; a task that still waits for the server's confirmation gets the error."""
        super().end(error)
        if self._confirmed is not None and not self._confirmed.done() and error is not None:
            self._confirmed.set_exception(error)
            self._confirmed.exception()

    def _hear(self, lines: Iterator[Any]) -> bool:
        """Take the server's answer to MONITOR, and then one line after another."""
        assert self._confirmed is not None
        assert self._listener is not None
        line = None
        for line in lines:
            if type(line) is Push:
                continue  # another connection may have this one told of invalidations
            if self._confirmed.done():
                self.put(_parsed(line, self._decode))
            elif isinstance(line, RedisError):
                self.end(about(line, "MONITOR"))
            elif line == b"OK":
                self._confirmed.set_result(None)
            else:
                raise ValueError("something else where the answer to MONITOR was due")
            if self._ended:
                self._listener.connection.close()  # no task reads the lines that follow
                break
            if self._full:
                break
        return line is not None

    def _on_drop(self) -> None:
        if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8, ...: too rare to flood a log
            logger.warning("a monitor is read too slowly: %d commands dropped", self.dropped)

    def _on_full(self) -> None:
        assert self._listener is not None
        self._listener.hold()

    def _on_room(self) -> None:
        assert self._listener is not None
        self._listener.release()


@cache
def _patterns() -> tuple[re.Pattern[bytes], re.Pattern[bytes], re.Pattern[bytes], re.Pattern[bytes]]:
    """Return patterns of a line, all arguments, one, and an escape; compiled at first use, for a cheap import."""
    escape = rb'\\(x[0-9a-f]{2}|[nrtab"\\])'
    argument = rb'"((?:[^"\\]++|\\(?:x[0-9a-f]{2}|[nrtab"\\]))*+)"'
    return (
        re.compile(rb'(\d+\.\d+) \[(\d+) (.*?)\] (".*")', re.DOTALL),
        re.compile(rb"%b(?: %b)*+" % (argument, argument)),
        re.compile(argument),
        re.compile(escape),
    )


_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


def _parsed(line: bytes, decode: bool) -> MonitoredCommand[Any]:
    whole, escaped_arguments, argument, escape = _patterns()
    found = whole.fullmatch(line)
    if found is None:
        raise ValueError("a line of MONITOR of an unknown form")
    time, db, client, rest = found.groups()

    # Valkey before 8.1.2 does not escape quotes and backslashes; for such a line the split is a guess.
    strict = escaped_arguments.fullmatch(rest) is not None

    def plain(escaped: re.Match[bytes]) -> bytes:
        sign = escaped[1]
        if len(sign) == 3:
            return bytes.fromhex(sign[1:].decode())
        return _ESCAPES.get(sign) or (sign if strict else escaped[0])

    parts = argument.findall(rest) if strict else rest[1:-1].split(b'" "')
    arguments = tuple(escape.sub(plain, each) for each in parts)
    texts: tuple[Any, ...] = arguments
    if decode:
        texts = tuple(each.decode("utf-8", "backslashreplace") for each in arguments)
    return MonitoredCommand(float(time), int(db), client.decode("utf-8", "backslashreplace"), texts)
