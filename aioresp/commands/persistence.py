"""Persistence: snapshots, the append-only file, backups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioresp.command import AnyStr, Result
from aioresp.commands.base import Executor
from aioresp.replies import Late, each, integer, ok, shown, string

if TYPE_CHECKING:
    from aioresp.replies import server as replies
    from aioresp.replies.server import BackupStatus
else:
    replies = Late("server")


class PersistenceCommands(Executor[AnyStr]):
    """Commands that write the data set to disk."""

    def backup_abort(self) -> Result[bool]:
        """End a backup that is not sealed yet. Since 8.10."""
        return self.execute(("BACKUP", "ABORT"), ok)

    def backup_cleanup(self) -> Result[bool]:
        """Delete the files of a sealed or failed backup. Since 8.10."""
        return self.execute(("BACKUP", "CLEANUP"), ok)

    def backup_list(self) -> Result[list[str]]:
        """Return the paths of the backup's files that will not change any more. Since 8.10."""
        return self.execute(("BACKUP", "LIST"), each(shown))

    def backup_seal(self) -> Result[bool]:
        """End the backup that runs: its files are complete, and stay until `backup_cleanup`. Since 8.10."""
        return self.execute(("BACKUP", "SEAL"), ok)

    def backup_start(self) -> Result[bool]:
        """Begin a backup in the server's `backupdirname`: a snapshot, then the writes until the seal. Since 8.10."""
        return self.execute(("BACKUP", "START"), ok)

    def backup_status(self) -> Result[BackupStatus]:
        """Return how far the backup is. Since 8.10."""
        return self.execute(("BACKUP", "STATUS"), replies.backup_status)

    def bgrewriteaof(self) -> Result[str]:
        """Rewrite the append-only file in the background, and return the server's message."""
        return self.execute(("BGREWRITEAOF",), string)

    def bgsave(self, schedule: bool = True, *, cancel: bool = False) -> Result[str]:
        """Write the data set to disk in the background, or after a running rewrite if `schedule`.

        `cancel` ends such a save, and does not begin one. Since Valkey 8.1; not in Redis.
        """
        option = ("CANCEL",) if cancel else ("SCHEDULE",) if schedule else ()
        return self.execute(("BGSAVE", *option), string)

    def lastsave(self) -> Result[int]:
        """Return the Unix time of the last successful save, in seconds."""
        return self.execute(("LASTSAVE",), integer)

    def save(self) -> Result[bool]:
        """Write the data set to disk, holding up every client meanwhile."""
        return self.execute(("SAVE",), ok)
