"""SORT: elements of a list, a set or a sorted set in another order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, overload

from aioresp.command import AnyStr, Key, Result, Value
from aioresp.commands.base import Executor, condition, listed
from aioresp.errors import ArgumentError
from aioresp.replies import array, groups_of, integer

Pattern = str | bytes


class SortingCommands(Executor[AnyStr]):
    """Commands that sort.

    The elements are numbers unless `alpha`. `by` names the keys to sort by, and `get` those to return, the first `*`
    standing for the element; `get="#"` is the element itself. Of the result, `num` elements from `start` on are
    returned.
    """

    @overload
    def sort(
        self,
        name: Key,
        start: int | None = None,
        num: int | None = None,
        by: Pattern | None = None,
        get: None = None,
        desc: bool = False,
        alpha: bool = False,
        store: None = None,
    ) -> Result[list[AnyStr]]: ...
    @overload
    def sort(
        self,
        name: Key,
        start: int | None = None,
        num: int | None = None,
        by: Pattern | None = None,
        *,
        get: Pattern | Iterable[Pattern],
        desc: bool = False,
        alpha: bool = False,
        store: None = None,
        groups: Literal[False] = False,
    ) -> Result[list[AnyStr | None]]: ...
    @overload
    def sort(
        self,
        name: Key,
        start: int | None = None,
        num: int | None = None,
        by: Pattern | None = None,
        *,
        get: Iterable[Pattern],
        desc: bool = False,
        alpha: bool = False,
        store: None = None,
        groups: Literal[True],
    ) -> Result[list[tuple[AnyStr | None, ...]]]: ...
    @overload
    def sort(
        self,
        name: Key,
        start: int | None = None,
        num: int | None = None,
        by: Pattern | None = None,
        get: Pattern | Iterable[Pattern] | None = None,
        desc: bool = False,
        alpha: bool = False,
        *,
        store: Key,
    ) -> Result[int]: ...
    def sort(
        self,
        name: Key,
        start: int | None = None,
        num: int | None = None,
        by: Pattern | None = None,
        get: Pattern | Iterable[Pattern] | None = None,
        desc: bool = False,
        alpha: bool = False,
        store: Key | None = None,
        groups: bool = False,
    ) -> Result[Any]:
        """Return the elements sorted, or store them as a list at `store` and return how many there are.

        With several patterns in `get`, `groups` returns a tuple for each element.
        """
        patterns = _patterns(get)
        if groups and len(patterns) < 2:
            raise ArgumentError("SORT: groups needs two patterns in get, at least")
        arguments = ("SORT", name, *_options("SORT", start, num, by, patterns, desc, alpha))
        if store is not None:
            if groups:
                raise ArgumentError("SORT: groups and store exclude each other")
            return self.execute((*arguments, "STORE", store), integer)
        return self.execute(arguments, groups_of(len(patterns)) if groups else array)

    @overload
    def sort_ro(
        self,
        key: Key,
        start: int | None = None,
        num: int | None = None,
        by: Pattern | None = None,
        get: None = None,
        desc: bool = False,
        alpha: bool = False,
    ) -> Result[list[AnyStr]]: ...
    @overload
    def sort_ro(
        self,
        key: Key,
        start: int | None = None,
        num: int | None = None,
        by: Pattern | None = None,
        *,
        get: Pattern | Iterable[Pattern],
        desc: bool = False,
        alpha: bool = False,
    ) -> Result[list[AnyStr | None]]: ...
    def sort_ro(
        self,
        key: Key,
        start: int | None = None,
        num: int | None = None,
        by: Pattern | None = None,
        get: Pattern | Iterable[Pattern] | None = None,
        desc: bool = False,
        alpha: bool = False,
    ) -> Result[Any]:
        """Return the elements sorted; a replica does this too. Since 7.0."""
        options = _options("SORT_RO", start, num, by, _patterns(get), desc, alpha)
        return self.execute(("SORT_RO", key, *options), array)


def _patterns(get: Pattern | Iterable[Pattern] | None) -> tuple[Value, ...]:
    return () if get is None else listed(get)


def _options(
    command: str,
    start: int | None,
    num: int | None,
    by: Pattern | None,
    patterns: tuple[Value, ...],
    desc: bool,
    alpha: bool,
) -> tuple[Value, ...]:
    if (start is None) is not (num is None):
        raise ArgumentError(f"{command}: start and num need each other")
    options: tuple[Value, ...] = () if by is None else ("BY", by)
    if start is not None and num is not None:
        options += ("LIMIT", start, num)
    for pattern in patterns:
        options += ("GET", pattern)
    return (*options, *condition(command, desc=desc), *condition(command, alpha=alpha))
