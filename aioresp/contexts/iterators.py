"""Whole collections, page by page, as asynchronous iterators.

Owns the step from one cursor to the next. Never holds anything between two pages, on the server or here: a loop may be
left at any time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar, cast, overload

from aioresp.command import AnyStr, Key, Result, shown
from aioresp.commands.hashes import HashCommands
from aioresp.commands.keys import KeyCommands
from aioresp.commands.sets import SetCommands
from aioresp.commands.sorted_sets import SortedSetCommands
from aioresp.misuse import Iterated

T = TypeVar("T")

Pattern = str | bytes


async def _known(value: T) -> T:
    return value


class Scan(Iterated, AsyncIterator[T]):
    """Iterator over a collection; `page` takes a cursor and returns the next one, with some elements.

    `what` names the collection in its `repr`.
    """

    _instead = "iterate in the process that needs the elements, with that process's client"
    _entering = _reading = "async for element in r.scan_iter(...):"

    def __init__(self, what: str, page: Callable[[int], Awaitable[tuple[int, Iterable[T]]]]) -> None:
        self._page = page
        self._what = what
        self._cursor: int | None = 0
        self._found: Iterator[T] = iter(())

    def __repr__(self) -> str:
        if not hasattr(self, "_found"):  # its constructor failed
            return "Scan(not made)"
        state = "at its end" if self._cursor is None else f"cursor {self._cursor}" if self._cursor else "not begun"
        return f"Scan({self._what}, {state})"

    async def __anext__(self) -> T:
        while True:
            for element in self._found:
                return element
            if self._cursor is None:
                raise StopAsyncIteration
            # After a cancellation or an error here, the next call requests the same page again.
            cursor, found = await self._page(self._cursor)
            self._cursor = cursor or None
            self._found = iter(found)


class Iterators(KeyCommands[AnyStr], HashCommands[AnyStr], SetCommands[AnyStr], SortedSetCommands[AnyStr]):
    """Iterators of clients and leases. Elements that are present throughout are returned at least once."""

    def _answer(self, value: T) -> Result[T]:
        return cast("Result[T]", _known(value))

    def scan_iter(
        self, match: Pattern | None = None, count: int | None = None, _type: str | None = None
    ) -> AsyncIterator[AnyStr]:
        """Iterate over the keys of the database: those that match the glob, about `count` a page, of one `_type`."""
        return Scan("SCAN", lambda cursor: self.scan(cursor, match, count, _type))

    def sscan_iter(self, name: Key, match: Pattern | None = None, count: int | None = None) -> AsyncIterator[AnyStr]:
        """Iterate over the members of a set."""
        return Scan(_of("SSCAN", name), lambda cursor: self.sscan(name, cursor, match, count))

    @overload
    def hscan_iter(
        self,
        name: Key,
        match: Pattern | None = None,
        count: int | None = None,
        no_values: Literal[False] = False,
    ) -> AsyncIterator[tuple[AnyStr, AnyStr]]: ...
    @overload
    def hscan_iter(
        self, name: Key, match: Pattern | None = None, count: int | None = None, *, no_values: Literal[True]
    ) -> AsyncIterator[AnyStr]: ...
    def hscan_iter(
        self, name: Key, match: Pattern | None = None, count: int | None = None, no_values: bool = False
    ) -> AsyncIterator[Any]:
        """Iterate over the fields and values of a hash, or with `no_values` (since 7.4) over its fields."""
        if no_values:
            return Scan(_of("HSCAN", name), lambda cursor: self.hscan(name, cursor, match, count, no_values=True))

        async def pairs(cursor: int) -> tuple[int, Iterable[tuple[AnyStr, AnyStr]]]:
            following, fields = await self.hscan(name, cursor, match, count)
            return following, fields.items()

        return Scan(_of("HSCAN", name), pairs)

    @overload
    def zscan_iter(
        self,
        name: Key,
        match: Pattern | None = None,
        count: int | None = None,
        *,
        no_scores: Literal[False] = False,
    ) -> AsyncIterator[tuple[AnyStr, float]]: ...
    @overload
    def zscan_iter(
        self, name: Key, match: Pattern | None = None, count: int | None = None, *, no_scores: Literal[True]
    ) -> AsyncIterator[AnyStr]: ...
    def zscan_iter(
        self, name: Key, match: Pattern | None = None, count: int | None = None, *, no_scores: bool = False
    ) -> AsyncIterator[Any]:
        """Iterate over the members of a sorted set with their scores, or with `no_scores` (Valkey 8.0) without."""
        if no_scores:
            return Scan(_of("ZSCAN", name), lambda cursor: self.zscan(name, cursor, match, count, no_scores=True))
        return Scan(_of("ZSCAN", name), lambda cursor: self.zscan(name, cursor, match, count))


def _of(command: str, name: Key) -> str:
    return f"{command} {shown(name)}"
