"""Errors of aioresp as those of redis-py, which callers of redis-py catch.

Owns the one table from a class of ours to a class of redis-py's. Never hides the first error: it is the cause.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, Final

from redis import exceptions as theirs
from redis.asyncio.connection import DefaultParser

from aioresp import errors as ours

#: Classes of ours that are no answers of a server, each with redis-py's; the first that fits counts.
_KINDS: Final[tuple[tuple[type[ours.RedisError], type[Exception]], ...]] = (
    (ours.CommandTimeout, theirs.TimeoutError),
    (ours.ConnectTimeout, theirs.TimeoutError),
    (ours.ConnectError, theirs.ConnectionError),
    (ours.ConnectionLost, theirs.ConnectionError),
    (ours.ClientClosed, theirs.ConnectionError),
    (ours.SubscriptionClosed, theirs.ConnectionError),
    (ours.ArgumentError, theirs.DataError),
)

#: Types of replies that hold no other reply.
_SCALARS: Final = frozenset((bytes, str, int, float, bool, NoneType))


def translated(error: ours.RedisError, where: str) -> Exception:
    """Return the error of redis-py that stands for one of ours; `where` names the server as redis-py does."""
    if isinstance(error, ours.DecodeError):
        return UnicodeDecodeError("utf-8", b"", 0, 0, str(error))
    if isinstance(error, ours.ResponseError):
        return DefaultParser.parse_error(str(error.args[0]))  # type: ignore[no-any-return, no-untyped-call]
    cause = error.__cause__
    if isinstance(error, ours.ConnectError) and isinstance(cause, ours.ResponseError):
        return translated(cause, where)
    if isinstance(error, ours.ConnectError) and isinstance(cause, OSError) and cause.errno:
        # The form of redis-py's message, by which some programs tell what has happened.
        return theirs.ConnectionError(f"Error {cause.errno} connecting to {where}. {cause.strerror}. {error}")
    kind = next((theirs for ours, theirs in _KINDS if isinstance(error, ours)), theirs.RedisError)
    return kind(str(error))


def with_errors(reply: Any) -> Any:
    """Return a raw reply with the errors in it as redis-py's."""
    if isinstance(reply, ours.RedisError):
        return translated(reply, "")
    if type(reply) is dict:
        return {key: with_errors(value) for key, value in reply.items()}
    if type(reply) is not list or _SCALARS.issuperset(map(type, reply)):
        return reply
    return [with_errors(each) for each in reply]
