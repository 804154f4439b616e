"""Bitmaps: single bits of strings, bit counts, bitwise operations, and integers of any width."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from aioresp.command import AnyStr, Arguments, Key, Result, Value
from aioresp.commands.base import Executor, filled
from aioresp.errors import ArgumentError
from aioresp.replies import integer, integers, integers_or_nils

Unit: TypeAlias = Literal["BYTE", "BIT"]

#: What BITFIELD does when an integer does not fit: wrap around, stop at the limit, or leave it and return None.
Overflow: TypeAlias = Literal["WRAP", "SAT", "FAIL"]

#: Where an integer is: the number of a bit, or "#2" for the third integer of this width.
Offset: TypeAlias = int | str

#: One step of BITFIELD. The second item is the integer's type, as "u8" or "i16".
BitFieldOperation: TypeAlias = (
    tuple[Literal["GET"], str, Offset]
    | tuple[Literal["SET", "INCRBY"], str, Offset, int]
    | tuple[Literal["OVERFLOW"], Overflow]
)

Operation: TypeAlias = Literal["AND", "OR", "XOR", "NOT", "DIFF", "DIFF1", "ANDOR", "ONE"]


class BitmapCommands(Executor[AnyStr]):
    """Commands on the bits of strings. The first bit is the highest of the first byte."""

    def bitcount(
        self, key: Key, start: int | None = None, end: int | None = None, mode: Unit | None = None
    ) -> Result[int]:
        """Return how many bits are 1, in all or from `start` to `end`, both included; negative ones count from the end.

        They count bytes, or with `mode` "BIT" bits (since 7.0).
        """
        if (start is None) != (end is None):
            raise ArgumentError("BITCOUNT: start and end go together")
        return self.execute(("BITCOUNT", key, *_span("BITCOUNT", start, end, mode)), integer)

    def bitfield(
        self, key: Key, *operations: BitFieldOperation, default_overflow: Overflow | None = None
    ) -> Result[list[int | None]]:
        """Read and write integers of any width and return a value for each operation but OVERFLOW.

        ("GET", "u8", 0) returns the integer, ("SET", "i5", 100, 7) the one before, ("INCRBY", "u2", "#1", 1) the one
        after; ("OVERFLOW", "FAIL") says what the next ones do where a number does not fit, "FAIL" returning None.
        """
        filled("BITFIELD", "operations", tuple([name for name, *_ in operations if name != "OVERFLOW"]))
        first: tuple[Value, ...] = () if default_overflow is None else ("OVERFLOW", default_overflow)
        return self.execute(("BITFIELD", key, *first, *[part for one in operations for part in one]), integers_or_nils)

    def bitfield_ro(
        self, key: Key, encoding: str, offset: Offset, items: Iterable[tuple[str, Offset]] | None = None
    ) -> Result[list[int]]:
        """Return the integer of type `encoding` at `offset`, and those of `items`, as `bitfield` does. Since 6.0."""
        more = [part for item in items or () for part in ("GET", *item)]
        return self.execute(("BITFIELD_RO", key, "GET", encoding, offset, *more), integers)

    def bitop(self, operation: Operation, dest: Key, *keys: Key) -> Result[int]:
        """Combine the strings at `keys` bit by bit, store the result and return its length in bytes.

        "NOT" takes one key. Since 8.2 also "DIFF" (in the first, in none of the others), "DIFF1" (in others, not in
        the first), "ANDOR" (in the first and in any other) and "ONE" (in exactly one).
        """
        filled("BITOP", "keys", keys)
        if operation == "NOT" and len(keys) > 1:
            raise ArgumentError(f"BITOP: NOT takes one key, but keys has {len(keys)}")
        return self.execute(("BITOP", operation, dest, *keys), integer)

    def bitpos(
        self, key: Key, bit: int, start: int | None = None, end: int | None = None, mode: Unit | None = None
    ) -> Result[int]:
        """Return where the first bit is that is `bit` (0 or 1), from the start of the string on; -1: there is none.

        `start`, `end` and `mode` (since 7.0) say where to look, as in `bitcount`. Without `end`, zeros follow the
        string.
        """
        if start is None and end is not None:
            raise ArgumentError("BITPOS: end needs start")
        return self.execute(("BITPOS", key, bit, *_span("BITPOS", start, end, mode)), integer)

    def getbit(self, name: Key, offset: int) -> Result[int]:
        """Return the bit, 0 or 1; beyond the end there are zeros."""
        return self.execute(("GETBIT", name, offset), integer)

    def setbit(self, name: Key, offset: int, value: int) -> Result[int]:
        """Set the bit to 0 or 1, with zeros up to it if need be, and return what it was."""
        return self.execute(("SETBIT", name, offset, int(value)), integer)


def _span(command: str, start: int | None, end: int | None, mode: Unit | None) -> Arguments:
    """Return the arguments that say where to look; `mode` stands behind the end only."""
    if mode is not None and end is None:
        raise ArgumentError(f"{command}: mode needs end")
    return tuple([argument for argument in (start, end, mode) if argument is not None])
