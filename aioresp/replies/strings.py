"""Replies of string commands that are neither plain text nor one number."""

from __future__ import annotations

from typing import Any

from aioresp.record import Record
from aioresp.replies import integer, mapping, parts, string


class Match(Record):
    """A piece that two values have in common: where it is in each, first and last byte; `length` if asked for."""

    first: tuple[int, int]
    second: tuple[int, int]
    length: int | None


class Common(Record):
    """Where the longest common subsequence of two values is, from the end of them to the beginning; how long it is."""

    matches: list[Match]
    len: int


def common(value: Any) -> Common:
    """Return what LCS IDX says; RESP2 has it as a flat list."""
    said = {string(name): item for name, item in mapping(value).items()}
    matches = [Match(_span(a), _span(b), integer(rest[0]) if rest else None) for a, b, *rest in parts(said["matches"])]
    return Common(matches, integer(said["len"]))


def _span(value: Any) -> tuple[int, int]:
    first, last = parts(value)
    return integer(first), integer(last)


def increased(value: Any) -> tuple[int, int]:
    """Return a counter and its increment."""
    counter, added = parts(value)
    return int(counter), int(added)


def increased_float(value: Any) -> tuple[float, float]:
    """Return a counter and its increment; RESP2 has both as text."""
    counter, added = parts(value)
    return float(counter), float(added)
