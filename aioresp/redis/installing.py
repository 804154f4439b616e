"""Installation beneath redis-py: its pools make connections without a socket.

Owns the one method of redis-py that is replaced, and the pools that are left alone. Never touches a connection that
exists already.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Final

import redis
from redis.asyncio import connection as theirs
from redis.asyncio.retry import Retry

from aioresp.redis.connection import KINDS

#: Variable of the environment that turns `install()` off, for a look at redis-py alone.
VARIABLE: Final = "AIORESP_REDIS"

#: Connections that a pool of redis-py may have: they cost the server nothing.
UNBOUNDED: Final = 2**31

_lock: Final = threading.Lock()
_excluded: Final[weakref.WeakSet[theirs.ConnectionPool]] = weakref.WeakSet()
_original: Final[Any] = theirs.ConnectionPool.make_connection


def check() -> None:
    """Raise ImportError, naming what is missing, unless this redis-py has all that is built upon."""
    needed = {
        "ConnectionPool.make_connection": (theirs.ConnectionPool, "make_connection"),
        "BaseParser.parse_error": (theirs.DefaultParser, "parse_error"),
        "Retry.call_with_retry": (Retry, "call_with_retry"),
    }
    for name, (owner, attribute) in needed.items():
        if not hasattr(owner, attribute):
            raise ImportError(
                f"redis-py {redis.__version__} has no {name}, upon which aioresp.redis is built: use 5.2 or later"
            )


def make_connection(pool: theirs.ConnectionPool) -> Any:
    """Return a new connection for a pool: one without a socket, unless its class is a user's own."""
    kind = KINDS.get(pool.connection_class)
    if kind is None or pool in _excluded:
        return _original(pool)
    pool.max_connections = UNBOUNDED
    return kind(**pool.connection_kwargs)


def install() -> bool:
    """Let all connections that redis.asyncio makes from now on share clients of aioresp; return whether they do.

    It may be called again, and from any thread. Connections that exist stay as they are. It does nothing, and returns
    False, if the variable AIORESP_REDIS of the environment is "off".
    """
    if os.environ.get(VARIABLE, "").lower() in ("off", "0", "no", "false"):
        return False
    with _lock:
        theirs.ConnectionPool.make_connection = make_connection  # type: ignore[method-assign]
    return True


def uninstall() -> None:
    """Let redis.asyncio make connections of its own again; those without a socket go on until they are closed."""
    with _lock:
        theirs.ConnectionPool.make_connection = _original  # type: ignore[method-assign]


def exclude(pool: theirs.ConnectionPool) -> None:
    """Let a pool make connections of its own, whatever is installed."""
    _excluded.add(pool)


def adopt(pool: theirs.ConnectionPool) -> Any:
    """Let one pool make connections without a socket, whatever is installed; return one that is not the pool's."""
    pool.make_connection = make_connection.__get__(pool)  # type: ignore[method-assign]
    return make_connection(pool)


check()
