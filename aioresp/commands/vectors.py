"""Vector sets: elements with vectors, and searches for similar elements. Redis 8.0; not in Valkey."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from aioresp.command import AnyStr, Key, Result, Value
from aioresp.commands.base import Executor, condition, filled
from aioresp.replies import Late, array, boolean, integer, text

if TYPE_CHECKING:
    from aioresp.replies import vectors as replies
    from aioresp.replies.vectors import RawVector, VectorSetInfo
else:
    replies = Late("vectors")

#: Numbers, or 32-bit floats as bytes in the order of the server's machine.
Vector: TypeAlias = Iterable[float] | bytes | bytearray | memoryview

#: A JSON object as text.
Attributes: TypeAlias = str | bytes


class VectorCommands(Executor[AnyStr]):
    """Commands on vector sets."""

    def vadd(
        self,
        key: Key,
        vector: Vector,
        element: Value,
        reduce_dim: int | None = None,
        cas: bool = False,
        quantization: Literal["NOQUANT", "BIN", "Q8"] | None = None,
        ef: int | None = None,
        attributes: Attributes | None = None,
        numlinks: int | None = None,
    ) -> Result[bool]:
        """Add an element or move it, and return whether it is new. Since 8.0.

        The first element decides the dimensions (or `reduce_dim` of them, by a random projection), how numbers are kept
        (`quantization`, Q8 by default) and how many links there are (`numlinks`). With `cas` the work is done in a
        thread. `ef` is the effort of the search for neighbours.
        """
        reduce: tuple[Value, ...] = () if reduce_dim is None else ("REDUCE", reduce_dim)
        options: list[Value] = [*condition("VADD", cas=cas)]
        if quantization is not None:
            options.append(quantization)
        if ef is not None:
            options += ("EF", ef)
        if attributes is not None:
            options += ("SETATTR", attributes)
        if numlinks is not None:
            options += ("M", numlinks)
        return self.execute(("VADD", key, *reduce, *_place("VADD", vector), element, *options), boolean)

    def vcard(self, key: Key) -> Result[int]:
        """Return how many elements there are. Since 8.0."""
        return self.execute(("VCARD", key), integer)

    def vdim(self, key: Key) -> Result[int]:
        """Return how many dimensions the vectors have; raises ResponseError if there is no key. Since 8.0."""
        return self.execute(("VDIM", key), integer)

    @overload
    def vemb(self, key: Key, element: Value, raw: Literal[False] = False) -> Result[list[float] | None]: ...
    @overload
    def vemb(self, key: Key, element: Value, raw: Literal[True]) -> Result[RawVector | None]: ...
    def vemb(self, key: Key, element: Value, raw: bool = False) -> Result[Any]:
        """Return an element's vector, about as it was added, or None; `raw` is how the server keeps it. Since 8.0."""
        return self.execute(
            ("VEMB", key, element, *condition("VEMB", raw=raw)), replies.raw_vector if raw else replies.vector
        )

    def vgetattr(self, key: Key, element: Value) -> Result[AnyStr | None]:
        """Return the attributes of an element as JSON, or None if it has none. Since 8.0."""
        return self.execute(("VGETATTR", key, element), text)

    def vinfo(self, key: Key) -> Result[VectorSetInfo | None]:
        """Return facts about the set, or None if there is no key. Since 8.0."""
        return self.execute(("VINFO", key), replies.vector_set_info)

    def vismember(self, key: Key, element: Value) -> Result[bool]:
        """Return whether the element is in the set. Since 8.2, but for some 8.0 that have it."""
        return self.execute(("VISMEMBER", key, element), boolean)

    @overload
    def vlinks(
        self, key: Key, element: Value, with_scores: Literal[False] = False
    ) -> Result[list[list[AnyStr]] | None]: ...
    @overload
    def vlinks(
        self, key: Key, element: Value, with_scores: Literal[True]
    ) -> Result[list[list[tuple[AnyStr, float]]] | None]: ...
    def vlinks(self, key: Key, element: Value, with_scores: bool = False) -> Result[Any]:
        """Return the neighbours of an element in each layer of the graph, None if it is not in the set. Since 8.0."""
        if with_scores:
            return self.execute(("VLINKS", key, element, "WITHSCORES"), replies.links_with_scores)
        return self.execute(("VLINKS", key, element), replies.links)

    @overload
    def vrandmember(self, key: Key, count: None = None) -> Result[AnyStr | None]: ...
    @overload
    def vrandmember(self, key: Key, count: int) -> Result[list[AnyStr]]: ...
    def vrandmember(self, key: Key, count: int | None = None) -> Result[Any]:
        """Return a random element, or up to `count` different ones; below 0, that many, which may repeat. Since 8.0."""
        if count is None:
            return self.execute(("VRANDMEMBER", key), text)
        return self.execute(("VRANDMEMBER", key, count), array)

    def vrange(
        self, key: Key, start: str | bytes = "-", end: str | bytes = "+", count: int | None = None
    ) -> Result[list[AnyStr]]:
        """Return elements in the order of their bytes: from `[a` (with it) or `(a` (without) on. Since 8.4."""
        return self.execute(("VRANGE", key, start, end, *(() if count is None else (count,))), array)

    def vrem(self, key: Key, element: Value) -> Result[bool]:
        """Remove an element and return whether it was in the set. Since 8.0."""
        return self.execute(("VREM", key, element), boolean)

    def vsetattr(self, key: Key, element: Value, attributes: Attributes | None = None) -> Result[bool]:
        """Set the attributes of an element, or delete them, and return whether it is in the set. Since 8.0."""
        return self.execute(("VSETATTR", key, element, "" if attributes is None else attributes), boolean)

    @overload
    def vsim(
        self,
        key: Key,
        input: Vector | str,
        with_scores: Literal[False] = False,
        with_attribs: Literal[False] = False,
        count: int | None = None,
        ef: int | None = None,
        filter: str | None = None,
        filter_ef: int | None = None,
        truth: bool = False,
        no_thread: bool = False,
        epsilon: float | None = None,
    ) -> Result[list[AnyStr]]: ...
    @overload
    def vsim(
        self,
        key: Key,
        input: Vector | str,
        with_scores: Literal[True],
        with_attribs: Literal[False] = False,
        count: int | None = None,
        ef: int | None = None,
        filter: str | None = None,
        filter_ef: int | None = None,
        truth: bool = False,
        no_thread: bool = False,
        epsilon: float | None = None,
    ) -> Result[list[tuple[AnyStr, float]]]: ...
    @overload
    def vsim(
        self,
        key: Key,
        input: Vector | str,
        with_scores: Literal[False] = False,
        *,
        with_attribs: Literal[True],
        count: int | None = None,
        ef: int | None = None,
        filter: str | None = None,
        filter_ef: int | None = None,
        truth: bool = False,
        no_thread: bool = False,
        epsilon: float | None = None,
    ) -> Result[list[tuple[AnyStr, AnyStr | None]]]: ...
    @overload
    def vsim(
        self,
        key: Key,
        input: Vector | str,
        with_scores: Literal[True],
        with_attribs: Literal[True],
        count: int | None = None,
        ef: int | None = None,
        filter: str | None = None,
        filter_ef: int | None = None,
        truth: bool = False,
        no_thread: bool = False,
        epsilon: float | None = None,
    ) -> Result[list[tuple[AnyStr, float, AnyStr | None]]]: ...
    def vsim(
        self,
        key: Key,
        input: Vector | str,
        with_scores: bool = False,
        with_attribs: bool = False,
        count: int | None = None,
        ef: int | None = None,
        filter: str | None = None,
        filter_ef: int | None = None,
        truth: bool = False,
        no_thread: bool = False,
        epsilon: float | None = None,
    ) -> Result[Any]:
        """Return the elements most similar to a vector, or to the element that a str names, closest first. Since 8.0.

        There are up to `count` (10), with scores from 1 (the same) to 0 (the opposite), no further away than `epsilon`,
        whose attributes fit the `filter`. `ef` and `filter_ef` are the effort, `truth` compares with every element.
        `with_attribs` and `epsilon` since 8.2.
        """
        place = ("ELE", input) if isinstance(input, str) else _place("VSIM", input)
        arguments: list[Value] = ["VSIM", key, *place]
        arguments += condition("VSIM", withscores=with_scores)
        arguments += condition("VSIM", withattribs=with_attribs)
        for word, value in (
            ("COUNT", count),
            ("EPSILON", epsilon),
            ("EF", ef),
            ("FILTER", filter),
            ("FILTER-EF", filter_ef),
        ):
            if value is not None:
                arguments += (word, value)
        arguments += condition("VSIM", truth=truth)
        arguments += condition("VSIM", nothread=no_thread)
        return self.execute(tuple(arguments), replies.similar(with_scores, with_attribs))


def _place(command: str, vector: Vector) -> tuple[Value, ...]:
    if isinstance(vector, (bytes, bytearray, memoryview)):
        return ("FP32", bytes(vector))
    numbers = filled(command, "vector", tuple(vector))
    return ("VALUES", len(numbers), *numbers)
