"""Server administration: INFO, configuration, databases, modules, shutdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from aioresp.command import AnyStr, Arguments, Fields, Result, Value
from aioresp.commands.base import Executor, at_most_one, filled, flat
from aioresp.errors import ArgumentError
from aioresp.replies import Late, integer, named_texts, nothing, ok, string, time

if TYPE_CHECKING:
    from aioresp.replies import server as replies
    from aioresp.replies.server import Info, Module
else:
    replies = Late("server")


class ServerCommands(Executor[AnyStr]):
    """Commands about the server."""

    def config_get(self, pattern: str = "*", *args: str) -> Result[dict[str, AnyStr]]:
        """Return the settings that match the globs (several since 7.0); names are str for every client."""
        return self.execute(("CONFIG", "GET", pattern, *args), named_texts)

    def config_resetstat(self) -> Result[bool]:
        """Set the counters of INFO to zero."""
        return self.execute(("CONFIG", "RESETSTAT"), ok)

    def config_rewrite(self) -> Result[bool]:
        """Write the settings into the server's configuration file."""
        return self.execute(("CONFIG", "REWRITE"), ok)

    def config_set(self, name: str | Fields, value: Value | None = None) -> Result[bool]:
        """Change a setting, or all of a mapping at once (since 7.0)."""
        if not isinstance(name, str):
            if value is not None:
                raise ArgumentError("CONFIG SET: value belongs to a name, not to a mapping")
            return self.execute(("CONFIG", "SET", *filled("CONFIG SET", "name", flat(name, "CONFIG SET", "name"))), ok)
        if value is None:
            raise ArgumentError(f"CONFIG SET: {name} needs a value")
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

    def info(self, section: str | None = None, *args: str) -> Result[Info]:
        """Return the server's figures, all or those of some sections (several since 7.0).

        A dict: numbers are int or float, lines of the form `keys=1,expires=0` dicts, everything else str. For type
        checkers it has methods, as in `info.integer("used_memory")`; see `Info`.
        """
        sections = args if section is None else (section, *args)
        return self.execute(("INFO", *sections), replies.info)

    def lolwut(self, version: int | None = None, *args: int) -> Result[str]:
        """Return a work of art, of one of the server's versions, and then what the server is."""
        if version is None and args:
            raise ArgumentError("LOLWUT: args need a version")
        options: Arguments = () if version is None else ("VERSION", version, *args)
        return self.execute(("LOLWUT", *options), string)

    def module_list(self) -> Result[list[Module]]:
        """Return the modules that are loaded."""
        return self.execute(("MODULE", "LIST"), replies.modules)

    def module_load(self, path: str, *args: Value) -> Result[bool]:
        """Load a module from a file of the server's, with arguments."""
        return self.execute(("MODULE", "LOAD", path, *args), ok)

    def module_loadex(
        self, path: str, options: Fields | None = None, args: Iterable[Value] | None = None
    ) -> Result[bool]:
        """Load a module with settings (`options`) and arguments. Since 7.0."""
        arguments: Arguments = ()
        for name, value in () if options is None else options.items():
            arguments += ("CONFIG", name, value)
        if args is not None:
            arguments += ("ARGS", *args)
        return self.execute(("MODULE", "LOADEX", path, *arguments), ok)

    def module_unload(self, name: str) -> Result[bool]:
        """Unload a module."""
        return self.execute(("MODULE", "UNLOAD", name), ok)

    def shutdown(
        self,
        save: bool = False,
        nosave: bool = False,
        now: bool = False,
        force: bool = False,
        abort: bool = False,
        *,
        safe: bool = False,
        failover: bool = False,
    ) -> Result[None]:
        """End the server, and return when it has closed the connection; or take that back with `abort`.

        It saves if it is configured to, or as `save` and `nosave` say, and waits for its replicas (10 s by default)
        unless `now`; `force` goes on where that fails. `now`, `force` and `abort` since 7.0; `safe`, not to end a
        primary of a cluster, and `failover`, to hand over first, since Valkey 9.0. Raises ResponseError if the server
        does not end. Never sent twice.
        """
        at_most_one("SHUTDOWN", save=save, nosave=nosave)
        flags = {"SAVE": save, "NOSAVE": nosave, "NOW": now, "FORCE": force, "SAFE": safe, "FAILOVER": failover}
        options: Arguments = tuple([name for name, given in flags.items() if given])
        if abort and options:
            raise ArgumentError("SHUTDOWN: abort excludes all other options")
        return self.execute(("SHUTDOWN", *(("ABORT",) if abort else options)), nothing)

    def swapdb(self, first: int, second: int) -> Result[bool]:
        """Exchange two databases, for all clients that use them."""
        return self.execute(("SWAPDB", first, second), ok)

    def time(self) -> Result[tuple[int, int]]:
        """Return the server's clock: Unix seconds, and microseconds of that second."""
        return self.execute(("TIME",), time)
