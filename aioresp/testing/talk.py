"""Blocking RESP2 connection of the testing kit to one of its servers.

Owns one unix socket: requests are written as arrays, and replies parsed into str, int, None and lists. Never repeats a
request, and is useless after a timeout.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from aioresp.testing.process import ServerFailed

#: Bulk and simple strings are text, with `surrogateescape` for bytes that are not UTF-8.
Answer: TypeAlias = "str | int | list[Answer] | None"
T = TypeVar("T", str, int, list[Answer])


class ErrorReply(ServerFailed):
    """A server of the kit answered a command of the kit, or of `call`, with an error."""


class Talk:
    """A connection; `call` raises ErrorReply for an error reply, and OSError without an answer."""

    def __init__(self, path: str, login: Sequence[str], timeout: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._replies = self._socket.makefile("rb")
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            if login:
                self.call(login, timeout)
        except BaseException:
            self.close()
            raise

    @property
    def ended(self) -> bool:
        """Whether the server has closed the connection, or sent something unasked."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def call(self, words: Sequence[str | bytes | int], timeout: float) -> Answer:
        """Send a command and return its reply."""
        self._socket.settimeout(timeout)
        parts = [word if isinstance(word, bytes) else str(word).encode(errors="surrogateescape") for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        answer = self._read()
        if isinstance(answer, ErrorReply):
            raise answer
        return answer

    def close(self) -> None:
        """Close the connection."""
        for each in (self._replies, self._socket):
            with contextlib.suppress(OSError):
                each.close()

    def _read(self) -> Answer | ErrorReply:
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2].decode(errors="surrogateescape")
        if kind == b"+":
            return rest
        if kind == b"-":
            return ErrorReply(rest)
        if kind == b":":
            return int(rest)
        size = int(rest)
        if size < 0:
            return None
        if kind == b"$":
            return self._replies.read(size + 2)[:-2].decode(errors="surrogateescape")
        elements = [self._read() for _ in range(size)]
        return [str(each) if isinstance(each, ErrorReply) else each for each in elements]


def fields(answer: Answer) -> dict[str, str]:
    """Return the fields of INFO or CLUSTER INFO: lines with a name, a colon and a value."""
    lines = (line.partition(":") for line in expect(str, answer).splitlines())
    return {name: value for name, colon, value in lines if colon}


def pairs(answer: Answer) -> dict[str, str]:
    """Return a list of names and values as a dict."""
    words = expect(list, answer)
    return dict(zip(map(str, words[::2]), map(str, words[1::2]), strict=True))


def expect(kind: type[T], answer: Answer) -> T:
    """Return an answer whose type is known."""
    if not isinstance(answer, kind):
        raise ServerFailed(f"the server answered with a {type(answer).__name__}, not with a {kind.__name__}")
    return answer
