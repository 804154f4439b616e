"""Shape of a reply for error messages: types and lengths, never a value.

Owns the error of a caller whose converter cannot take the reply. Never imports asyncio or hiredis, and never keeps
state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

from aioresp.command import locate
from aioresp.errors import RedisError, UnexpectedReply, about
from aioresp.facts.traits import Traits

#: Limits of a shape in messages: parts of each list, levels of nesting, and characters.
PARTS: Final = 6
DEPTH: Final = 3
CHARACTERS: Final = 160


def shape(reply: Any) -> str:
    """Return the types and lengths of a reply, as in "list of 3 (int, bytes, list of 2 (str, nil))"."""
    said = _shape(reply, DEPTH)
    return said if len(said) <= CHARACTERS else f"{said[:CHARACTERS]}..."


def _shape(reply: Any, depth: int) -> str:
    if reply is None:
        return "nil"
    if isinstance(reply, Exception):
        return "error"
    parts: Iterable[str]
    if isinstance(reply, dict):
        head = f"map of {len(reply):,}"
        parts = (f"{_shape(key, 0)}: {_shape(item, depth - 1)}" for key, item in islice(reply.items(), PARTS))
    elif isinstance(reply, (list, tuple, set, frozenset)):
        head = f"list of {len(reply):,}"
        parts = (_shape(item, depth - 1) for item in islice(reply, PARTS))
    else:
        return type(reply).__name__
    if depth <= 0 or not reply:
        return head
    return f"{head} ({', '.join(parts)}{', ...' if len(reply) > PARTS else ''})"


def unexpected(reply: Any, arguments: Sequence[object] | Traits = ()) -> UnexpectedReply:
    """Return the error for a reply of a shape that its command never has."""
    error = UnexpectedReply(f"an unexpected reply: {shape(reply)}; `call` returns it as it is")
    if arguments:
        about(error, *locate(arguments))
    return error


def failure(error: Exception, reply: Any, arguments: Sequence[object]) -> Exception:
    """Return the error for the caller after a converter raised `error`, whose message may show values.

    Raise it outside of the `except` block, or its context is the other error.
    """
    return error if isinstance(error, (RedisError, MemoryError)) else unexpected(reply, arguments)
