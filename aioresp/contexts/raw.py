"""Raw batch: commands in one write, and their replies as the server gave them, errors among them as values.

Owns the checks of such a batch before anything is sent. Never converts a reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from aioresp.arguments import exact
from aioresp.command import PLAIN, Arguments
from aioresp.contexts.large import Replies
from aioresp.errors import ArgumentError, ArgumentTypeError, CommandRefused, about
from aioresp.facts.traits import traits
from aioresp.wire.packing import Packed, pack

#: Commands that a batch takes at its ends only, where they make it a transaction.
ENDS: Final = ("MULTI", "EXEC")


class Carrier(Protocol):
    """Route of a batch: over shared connections, or over a lease."""

    async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        """Send the commands, and return the raw replies."""
        ...


class RawBatch:
    """Commands that were checked and packed, and whether they are one transaction."""

    __slots__ = ("changes", "commands", "given", "whole")

    def __init__(self, commands: Iterable[Arguments], *, shared: bool) -> None:
        """Check the commands for a `shared` connection, or for a lease. Raises ArgumentError and CommandRefused."""
        self.given = given = [_checked(number, arguments) for number, arguments in enumerate(commands)]
        #: Names of the commands that change their connection.
        self.changes: set[str] = set()
        self.whole = len(given) > 1 and _name(given[0]) == "MULTI" and _name(given[-1]) == "EXEC"
        for number, arguments in enumerate(given):
            name = arguments[0]
            if type(name) is str and name in PLAIN:  # other classes may have any hash
                continue
            if self.whole and number in (0, len(given) - 1):
                continue
            facts = traits(exact(arguments))
            if facts.forbidden or (facts.refusal is not None and shared):
                raise about(CommandRefused(f"a raw batch does not take it: {facts.refusal}"), facts.name)
            if facts.timeout is not None and not self.whole:
                raise about(
                    CommandRefused("a raw batch does not take it: it would hold up all commands behind it"), facts.name
                )
            if facts.changes:
                self.changes.add(facts.name)
        self.commands = [pack(arguments) for arguments in given]

    async def send(self, route: Carrier, decode: bool) -> list[Any]:
        """Send the commands by a route, and return the replies."""
        if not self.commands:
            return []
        return (await route.carry(self.commands, decode, self.whole)).raw


def _checked(number: int, arguments: object) -> Arguments:
    if not isinstance(arguments, (tuple, list)):
        raise ArgumentTypeError(
            f"command {number} of the batch is {type(arguments).__name__}, not a tuple of arguments"
        )
    if not arguments:
        raise ArgumentError(f"command {number} of the batch is empty")
    return tuple(arguments)


def _name(arguments: Sequence[Any]) -> str:
    name = arguments[0]
    return name if type(name) is str and (name in ENDS or name in PLAIN) else traits(arguments[:1]).name
