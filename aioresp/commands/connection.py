"""Connection commands: greetings, and commands that belong to one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from aioresp.command import AnyStr, Result, Seconds, Value
from aioresp.commands.base import Executor, milliseconds
from aioresp.errors import ArgumentError
from aioresp.replies import Late, integer, numbers, ok, some_text

if TYPE_CHECKING:
    from aioresp.replies import clients as replies
    from aioresp.replies.clients import Hello
else:
    replies = Late("clients")


class ConnectionCommands(Executor[AnyStr]):
    """Commands about connections. What changes one (SELECT, for instance) belongs on a leased connection."""

    def auth(self, password: str, username: str | None = None) -> Result[bool]:
        """Become another user on a leased connection; `username` since 6.0."""
        return self.execute(("AUTH", *(() if username is None else (username,)), password), ok)

    def echo(self, value: Value) -> Result[AnyStr]:
        """Return `value`, by way of the server."""
        return self.execute(("ECHO", value), some_text)

    def hello(
        self,
        protover: Literal[2, 3] | None = None,
        auth: tuple[str, str] | None = None,
        clientname: str | None = None,
    ) -> Result[Hello]:
        """Return the server's greeting, and change the protocol, user or name of a leased connection. Since 6.0.

        `auth` is a user and a password. Both it and `clientname` need `protover`, which is optional since 6.2.
        """
        if protover is None and (auth is not None or clientname is not None):
            raise ArgumentError("HELLO: auth and clientname need protover")
        arguments: tuple[Value, ...] = () if protover is None else (protover,)
        arguments += () if auth is None else ("AUTH", *auth)
        arguments += () if clientname is None else ("SETNAME", clientname)
        return self.execute(("HELLO", *arguments), replies.hello)

    @overload
    def ping(self, message: None = None) -> Result[Literal[True]]: ...
    @overload
    def ping(self, message: Value) -> Result[AnyStr]: ...
    def ping(self, message: Value | None = None) -> Result[Any]:
        """Ask for a sign of life: True, or the message back."""
        if message is None:
            return self.execute(("PING",), ok)
        return self.execute(("PING", message), some_text)

    def quit(self) -> Result[bool]:
        """Have the server close a leased connection. Leaving the lease does as well, and keeps the connection."""
        return self.execute(("QUIT",), ok)

    def readonly(self) -> Result[bool]:
        """Allow reads on a leased connection to a replica of a cluster."""
        return self.execute(("READONLY",), ok)

    def readwrite(self) -> Result[bool]:
        """End `readonly`."""
        return self.execute(("READWRITE",), ok)

    def reset(self) -> Result[bool]:
        """Undo all that was changed on a leased connection, and more: RESP2, database 0, no user. Since 6.2."""
        return self.execute(("RESET",), ok)

    def select(self, index: int) -> Result[bool]:
        """Change the database of a leased connection."""
        return self.execute(("SELECT", index), ok)

    def wait(self, num_replicas: int, timeout: Seconds) -> Result[int]:
        """Wait up to `timeout` ms until replicas have this leased connection's writes; return how many have."""
        return self.execute(("WAIT", num_replicas, milliseconds(timeout, "WAIT", "timeout")), integer)

    def waitaof(self, num_local: int, num_replicas: int, timeout: Seconds) -> Result[tuple[int, int]]:
        """Wait up to `timeout` ms until this leased connection's writes are on disk, here (`num_local`: 1) and there.

        Returns how many servers have them on disk: this one (0 or 1), and replicas. Since 7.2.
        """
        return self.execute(("WAITAOF", num_local, num_replicas, milliseconds(timeout, "WAITAOF", "timeout")), numbers)
