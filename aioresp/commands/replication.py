"""Replication: the role of a server, and commands that change its master."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioresp.command import AnyStr, Arguments, Result, Seconds
from aioresp.commands.base import Executor, milliseconds
from aioresp.errors import ArgumentError
from aioresp.replies import Late, ok

if TYPE_CHECKING:
    from aioresp.replies import replication as replies
    from aioresp.replies.replication import MasterRole, ReplicaRole, SentinelRole
else:
    replies = Late("replication")


def _source(command: str, host: str | None, port: int | str | None) -> Arguments:
    if host is None and port is None:
        return (command, "NO", "ONE")
    if host is None or port is None:
        raise ArgumentError(f"{command}: host and port go together")
    return (command, host, port)


class ReplicationCommands(Executor[AnyStr]):
    """Commands on replication."""

    def failover(
        self,
        to: tuple[str, int] | None = None,
        *,
        force: bool = False,
        abort: bool = False,
        timeout: Seconds | None = None,
    ) -> Result[bool]:
        """Begin to change places with a replica, any or that at `to`; `abort` ends a failover under way. Since 6.2.

        The replica must catch up within `timeout` ms, by default without a limit. With `force`, which needs `to` and
        `timeout`, the server then fails over even if the replica lacks writes. `role()` returns the roles, and INFO the
        progress of the failover.
        """
        if force and (to is None or timeout is None):
            raise ArgumentError("FAILOVER: force needs to and timeout")
        if abort and (to is not None or timeout is not None):
            raise ArgumentError("FAILOVER: abort excludes all other options")
        options: Arguments = () if to is None else ("TO", *to, *(("FORCE",) if force else ()))
        options += ("ABORT",) if abort else ()
        options += () if timeout is None else ("TIMEOUT", milliseconds(timeout, "FAILOVER", "timeout"))
        return self.execute(("FAILOVER", *options), ok)

    def replicaof(self, host: str | None = None, port: int | str | None = None) -> Result[bool]:
        """Make the server a replica of another, whose data set replaces its own; of none if no host is given."""
        return self.execute(_source("REPLICAOF", host, port), ok)

    def role(self) -> Result[MasterRole | ReplicaRole | SentinelRole]:
        """Return what the server is: a master and its replicas, a replica and its master, or a sentinel."""
        return self.execute(("ROLE",), replies.role)

    def slaveof(self, host: str | None = None, port: int | str | None = None) -> Result[bool]:
        """Do the same as `replicaof`, under its old name."""
        return self.execute(_source("SLAVEOF", host, port), ok)
