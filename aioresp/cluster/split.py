"""Command that is split by slot: each of its keys stands for itself, so that the replies of the parts make its reply.

Owns which commands may be split, their parts, and the joining of the replies. Never sends anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aioresp.cluster.slots import slot_of
from aioresp.command import told
from aioresp.errors import RedisError, copy_error
from aioresp.facts.traits import Traits
from aioresp.wire.packing import Packed, pack

#: Commands that may be split; all but MGET reply with a number.
SPLIT: Final = frozenset(("DEL", "UNLINK", "EXISTS", "TOUCH", "MGET"))


class Split:
    """Parts of one command, one for each slot: `commands` and `slots` belong together."""

    __slots__ = ("_keys", "_numbers", "commands", "facts", "slots")

    def __init__(self, facts: Traits, parts: dict[int, list[int]]) -> None:
        keys = facts.keys
        self.facts = facts
        self.slots = list(parts)
        self.commands: list[Packed] = [
            pack((facts.name, *(keys[number] for number in numbers))) for numbers in parts.values()
        ]
        self._keys = len(keys)
        self._numbers = list(parts.values())

    def joined(self, replies: Sequence[Any]) -> Any:
        """Return the one raw reply for those of the parts, in their order; an error if a part has one."""
        failed = [reply for reply in replies if isinstance(reply, BaseException)]
        if failed:
            error = next((reply for reply in failed if not isinstance(reply, RedisError)), None)
            return error or self._error(failed[0], len(replies) - len(failed), len(replies))
        if self.facts.name != "MGET":
            return sum(replies)
        values: list[Any] = [None] * self._keys
        for numbers, reply in zip(self._numbers, replies, strict=True):
            for number, value in zip(numbers, reply, strict=True):
                values[number] = value
        return values

    def _error(self, error: Any, done: int, parts: int) -> RedisError:
        own: RedisError = copy_error(error)
        if self.facts.name != "MGET" and done:
            own.args = (f"{own.args[0]}; {done} of {parts} slots are done", *own.args[1:])
        told(own, self.facts)
        return own


def split_of(facts: Traits) -> Split | None:
    """Return the parts of a command; None if it is never split, or if its keys share a slot."""
    if facts.name not in SPLIT:
        return None
    parts: dict[int, list[int]] = {}
    for number, key in enumerate(facts.keys):
        parts.setdefault(slot_of(key), []).append(number)
    return Split(facts, parts) if len(parts) > 1 else None
