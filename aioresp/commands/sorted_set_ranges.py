"""Ranges of sorted sets, by rank, by score or by member: read, stored or removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from aioresp.command import AnyStr, Arguments, Key, Result
from aioresp.commands.base import Executor, at_most_one, condition
from aioresp.commands.sorted_sets import LexBound, ScoreBound
from aioresp.errors import ArgumentError
from aioresp.replies import Late, array, integer

if TYPE_CHECKING:
    from aioresp.replies import sorted_sets as replies
else:
    replies = Late("sorted_sets")


class SortedSetRangeCommands(Executor[AnyStr]):
    """Commands on ranges of sorted sets.

    Ranks count from 0, negative ones from the end. A score is in the range unless it is written "(1"; "-inf" and
    "+inf" have no end. A member is written "[a" if it is in the range, "(a" if not; "-" and "+" have no end. By
    member is for sets whose members all have one score.
    """

    @overload
    def zrange(
        self,
        name: Key,
        start: ScoreBound | LexBound,
        end: ScoreBound | LexBound,
        desc: bool = False,
        *,
        withscores: Literal[False] = False,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> Result[list[AnyStr]]: ...
    @overload
    def zrange(
        self,
        name: Key,
        start: ScoreBound | LexBound,
        end: ScoreBound | LexBound,
        desc: bool = False,
        *,
        withscores: Literal[True],
        byscore: bool = False,
        bylex: Literal[False] = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> Result[list[tuple[AnyStr, float]]]: ...
    def zrange(
        self,
        name: Key,
        start: ScoreBound | LexBound,
        end: ScoreBound | LexBound,
        desc: bool = False,
        *,
        withscores: bool = False,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> Result[Any]:
        """Return the members from rank `start` to `end`, both included, or with `desc` counted from the highest score.

        `byscore` and `bylex` make the bounds scores or members, with `desc` the higher one first; of these ranges
        `offset` leaves out the first and `num` says how many to return (negative: all). All but `withscores`: since
        6.2.
        """
        if bylex:
            at_most_one("ZRANGE", bylex=bylex, withscores=withscores)
        options = _by("ZRANGE", desc, byscore, bylex, offset, num)
        return self._range(("ZRANGE", name, start, end, *options), withscores)

    def zrangebylex(
        self, name: Key, min: LexBound, max: LexBound, start: int | None = None, num: int | None = None
    ) -> Result[list[AnyStr]]:
        """Return the members from `min` to `max`, all or `num` from `start` on; `zrange` is newer."""
        return self.execute(("ZRANGEBYLEX", name, min, max, *_limit("ZRANGEBYLEX", start, num)), array)

    @overload
    def zrangebyscore(
        self,
        name: Key,
        min: ScoreBound,
        max: ScoreBound,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: Literal[False] = False,
    ) -> Result[list[AnyStr]]: ...
    @overload
    def zrangebyscore(
        self,
        name: Key,
        min: ScoreBound,
        max: ScoreBound,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: Literal[True],
    ) -> Result[list[tuple[AnyStr, float]]]: ...
    def zrangebyscore(
        self,
        name: Key,
        min: ScoreBound,
        max: ScoreBound,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: bool = False,
    ) -> Result[Any]:
        """Return the members with scores from `min` to `max`, all or `num` from `start` on; `zrange` is newer."""
        return self._range(("ZRANGEBYSCORE", name, min, max, *_limit("ZRANGEBYSCORE", start, num)), withscores)

    def zrangestore(
        self,
        dest: Key,
        name: Key,
        start: ScoreBound | LexBound,
        end: ScoreBound | LexBound,
        *,
        byscore: bool = False,
        bylex: bool = False,
        desc: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> Result[int]:
        """Store what `zrange` would return and return how many members that is. Since 6.2."""
        options = _by("ZRANGESTORE", desc, byscore, bylex, offset, num)
        return self.execute(("ZRANGESTORE", dest, name, start, end, *options), integer)

    def zremrangebylex(self, name: Key, min: LexBound, max: LexBound) -> Result[int]:
        """Remove the members from `min` to `max` and return how many that were."""
        return self.execute(("ZREMRANGEBYLEX", name, min, max), integer)

    def zremrangebyrank(self, name: Key, min: int, max: int) -> Result[int]:
        """Remove the members from rank `min` to `max`, both included, and return how many that were."""
        return self.execute(("ZREMRANGEBYRANK", name, min, max), integer)

    def zremrangebyscore(self, name: Key, min: ScoreBound, max: ScoreBound) -> Result[int]:
        """Remove the members with scores from `min` to `max` and return how many that were."""
        return self.execute(("ZREMRANGEBYSCORE", name, min, max), integer)

    @overload
    def zrevrange(
        self, name: Key, start: int, end: int, withscores: Literal[False] = False
    ) -> Result[list[AnyStr]]: ...
    @overload
    def zrevrange(
        self, name: Key, start: int, end: int, withscores: Literal[True]
    ) -> Result[list[tuple[AnyStr, float]]]: ...
    def zrevrange(self, name: Key, start: int, end: int, withscores: bool = False) -> Result[Any]:
        """Return the members from rank `start` to `end`, the highest score first; `zrange(desc=True)` is newer."""
        return self._range(("ZREVRANGE", name, start, end), withscores)

    def zrevrangebylex(
        self, name: Key, max: LexBound, min: LexBound, start: int | None = None, num: int | None = None
    ) -> Result[list[AnyStr]]:
        """Return the members from `max` down to `min`, as `zrangebylex` does; `zrange` is newer."""
        return self.execute(("ZREVRANGEBYLEX", name, max, min, *_limit("ZREVRANGEBYLEX", start, num)), array)

    @overload
    def zrevrangebyscore(
        self,
        name: Key,
        max: ScoreBound,
        min: ScoreBound,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: Literal[False] = False,
    ) -> Result[list[AnyStr]]: ...
    @overload
    def zrevrangebyscore(
        self,
        name: Key,
        max: ScoreBound,
        min: ScoreBound,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: Literal[True],
    ) -> Result[list[tuple[AnyStr, float]]]: ...
    def zrevrangebyscore(
        self,
        name: Key,
        max: ScoreBound,
        min: ScoreBound,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: bool = False,
    ) -> Result[Any]:
        """Return the members with scores from `max` down to `min`, as `zrangebyscore` does; `zrange` is newer."""
        return self._range(("ZREVRANGEBYSCORE", name, max, min, *_limit("ZREVRANGEBYSCORE", start, num)), withscores)

    def _range(self, arguments: Arguments, withscores: bool) -> Result[Any]:
        if withscores:
            return self.execute((*arguments, "WITHSCORES"), replies.scored)
        return self.execute(arguments, array)


def _limit(command: str, start: int | None, num: int | None, name: str = "start") -> Arguments:
    """Return the option that says which part of a range is wanted."""
    if start is None and num is None:
        return ()
    if start is None or num is None:
        raise ArgumentError(f"{command}: {name} and num go together")
    return ("LIMIT", start, num)


def _by(command: str, desc: bool, byscore: bool, bylex: bool, offset: int | None, num: int | None) -> Arguments:
    """Return the options that ZRANGE and ZRANGESTORE have in common."""
    by = condition(command, byscore=byscore, bylex=bylex) if byscore or bylex else ()
    limit = _limit(command, offset, num, "offset")
    if limit and not by:
        raise ArgumentError(f"{command}: offset and num need byscore or bylex")
    return (*by, *(("REV",) if desc else ()), *limit)
