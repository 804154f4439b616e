"""Lists: stacks and queues."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, overload

from aioresp.arguments import numeral
from aioresp.command import AnyStr, Key, Result, Value, Wait
from aioresp.commands.base import Executor, at_most_one, blocking, filled, listed, number
from aioresp.errors import ArgumentError
from aioresp.replies import (
    array,
    array_or_none,
    integer,
    integer_or_none,
    integers,
    key_and_element,
    key_and_elements,
    ok,
    text,
    texts_or_none,
)

End: TypeAlias = Literal["LEFT", "RIGHT"]
Order: TypeAlias = Literal["OBO", "BULK"]


class ListCommands(Executor[AnyStr]):
    """Commands on lists. The blocking ones take a connection of their own for as long as they wait."""

    def blmove(
        self, first_list: Key, second_list: Key, timeout: Wait, src: End = "LEFT", dest: End = "RIGHT"
    ) -> Result[AnyStr | None]:
        """Move an element between lists, waiting `timeout` s (0: forever) for one; None if none came. Since 6.2."""
        return self.execute(("BLMOVE", first_list, second_list, src, dest, blocking(timeout, "BLMOVE")), text)

    def blmovem(
        self,
        first_list: Key,
        second_list: Key,
        timeout: Wait,
        src: End = "LEFT",
        dest: End = "RIGHT",
        *,
        count: int | None = None,
        exactly: int | None = None,
        order: Order | None = None,
    ) -> Result[list[AnyStr] | None]:
        """Do what `lmovem` does, waiting `timeout` s (0: forever) for elements; None if none came. Since 8.10."""
        how_many = _how_many("BLMOVEM", count, exactly, order)
        return self.execute(
            ("BLMOVEM", first_list, second_list, src, dest, blocking(timeout, "BLMOVEM"), *how_many), texts_or_none
        )

    def blmpop(
        self, timeout: Wait, numkeys: int, *args: Key, direction: End, count: int = 1
    ) -> Result[tuple[AnyStr, list[AnyStr]] | None]:
        """Do what `lmpop` does, waiting `timeout` s (0: forever) for an element; None if none came. Since 7.0."""
        pop = _several("BLMPOP", numkeys, args, direction, count)
        return self.execute(("BLMPOP", blocking(timeout, "BLMPOP"), *pop), key_and_elements)

    def blpop(self, keys: Key | Iterable[Key], timeout: Wait = 0) -> Result[tuple[AnyStr, AnyStr] | None]:
        """Pop (key, element) from the left of the first list that has one, waiting `timeout` s (0: forever)."""
        return self.execute(
            ("BLPOP", *filled("BLPOP", "keys", listed(keys)), blocking(timeout, "BLPOP")), key_and_element
        )

    def brpop(self, keys: Key | Iterable[Key], timeout: Wait = 0) -> Result[tuple[AnyStr, AnyStr] | None]:
        """Pop (key, element) from the right of the first list that has one, waiting `timeout` s (0: forever)."""
        return self.execute(
            ("BRPOP", *filled("BRPOP", "keys", listed(keys)), blocking(timeout, "BRPOP")), key_and_element
        )

    def brpoplpush(self, src: Key, dst: Key, timeout: Wait = 0) -> Result[AnyStr | None]:
        """Move the last element of `src` to the front of `dst`, waiting `timeout` s (0: forever) for one."""
        return self.execute(("BRPOPLPUSH", src, dst, blocking(timeout, "BRPOPLPUSH")), text)

    def lindex(self, name: Key, index: int) -> Result[AnyStr | None]:
        """Return the element at `index`; negative ones count from the end."""
        return self.execute(("LINDEX", name, index), text)

    def linsert(self, name: Key, where: Literal["BEFORE", "AFTER"], refvalue: Value, value: Value) -> Result[int]:
        """Insert next to `refvalue` and return the new length; -1: it is not in the list, 0: there is no list."""
        return self.execute(("LINSERT", name, where, refvalue, value), integer)

    def llen(self, name: Key) -> Result[int]:
        """Return how many elements there are."""
        return self.execute(("LLEN", name), integer)

    def lmove(self, first_list: Key, second_list: Key, src: End = "LEFT", dest: End = "RIGHT") -> Result[AnyStr | None]:
        """Move an element between lists and return it, or None if there is none. Since 6.2."""
        return self.execute(("LMOVE", first_list, second_list, src, dest), text)

    def lmovem(
        self,
        first_list: Key,
        second_list: Key,
        src: End = "LEFT",
        dest: End = "RIGHT",
        *,
        count: int | None = None,
        exactly: int | None = None,
        order: Order | None = None,
    ) -> Result[list[AnyStr] | None]:
        """Move up to `count` elements between lists, or `exactly` so many or none, and return them. Since 8.10.

        They are moved one by one ("OBO"), or as they stand ("BULK"): `order`. None if nothing was moved.
        """
        how_many = _how_many("LMOVEM", count, exactly, order)
        return self.execute(("LMOVEM", first_list, second_list, src, dest, *how_many), texts_or_none)

    def lmpop(
        self, num_keys: int, *args: Key, direction: End, count: int = 1
    ) -> Result[tuple[AnyStr, list[AnyStr]] | None]:
        """Pop up to `count` elements of the first list that has one: its key, and the elements. Since 7.0."""
        return self.execute(("LMPOP", *_several("LMPOP", num_keys, args, direction, count)), key_and_elements)

    @overload
    def lpop(self, name: Key, count: None = None) -> Result[AnyStr | None]: ...
    @overload
    def lpop(self, name: Key, count: int) -> Result[list[AnyStr] | None]: ...
    def lpop(self, name: Key, count: int | None = None) -> Result[Any]:
        """Pop the first element, or a list of up to `count` (since 6.2); None if there is no list."""
        return self._pop("LPOP", name, count)

    @overload
    def lpos(
        self, name: Key, value: Value, rank: int | None = None, *, maxlen: int | None = None
    ) -> Result[int | None]: ...
    @overload
    def lpos(
        self, name: Key, value: Value, rank: int | None = None, *, count: int, maxlen: int | None = None
    ) -> Result[list[int]]: ...
    def lpos(
        self,
        name: Key,
        value: Value,
        rank: int | None = None,
        *,
        count: int | None = None,
        maxlen: int | None = None,
    ) -> Result[Any]:
        """Return the index of `value`, or a list of up to `count` (0: all). Since 6.0.6.

        `rank` says which match is the first to count, from the end if negative; `maxlen` how many elements to look at.
        """
        options: tuple[Value, ...] = () if rank is None else ("RANK", rank)
        options += () if count is None else ("COUNT", count)
        options += () if maxlen is None else ("MAXLEN", maxlen)
        return self.execute(("LPOS", name, value, *options), integers if count is not None else integer_or_none)

    def lpush(self, name: Key, *values: Value) -> Result[int]:
        """Push to the left, the last value outermost, and return the new length."""
        return self.execute(("LPUSH", name, *filled("LPUSH", "values", values)), integer)

    def lpushx(self, name: Key, *values: Value) -> Result[int]:
        """Push to the left of a list that exists and return the new length, 0 if there is none."""
        return self.execute(("LPUSHX", name, *filled("LPUSHX", "values", values)), integer)

    def lrange(self, name: Key, start: int, end: int) -> Result[list[AnyStr]]:
        """Return the elements from `start` to `end`, both included; negative ones count from the end."""
        return self.execute(("LRANGE", name, start, end), array)

    def lrem(self, name: Key, count: int, value: Value) -> Result[int]:
        """Remove `count` elements equal to `value` (from the end if negative, 0: all) and return how many that were."""
        count = number("LREM", "count", count, "name, count, value")
        return self.execute(("LREM", name, count, value), integer)

    def lset(self, name: Key, index: int, value: Value) -> Result[bool]:
        """Replace the element at `index`. Raises ResponseError if there is none."""
        return self.execute(("LSET", name, index, value), ok)

    def ltrim(self, name: Key, start: int, end: int) -> Result[bool]:
        """Keep only the elements from `start` to `end`, both included."""
        return self.execute(("LTRIM", name, start, end), ok)

    @overload
    def rpop(self, name: Key, count: None = None) -> Result[AnyStr | None]: ...
    @overload
    def rpop(self, name: Key, count: int) -> Result[list[AnyStr] | None]: ...
    def rpop(self, name: Key, count: int | None = None) -> Result[Any]:
        """Pop the last element, or a list of up to `count` (since 6.2); None if there is no list."""
        return self._pop("RPOP", name, count)

    def rpoplpush(self, src: Key, dst: Key) -> Result[AnyStr | None]:
        """Move the last element of `src` to the front of `dst` and return it; `lmove` is the newer way."""
        return self.execute(("RPOPLPUSH", src, dst), text)

    def rpush(self, name: Key, *values: Value) -> Result[int]:
        """Push to the right, the last value outermost, and return the new length."""
        return self.execute(("RPUSH", name, *filled("RPUSH", "values", values)), integer)

    def rpushx(self, name: Key, *values: Value) -> Result[int]:
        """Push to the right of a list that exists and return the new length, 0 if there is none."""
        return self.execute(("RPUSHX", name, *filled("RPUSHX", "values", values)), integer)

    def _pop(self, command: str, name: Key, count: int | None) -> Result[Any]:
        if count is None:
            return self.execute((command, name), text)
        return self.execute((command, name, count), array_or_none)


def _several(command: str, numkeys: int, keys: tuple[Key, ...], direction: End, count: int) -> tuple[Value, ...]:
    if len(keys) != numkeys or not keys:
        raise ArgumentError(f"{command}: the number of keys is {numeral(numkeys)}, but there are {len(keys)}")
    return (numkeys, *keys, direction, *(() if count == 1 else ("COUNT", count)))


def _how_many(command: str, count: int | None, exactly: int | None, order: Order | None) -> tuple[Value, ...]:
    at_most_one(command, count=count, exactly=exactly)
    if count is None and exactly is None:
        if order is not None:
            raise ArgumentError(f"{command}: order needs count or exactly")
        return ()
    many: tuple[Value, ...] = ("EXACTLY", exactly) if exactly is not None else ("COUNT", count or 0)
    return (*many, order or "OBO")
