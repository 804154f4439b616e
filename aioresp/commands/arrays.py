"""Arrays: values at indices from 0 to 2^64 - 2, with gaps of any size. Redis 8.8; not in Valkey."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from aioresp.command import AnyStr, Key, Result, Value
from aioresp.commands.base import Executor, condition, filled
from aioresp.errors import ArgumentError
from aioresp.replies import Late, integer_or_none, text, texts_or_nils

if TYPE_CHECKING:
    from aioresp.replies import arrays as replies
    from aioresp.replies.arrays import ArrayInfo
else:
    replies = Late("arrays")

Test: TypeAlias = Literal["EXACT", "MATCH", "GLOB", "RE"]
Count: TypeAlias = Literal["MATCH", "USED"]
Whole: TypeAlias = Literal["AND", "OR", "XOR"]
Fraction: TypeAlias = Literal["SUM", "MIN", "MAX"]


class ArrayCommands(Executor[AnyStr]):
    """Commands on arrays. Ranges have both their ends."""

    def arcount(self, name: Key) -> Result[int]:
        """Return how many elements there are. Since 8.8."""
        return self.execute(("ARCOUNT", name), replies.whole)

    def ardel(self, name: Key, *indices: int) -> Result[int]:
        """Delete elements and return how many there were. Since 8.8."""
        return self.execute(("ARDEL", name, *filled("ARDEL", "indices", indices)), replies.whole)

    def ardelrange(self, name: Key, *ranges: tuple[int, int]) -> Result[int]:
        """Delete the elements in ranges and return how many there were. Since 8.8."""
        bounds = filled("ARDELRANGE", "ranges", tuple(bound for start, end in ranges for bound in (start, end)))
        return self.execute(("ARDELRANGE", name, *bounds), replies.whole)

    def arget(self, name: Key, index: int) -> Result[AnyStr | None]:
        """Return the element at `index`, or None if there is none. Since 8.8."""
        return self.execute(("ARGET", name, index), text)

    def argetrange(self, name: Key, start: int, end: int) -> Result[list[AnyStr | None]]:
        """Return what is at each index of a range, None where there is nothing. Since 8.8."""
        return self.execute(("ARGETRANGE", name, start, end), texts_or_nils)

    @overload
    def argrep(
        self,
        name: Key,
        start: int,
        end: int,
        predicates: Iterable[tuple[Test, Value]],
        combinator: Literal["AND", "OR"] | None = None,
        limit: int | None = None,
        withvalues: Literal[False] = False,
        nocase: bool = False,
    ) -> Result[list[int]]: ...
    @overload
    def argrep(
        self,
        name: Key,
        start: int,
        end: int,
        predicates: Iterable[tuple[Test, Value]],
        combinator: Literal["AND", "OR"] | None = None,
        limit: int | None = None,
        *,
        withvalues: Literal[True],
        nocase: bool = False,
    ) -> Result[list[tuple[int, AnyStr]]]: ...
    def argrep(
        self,
        name: Key,
        start: int,
        end: int,
        predicates: Iterable[tuple[Test, Value]],
        combinator: Literal["AND", "OR"] | None = None,
        limit: int | None = None,
        withvalues: bool = False,
        nocase: bool = False,
    ) -> Result[Any]:
        """Return the indices of the elements in a range that pass tests, or with their values. Since 8.8.

        A test is a kind and a text: the element equals it (`EXACT`), contains it (`MATCH`), or fits it as a `GLOB` or a
        regular expression (`RE`). One must pass, or with `combinator="AND"` all.
        """
        tests = filled("ARGREP", "predicates", tuple(part for test in predicates for part in test))
        options: list[Value] = [] if combinator is None else [combinator]
        if limit is not None:
            options += ("LIMIT", limit)
        options += (*condition("ARGREP", withvalues=withvalues), *condition("ARGREP", nocase=nocase))
        return self.execute(
            ("ARGREP", name, start, end, *tests, *options), replies.indexed if withvalues else replies.wholes
        )

    def arinfo(self, name: Key, full: bool = False) -> Result[ArrayInfo | None]:
        """Return facts about an array, with averages over its slices if `full`; None if there is no key. Since 8.8."""
        return self.execute(("ARINFO", name, *condition("ARINFO", full=full)), replies.array_info)

    def arinsert(self, name: Key, *values: Value) -> Result[int]:
        """Add values where the last insertion ended, and return the index of the last one. Since 8.8."""
        return self.execute(("ARINSERT", name, *filled("ARINSERT", "values", values)), replies.whole)

    def arlastitems(self, name: Key, count: int, rev: bool = False) -> Result[list[AnyStr | None]]:
        """Return the `count` elements inserted last, the newest last, or first if `rev`. Since 8.8."""
        return self.execute(("ARLASTITEMS", name, count, *condition("ARLASTITEMS", rev=rev)), texts_or_nils)

    def arlen(self, name: Key) -> Result[int]:
        """Return the highest index plus one, 0 if there is no array. Since 8.8."""
        return self.execute(("ARLEN", name), replies.whole)

    def armget(self, name: Key, *indices: int) -> Result[list[AnyStr | None]]:
        """Return what is at each of the indices, None where there is nothing. Since 8.8."""
        return self.execute(("ARMGET", name, *filled("ARMGET", "indices", indices)), texts_or_nils)

    def armset(self, name: Key, mapping: Mapping[int, Value]) -> Result[int]:
        """Set elements by index and return how many are new. Since 8.8."""
        pairs = filled("ARMSET", "mapping", tuple(part for pair in mapping.items() for part in pair))
        return self.execute(("ARMSET", name, *pairs), replies.whole)

    def arnext(self, name: Key) -> Result[int | None]:
        """Return where the next insertion goes, or None if there is no index left. Since 8.8."""
        return self.execute(("ARNEXT", name), replies.whole_or_none)

    @overload
    def arop(self, name: Key, start: int, end: int, operation: Fraction) -> Result[int | float | None]: ...
    @overload
    def arop(self, name: Key, start: int, end: int, operation: Whole) -> Result[int | None]: ...
    @overload
    def arop(self, name: Key, start: int, end: int, operation: Count, value: Value | None = None) -> Result[int]: ...
    def arop(
        self, name: Key, start: int, end: int, operation: Fraction | Whole | Count, value: Value | None = None
    ) -> Result[Any]:
        """Return the sum, the least, ... of the elements in a range that are numbers, None if none is. Since 8.8.

        `USED` counts the elements, `MATCH` those that equal `value`. The bits of `AND`, `OR` and `XOR` are of integers.
        """
        if (operation == "MATCH") is not (value is not None):
            raise ArgumentError("AROP: MATCH and value need each other")
        compared: tuple[Value, ...] = () if value is None else (value,)
        reply = replies.number_or_none if operation in ("SUM", "MIN", "MAX") else replies.whole_or_none
        return self.execute(("AROP", name, start, end, operation, *compared), reply)

    def arring(self, name: Key, size: int, *values: Value) -> Result[int]:
        """Insert values into a ring of `size` elements and return the index of the last one. Since 8.8."""
        return self.execute(("ARRING", name, size, *filled("ARRING", "values", values)), replies.whole)

    def arscan(self, name: Key, start: int, end: int, limit: int | None = None) -> Result[list[tuple[int, AnyStr]]]:
        """Return the elements in a range with their indices, up to `limit`; backwards if `start` > `end`. Since 8.8."""
        options: tuple[Value, ...] = () if limit is None else ("LIMIT", limit)
        return self.execute(("ARSCAN", name, start, end, *options), replies.indexed)

    def arseek(self, name: Key, index: int) -> Result[bool]:
        """Let the next insertion go to `index`, and return whether there is such an array. Since 8.8."""
        return self.execute(("ARSEEK", name, index), _done)

    def arset(self, name: Key, index: int, *values: Value) -> Result[int]:
        """Set the elements from `index` on and return how many are new. Since 8.8."""
        return self.execute(("ARSET", name, index, *filled("ARSET", "values", values)), replies.whole)


def _done(value: Any) -> bool:
    return integer_or_none(value) not in (0, None)
