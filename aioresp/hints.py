"""Hints for mistakes: the closest name that exists, the name of an argument, and what to do about its type.

Owns these texts. Never shows a value, never decides whether something is wrong, and is never asked before something has
failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aioresp.facts.catalogue import KEYS

#: Names of the arguments behind the key, from the second on; the last ones repeat.
_BEHIND_KEY: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("SET", "SETNX", "GETSET", "APPEND"), ("the value",)),
    **dict.fromkeys(("SETEX", "PSETEX"), ("the time", "the value")),
    **dict.fromkeys(("SETRANGE",), ("the offset", "the value")),
    **dict.fromkeys(("INCRBY", "DECRBY", "INCRBYFLOAT"), ("the amount",)),
    **dict.fromkeys(("LPUSH", "RPUSH", "LPUSHX", "RPUSHX"), ("a value",)),
    **dict.fromkeys(("LSET",), ("the index", "the value")),
    **dict.fromkeys(("LREM",), ("the count", "the value")),
    **dict.fromkeys(("SADD", "SREM", "SISMEMBER", "SMISMEMBER", "ZREM", "ZSCORE", "ZRANK", "ZMSCORE"), ("a member",)),
    **dict.fromkeys(("HSET", "HMSET"), ("a field", "a value")),
    **dict.fromkeys(("HSETNX",), ("the field", "the value")),
    **dict.fromkeys(("HGET", "HMGET", "HDEL", "HEXISTS", "HSTRLEN", "HINCRBY", "HINCRBYFLOAT"), ("a field",)),
    **dict.fromkeys(("MSET", "MSETNX"), ("a value",)),
}


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` is probably a misspelling of, or None."""
    from difflib import get_close_matches  # noqa: PLC0415 (slow to import, and needed for a mistake only)

    # Case and underscores are the likeliest mistakes, and count for nothing.
    plain = {other.lower().replace("_", ""): other for other in names}
    found = get_close_matches(name.lower().replace("_", "")[:100], plain, 1, 0.7)
    return plain[found[0]] if found else None


def meant(name: str, names: Iterable[str]) -> str:
    """Return ": did you mean `this`?", or nothing, to follow the message about an unknown name."""
    other = closest(name, names)
    return "" if other is None else f": did you mean `{other}`?"


def role(command: str, position: int) -> str:
    """Return the meaning of an argument in brackets, as in " (it is the key)", or nothing where it is not known."""
    first, last, step = KEYS.get(command, (0, 0, 1))
    if first and last and position >= first and (position <= last or last == -1) and (position - first) % step == 0:
        return " (it is a key)" if last == -1 else " (it is the key)"
    if command in ("PUBLISH", "SPUBLISH"):
        return " (it is the channel)" if position == 1 else " (it is the message)"
    names = _BEHIND_KEY.get(command)
    return "" if names is None or position < 2 else f" (it is {names[(position - 2) % len(names)]})"


def remedy(argument: object) -> str:
    """Return what to do about an argument of a type that cannot be sent, to follow the message."""
    if argument is None:
        return "; Redis has no null: leave it out, delete the key or field, or choose a value for it"
    kind = type(argument)  # `__class__` may say anything
    if kind is bool:
        return "; pass 1 or 0"
    for attribute, advice in _REMEDIES:
        if hasattr(kind, attribute):
            return f"; {advice}"
    return "; convert it, as by str() or json.dumps()"


#: What to do about a type that has the attribute.
_REMEDIES: Final = (
    ("__await__", "await it first; in a pipeline its value is known after the block"),
    ("_member_map_", "pass its value, as in Colour.RED.value"),
    ("isoformat", "pass .isoformat() or .timestamp()"),
    ("total_seconds", "pass .total_seconds()"),
    ("items", "pass json.dumps(...), or keep it in a hash by hset(name, mapping=...)"),
    ("__iter__", "pass its items one by one, as in f(name, *items), or one text, as by json.dumps()"),
)
