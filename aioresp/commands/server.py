"""The server: its figures, its configuration, its databases."""

from __future__ import annotations

from typing import Any

from aioresp.command import AnyStr, Fields, Result, Value
from aioresp.commands.base import Executor, condition, filled, flat
from aioresp.replies import info, integer, mapping, ok, string, time


class ServerCommands(Executor[AnyStr]):
    """Commands about the server."""

    def config_get(self, pattern: str = "*", *args: str) -> Result[dict[AnyStr, AnyStr]]:
        """Return the settings that match the globs (several since 7.0)."""
        return self.execute(("CONFIG", "GET", pattern, *args), mapping)

    def config_resetstat(self) -> Result[bool]:
        """Set the counters of INFO to zero."""
        return self.execute(("CONFIG", "RESETSTAT"), ok)

    def config_set(self, name: str | Fields, value: Value | None = None) -> Result[bool]:
        """Change a setting, or all of a mapping at once (since 7.0)."""
        if not isinstance(name, str):
            if value is not None:
                raise ValueError("CONFIG SET: value belongs to a name, not to a mapping")
            return self.execute(("CONFIG", "SET", *filled("CONFIG SET", "name", flat(name))), ok)
        if value is None:
            raise ValueError(f"CONFIG SET: {name} needs a value")
        return self.execute(("CONFIG", "SET", name, value), ok)

    def dbsize(self) -> Result[int]:
        """Return how many keys the database has."""
        return self.execute(("DBSIZE",), integer)

    def flushall(self, asynchronous: bool = False) -> Result[bool]:
        """Delete every key of every database, in the background if `asynchronous`."""
        return self.execute(("FLUSHALL", *(("ASYNC",) if asynchronous else ())), ok)

    def flushdb(self, asynchronous: bool = False) -> Result[bool]:
        """Delete every key of the database, in the background if `asynchronous`."""
        return self.execute(("FLUSHDB", *(("ASYNC",) if asynchronous else ())), ok)

    def info(self, section: str | None = None, *args: str) -> Result[dict[str, Any]]:
        """Return the server's figures, all or those of some sections (several since 7.0).

        Numbers are int or float, lines of the form `keys=1,expires=0` dicts, everything else str.
        """
        sections = args if section is None else (section, *args)
        return self.execute(("INFO", *sections), info)

    def lastsave(self) -> Result[int]:
        """Return the Unix time of the last successful save, in seconds."""
        return self.execute(("LASTSAVE",), integer)

    def publish(self, channel: str | bytes, message: Value) -> Result[int]:
        """Send `message` to the subscribers of `channel` and return how many this server has."""
        return self.execute(("PUBLISH", channel, message), integer)

    def save(self) -> Result[bool]:
        """Write the data set to disk, holding up every client meanwhile."""
        return self.execute(("SAVE",), ok)

    def bgsave(self, schedule: bool = True) -> Result[str]:
        """Write the data set to disk in the background, or after a running rewrite if `schedule`."""
        return self.execute(("BGSAVE", *condition("BGSAVE", schedule=schedule)), string)

    def time(self) -> Result[tuple[int, int]]:
        """Return the server's clock: Unix seconds, and microseconds of that second."""
        return self.execute(("TIME",), time)
