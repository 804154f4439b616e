"""Replies of commands on strings that are more than a string or a number."""

from __future__ import annotations

from typing import Any

from aioresp.record import Record
from aioresp.replies import mapping, string


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
    matches = [Match(tuple(a), tuple(b), rest[0] if rest else None) for a, b, *rest in said["matches"]]
    return Common(matches, said["len"])


def increased(value: Any) -> tuple[int, int]:
    """Return a counter and what was added to it."""
    return int(value[0]), int(value[1])


def increased_float(value: Any) -> tuple[float, float]:
    """Return a counter and what was added to it; RESP2 has both as text."""
    return float(value[0]), float(value[1])
