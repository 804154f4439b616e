"""Outcome of a transaction, read from the replies from MULTI to EXEC. Never sends anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aioresp.contexts.large import Replies
from aioresp.errors import DecodeError, ExecAbortError, RedisError, WatchError, about
from aioresp.replies.shapes import unexpected
from aioresp.wire.packing import Packed, pack

MULTI: Final[Packed] = pack(("MULTI",))
EXEC: Final[Packed] = pack(("EXEC",))


def executed(replies: Replies, refused: Callable[[int, RedisError], None]) -> Replies:
    """Return the replies to the commands of a transaction.

    Raises WatchError or ExecAbortError if the transaction did not run. `refused` gets the number and the error of each
    command that the server refused to queue.
    """
    greeting, *queued, last = replies.raw
    if isinstance(greeting, RedisError):
        # An error does not prove that its command has not run: a script can return any.
        ran = "ran" if not all(isinstance(reply, RedisError) for reply in queued) else "may have run"
        what = f"; its commands {ran} without it, one by one" if queued else ""
        raise about(type(greeting)(f"the transaction was not begun{what}: {greeting}"), "MULTI") from greeting
    if last is None:
        raise WatchError("a watched key was changed: nothing was done")
    if isinstance(last, ExecAbortError):
        raise _aborted(last, queued, refused)
    if isinstance(last, DecodeError):
        raise about(DecodeError(f"the transaction ran: {last}"), "EXEC")
    if isinstance(last, RedisError):
        raise about(last, "EXEC")
    if last.__class__ is not list or len(last) != len(queued):
        raise unexpected(last, ("EXEC",))
    return Replies(last, not any(isinstance(reply, RedisError) for reply in last))


def _aborted(last: ExecAbortError, queued: list[Any], refused: Callable[[int, RedisError], None]) -> ExecAbortError:
    why = [(number, reply) for number, reply in enumerate(queued) if isinstance(reply, RedisError)]
    for number, reply in why:
        refused(number, reply)
    if not why:
        return about(last, "EXEC")
    number, first = why[0]
    error = ExecAbortError(f"nothing was done, as command #{number + 1} of {len(queued)} was refused: {first}")
    error.code = last.code
    error.index = number
    error.__cause__ = first
    return error
