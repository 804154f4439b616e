"""The connection itself: greetings, and what the server knows of its clients."""

from __future__ import annotations

from typing import Any, Literal, overload

from aioresp.command import AnyStr, Result, Value
from aioresp.commands.base import Executor, at_most_one, filled
from aioresp.replies import boolean, client_line, client_lines, integer, numbers, ok, string, text


class ConnectionCommands(Executor[AnyStr]):
    """Commands about connections. What changes one (SELECT, for instance) belongs on a leased connection."""

    def client_getname(self) -> Result[AnyStr | None]:
        """Return the name of the connection that happens to carry this command."""
        return self.execute(("CLIENT", "GETNAME"), text)

    def client_id(self) -> Result[int]:
        """Return the server's number for the connection that happens to carry this command."""
        return self.execute(("CLIENT", "ID"), integer)

    def client_info(self) -> Result[dict[str, str]]:
        """Return what the server knows of the connection that happens to carry this command. Since 6.2."""
        return self.execute(("CLIENT", "INFO"), client_line)

    def client_kill_filter(
        self,
        *,
        _id: int | None = None,
        _type: str | None = None,
        addr: str | None = None,
        laddr: str | None = None,
        user: str | None = None,
        skipme: bool = True,
        maxage: int | None = None,
    ) -> Result[int]:
        """End the connections that match all filters and return how many that were.

        `laddr` since 6.2, `maxage` (seconds) since 7.4.
        """
        filters = {"ID": _id, "TYPE": _type, "ADDR": addr, "LADDR": laddr, "USER": user, "MAXAGE": maxage}
        options: tuple[Value, ...] = ()
        for name, value in filters.items():
            options += () if value is None else (name, value)
        if not options:
            raise ValueError("CLIENT KILL: give at least one filter")
        return self.execute(("CLIENT", "KILL", *options, "SKIPME", "YES" if skipme else "NO"), integer)

    def client_list(self, _type: str | None = None, client_id: list[int] | None = None) -> Result[list[dict[str, str]]]:
        """Return what the server knows of its connections, of one type or with given ids only (ids since 6.2)."""
        at_most_one("CLIENT LIST", _type=_type, client_id=client_id)
        options: tuple[Value, ...] = () if _type is None else ("TYPE", _type)
        options += () if client_id is None else ("ID", *filled("CLIENT LIST", "client_id", tuple(client_id)))
        return self.execute(("CLIENT", "LIST", *options), client_lines)

    def client_pause(self, timeout: int, all: bool = True) -> Result[bool]:
        """Let the server hold back all commands, or only writes (since 6.2), for `timeout` milliseconds."""
        return self.execute(("CLIENT", "PAUSE", timeout, *(() if all else ("WRITE",))), ok)

    def client_unblock(self, client_id: int, error: bool = False) -> Result[bool]:
        """End another connection's blocking command, as if timed out or with an error; return whether there was one."""
        return self.execute(("CLIENT", "UNBLOCK", client_id, *(("ERROR",) if error else ())), boolean)

    def client_unpause(self) -> Result[bool]:
        """End `client_pause`. Since 6.2."""
        return self.execute(("CLIENT", "UNPAUSE"), ok)

    def echo(self, value: Value) -> Result[AnyStr]:
        """Return `value`, by way of the server."""
        return self.execute(("ECHO", value), text)

    @overload
    def ping(self, message: None = None) -> Result[Literal[True]]: ...
    @overload
    def ping(self, message: Value) -> Result[AnyStr]: ...
    def ping(self, message: Value | None = None) -> Result[Any]:
        """Ask for a sign of life: True, or the message back."""
        if message is None:
            return self.execute(("PING",), ok)
        return self.execute(("PING", message), text)

    def select(self, index: int) -> Result[bool]:
        """Change the database of a leased connection."""
        return self.execute(("SELECT", index), ok)

    def wait(self, num_replicas: int, timeout: int) -> Result[int]:
        """Wait up to `timeout` ms until replicas have this leased connection's writes; return how many have."""
        return self.execute(("WAIT", num_replicas, timeout), integer)

    def waitaof(self, num_local: int, num_replicas: int, timeout: int) -> Result[tuple[int, int]]:
        """Wait up to `timeout` ms until this leased connection's writes are on disk, here (`num_local`: 1) and there.

        Returns how many servers have them on disk: this one (0 or 1), and replicas. Since 7.2.
        """
        return self.execute(("WAITAOF", num_local, num_replicas, timeout), numbers)

    def acl_whoami(self) -> Result[str]:
        """Return the ACL user that we are. Since 6.0."""
        return self.execute(("ACL", "WHOAMI"), string)
