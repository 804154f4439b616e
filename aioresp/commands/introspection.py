"""COMMAND: the commands that the server has, with their properties."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioresp.command import AnyStr, Result, Value
from aioresp.commands.base import Executor, at_most_one
from aioresp.replies import Late, each, integer, string, texts

if TYPE_CHECKING:
    from aioresp.replies import introspection as replies
    from aioresp.replies.introspection import Command, CommandDocs
else:
    replies = Late("introspection")


class IntrospectionCommands(Executor[AnyStr]):
    """Commands about commands. The server spells names in small letters, and subcommands as "xgroup|create"."""

    def command(self) -> Result[dict[str, Command]]:
        """Return all commands by name."""
        return self.execute(("COMMAND",), replies.commands)

    def command_count(self) -> Result[int]:
        """Return how many commands the server has."""
        return self.execute(("COMMAND", "COUNT"), integer)

    def command_docs(self, *commands: str) -> Result[dict[str, CommandDocs]]:
        """Return the documentation of these commands, or of all; without those that are not known. Since 7.0."""
        return self.execute(("COMMAND", "DOCS", *commands), replies.command_docs)

    def command_getkeys(self, command: str, *args: Value) -> Result[list[AnyStr]]:
        """Return the keys of a command with these arguments. Raises ResponseError if it has none."""
        return self.execute(("COMMAND", "GETKEYS", command, *args), texts)

    def command_getkeysandflags(self, command: str, *args: Value) -> Result[list[tuple[AnyStr, set[str]]]]:
        """Return the keys of a command with these arguments, and what it does to each. Since 7.0."""
        return self.execute(("COMMAND", "GETKEYSANDFLAGS", command, *args), replies.keys_and_flags)

    def command_info(self, *args: str) -> Result[list[Command | None]]:
        """Return these commands in their order, None for one that is not known; all if none is named (since 7.0)."""
        return self.execute(("COMMAND", "INFO", *args), replies.commands_or_none)

    def command_list(
        self, module: str | None = None, category: str | None = None, pattern: str | None = None
    ) -> Result[list[str]]:
        """Return the names of all commands, or of those of a module, a category or a glob. Since 7.0."""
        at_most_one("COMMAND LIST", module=module, category=category, pattern=pattern)
        filters = {"MODULE": module, "ACLCAT": category, "PATTERN": pattern}
        options = [("FILTERBY", name, value) for name, value in filters.items() if value is not None]
        return self.execute(("COMMAND", "LIST", *(options[0] if options else ())), each(string))
