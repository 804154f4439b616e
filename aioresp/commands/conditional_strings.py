"""Conditional string commands: compare and set, compare and delete, several keys at once, bounded counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from aioresp.command import AnyStr, Fields, Instant, Key, Number, Result, Seconds, Value
from aioresp.commands.base import Executor, at_most_one, comparison, condition, expiry, filled, flat
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.replies import Late, boolean, integer, some_text, string_or_none

if TYPE_CHECKING:
    from aioresp.replies import strings as replies
    from aioresp.replies.strings import Common
else:
    replies = Late("strings")


class ConditionalStringCommands(Executor[AnyStr]):
    """Commands on strings that look at what is there."""

    def delex(
        self,
        name: Key,
        *,
        ifeq: Value | None = None,
        ifne: Value | None = None,
        ifdeq: Value | None = None,
        ifdne: Value | None = None,
    ) -> Result[bool]:
        """Delete the key, on one condition at most, and return whether it was deleted. Since 8.4.

        The value equals `ifeq` or does not equal `ifne`, or its digest (see `digest`) `ifdeq` or `ifdne`.
        """
        return self.execute(("DELEX", name, *comparison("DELEX", ifeq, ifne, ifdeq, ifdne)), boolean)

    def delifeq(self, name: Key, value: Value) -> Result[bool]:
        """Delete the key if it holds `value`, and return whether it was deleted. Valkey 9.0; Redis has `delex`."""
        return self.execute(("DELIFEQ", name, value), boolean)

    def digest(self, name: Key) -> Result[str | None]:
        """Return the XXH3 hash of the value in 16 hexadecimal digits, or None if there is none. Since 8.4."""
        return self.execute(("DIGEST", name), string_or_none)

    @overload
    def increx(
        self,
        name: Key,
        amount: int = 1,
        *,
        lbound: int | None = None,
        ubound: int | None = None,
        saturate: bool = False,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Instant | None = None,
        pxat: Instant | None = None,
        persist: bool = False,
        enx: bool = False,
    ) -> Result[tuple[int, int]]: ...
    @overload
    def increx(
        self,
        name: Key,
        amount: float,
        *,
        lbound: Number | None = None,
        ubound: Number | None = None,
        saturate: bool = False,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Instant | None = None,
        pxat: Instant | None = None,
        persist: bool = False,
        enx: bool = False,
    ) -> Result[tuple[float, float]]: ...
    def increx(
        self,
        name: Key,
        amount: Number = 1,
        *,
        lbound: Number | None = None,
        ubound: Number | None = None,
        saturate: bool = False,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Instant | None = None,
        pxat: Instant | None = None,
        persist: bool = False,
        enx: bool = False,
    ) -> Result[Any]:
        """Add `amount` to a counter with bounds, set its expiry, and return its value and what was added. Since 8.8.

        Beyond a bound nothing is added, or with `saturate` as much as fits. With `enx` the expiry is only set if there
        is none. An `amount` that is a float makes all of it floats.
        """
        whole = isinstance(amount, int)
        arguments: list[Value] = ["INCREX", name, "BYINT" if whole else "BYFLOAT", amount]
        arguments += condition("INCREX", saturate=saturate)
        for word, bound in (("LBOUND", lbound), ("UBOUND", ubound)):
            if bound is not None:
                if whole and not isinstance(bound, int):
                    raise ArgumentTypeError(f"INCREX: {word.lower()} is {type(bound).__name__}, and amount int")
                arguments += (word, bound)
        options = expiry("INCREX", ex, px, exat, pxat, persist=persist)
        if enx and not options:
            raise ArgumentError("INCREX: enx needs one of ex, px, exat and pxat")
        at_most_one("INCREX", enx=enx, persist=persist)
        arguments += (*options, *condition("INCREX", enx=enx))
        return self.execute(tuple(arguments), replies.increased if whole else replies.increased_float)

    @overload
    def lcs(
        self,
        key1: Key,
        key2: Key,
        len: Literal[False] = False,
        idx: Literal[False] = False,
    ) -> Result[AnyStr]: ...
    @overload
    def lcs(self, key1: Key, key2: Key, len: Literal[True]) -> Result[int]: ...
    @overload
    def lcs(
        self,
        key1: Key,
        key2: Key,
        len: Literal[False] = False,
        *,
        idx: Literal[True],
        minmatchlen: int | None = None,
        withmatchlen: bool = False,
    ) -> Result[Common]: ...
    def lcs(
        self,
        key1: Key,
        key2: Key,
        len: bool = False,
        idx: bool = False,
        minmatchlen: int | None = None,
        withmatchlen: bool = False,
    ) -> Result[Any]:
        """Return the longest common subsequence of two values, its `len`, or where its pieces are (`idx`). Since 7.0.

        With `idx`, pieces shorter than `minmatchlen` are left out, and `withmatchlen` tells how long each is.
        """
        at_most_one("LCS", len=len, idx=idx)
        if not idx and (minmatchlen is not None or withmatchlen):
            raise ArgumentError("LCS: minmatchlen and withmatchlen need idx")
        arguments: list[Value] = ["LCS", key1, key2, *condition("LCS", len=len, idx=idx)]
        if minmatchlen is not None:
            arguments += ("MINMATCHLEN", minmatchlen)
        arguments += condition("LCS", withmatchlen=withmatchlen)
        return self.execute(tuple(arguments), integer if len else replies.common if idx else some_text)

    def msetex(
        self,
        mapping: Fields,
        *,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Instant | None = None,
        pxat: Instant | None = None,
        keepttl: bool = False,
        nx: bool = False,
        xx: bool = False,
    ) -> Result[bool]:
        """Set all keys of `mapping` with one expiry, or none, and return whether they were set. Since 8.4; Valkey 9.1.

        `nx` sets them only if none exists, `xx` only if all do.
        """
        pairs = filled("MSETEX", "mapping", flat(mapping, "MSETEX"))
        options = (
            *condition("MSETEX", nx=nx, xx=xx),
            *expiry("MSETEX", ex, px, exat, pxat, keepttl=keepttl),
        )
        return self.execute(("MSETEX", len(pairs) // 2, *pairs, *options), boolean)

    def substr(self, name: Key, start: int, end: int = -1) -> Result[AnyStr]:
        """Return the bytes from `start` to `end`, both included; `getrange` is the newer name."""
        return self.execute(("SUBSTR", name, start, end), some_text)
