"""Installation beneath redis-py: its pools make connections without a socket.

Owns the one method of redis-py that is replaced, and the pools that are left alone. Never touches a connection that
exists already.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import nullcontext
from typing import Any, Final

import redis
from redis.asyncio.connection import BlockingConnectionPool, Connection, ConnectionPool, DefaultParser
from redis.asyncio.retry import Retry

from aioresp.redis.connection import KINDS, Engine

#: Variable of the environment that turns `install()` off, for a look at redis-py alone.
VARIABLE: Final = "AIORESP_REDIS"

#: Connections that a pool of redis-py may have: they cost the server nothing.
UNBOUNDED: Final = 2**31

#: Methods of a blocking pool that wait for room. There always is some, so those of a plain pool take their place.
STEPS: Final = ("get_connection", "release")

_lock: Final = threading.Lock()
_excluded: Final[weakref.WeakSet[ConnectionPool]] = weakref.WeakSet()
#: Pools with connections of ours, each with the limit that its user has set.
_limits: Final[weakref.WeakKeyDictionary[ConnectionPool, int]] = weakref.WeakKeyDictionary()
#: Attribute of a pool for the connection beside it. A table would keep both forever: each refers to the other.
ENGINE: Final = "_aioresp_engine"

#: Names of redis-py's that this package needs, with what has them: a class, or an object of it.
_NEEDED: Final[tuple[tuple[Any, tuple[str, ...]], ...]] = (
    (ConnectionPool, ("make_connection",)),
    (ConnectionPool(), ("_in_use_connections",)),
    (Connection, ("_close", "_connect", "_host_error", "_parser", "_reader")),
    (DefaultParser, ("parse_error",)),
    (Retry, ("call_with_retry",)),
)
for owner, names in _NEEDED:
    for name in names:
        if not hasattr(owner, name):
            kind = owner if isinstance(owner, type) else type(owner)
            raise ImportError(
                f"redis-py {redis.__version__} has no {kind.__name__}.{name}: aioresp.redis needs 5.2 or later"
            )
_original: Final[Any] = ConnectionPool.make_connection


class Unlocked:
    """Lock of a pool while this is installed: none for connections of ours, as asyncio's belongs to one event loop.

    Threads that share a new client would meet at that lock before its first connection is made.
    """

    def __get__(self, pool: Any, kind: type[Any] | None = None) -> Any:
        ours = pool.connection_class in KINDS and pool not in _excluded
        return nullcontext() if ours else vars(pool)["_lock"]

    def __set__(self, pool: Any, lock: Any) -> None:
        vars(pool)["_lock"] = lock


def make_connection(pool: ConnectionPool) -> Any:
    """Return a new connection for a pool: one without a socket, unless its class is a user's own."""
    kind = KINDS.get(pool.connection_class)
    if kind is None or pool in _excluded:
        return _original(pool)
    if pool not in _limits:
        _limits.setdefault(pool, pool.max_connections)  # another thread may be as far
        pool.max_connections = UNBOUNDED
        # Locks and conditions belong to one event loop. These guard steps that no other task comes between.
        pool._lock = nullcontext()  # type: ignore[assignment]
        dispatcher: Any = getattr(pool, "_event_dispatcher", None)
        if hasattr(dispatcher, "_async_lock"):  # since redis-py 7
            dispatcher._async_lock = nullcontext()
        for name in STEPS:
            if getattr(type(pool), name) is getattr(BlockingConnectionPool, name):
                setattr(pool, name, getattr(ConnectionPool, name).__get__(pool))
    connection = kind(**pool.connection_kwargs)
    pool.re_auth_callback = connection.renew  # type: ignore[method-assign]
    return connection


def install() -> bool:
    """Let all connections that redis.asyncio makes from now on share clients of aioresp; return whether they do.

    It may be called again, and from any thread. Connections that exist stay as they are. It does nothing, and returns
    False, if the variable AIORESP_REDIS of the environment is "off".
    """
    if os.environ.get(VARIABLE, "").lower() in ("off", "0", "no", "false"):
        return False
    with _lock:
        ConnectionPool.make_connection = make_connection  # type: ignore[method-assign]
        ConnectionPool._lock = Unlocked()  # type: ignore[assignment]
    return True


def uninstall() -> None:
    """Let redis.asyncio make connections of its own again; those without a socket go on until they are closed."""
    with _lock:
        ConnectionPool.make_connection = _original  # type: ignore[method-assign]
        if "_lock" in vars(ConnectionPool):
            delattr(ConnectionPool, "_lock")
    for reference in _limits.keyrefs():  # a copy: other threads may make pools meanwhile
        if (pool := reference()) is not None:
            _restore(pool)


def exclude(pool: ConnectionPool) -> None:
    """Let a pool make connections of its own, whatever is installed."""
    _excluded.add(pool)
    _restore(pool)


def _restore(pool: ConnectionPool) -> None:
    """Give a pool its limit back, unless it goes on with connections of ours."""
    if pool in _limits and vars(pool).get("make_connection") is None:
        pool.max_connections = _limits.pop(pool)
        for name in STEPS:
            vars(pool).pop(name, None)


def adopt(pool: ConnectionPool) -> Engine | None:
    """Let one pool make connections without a socket, whatever is installed; return one beside the pool.

    Clients of one pool share it, as some programs make a client for each command. It is disconnected with the pool.
    Returns None for a pool that is excluded, or whose connections are a user's own.
    """
    own = getattr(type(pool), "make_connection", None) not in (_original, make_connection)
    if own or pool in _excluded or pool.connection_class not in KINDS:
        return None
    with _lock:
        if ENGINE not in vars(pool):
            pool.make_connection = make_connection.__get__(pool)  # type: ignore[method-assign]
            vars(pool)[ENGINE] = made = make_connection(pool)
            pool._in_use_connections.add(made)
        engine: Engine = vars(pool)[ENGINE]
    return engine
