"""Sorted sets: members ordered by score. Their ranges are in `sorted_set_ranges`."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, overload

from aioresp.arguments import numeral
from aioresp.command import AnyStr, Arguments, Key, Number, Result, Value, Wait
from aioresp.commands.base import (
    Executor,
    blocking,
    condition,
    conditions,
    filled,
    listed,
    no_mapping,
    number,
    position,
)
from aioresp.errors import ArgumentError
from aioresp.replies import Late, array, floating, floating_or_none, integer, integer_or_none, page, text

if TYPE_CHECKING:
    from aioresp.replies import sorted_sets as replies
else:
    replies = Late("sorted_sets")

#: A score as a bound: exclusive with a parenthesis, as in "(1"; "-inf" and "+inf" have no end.
ScoreBound: TypeAlias = str | int | float

#: A member as a bound: "[a" with it, "(a" without; "-" and "+" have no end.
LexBound: TypeAlias = str | bytes

#: Sorted sets that are combined; a mapping has their weights.
Sources: TypeAlias = Key | Iterable[Key] | Mapping[str, Number] | Mapping[bytes, Number]

Aggregate: TypeAlias = Literal["SUM", "MIN", "MAX", "COUNT"]


if TYPE_CHECKING:  # protocols take time to import

    class Scores(Protocol):
        """A mapping of members to scores; `Mapping` itself would want one exact type of members."""

        def items(self) -> ItemsView[Value, str | int | float]:
            """Return the pairs."""
            ...


class SortedSetCommands(Executor[AnyStr]):
    """Commands on sorted sets. The blocking ones take a connection of their own for as long as they wait."""

    def bzmpop(
        self,
        timeout: Wait,
        numkeys: int,
        keys: Key | Iterable[Key],
        min: bool = False,
        max: bool = False,
        count: int = 1,
    ) -> Result[tuple[AnyStr, list[tuple[AnyStr, float]]] | None]:
        """Pop as `zmpop` does, waiting `timeout` s (0: forever) for a member; None if none came. Since 7.0."""
        pop = _mpop("BZMPOP", "numkeys", numkeys, keys, min, max, count)
        return self.execute(("BZMPOP", blocking(timeout, "BZMPOP"), *pop), replies.key_and_scored)

    def bzpopmax(self, keys: Key | Iterable[Key], timeout: Wait = 0) -> Result[tuple[AnyStr, AnyStr, float] | None]:
        """Pop (key, member, score) with the highest score of the first set that has one, waiting `timeout` s.

        A timeout of 0 waits forever; None if no member came.
        """
        return self.execute(
            ("BZPOPMAX", *filled("BZPOPMAX", "keys", listed(keys)), blocking(timeout, "BZPOPMAX")), replies.popped
        )

    def bzpopmin(self, keys: Key | Iterable[Key], timeout: Wait = 0) -> Result[tuple[AnyStr, AnyStr, float] | None]:
        """Pop (key, member, score) with the lowest score of the first set that has one, waiting `timeout` s.

        A timeout of 0 waits forever; None if no member came.
        """
        return self.execute(
            ("BZPOPMIN", *filled("BZPOPMIN", "keys", listed(keys)), blocking(timeout, "BZPOPMIN")), replies.popped
        )

    @overload
    def zadd(
        self,
        name: Key,
        mapping: Scores,
        *,
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: Literal[False] = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Result[int]: ...
    @overload
    def zadd(
        self,
        name: Key,
        mapping: Scores,
        *,
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: Literal[True],
        gt: bool = False,
        lt: bool = False,
    ) -> Result[float | None]: ...
    def zadd(
        self,
        name: Key,
        mapping: Scores,
        *,
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Result[Any]:
        """Add members or change their scores, and return how many are new, or with `ch` how many are new or changed.

        `nx` only adds, `xx` only changes; `gt` and `lt` change a score only to a greater or to a lesser one (since
        6.2). With `incr` the score of the one member grows instead, and is returned; None if a condition was not met.
        """
        options = conditions("ZADD", nx, xx, gt, lt)
        options += ("CH",) if ch else ()
        if not hasattr(type(mapping), "items"):
            raise no_mapping("ZADD", "mapping", mapping, '{"member": 1.0}')
        pairs = tuple([part for member, score in mapping.items() for part in (score, member)])
        filled("ZADD", "mapping", pairs)
        if not incr:
            return self.execute(("ZADD", name, *options, *pairs), integer)
        if len(pairs) != 2:
            raise ArgumentError(f"ZADD: incr takes one member, but mapping has {len(pairs) // 2}")
        return self.execute(("ZADD", name, *options, "INCR", *pairs), floating_or_none)

    def zcard(self, name: Key) -> Result[int]:
        """Return how many members there are."""
        return self.execute(("ZCARD", name), integer)

    def zcount(self, name: Key, min: ScoreBound, max: ScoreBound) -> Result[int]:
        """Return how many members have a score from `min` to `max`; "(1" leaves 1 itself out."""
        return self.execute(("ZCOUNT", name, min, max), integer)

    @overload
    def zdiff(self, keys: Key | Iterable[Key], withscores: Literal[False] = False) -> Result[list[AnyStr]]: ...
    @overload
    def zdiff(self, keys: Key | Iterable[Key], withscores: Literal[True]) -> Result[list[tuple[AnyStr, float]]]: ...
    def zdiff(self, keys: Key | Iterable[Key], withscores: bool = False) -> Result[Any]:
        """Return the members of the first sorted set that are in none of the others, in their order. Since 6.2."""
        return self._members("ZDIFF", _counted("ZDIFF", keys), withscores)

    def zdiffstore(self, dest: Key, keys: Key | Iterable[Key]) -> Result[int]:
        """Store what `zdiff` would return and return how many members that is. Since 6.2."""
        return self.execute(("ZDIFFSTORE", dest, *_counted("ZDIFFSTORE", keys)), integer)

    def zincrby(self, name: Key, amount: Number, value: Value) -> Result[float]:
        """Add `amount` to the member's score (0 if there is none) and return the result."""
        amount = number("ZINCRBY", "amount", amount, "name, amount, value")
        return self.execute(("ZINCRBY", name, amount, value), floating)

    @overload
    def zinter(
        self, keys: Sources, aggregate: Aggregate | None = None, *, withscores: Literal[False] = False
    ) -> Result[list[AnyStr]]: ...
    @overload
    def zinter(
        self, keys: Sources, aggregate: Aggregate | None = None, *, withscores: Literal[True]
    ) -> Result[list[tuple[AnyStr, float]]]: ...
    def zinter(self, keys: Sources, aggregate: Aggregate | None = None, *, withscores: bool = False) -> Result[Any]:
        """Return the members that all of the sorted sets have, in the order of their aggregated scores. Since 6.2.

        A mapping of keys to weights multiplies the scores first; `aggregate` then takes their sum (without it), the
        least, the greatest, or since 8.8 their number.
        """
        return self._members("ZINTER", _weighted("ZINTER", keys, aggregate), withscores)

    def zintercard(self, numkeys: int, keys: Key | Iterable[Key], limit: int = 0) -> Result[int]:
        """Return how many members all `numkeys` sets have in common, counting no further than `limit`. Since 7.0."""
        names = _counted("ZINTERCARD", keys, numkeys=numkeys)
        options: tuple[Value, ...] = ("LIMIT", limit) if limit else ()
        return self.execute(("ZINTERCARD", *names, *options), integer)

    def zinterstore(self, dest: Key, keys: Sources, aggregate: Aggregate | None = None) -> Result[int]:
        """Store what `zinter` would return and return how many members that is; `aggregate` "COUNT" since 8.8."""
        return self.execute(("ZINTERSTORE", dest, *_weighted("ZINTERSTORE", keys, aggregate)), integer)

    def zlexcount(self, name: Key, min: LexBound, max: LexBound) -> Result[int]:
        """Return how many members, which all have one score, are from `min` to `max`, as in `zrangebylex`."""
        return self.execute(("ZLEXCOUNT", name, min, max), integer)

    def zmpop(
        self, num_keys: int, keys: Key | Iterable[Key], min: bool = False, max: bool = False, count: int = 1
    ) -> Result[tuple[AnyStr, list[tuple[AnyStr, float]]] | None]:
        """Pop up to `count` members with the lowest (`min`) or highest (`max`) scores of the first set that has any.

        Returns its key, and the members with their scores; None if all sets are empty. Since 7.0.
        """
        return self.execute(
            ("ZMPOP", *_mpop("ZMPOP", "num_keys", num_keys, keys, min, max, count)), replies.key_and_scored
        )

    def zmscore(self, key: Key, members: Value | Iterable[Value]) -> Result[list[float | None]]:
        """Return the scores of the members in their order, None where there is none. Since 6.2."""
        return self.execute(("ZMSCORE", key, *filled("ZMSCORE", "members", listed(members))), replies.scores)

    def zpopmax(self, name: Key, count: int | None = None) -> Result[list[tuple[AnyStr, float]]]:
        """Pop the member with the highest score, or up to `count` of them, the highest first; with their scores."""
        return self.execute(("ZPOPMAX", name) if count is None else ("ZPOPMAX", name, count), replies.scored)

    def zpopmin(self, name: Key, count: int | None = None) -> Result[list[tuple[AnyStr, float]]]:
        """Pop the member with the lowest score, or up to `count` of them, the lowest first; with their scores."""
        return self.execute(("ZPOPMIN", name) if count is None else ("ZPOPMIN", name, count), replies.scored)

    @overload
    def zrandmember(
        self, key: Key, count: None = None, withscores: Literal[False] = False
    ) -> Result[AnyStr | None]: ...
    @overload
    def zrandmember(self, key: Key, count: int, withscores: Literal[False] = False) -> Result[list[AnyStr]]: ...
    @overload
    def zrandmember(self, key: Key, count: int, withscores: Literal[True]) -> Result[list[tuple[AnyStr, float]]]: ...
    def zrandmember(self, key: Key, count: int | None = None, withscores: bool = False) -> Result[Any]:
        """Return a random member, or up to `count` different ones, or with a negative count that many, perhaps again.

        Since 6.2.
        """
        if count is not None:
            return self._members("ZRANDMEMBER", (key, count), withscores)
        if withscores:
            raise ArgumentError("ZRANDMEMBER: withscores needs count")
        return self.execute(("ZRANDMEMBER", key), text)

    @overload
    def zrank(self, name: Key, value: Value, withscore: Literal[False] = False) -> Result[int | None]: ...
    @overload
    def zrank(self, name: Key, value: Value, withscore: Literal[True]) -> Result[tuple[int, float] | None]: ...
    def zrank(self, name: Key, value: Value, withscore: bool = False) -> Result[Any]:
        """Return how many members come before this one, the lowest score first, with its score if asked (since 7.2).

        None if it is not there.
        """
        return self._rank("ZRANK", name, value, withscore)

    def zrem(self, name: Key, *values: Value) -> Result[int]:
        """Remove members and return how many there were."""
        return self.execute(("ZREM", name, *filled("ZREM", "values", values)), integer)

    @overload
    def zrevrank(self, name: Key, value: Value, withscore: Literal[False] = False) -> Result[int | None]: ...
    @overload
    def zrevrank(self, name: Key, value: Value, withscore: Literal[True]) -> Result[tuple[int, float] | None]: ...
    def zrevrank(self, name: Key, value: Value, withscore: bool = False) -> Result[Any]:
        """Return how many members come before this one, the highest score first, with its score if asked (since 7.2).

        None if it is not there.
        """
        return self._rank("ZREVRANK", name, value, withscore)

    @overload
    def zscan(
        self,
        name: Key,
        cursor: int = 0,
        match: str | bytes | None = None,
        count: int | None = None,
        *,
        no_scores: Literal[False] = False,
    ) -> Result[tuple[int, list[tuple[AnyStr, float]]]]: ...
    @overload
    def zscan(
        self,
        name: Key,
        cursor: int = 0,
        match: str | bytes | None = None,
        count: int | None = None,
        *,
        no_scores: Literal[True],
    ) -> Result[tuple[int, list[AnyStr]]]: ...
    def zscan(
        self,
        name: Key,
        cursor: int = 0,
        match: str | bytes | None = None,
        count: int | None = None,
        *,
        no_scores: bool = False,
    ) -> Result[Any]:
        """Return the next cursor (0: that was all) and some members with their scores; a member may come twice.

        With `no_scores` members alone (Valkey 8.0; not in Redis).
        """
        options: tuple[Value, ...] = () if match is None else ("MATCH", match)
        options += () if count is None else ("COUNT", count)
        if no_scores:
            return self.execute(("ZSCAN", name, position("ZSCAN", cursor), *options, "NOSCORES"), page)
        return self.execute(("ZSCAN", name, position("ZSCAN", cursor), *options), replies.scored_page)

    def zscore(self, name: Key, value: Value) -> Result[float | None]:
        """Return the member's score, or None if it is not there."""
        return self.execute(("ZSCORE", name, value), floating_or_none)

    @overload
    def zunion(
        self, keys: Sources, aggregate: Aggregate | None = None, *, withscores: Literal[False] = False
    ) -> Result[list[AnyStr]]: ...
    @overload
    def zunion(
        self, keys: Sources, aggregate: Aggregate | None = None, *, withscores: Literal[True]
    ) -> Result[list[tuple[AnyStr, float]]]: ...
    def zunion(self, keys: Sources, aggregate: Aggregate | None = None, *, withscores: bool = False) -> Result[Any]:
        """Return the members that any of the sorted sets has, in the order of their aggregated scores. Since 6.2.

        Weights and `aggregate` are as in `zinter`.
        """
        return self._members("ZUNION", _weighted("ZUNION", keys, aggregate), withscores)

    def zunionstore(self, dest: Key, keys: Sources, aggregate: Aggregate | None = None) -> Result[int]:
        """Store what `zunion` would return and return how many members that is; `aggregate` "COUNT" since 8.8."""
        return self.execute(("ZUNIONSTORE", dest, *_weighted("ZUNIONSTORE", keys, aggregate)), integer)

    def _members(self, command: str, arguments: Arguments, withscores: bool) -> Result[Any]:
        if withscores:
            return self.execute((command, *arguments, "WITHSCORES"), replies.scored)
        return self.execute((command, *arguments), array)

    def _rank(self, command: str, name: Key, value: Value, withscore: bool) -> Result[Any]:
        if withscore:
            return self.execute((command, name, value, "WITHSCORE"), replies.rank_and_score)
        return self.execute((command, name, value), integer_or_none)


def _counted(command: str, keys: Key | Iterable[Key], **number: int) -> Arguments:
    """Return how many keys there are, and the keys; `number` is how many the caller says there are."""
    names = filled(command, "keys", listed(keys))
    for argument, said in number.items():
        if said != len(names):
            raise ArgumentError(f"{command}: {argument} is {numeral(said)}, but keys has {len(names)}")
    return (len(names), *names)


def _weighted(command: str, keys: Sources, aggregate: Aggregate | None) -> Arguments:
    """Return the keys with their number, their weights if there are any, and how scores are put together."""
    arguments = _counted(command, keys)
    if isinstance(keys, Mapping):
        arguments += ("WEIGHTS", *keys.values())
    return arguments if aggregate is None else (*arguments, "AGGREGATE", aggregate)


def _mpop(
    command: str, argument: str, number: int, keys: Key | Iterable[Key], min: bool, max: bool, count: int
) -> Arguments:
    """Return the arguments that ZMPOP and BZMPOP have in common."""
    names = _counted(command, keys, **{argument: number})
    end = condition(command, min=min, max=max)
    if not end:
        raise ArgumentError(f"{command}: min or max is needed")
    return (*names, *end) if count == 1 else (*names, *end, "COUNT", count)
