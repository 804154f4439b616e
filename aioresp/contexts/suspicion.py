"""Suspicion that a connection leads to the wrong server: whose word counts, and what a pool does about it.

Owns the decision whether an error reply ends the use of a connection. The server's own word to a plain command does.
After the word of a script, a function or a module the server is asked. Never sends a command again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aioresp.errors import (
    ERROR_TYPES,
    ClientClosed,
    ExecAbortError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    copy_error,
    response_error,
)
from aioresp.facts.traits import Traits, traits
from aioresp.pool.pool import Pool
from aioresp.retry import WRONG_SERVER, not_now, wrong_server
from aioresp.wire.packing import Packed, pack, unpack
from aioresp.wire.race import avoid

if TYPE_CHECKING:
    from aioresp.contexts.large import Replies
    from aioresp.wire.connection import Connection

#: Seconds in which the server must say what it is.
PATIENCE: Final = 10.0

#: Codes of errors that up to 6.2 the server reports of a script under the code ERR.
WITHIN: Final = ("-READONLY ", "-MASTERDOWN ", "-LOADING ")


def heed(pool: Pool[Connection], error: object, command: Traits, *, queued: bool = False, leased: bool = False) -> None:
    """Let the pool leave its connections if an error reply to a command shows that they lead to the wrong server.

    `queued` tells that the command is in a transaction: until EXEC, only the server itself speaks. `leased` tells that
    the caller has the connection alone, and may ask on it.
    """
    if not isinstance(error, ResponseError) or not error.origin:
        return
    cause = abort_cause(error) if command.name == "EXEC" else error
    if command.own_words or queued or cause is not error:
        if wrong_server(cause):
            leave(pool, error.origin, error)
    else:
        _doubt(pool, error, error.origin, leased)


def leave(pool: Pool[Connection], origin: int, error: Exception) -> None:
    """Let the pool leave its connections, as that of the number `origin` leads to the wrong server."""
    connection = pool.find(origin)
    if connection is not None and isinstance(connection.peer, tuple):
        avoid(*connection.peer[:2])  # its name may have other addresses
    pool.leave(origin, error)


def heed_batch(
    find_pool: Callable[[], Pool[Connection]],
    replies: Replies,
    commands: list[Packed],
    whole: bool,
    *,
    leased: bool = False,
) -> None:
    """Do the same for the replies to a batch; if `whole`, it is a transaction."""
    raw, origin = replies.raw, replies.origin
    within = raw[-1] if whole and isinstance(raw[-1], list) else ()
    inner = not ERROR_TYPES.isdisjoint(map(type, within))
    if replies.clean and not inner:
        return
    try:
        pool = find_pool()
    except ClientClosed:
        return
    if not whole:
        for reply, packed in zip(raw, commands, strict=True):
            if isinstance(reply, ResponseError):
                reply.origin = origin
                heed(pool, reply, traits(unpack(packed)), leased=leased)
        return
    # Between MULTI and EXEC the server only queues: these are its own words.
    for reply in (*raw[:-1], abort_cause(raw[-1])):
        if isinstance(reply, ResponseError) and wrong_server(reply):
            leave(pool, origin, reply)
    for reply in within if inner else ():
        if isinstance(reply, ResponseError):
            _doubt(pool, reply, origin, leased)


def abort_cause(reply: object) -> ResponseError | None:
    """Return the error for which EXEC itself has refused to run a transaction, if the server tells it."""
    if not isinstance(reply, ExecAbortError):
        return None
    _, found, cause = str(reply.args[0]).partition("because of: ")
    return response_error(cause) if found else None


def has_run_nothing(replies: list[Any]) -> bool:
    """Return whether the server says that it refused a transaction for now, from the replies from MULTI to EXEC."""
    if isinstance(replies[0], RedisError) or not isinstance(replies[-1], ExecAbortError):
        return False
    refused = [reply for reply in replies[1:-1] if isinstance(reply, RedisError)]
    return all(map(not_now, refused)) if refused else not_now(abort_cause(replies[-1]))


# --- The server is asked ----------------------------------------------------------------------------------------------


def _doubt(pool: Pool[Connection], error: ResponseError, origin: int, leased: bool) -> None:
    """Ask the server whether it is the wrong one, because code that it ran says so.

    Not on a connection that someone else has leased by now: the question could come into a transaction.
    """
    within = error.code == "ERR" and any(code in str(error) for code in WITHIN)
    connection = pool.find(origin) if within or isinstance(error, WRONG_SERVER) else None
    if connection is None or not connection.viable or (connection.lent and not leased):
        return
    # HELLO tells the role, and PING is refused by a server that loads its data or has lost its primary.
    word = "HELLO" if isinstance(error, ReadOnlyError) or "-READONLY " in str(error) else "PING"
    answer = connection.send(pack((word,)), True, PATIENCE)
    # A copy, because the error itself holds the caller's frames by its traceback.
    answer.add_done_callback(partial(_answered, pool, copy_error(error), origin), context=Context())


def _answered(pool: Pool[Connection], error: ResponseError, origin: int, answer: asyncio.Future[Any]) -> None:
    said = answer.exception()
    if wrong_server(said) if said is not None else _is_replica(answer.result()):
        leave(pool, origin, error)


def _is_replica(greeting: object) -> bool:
    """Return whether a reply to HELLO, in RESP3 or RESP2, is that of a replica."""
    if isinstance(greeting, list):
        greeting = dict(zip(greeting[::2], greeting[1::2], strict=False))
    return isinstance(greeting, dict) and greeting.get("role") in ("replica", "slave")
