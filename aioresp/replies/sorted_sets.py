"""Converters of replies with scores: doubles under RESP3, text under RESP2, in pairs or in a flat list.

Never imports asyncio or hiredis, and never keeps state.
"""

from __future__ import annotations

from typing import Any

from aioresp.replies import integer, parts, scan_page, some_text


def scored(value: Any) -> list[tuple[Any, float]]:
    """Return members with their scores; RESP2, and a pop of one member, have them as a flat list."""
    if not parts(value) or isinstance(value[0], list):
        return [(member, float(score)) for member, score in map(parts, value)]
    items = iter(value)
    return [(member, float(score)) for member, score in zip(items, items, strict=True)]


def popped(value: Any) -> tuple[Any, Any, float] | None:
    """Return key, member and score, or None for nil."""
    if value is None:
        return None
    key, member, score = parts(value)
    return some_text(key), some_text(member), float(score)


def key_and_scored(value: Any) -> tuple[Any, list[tuple[Any, float]]] | None:
    """Return a key and members with their scores, or None for nil."""
    if value is None:
        return None
    key, found = parts(value)
    return some_text(key), scored(found)


def rank_and_score(value: Any) -> tuple[int, float] | None:
    """Return a rank and a score, or None for nil."""
    if value is None:
        return None
    rank, score = parts(value)
    return integer(rank), float(score)


def scores(value: Any) -> list[float | None]:
    """Return a double for each score, None for nil."""
    return [None if score is None else float(score) for score in parts(value)]


scored_page = scan_page(scored)
